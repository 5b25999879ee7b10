"""What a process of a run does to the log while the run lasts, and that it is undone."""

from __future__ import annotations

import logging
from pathlib import Path

from scaledrelu.runs.process import log_to


def test_a_runs_log_has_its_lines_and_the_next_run_in_this_process_starts_quiet(
    tmp_path: Path,
) -> None:
    package = logging.getLogger("scaledrelu")
    package.setLevel(logging.WARNING)
    handlers = package.handlers[:]
    log = logging.getLogger("scaledrelu.engine.loop")
    with log_to(tmp_path / "rank0.log"):
        log.info("resuming at step 3")
    log.info("not of this run")
    [line] = (tmp_path / "rank0.log").read_text().splitlines()
    assert line.endswith("INFO resuming at step 3")
    assert package.level == logging.WARNING
    assert package.handlers == handlers
