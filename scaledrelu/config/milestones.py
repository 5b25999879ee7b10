"""What the paper says a run had reached after some epochs (``conf/figure/curves.yaml``).

Decides which values there are and how near to one a run has to be; who is compared with them is
decided where runs are known. Needs no torch: planning, reports and runs read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from scaledrelu.config.construct import UnknownKeyError, construct
from scaledrelu.config.evaluation import is_percent
from scaledrelu.config.fields import number
from scaledrelu.config.group import Group, require, typed
from scaledrelu.config.overrides import NOT_OF_A_ROW, check_listed
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.ranges import COUNT, NOT_NEGATIVE, POSITIVE
from scaledrelu.config.seeds import ALLOWED, Seeds, seeds_of, unknown_profile
from scaledrelu.config.yaml_file import read_yaml
from scaledrelu.errors import ConfigError, nearest

FILE = "figure/curves.yaml"
HALF_GAP = "half_gap"  # half of the way to the nearest other value of the same epoch and metric
KEYS = ("tolerance", "seeds", "milestones")
NOT_OF_A_RUN = {**NOT_OF_A_ROW, "seed": "write seeds: beside milestones:"}


@dataclass(frozen=True, slots=True)
class Milestone(Group):
    """One value of the paper: ``paper`` percent after ``epoch`` finished epochs.

    Attributes:
        claim: the claim of the text that says so, e.g. C01.
        run: Hydra overrides that make the run.
        metric: name of the metric.
        epoch: finished epochs of the paper's schedule.
        paper: what the paper prints.
    """

    KEY: ClassVar[str] = "milestone"

    claim: str
    run: tuple[str, ...]
    metric: str
    epoch: int = number(COUNT)
    paper: float = number(NOT_NEGATIVE)

    def check(self) -> None:
        """Refuse what is not an override of such a run, and percentages above 100."""
        try:
            check_listed(self.run, NOT_OF_A_RUN)
        except ConfigError as error:
            raise ConfigError(f"run: {error}") from error
        require(
            self.paper <= 100 or not is_percent(self.metric),
            f"paper={typed(self.paper)}: {self.metric} is a percentage; must lie in [0, 100]",
        )


@dataclass(frozen=True, slots=True)
class Milestones:
    """All of them, and how near a run has to be.

    Attributes:
        items: in the order of the file.
        tolerance: points, or :data:`HALF_GAP`.
        seeds: of the runs that are compared with them, where nobody asks for others.
    """

    items: tuple[Milestone, ...]
    tolerance: float | str
    seeds: Seeds

    def within(self, milestone: Milestone) -> float:
        """Return how many points a run may differ from a milestone and still be on track."""
        if self.tolerance != HALF_GAP:
            return float(self.tolerance)
        return _gap(milestone, self.items) / 2


def load_milestones(conf_dir: Path | None = None) -> Milestones:
    """Read ``conf/figure/curves.yaml``.

    Args:
        conf_dir: the configuration tree; the repository's by default.

    Raises:
        ConfigError: one line that names the file, the entry and what is allowed.
    """
    path = (conf_dir or CONF_DIR) / FILE
    where = f"conf/{FILE}"
    raw = read_yaml(path, where)
    known = isinstance(raw, Mapping) and set(raw) == set(KEYS)
    require(known, f"{where}: must hold {', '.join(KEYS)}, and nothing else")
    seeds = seeds_of(raw["seeds"])
    require(seeds is not None, f"{where}: seeds={typed(raw['seeds'])}: {ALLOWED}")
    unknown = unknown_profile(seeds.at_profile, conf_dir or CONF_DIR)
    require(unknown is None, f"{where}: seeds: {unknown}")
    require(
        isinstance(raw["milestones"], list) and bool(raw["milestones"]),
        f"{where}: milestones: must be a list of {{claim, run, metric, epoch, paper}}",
    )
    items = tuple(
        _milestone(f"{where}, entry {i}", one) for i, one in enumerate(raw["milestones"], 1)
    )
    return Milestones(items, _tolerance(where, raw["tolerance"], items), seeds)


def _milestone(where: str, raw: Any) -> Milestone:
    try:
        return construct(Milestone, raw)
    except UnknownKeyError as error:
        near = nearest(error.key.rpartition(".")[2], error.known)
        raise ConfigError(
            f"{where}: unknown key '{error.key}'{near}; allowed: {', '.join(error.known)}"
        ) from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _tolerance(where: str, found: Any, items: Sequence[Milestone]) -> float | str:
    if found != HALF_GAP:
        require(
            POSITIVE.holds(found),
            f"{where}: tolerance={typed(found)}: must be {HALF_GAP} or a number of points above 0",
        )
        return found
    for one in items:
        require(
            _gap(one, items) > 0,
            f"{where}: tolerance={HALF_GAP}: {one.claim} has no other value of {one.metric} at "
            f"epoch {one.epoch} beside it; add one, or give a number of points",
        )
    return found


def _gap(milestone: Milestone, items: Sequence[Milestone]) -> float:
    """Return the distance to the nearest other value at the same epoch; 0 without one."""
    others = [
        one.paper
        for one in items
        if (one.metric, one.epoch) == (milestone.metric, milestone.epoch)
        and one.run != milestone.run
    ]
    return min((abs(other - milestone.paper) for other in others), default=0.0)
