"""What a run's own files say that W&B is told: rows by step, the summary, and what marks a copy.

Part of the process that talks to W&B, and of what checks beforehand whether a copy is needed: it
imports neither wandb nor torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaledrelu.config.places import METRICS, RESULT, TIMING
from scaledrelu.engine.saved import PROGRESS

NOT_JSON = {text: float(text) for text in ("nan", "inf", "-inf")}
NO_LINES = (OSError, ValueError, KeyError, TypeError, AttributeError)  # not there, or half written
MARK = "scaledrelu.json"  # beside an offline copy: the last step in it, and its record
SENT = "sent.json"  # in a run's folder `wandb`: the same of what the server has
RECORD = "record"  # in the summary: what a copy holds, as a digest
SIMILARITY = "similarity/"


class Rows:
    """The rows of ``metrics.jsonl``, one for each step, each returned once.

    Every row also has its step, the images per second of ``timing.jsonl`` where it was measured,
    and the mean over the layers of each kind of token similarity.

    Args:
        folder: run directory.
        after: rows up to this step are skipped.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        self._folder, self.last = folder, after

    def committed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the new rows that a checkpoint covers: a killed run resumes from there."""
        try:
            saved = json.loads((self._folder / PROGRESS).read_bytes())["step"]
        except NO_LINES:
            return
        yield from self.upto(saved)

    def upto(self, step: float = float("inf")) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the new rows of the first ``step`` steps."""
        for at, row in sorted(self._read().items()):
            if self.last < at <= step:
                self.last = at
                yield at, row

    def _read(self) -> dict[int, dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {}
        for step, row in _lines(self._folder / METRICS):
            rows.setdefault(step, {"global_step": step}).update(
                {name: NOT_JSON.get(value, value) for name, value in row.items()}
            )
        for step, row in _lines(self._folder / TIMING):
            if step in rows and row.get("images_per_s") is not None:
                rows[step]["images_per_s"] = row["images_per_s"]
        for row in rows.values():
            row.update(_means(row))
        return rows


def summary_of(folder: Path, paper: Mapping[str, float | str]) -> dict[str, Any]:
    """Return what a finished run is judged by: outcome, metrics, crash, the paper's values.

    Args:
        folder: run directory.
        paper: ``table/column`` -> what the paper prints there; the paper crashed if any is a crash.
    """
    try:
        result = json.loads((folder / RESULT).read_bytes())
        found = {"outcome": result["outcome"], "seconds": result["seconds"], **result["metrics"]}
        crash = result["crash"] or {}
        found["crashed"] = float(result["outcome"] == "crash")  # a share, where runs are grouped
    except NO_LINES:
        return {}
    found |= {f"crash/{name}": crash[name] for name in ("kind", "step", "epoch") if name in crash}
    found |= {f"paper/{place}": value for place, value in paper.items()}
    if paper:
        found["paper/outcome"] = "crash" if "crash" in paper.values() else "ok"
    return found


def record_of(spec: Mapping[str, Any], folder: Path) -> str:
    """Return a digest of all that a finished run's copy holds: equal ones need no sending.

    Args:
        spec: what W&B is told beside the files: name, group, tags, configuration.
        folder: run directory.
    """
    told = {key: spec[key] for key in ("name", "group", "job_type", "tags", "config")}
    content = [told, list(Rows(folder).upto()), summary_of(folder, spec["paper"])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_mark(path: Path) -> dict[str, Any]:
    """Return what a mark says of a copy; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    except NO_LINES:
        return {}


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text().splitlines()
    except NO_LINES:
        return
    for line in lines:
        try:
            row = json.loads(line)
            yield row.pop("step"), row
        except NO_LINES:
            continue  # a line that is being written


def _means(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean over the layers of each kind of similarity that a row has."""
    by_kind: dict[str, list[float]] = {}
    for name, value in row.items():
        kind, _, layer = name.removeprefix(SIMILARITY).rpartition("_")
        if name.startswith(SIMILARITY) and layer.isdigit():
            by_kind.setdefault(kind, []).append(value)
    return {f"{SIMILARITY}{kind}_mean": sum(v) / len(v) for kind, v in by_kind.items()}
