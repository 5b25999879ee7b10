"""The W&B copy of a run: a process of its own, so that no trouble of W&B's reaches the training.

This side starts it, prints its address, and bounds everything: what W&B has not done in time is
given up in one line. ``mirror_process.py`` is the other side; it reads the run's own files.
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

log = logging.getLogger(__name__)

START_S = 30.0  # until W&B has to answer; then the copy is kept on disk
FINISH_S = 60.0  # for what is left to send when a run has ended
OTHER_SIDE = Path(__file__).with_name("mirror_process.py")
ONLINE, OFFLINE = "online", "offline"


class WandbMirror:
    """Copies a run's committed metrics to W&B until :meth:`end`; nothing ever reads them back.

    Args:
        folder: run directory; W&B writes below it.
        run_id: our id, also W&B's; a redone run carries the suffix ``-rN``.
        mode: offline or online; where online fails, the copy is kept offline.
        project: W&B project.
        entity: W&B team, or None for the default.
        group: what W&B groups by (the method).
        tags: tables the run serves.
        config: canonical configuration.
    """

    def __init__(self, folder: Path, *, mode: str, **spec: Any) -> None:
        self._spec = {"folder": str(folder), "trainer": os.getpid(), **spec}
        self._mode = mode
        self._process: subprocess.Popen[bytes] | None = None
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._starter = threading.Thread(target=self._start, daemon=True)
        self._starter.start()

    def end(self, *, exit_code: int, preempted: bool, limit_s: float = FINISH_S) -> None:
        """Send what is left and close the W&B run, or give up after ``limit_s`` seconds.

        Args:
            exit_code: 0 for a finished run (a crash is a finding), else W&B calls it failed.
            preempted: it was asked to stop and will go on later.
            limit_s: seconds.
        """
        self._starter.join(timeout=2 * START_S)
        if self._process is None:
            return
        last = {"exit_code": exit_code, "preempted": preempted}
        try:
            self._tell(last)
            self._process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._warn(f"not everything was sent within {limit_s:.0f} s")
        finally:
            self._kill()

    def _start(self) -> None:
        trouble = self._try(self._mode)
        if trouble and self._mode == ONLINE:
            self._warn(trouble)
            trouble = self._try(OFFLINE)
        if trouble:
            self._warn(trouble)

    def _try(self, mode: str) -> str | None:
        """Start the other side and wait for its word; return what went wrong, if anything."""
        process = subprocess.Popen(
            [sys.executable, "-P", str(OTHER_SIDE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C and a scheduler's signals are for the trainer
        )
        self._process, self._said = process, queue.Queue()
        threading.Thread(target=_listen, args=(process, self._said), daemon=True).start()
        self._tell({**self._spec, "mode": mode})
        try:
            answer = self._said.get(timeout=START_S)
        except queue.Empty:
            answer = {"trouble": f"no answer within {START_S:.0f} s"}
        if "trouble" in answer:
            self._kill()
            return answer["trouble"]
        log.info("W&B: %s", answer["address"])
        return None

    def _tell(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it died; what it said last tells why
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _kill(self) -> None:
        """End the other side and what it started; it may have ended by itself."""
        process, self._process = self._process, None
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _warn(self, trouble: str) -> None:
        log.warning(
            "W&B: %s; the run goes on and loses nothing: wandb=offline keeps a copy under %s that "
            "`wandb sync` sends later",
            trouble,
            Path(self._spec["folder"]) / "wandb",
        )


def _listen(process: subprocess.Popen[bytes], said: queue.Queue[dict[str, Any]]) -> None:
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            said.put(json.loads(line))
    said.put({"trouble": "its process ended without a word"})
