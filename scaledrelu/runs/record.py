"""What a run leaves on disk and how it is read back: results and failures.

Decides the file names and the meaning of their presence; knows nothing of training. Imports no
torch, so that planning and reporting stay fast. ``result.json`` is written last and atomically:
its existence is "done". A missing result is never read as a crash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.attempt import read_attempt
from scaledrelu.runs.files import write_atomic as write_atomic

RESULT = "result.json"
CONFIG = "config.json"
ERROR = "error.txt"
REDONE = ".redone"  # below the runs: results that were put aside to be made again


class RecordError(ScaledReluError):
    """A run directory holds a file that cannot be read back."""


class Outcome(StrEnum):
    """How a finished run ended."""

    OK = "ok"
    CRASH = "crash"


class Status(StrEnum):
    """What a run directory says about its run."""

    OK = "ok"
    CRASH = "crash"
    FAILED = "failed"
    RUNNING = "running"
    MISSING = "missing"

    @property
    def done(self) -> bool:
        """Whether a result exists; a crash is a result."""
        return self in (Status.OK, Status.CRASH)


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
        judgement: what the judge of divergence saw, of runs that passed, too: the rule, the
            judged loss at the end and its limit, dead stretches; None in results before that.
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

    def to_json(self) -> str:
        """Return sorted, indented JSON; non-finite numbers become the strings nan, inf, -inf."""
        return json.dumps(_plain(asdict(self)), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = RESULT) -> Result:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecordError: when a field is missing or the outcome is unknown.
        """
        try:
            raw = json.loads(text)
            return cls(
                run_id=raw["run_id"],
                outcome=Outcome(raw["outcome"]),
                metrics={name: float(value) for name, value in raw["metrics"].items()},
                crash=raw["crash"],
                provenance=raw["provenance"],
                seconds=float(raw["seconds"]),
                judgement=raw.get("judgement"),
                data=raw.get("data", {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(
                f"{source}: not a result of this version ({type(error).__name__}: {error}). "
                "Delete the file to train the run again."
            ) from error


def runs_root(results: str | Path) -> Path:
    """Return the folder that holds every run directory."""
    return Path(results) / "runs"


def run_directory(results: str | Path, run_id: str) -> Path:
    """Return ``<results>/runs/<run_id>``: a function of the id, for all ranks and restarts."""
    return runs_root(results) / run_id


def times_redone(results: str | Path, run_id: str) -> int:
    """Return how often a finished run was put aside to be trained again."""
    return len(list((runs_root(results) / REDONE).glob(f"{run_id}-r*")))


def write_result(run_dir: str | Path, result: Result, config: Mapping[str, Any]) -> None:
    """Store the canonical config, then the result; drop an older failure.

    Args:
        run_dir: the run directory.
        result: what happened.
        config: canonical config (what the run id hashes).
    """
    run_dir = Path(run_dir)
    write_atomic(run_dir / CONFIG, json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_atomic(run_dir / RESULT, result.to_json())
    (run_dir / ERROR).unlink(missing_ok=True)


def read_result(run_dir: str | Path) -> Result | None:
    """Return the result of a finished run, None when there is none.

    Raises:
        RecordError: when ``result.json`` exists and cannot be read.
    """
    path = Path(run_dir) / RESULT
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Result.from_json(text, source=str(path))


def read_config(run_dir: str | Path) -> dict[str, Any] | None:
    """Return the stored canonical config, None when there is none.

    Raises:
        RecordError: when ``config.json`` exists and is not JSON.
    """
    path = Path(run_dir) / CONFIG
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RecordError(f"{path}: not JSON ({error}). Delete the run directory.") from error


def write_error(run_dir: str | Path, reason: str, traceback: str = "") -> None:
    """Record a failure: the first line is a one-line reason, the traceback follows."""
    first = " ".join(reason.split()) or "unknown failure"
    write_atomic(Path(run_dir) / ERROR, f"{first}\n{traceback}")


def read_error(run_dir: str | Path) -> str | None:
    """Return the one-line reason of a recorded failure, None when there is none."""
    try:
        text = (Path(run_dir) / ERROR).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return text.partition("\n")[0]


def read_status(run_dir: str | Path) -> Status:
    """Return what the directory says: a result first, then a live attempt, then a failure.

    Raises:
        RecordError: when ``result.json`` exists and cannot be read.
    """
    result = read_result(run_dir)
    if result is not None:
        return Status(result.outcome.value)
    attempt = read_attempt(run_dir)
    if attempt is not None and attempt.alive:
        return Status.RUNNING
    if (Path(run_dir) / ERROR).exists():
        return Status.FAILED
    return Status.MISSING


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
