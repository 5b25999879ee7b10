"""The process that talks to W&B: reads a run's own files and sends what a checkpoint covers.

Started by ``mirror.py``, which sends it lines of JSON. Every attempt offers all rows again; those
that W&B has are left out, so that nothing is missing after a kill and nothing appears twice. It
must start fast and without torch: of this project it imports its two neighbours only.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scaledrelu.engine.wandb_afterwards import send_afterwards
from scaledrelu.engine.wandb_run import WandbRun

POLL_S = 2.0
ORPHAN_LIMIT_S = 60.0  # to close the W&B run once the trainer has died
LONGEST = 200  # letters of what W&B complains of


def main() -> None:
    """Copy one run until the trainer says how it ended, or dies; or what is asked line by line."""
    say = os.fdopen(os.dup(1), "w")
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    spec = json.loads(sys.stdin.readline())
    if spec["mode"] == "check":
        _answer(say, **check())
        os._exit(0)
    _log_to_file(Path(spec["log"]))
    if spec["mode"] == "afterwards":
        for line in sys.stdin:
            _answer(say, **_tried(json.loads(line)))
        os._exit(0)
    try:
        copy = WandbRun(spec, Path(spec["folder"]))
    except BaseException as error:
        _answer(say, trouble=_one_line(error))
        os._exit(1)
    _answer(say, address=copy.address)
    last = follow(copy, _lines())
    if last is None:
        threading.Timer(ORPHAN_LIMIT_S, _give_up).start()
        last = {"exit_code": 1, "preempted": False}
    copy.finish(**last)
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


def follow(copy: WandbRun, lines: queue.Queue[str | None]) -> dict[str, Any] | None:
    """Send rows as checkpoints cover them; return the trainer's last message, None if it died.

    Args:
        copy: the run at W&B.
        lines: the trainer's messages, line by line; None = it is gone.
    """
    while True:
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            copy.send(copy.rows.committed())
            continue
        return json.loads(line) if line else None


def _tried(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        return send_afterwards(spec)
    except BaseException as error:
        return {"trouble": _one_line(error)}


def _lines() -> queue.Queue[str | None]:
    """Return the trainer's lines as they come; None once it is gone."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _log_to_file(path: Path) -> None:
    """Redirect W&B's output to a log file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _answer(say: Any, **message: Any) -> None:
    say.write(json.dumps(message) + "\n")
    say.flush()


def _one_line(error: BaseException) -> str:
    lines = list(filter(None, map(str.strip, str(error).splitlines())))
    # A setting that W&B refuses is named in the second line, and why in the third.
    said = textwrap.shorten(": ".join(lines[:3]), LONGEST, placeholder="")
    return f"{type(error).__name__}: {said or 'no message'}"


def _give_up() -> None:
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
