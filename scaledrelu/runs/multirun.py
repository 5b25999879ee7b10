"""How the jobs of one multirun ended, in whichever process or machine a launcher ran them.

Hydra passes what the jobs of a multirun return to its sweeper alone. So each job leaves a small
file in the multirun's folder, and the command that started them reads these files at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from scaledrelu.config.overrides import quoted
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import RunError
from scaledrelu.files import write_atomic
from scaledrelu.runs.damage import UNREADABLE, in_short
from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.record import read_result, run_directory

FOLDER = "endings"
RECORD = "multirun.yaml"  # Hydra's basic sweeper writes the same
SEED = "hydra.sweeper.sampler.seed"  # of a search
SHOWN = 2  # jobs that a reason is said to belong to, of many


@dataclass(frozen=True, slots=True)
class Ending:
    """How one job of a multirun ended, and the overrides it was started with."""

    number: int
    overrides: tuple[str, ...]
    run_id: str
    ended: Ended
    reason: str


class MultirunFolder(Callback):
    """Takes a folder for the multirun that this process started; Hydra calls it.

    Attributes:
        path: the multirun's folder; None where there is no multirun.
        results: the results folder.
    """

    path: ClassVar[Path | None] = None
    results: ClassVar[str] = "results"

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Take the folder that is asked for, or one beside it that no other multirun has.

        The settings are written there, which Optuna's plugin does not do. The sweeper and every job
        learn of the folder.

        Args:
            config: Hydra's configuration of the multirun; the folder in it is changed.
            _: further arguments of Hydra, ignored.
        """
        asked = Path(config.hydra.sweep.dir).absolute()
        MultirunFolder.path, MultirunFolder.results = asked, str(config.paths.results)
        with contextlib.suppress(OSError):  # Hydra says so, when it writes there
            MultirunFolder.path = take_folder(asked)
        if MultirunFolder.path != asked:
            with open_dict(config):
                config.hydra.sweep.dir = str(MultirunFolder.path)
                place = quoted(str(MultirunFolder.path))
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={place}")
        with contextlib.suppress(OSError):
            OmegaConf.save(config, MultirunFolder.path / RECORD)

    @classmethod
    def give_back(cls) -> None:
        """Remove the folder of a multirun that has started no job, and nothing else in it."""
        with contextlib.suppress(OSError):
            (cls.path / FOLDER).rmdir()
            (cls.path / RECORD).unlink()
            cls.path.rmdir()


def take_folder(asked: Path) -> Path:
    """Return a folder for one multirun, which no other process gets: this one, or ``<name>-2``.

    Args:
        asked: the folder that is asked for; it may exist.

    Raises:
        OSError: it cannot be made.
    """
    for number in itertools.count(1):
        folder = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / RECORD).exists():
            continue
        with contextlib.suppress(FileExistsError):
            (folder / FOLDER).mkdir()  # of several processes one succeeds
            return folder


def how_to_continue(folder: Path | None) -> str:
    """Return what a person can do about a multirun that was interrupted.

    Args:
        folder: the multirun's folder; None if there is no multirun.
    """
    if folder is not None and (folder / RECORD).exists():
        sampler = OmegaConf.select(OmegaConf.load(folder / RECORD), SEED.rpartition(".")[0]) or {}
        if "seed" in sampler and sampler["seed"] is None:
            return f"the same command draws other trials; with {SEED}=1, say, it would continue"
    return "run the same command again to continue"


def has_endings(folder: Path) -> bool:
    """Say whether a multirun has its folder, which is made before its first job starts."""
    return (folder / FOLDER).is_dir()


def leave_ending(report: JobReport) -> None:
    """Record how the current Hydra job ended, if it belongs to a multirun.

    Raises:
        OSError: the multirun's folder is not writable.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        number, overrides = int(hydra.job.num), tuple(hydra.overrides.task)
        write_ending(Path(hydra.sweep.dir), report, number=number, overrides=overrides)


def varying(endings: Sequence[Ending]) -> list[str]:
    """Return what each job was asked for apart from what all were: ``lr.base=1e-3 seed=1``.

    Args:
        endings: those of all jobs of a multirun; of a single one, all it was asked for.
    """
    alike = set.intersection(*(set(ending.overrides) for ending in endings))
    common = alike if len(endings) > 1 else set()
    return [" ".join(one for one in ending.overrides if one not in common) for ending in endings]


def reasons_of(endings: Sequence[Ending]) -> list[str]:
    """Return each reason why jobs ended so, once, with what these were asked for."""
    asked: dict[str, list[str]] = {}
    for ending, words in zip(endings, varying(endings), strict=True):
        asked.setdefault(ending.reason, []).append(words or "no more than all others")
    return [f"{reason}{_whose(words, len(endings))}" for reason, words in asked.items()]


def _whose(asked: Sequence[str], number: int) -> str:
    """Return which of a number of jobs a reason belongs to; nothing where there is one job."""
    if len(asked) == number:
        return f" (all {number} runs)" if number > 1 else ""
    more = len(asked) - SHOWN
    return f" (asked for: {'; '.join(asked[:SHOWN])}{f'; {more} more' if more > 0 else ''})"


def score_of(config: RunConfig, report: JobReport) -> float | None:
    """Return what a job tells a sweeper: the headline metric of its run, as ``Result.score`` says.

    Args:
        config: the run's configuration.
        report: how the job ended.

    Returns:
        None if the run has no result: it failed, was refused or interrupted.
    """
    if report.ended not in (Ended.OK, Ended.CRASH):
        return None
    result = read_result(run_directory(config.paths.results, report.run_id))
    return None if result is None else result.score(best=config.evaluation.report == "best")


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
    """Return the endings of a multirun in the order of its jobs.

    Raises:
        RunError: one of their files is damaged.
    """
    endings = [_read(path) for path in (folder / FOLDER).glob("*.json")]
    return sorted(endings, key=lambda ending: ending.number)


def _read(path: Path) -> Ending:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        told = {"overrides": tuple(raw["overrides"]), "ended": Ended(raw["ended"])}
        return Ending(**{**raw, **told})
    except UNREADABLE as error:
        raise RunError(f"{path}: damaged ({in_short(error)}); move it away") from error
