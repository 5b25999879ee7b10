"""A process that has imported what every run needs, used no device, and forks one child per job.

A job then starts in a fraction of a second, with its own exit status, signals, memory and log. The
server ends with the process that started it, its children with the server, after saving.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

from scaledrelu.config.places import ROOT
from scaledrelu.errors import RunError
from scaledrelu.runs.process import is_orphan, stop_with_parent


@dataclass(frozen=True, slots=True)
class Child:
    """A child to fork."""

    name: str
    work: bytes  # a pickled function without arguments that returns the exit status
    log: Path  # takes all that it prints
    environment: Mapping[str, str]


class ForkServer:
    """The client: starts the server, passes requests on, and hears how children end.

    Args:
        preload: modules that the server imports before it forks.
        log: file that takes what the server itself prints.
        environment: variables of the server and its children.

    Raises:
        RunError: a module cannot be imported.
    """

    def __init__(
        self, preload: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        near, far = socket.socketpair()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        log.parent.mkdir(parents=True, exist_ok=True)
        with far, log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(far.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=[far.fileno()],
                env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # we pass Ctrl-C on to the runs ourselves
            )
        self._link, self._heard = Connection(near.detach()), []
        self._link.send((sys.path, list(preload)))
        if trouble := self._startup_problem():
            raise RunError(f"training cannot start: {trouble}; see {log}")

    def start(self, child: Child) -> int:
        """Fork a child and return its process id.

        Raises:
            EOFError, OSError: the server is gone; its children save and end.
        """
        self._link.send(child)
        while True:
            name, pid, status = self._link.recv()
            if status is None:
                return pid
            self._heard.append((name, status))

    def hear(self, timeout_s: float) -> list[tuple[str, int]]:
        """Return which children have ended and how, waiting at most so long for the first news.

        Raises:
            EOFError, OSError: the server is gone; its children save and end.
        """
        while self._link.poll(0 if self._heard else timeout_s):
            name, _, status = self._link.recv()
            self._heard.append((name, status))
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """End the server; children that still run are asked to stop."""
        self._link.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)

    def _startup_problem(self) -> str:
        try:
            return self._link.recv()
        except (EOFError, OSError):
            return f"its process ended at once (exit status {self.process.wait()})"


def serve(link: Connection, parent: int) -> int:
    """Fork a child for every request until the other side hangs up; return the exit status.

    Args:
        link: requests in, ended children out.
        parent: process id of the client, with which the server ends.
    """
    stop_with_parent(parent)
    if not _load(link):
        return 1
    awake, wake = socket.socketpair()
    for end in (awake, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, str] = {}
    while not is_orphan():
        ready = wait([link, awake], timeout=5)
        if awake in ready:
            with suppress(BlockingIOError):
                awake.recv(4096)
        _report_ended(children, link)
        if link not in ready:
            continue
        try:
            child = link.recv()
        except (EOFError, OSError):
            break
        pid = _fork(child, ends=(link, awake, wake))
        children[pid] = child.name
        link.send((child.name, pid, None))
    return 0


def _load(link: Connection) -> bool:
    """Import what the client names, and tell it how that went; return whether it went well."""
    sys.path[:], preload = link.recv()
    try:
        for name in preload:
            importlib.import_module(name)
    except Exception as error:
        traceback.print_exc()
        link.send(f"{type(error).__name__}: {error}")
        return False
    gc.freeze()  # or every child's first collection would copy the shared memory
    link.send("")
    return True


def _fork(child: Child, *, ends: Sequence[Connection | socket.socket]) -> int:
    """Start a child, which closes the ends that are the server's; return its process id."""
    server = os.getpid()
    if (pid := os.fork()) == 0:
        signal.set_wakeup_fd(-1)
        for end in ends:
            end.close()
        _become(child, server)
    return pid


def _report_ended(children: dict[int, str], link: Connection) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            link.send((children.pop(pid), pid, os.waitstatus_to_exitcode(status)))


def _become(child: Child, server: int) -> NoReturn:
    """Become the process of one job, and end with its exit status."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stop_with_parent(server)
    status = 1
    try:
        _print_to(child.log)
        os.environ.update(child.environment)
        status = pickle.loads(child.work)()
    except Exception:
        traceback.print_exc()
    finally:  # without the exit handlers that the server registered
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _print_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


if __name__ == "__main__":
    ended = serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(ended)  # libraries that were imported complain when they are taken down in order
