"""The result of one finished run: ``result.json``, written atomically and checked when read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from scaledrelu.config.evaluation import is_percent
from scaledrelu.config.places import RESULT
from scaledrelu.runs.damage import (
    FINISH,
    UNREADABLE,
    RecordError,
    in_short,
    mapping_of,
    read_json,
)
from scaledrelu.text import plural

MOST_PERCENT = 100 + 1e-6  # means of many values may round up
NON_FINITE = "non_finite"  # kinds of crash, as engine/divergence.py names them
COLLAPSED = "collapsed"  # the one that leaves a finite loss
WORST = 0.0  # of a headline metric: all are shares in percent
IN_REPORTS = ("device", "torch", "timm", "commit")  # fields of the provenance


class Outcome(StrEnum):
    """How a finished run ended."""

    OK = "ok"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run, as stored in ``result.json``.

    Attributes:
        run_id: identity of the run.
        outcome: ok or crash.
        metrics: ``split/name`` -> value, accuracies in percent, last epoch; the best epoch under
            the same name with the suffix ``_best`` (``val/top1``, ``val/top1_best``).
        crash: ``kind``, ``step``, ``epoch`` and the last observations; None when ok.
        provenance: where it ran (versions, device, commit, ...).
        seconds: training time over all attempts.
        judgement: what the judge of divergence saw, also of runs that passed: the rule, the judged
            loss at the end and its limit, dead stretches; None in older results.
        data: numbers of images per split and of classes that the run used.
    """

    run_id: str
    outcome: Outcome
    metrics: Mapping[str, float]
    crash: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    judgement: Mapping[str, Any] | None = None
    data: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.outcome == Outcome.CRASH) != (self.crash is not None):
            raise ValueError(f"{self.run_id}: outcome {self.outcome} with crash={self.crash!r}")

    @property
    def headline(self) -> str | None:
        """The metric whose best value is kept as well; None if the run was never judged."""
        return next((name for name in sorted(self.metrics) if f"{name}_best" in self.metrics), None)

    @property
    def dead_from(self) -> int | None:
        """First step of the dead stretch that a collapsed run ended in; None where not recorded."""
        if (self.crash or {}).get("kind") != COLLAPSED:
            return None
        stretches = (self.judgement or {}).get("dead_stretches") or ()
        return stretches[-1]["first_step"] if stretches else None

    @property
    def replaced(self) -> str:
        """How many damaged images others stood in for, in words; empty without any."""
        number = self.provenance.get("num_skipped_images")
        if not isinstance(number, int) or number < 1:
            return ""
        return f"{plural(number, 'image')} {'was' if number == 1 else 'were'} damaged and replaced"

    def score(self, *, best: bool = False) -> float | None:
        """Return the headline metric, for a sweeper that looks for its largest value.

        A crash is worth what the run ended at, and ``WORST`` where its loss was not finite or it
        was never judged; then nothing usable is left.

        Args:
            best: whether the best epoch counts instead of the last.

        Returns:
            None where a run that did not crash has no finite value.
        """
        crashed = self.outcome is Outcome.CRASH
        if crashed and (self.headline is None or (self.crash or {}).get("kind") != COLLAPSED):
            return WORST
        if self.headline is None:
            return None
        value = self.metrics[f"{self.headline}_best" if best and not crashed else self.headline]
        return value if math.isfinite(value) else (WORST if crashed else None)

    def to_json(self) -> str:
        """Return sorted, indented JSON; non-finite numbers become the strings nan, inf, -inf."""
        return json.dumps(_plain(asdict(self)), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = RESULT) -> Result:
        """Read what :meth:`to_json` wrote.

        Args:
            text: content of the file.
            source: name of the file in errors.

        Raises:
            RecordError: when a field is missing, the outcome is unknown, or a value cannot be.
        """
        try:
            raw = read_json(text)
            return cls(
                run_id=_text(raw["run_id"], "run_id"),
                outcome=Outcome(raw["outcome"]),
                metrics=_metrics(raw["metrics"]),
                crash=_optional(raw["crash"], "crash"),
                provenance=_provenance(raw["provenance"]),
                seconds=_seconds(raw["seconds"]),
                judgement=_optional(raw.get("judgement"), "judgement"),
                data=_data(raw.get("data", {})),
            )
        except UNREADABLE as error:
            raise RecordError(
                f"{source}: damaged, or not a result of this version ({in_short(error)}); {FINISH}"
            ) from error


def _optional(value: Any, name: str) -> Mapping[str, Any] | None:
    return None if value is None else mapping_of(value, name)


def _metrics(value: Any) -> dict[str, float]:
    """Return the metrics; raise an error if there are none, or for an impossible percentage."""
    found = mapping_of(value, "metrics")
    metrics = {name: _number(number, name) for name, number in found.items()}
    for name, number in metrics.items():
        if is_percent(name) and math.isfinite(number) and not 0 <= number <= MOST_PERCENT:
            raise ValueError(f"{name} is {number:g}, not in [0, 100]")
    return metrics


def _provenance(value: Any) -> Mapping[str, Any]:
    """Return where a run was made; raise an error if a field that reports print is not text."""
    found = mapping_of(value, "provenance")
    for name in IN_REPORTS:
        if found.get(name) is not None:
            _text(found[name], name)
    return found


def _seconds(value: Any) -> float:
    seconds = _number(value, "seconds")
    if not math.isfinite(seconds):
        raise ValueError(f"seconds is {seconds}")
    return seconds


def _data(value: Any) -> Mapping[str, int]:
    found = mapping_of(value, "data")
    for name, count in found.items():
        if type(count) is not int or count < 0:
            raise TypeError(f"{name} of data is {count!r}, not a whole number from 0 on")
    return found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, not a str")
    return value


def _number(value: Any, name: str) -> float:
    """Return a number of JSON, or one of the three that JSON cannot write."""
    if type(value) not in (int, float) and value not in ("nan", "inf", "-inf"):
        raise TypeError(f"{name} is a {type(value).__name__}, not a number")
    return float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
