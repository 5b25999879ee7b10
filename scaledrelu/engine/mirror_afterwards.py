"""Sends finished runs to W&B one after the other, through one process that may hang or die."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaledrelu.engine.mirror import (
    FINISH_S,
    ONLINE,
    START_S,
    answer_in,
    kill_group,
    listen,
    start_process,
    tell,
)
from scaledrelu.files import make_writable

LIMIT_S = START_S[ONLINE] + FINISH_S  # of one run: to open it, and to send it


class Sender:
    """Asks a process of its own to send runs; starts another where one does not answer in time.

    Args:
        mode: online or offline.
        log: file for what W&B prints.
    """

    def __init__(self, mode: str, *, log: Path) -> None:
        self._mode, self._log = mode, log
        self._process: subprocess.Popen[bytes] | None = None
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def send(self, spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Send one run, or a table, unless W&B has it.

        Args:
            spec: what W&B is told beside the files, see ``WandbMirror``.
            folder: directory of its files.

        Returns:
            ``known``, or ``sent`` (rows) and ``address``, or ``trouble``: one line.

        Raises:
            OSError: the folder of the log cannot be written.
        """
        if self._process is None:
            self._start()
        tell(self._process, {**spec, "mode": self._mode, "folder": str(folder)})
        answer = answer_in(self._said, LIMIT_S)
        if "trouble" in answer:
            self._end()  # wandb may be in any state; the next run gets a new process
        return answer

    def _start(self) -> None:
        make_writable(self._log.parent)  # of trouble there, the process itself cannot tell
        self._process = start_process()
        self._said = listen(self._process)
        tell(self._process, {"mode": "afterwards", "log": str(self._log)})

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            kill_group(process)
