"""The process that talks to W&B: reads a run's own files and sends what a checkpoint covers.

Started by ``mirror.py``, which sends it lines of JSON. Every attempt offers all rows again; those
that W&B has are left out, so that nothing is missing after a kill and nothing appears twice.
Imports nothing of this project: it must start fast and without torch.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POLL_S = 2.0
ORPHAN_LIMIT_S = 60.0  # to close the W&B run once the trainer has died
NOT_JSON = {text: float(text) for text in ("nan", "inf", "-inf")}
MARK = "scaledrelu.json"  # beside an offline copy: the last step in it


class Rows:
    """The rows of ``metrics.jsonl``, one for each step, each returned once.

    Args:
        folder: run directory.
        after: rows up to this step are skipped.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder, self.last = folder, after

    def committed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the new rows that a checkpoint covers: a killed run resumes from there."""
        try:
            saved = json.loads((self._folder / "progress.json").read_bytes())["step"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        yield from self.upto(saved)

    def upto(self, step: float) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the new rows of the first ``step`` steps."""
        for at, row in sorted(self._read().items()):
            if self.last < at <= step:
                self.last = at
                yield at, row

    def _read(self) -> dict[int, dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {}
        try:
            lines = (self._folder / "metrics.jsonl").read_text().splitlines()
        except (OSError, ValueError):
            return rows
        for line in lines:
            try:
                row = json.loads(line)
                step = row.pop("step")
            except (ValueError, KeyError, AttributeError, TypeError):
                continue  # a line that is being written
            rows.setdefault(step, {"global_step": step}).update(
                {name: NOT_JSON.get(value, value) for name, value in row.items()}
            )
        return rows


def main() -> None:
    """Copy one run until the trainer says how it ended, or dies."""
    say = os.fdopen(os.dup(1), "w")
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    spec = json.loads(sys.stdin.readline())
    if spec["mode"] == "check":
        _answer(say, **check())
        os._exit(0)
    folder = Path(spec["folder"])
    _log_to_file(folder / "wandb")
    try:
        run, rows = start(spec, folder)
    except BaseException as error:
        _answer(say, trouble=_one_line(error))
        os._exit(1)
    _answer(say, address=run.url if spec["mode"] == "online" else run.dir.removesuffix("/files"))
    last = follow(run, rows, _lines())
    if last is None:
        threading.Timer(ORPHAN_LIMIT_S, _give_up).start()
        last = {"exit_code": 1, "preempted": False}
    finish(run, rows, folder, **last)
    os._exit(0)


def check() -> dict[str, str]:
    """Return what prevents ``wandb=online``, or the address of the server."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        import wandb

        wandb.login(verify=True)
        return {"address": wandb.Api().settings["base_url"]}
    except BaseException as error:
        return {"trouble": _one_line(error)}


def start(spec: dict[str, Any], folder: Path) -> tuple[Any, Rows]:
    """Open the W&B run and return it with the rows that it does not have yet.

    Args:
        spec: the arguments of ``WandbMirror``.
        folder: run directory.
    """
    import wandb

    online = spec["mode"] == "online"
    run = wandb.init(
        dir=folder,
        id=spec["run_id"],
        name=spec["run_id"],
        mode=spec["mode"],
        project=spec["project"],
        entity=spec["entity"],
        group=spec["group"],
        tags=spec["tags"],
        config=spec["config"],
        resume="allow",
        settings=wandb.Settings(silent=True, console="off", x_stats_pid=spec["trainer"]),
    )
    run.define_metric("global_step")
    run.define_metric("*", step_metric="global_step")
    after = _clear_copies(folder / "wandb", keep=Path(run.dir).parent)
    return run, Rows(folder, after=run.step - 1 if online else after)


def follow(run: Any, rows: Rows, lines: queue.Queue[str | None]) -> dict[str, Any] | None:
    """Send rows as checkpoints cover them; return the trainer's last message, None if it died.

    Args:
        run: the W&B run.
        rows: rows of the run directory.
        lines: the trainer's messages, line by line; None = it is gone.
    """
    while True:
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            send(run, rows.committed())
            continue
        return json.loads(line) if line else None


def finish(run: Any, rows: Rows, folder: Path, *, exit_code: int, preempted: bool) -> None:
    """Send the rest and close the W&B run with the state that the run has.

    Args:
        run: the W&B run.
        rows: all rows behind the result, or all that a checkpoint covers.
        folder: run directory.
        exit_code: 0 = finished, else failed.
        preempted: stopped on request; the run continues later.
    """
    done = exit_code == 0
    send(run, rows.upto(float("inf")) if done else rows.committed())
    if done:
        run.summary.update(_result(folder))
    if preempted:
        run.mark_preempting()
    Path(run.dir).parent.joinpath(MARK).write_text(json.dumps({"last_step": rows.last}))
    run.finish(exit_code=exit_code)


def send(run: Any, rows: Iterator[tuple[int, dict[str, Any]]]) -> None:
    """Log rows under our own steps, which W&B accepts only once.

    Args:
        run: the W&B run.
        rows: steps and their values.
    """
    for step, row in rows:
        run.log(row, step=step)


def _result(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / "result.json").read_bytes())
        return {"outcome": result["outcome"], **result["metrics"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _clear_copies(place: Path, *, keep: Path) -> int:
    """Remove unsent copies of earlier attempts: the new one holds all their rows.

    An incomplete one would make `wandb sync` fail.

    Returns:
        The last step of the copies that were sent, which must not be sent again.
    """
    sent = 0
    for copy in (*place.glob("offline-run-*"), *place.glob("run-*")):
        if copy == keep:
            continue
        if not list(copy.glob("*.synced")):
            shutil.rmtree(copy, ignore_errors=True)
            continue
        try:
            sent = max(sent, json.loads((copy / MARK).read_bytes())["last_step"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sent


def _lines() -> queue.Queue[str | None]:
    """Return the trainer's lines as they come; None once it is gone."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _log_to_file(place: Path) -> None:
    """Redirect W&B's output to a log file of its own."""
    place.mkdir(parents=True, exist_ok=True)
    log = os.open(place / "mirror.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _answer(say: Any, **message: str) -> None:
    say.write(json.dumps(message) + "\n")
    say.flush()


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _give_up() -> None:
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
