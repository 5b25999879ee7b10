"""The W&B copy of a run: a separate process, so that W&B's problems never reach the training.

This side starts it, logs its address, and limits every wait: what W&B has not done in time is given
up with one warning. ``mirror_process.py`` is that process; it reads the run's own files.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaledrelu.errors import RunError

log = logging.getLogger(__name__)

MODES = DISABLED, OFFLINE, ONLINE = "disabled", "offline", "online"  # the most careful first
ALSO_CALLED = {"dryrun": OFFLINE, "run": ONLINE}  # older values of WANDB_MODE
# Seconds until W&B must answer; offline, nothing waits for a network, only for the disk.
START_S = {ONLINE: 30.0, OFFLINE: 60.0}
FINISH_S = 60.0  # to send the rest when a run has ended
PROGRAM = Path(__file__).with_name("mirror_process.py")
OWN_LOG = "mirror.log"
USE_OFFLINE = "use wandb=offline and send the copies later with `wandb sync`"
AFTERWARDS = "When the run has finished, scripts/mirror.py sends what is missing"
LOGIN_HINT = " Use `wandb login` to log in."  # wandb 0.31 adds it where our lines say it as well


class WandbMirror:
    """Copies a run's committed metrics to W&B until :meth:`end`; nothing reads them back.

    Args:
        folder: run directory; W&B writes below it.
        mode: offline or online; where online fails, the copy is kept offline.
        run_id: our id, also W&B's; a redone run has the suffix ``-rN``.
        name: what people call the run.
        project: W&B project, or None for that of the environment.
        entity: W&B team, or None for that of the environment.
        group: what runs share that differ in their seeds alone.
        job_type: the method.
        tags: tables that print the run, and its profile.
        paper: what the paper prints for it, ``table/column`` -> value.
        config: nested configuration; W&B shows and filters nested keys with dots.
    """

    def __init__(self, folder: Path, *, mode: str, **spec: Any) -> None:
        log_file = str(folder / "wandb" / OWN_LOG)
        self._spec = {"folder": str(folder), "trainer": os.getpid(), "log": log_file, **spec}
        self._mode = mode
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = threading.Thread(target=self._start, daemon=True)
        self._starter.start()

    def end(self, *, exit_code: int, preempted: bool, limit_s: float = FINISH_S) -> None:
        """Send what is left and close the W&B run, or give up after ``limit_s`` seconds.

        Args:
            exit_code: 0 for a finished run (a crash is a result), else W&B shows it as failed.
            preempted: the run was asked to stop and will continue later.
            limit_s: seconds to wait.
        """
        self._starter.join(timeout=sum(START_S.values()))
        if self._process is None:
            return
        last = {"exit_code": exit_code, "preempted": preempted}
        if self._process.poll() is not None:
            self._warn(f"its process ended early (see {OWN_LOG})")
        try:
            tell(self._process, last)
            self._process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._warn(f"not everything was sent within {limit_s:.0f} s")
        finally:
            self._kill()

    def _start(self) -> None:
        answer = self._try(self._mode)
        if "address" in answer:
            log.info("W&B: %s", answer["address"])
            return
        trouble = _reason(answer["trouble"])
        if self._mode == ONLINE:
            answer = self._try(OFFLINE)
            if "address" in answer:
                send = f"wandb sync {answer['address']}"
                self._warn(trouble, f"A copy is kept; once `wandb login` works, send it: {send}")
                return
            trouble = f"{trouble}; offline: {_reason(answer['trouble'])}"
        self._warn(trouble)

    def _try(self, mode: str) -> dict[str, str]:
        """Start the process and return its first answer: the copy's ``address``, or ``trouble``."""
        self._process = process = start_process()
        said = listen(process)
        tell(process, {**self._spec, "mode": mode})
        answer = answer_in(said, START_S[mode])
        if "trouble" in answer:
            self._kill()
        return answer

    def _kill(self) -> None:
        process, self._process = self._process, None
        kill_group(process)

    def _warn(self, trouble: str, advice: str = AFTERWARDS) -> None:
        log.warning("W&B: %s; training is not affected. %s", trouble, advice)


def mode_here(asked: str) -> str:
    """Return what is copied here: WANDB_MODE may ask for less than the configuration, never more.

    Args:
        asked: disabled, offline or online.
    """
    said = os.environ.get("WANDB_MODE", "").lower()
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
        said = DISABLED
    allowed = ALSO_CALLED.get(said, said)
    return min(asked, allowed, key=MODES.index) if allowed in MODES else asked


def check_online(limit_s: float = START_S[ONLINE], *, instead: str = USE_OFFLINE) -> None:
    """Check once that W&B accepts the key and its server answers, before many runs need both.

    Args:
        limit_s: seconds to wait.
        instead: what to do without a server, for the error.

    Raises:
        RunError: one line with the reason.
    """
    process = start_process()
    try:
        said, _ = process.communicate(b'{"mode": "check"}\n', timeout=limit_s)
        trouble = json.loads(said).get("trouble")
    except (subprocess.TimeoutExpired, ValueError):
        trouble = f"no answer within {limit_s:.0f} s"
    finally:
        kill_group(process)
    if trouble:
        raise RunError(f"W&B: {_reason(trouble)}; run `wandb login`, or {instead}")


def start_process() -> subprocess.Popen[bytes]:
    """Start the process that talks to W&B; it waits for its first line."""
    return subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C and a scheduler's signals are for the trainer
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children; it may have ended already."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(OSError):
        process.stdin.close()


def tell(process: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
    """Send the process one message.

    Args:
        process: the process that talks to W&B.
        message: what it is told.
    """
    with contextlib.suppress(OSError):  # it died; its last message gives the reason
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()


def listen(process: subprocess.Popen[bytes]) -> queue.Queue[dict[str, Any]]:
    """Return what the process says, as it comes, and at last that it has ended."""
    said: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                said.put(json.loads(line))
        said.put({"trouble": "its process ended without an answer"})

    threading.Thread(target=read, daemon=True).start()
    return said


def answer_in(said: queue.Queue[dict[str, Any]], limit_s: float) -> dict[str, Any]:
    """Return the next message of the process, or that none came in time.

    Args:
        said: its messages.
        limit_s: seconds to wait.
    """
    try:
        return said.get(timeout=limit_s)
    except queue.Empty:
        return {"trouble": f"no answer within {limit_s:.0f} s"}


def _reason(trouble: str) -> str:
    """Return what W&B says is wrong, without the advice that our own line gives."""
    return trouble.removesuffix(LOGIN_HINT).rstrip(".")
