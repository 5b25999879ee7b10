"""How the jobs of one multirun ended, in whichever process or machine a launcher ran them.

Hydra does not pass on what the jobs of a multirun return. So each job leaves a small file in the
multirun's folder, and the command that started them reads these files at the end.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from scaledrelu.files import write_atomic
from scaledrelu.runs.ending import Ended, JobReport

FOLDER = "endings"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one job of a multirun ended, and the overrides it was started with."""

    number: int
    overrides: tuple[str, ...]
    run_id: str
    ended: Ended
    reason: str


class MultirunFolder(Callback):
    """Remembers the folder of the multirun that this process started; Hydra calls it."""

    path: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Find the folder, and remove the files of an earlier multirun in it.

        Args:
            config: Hydra's configuration of the multirun.
            _: further arguments of Hydra, ignored.
        """
        MultirunFolder.path = Path(config.hydra.sweep.dir).absolute()
        shutil.rmtree(MultirunFolder.path / FOLDER, ignore_errors=True)


def leave_ending(report: JobReport) -> None:
    """Record how the current Hydra job ended, if it belongs to a multirun.

    Raises:
        OSError: the multirun's folder is not writable.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        number, overrides = int(hydra.job.num), tuple(hydra.overrides.task)
        write_ending(Path(hydra.sweep.dir), report, number=number, overrides=overrides)


def write_ending(folder: Path, report: JobReport, *, number: int, overrides: Sequence[str]) -> None:
    """Record how one job of a multirun ended.

    Args:
        folder: the multirun's folder.
        report: how the job ended.
        number: the job's number, from 0.
        overrides: the overrides it was started with.
    """
    ending = Ending(number, tuple(overrides), report.run_id, report.ended, report.reason)
    write_atomic(folder / FOLDER / f"{number}.json", json.dumps(asdict(ending)) + "\n")


def read_endings(folder: Path) -> list[Ending]:
    """Return the endings of a multirun in the order of its jobs."""
    found = [json.loads(path.read_text()) for path in (folder / FOLDER).glob("*.json")]
    endings = [
        Ending(**{**raw, "overrides": tuple(raw["overrides"]), "ended": Ended(raw["ended"])})
        for raw in found
    ]
    return sorted(endings, key=lambda ending: ending.number)


def summary(endings: Sequence[Ending]) -> str:
    """Return one line for each job of a multirun, and how many of them failed."""
    alike = set.intersection(*(set(ending.overrides) for ending in endings))
    common = alike if len(endings) > 1 else set()
    rows = [
        (ending.run_id or "-", " ".join(o for o in ending.overrides if o not in common), ending)
        for ending in endings
    ]
    names, asked = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{row[0]:{names}}  {row[1]:{asked}}  {_how(row[2])}" for row in rows]
    count = Counter(ending.ended for ending in endings)
    bad, stopped = count[Ended.FAILED] + count[Ended.REFUSED], count[Ended.INTERRUPTED]
    last = f"{bad} of {len(endings)} runs failed"
    if stopped:
        last += f", {stopped} interrupted (run the same command again to continue)"
    if count[Ended.BUSY]:
        last += f", {count[Ended.BUSY]} trained by other processes"
    return "\n".join([*lines, last])


def _how(ending: Ending) -> str:
    return f"{ending.ended}: {ending.reason}" if ending.reason else str(ending.ended)
