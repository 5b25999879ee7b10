"""Train one run, or a multirun of them: group=option picks a kind, key=value sets a quantity.

python scripts/train.py stem=conv lr.base=1e-3              one row of Table 1, at mini
python scripts/train.py -m stem=patchify,conv seed=0,1      four runs
python scripts/train.py stem=conv profile=paper data.root=/data/imagenet1k
torchrun --nproc-per-node 8 scripts/train.py stem=conv profile=paper
python scripts/train.py --cfg job --resolve stem=conv       show the configuration
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from argparse import Namespace
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.compose import CONF_DIR, finalize, readable_errors
from scaledrelu.config.hydra_tree import check_specialisations
from scaledrelu.config.identity import run_id
from scaledrelu.config.places import expand_overrides
from scaledrelu.config.shell import (
    MISSING_EXPERIMENT,
    help_text,
    read_arguments,
    ready_for_hydra,
    visible_words,
)
from scaledrelu.errors import ConfigError, ScaledReluError, reader_may_leave
from scaledrelu.files import cannot_write
from scaledrelu.runs.endings import (
    EXIT_FAILED,
    EXIT_WRONG_INPUT,
    MultirunFolder,
    exit_status,
    leave_ending,
    read_endings,
    summary,
)
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.runs.spawn import Ended, JobReport, run_job

EXIT_KILLED = 130
LAUNCHERS = ("joblib", "submitit")  # whose errors say that a worker is gone
reports: list[JobReport] = []  # of the jobs in this process


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")
def job(composed: DictConfig) -> JobReport:
    """Train one run and return how it ended; nothing is raised, so that a sweep goes on."""
    report = train(composed)
    reports.append(report)
    leave_ending(report)
    return report


def train(composed: DictConfig) -> JobReport:
    """Turn what Hydra composed into a run and train it."""
    try:
        runtime = HydraConfig.get().runtime
        if (asked := runtime.choices.get("experiment")) and composed.planned_id is None:
            raise ConfigError(f"experiment={asked}: {MISSING_EXPERIMENT}")
        check_specialisations(runtime)
        config = finalize(composed)
    except ScaledReluError as error:
        if composed.planned_id:
            with contextlib.suppress(OSError, ScaledReluError):  # what is planned names no folder
                folder = run_directory(composed.paths.results, composed.planned_id)
                write_error(folder, str(error))
        return JobReport(composed.planned_id or "", Ended.REFUSED, str(error))
    if any(report.ended is Ended.INTERRUPTED for report in reports):
        return JobReport(run_id(config), Ended.INTERRUPTED, "not started")
    return run_job(config)


@reader_may_leave()
def main() -> int:
    """Check the command line, run, and turn the ending into an exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach readable_errors instead of Hydra's printer
    reports.clear()
    with readable_errors():
        asked = read_arguments(expand_overrides(sys.argv[1:]))
        sys.argv[1:] = ready_for_hydra(asked, CONF_DIR)
        if asked.help:
            print(help_text(CONF_DIR, __doc__))
            return 0
        if asked.shell_completion and asked.overrides[0].startswith("query"):
            return complete()
        return run(asked)


def run(asked: Namespace) -> int:
    """Let Hydra run what is asked and return the exit status."""
    MultirunFolder.path = None
    status = 0
    try:
        job()
    except SystemExit as ended:  # Hydra's, which has said why
        return EXIT_WRONG_INPUT if ended.code and asked.cfg else int(ended.code or 0)
    except BrokenPipeError:  # a reader such as head that has seen enough
        raise
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the checkpoints", file=sys.stderr)
        status = EXIT_KILLED
    except Exception as error:
        if (line := reason_outside(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        status = EXIT_FAILED
    return status or conclude()


def reason_outside(error: Exception) -> str | None:
    """Return one line if the results folder or a worker of a launcher failed; None for a bug."""
    if isinstance(error, OSError):
        return cannot_write(error, MultirunFolder.path or ".")
    if type(error).__module__.startswith(LAUNCHERS):
        first = str(error).strip().splitlines()[:1]
        kind = type(error).__name__
        return f"a worker ended without a word ({kind}: {''.join(first)}); the same command goes on"
    return None


def conclude() -> int:
    """Say how the jobs ended and return the exit status."""
    if MultirunFolder.path is None:
        endings, reasons = [r.ended for r in reports], [r.reason for r in reports]
    else:
        found = read_endings(MultirunFolder.path)
        endings, reasons = [e.ended for e in found], [e.reason for e in found]
    status = exit_status(endings)
    if status == EXIT_WRONG_INPUT:
        for reason in dict.fromkeys(reasons):
            print(f"error: {reason}", file=sys.stderr)
    elif MultirunFolder.path is not None and found and first_rank():
        print(summary(found), flush=True)
    return status


def first_rank() -> bool:
    """Whether this process speaks for all that torchrun or srun started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def complete() -> int:
    """Answer the shell's question for completions, without what nobody should choose."""
    words = io.StringIO()
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(Exception, SystemExit),
        contextlib.redirect_stdout(words),
    ):
        job()
    print(" ".join(visible_words(words.getvalue().split(), CONF_DIR)))
    return 0


if __name__ == "__main__":
    logging.getLogger("scaledrelu").setLevel(logging.INFO)
    sys.exit(main())
