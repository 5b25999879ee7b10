"""What ``scripts/train.py`` does around Hydra: arguments in, lines and an exit status out."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from hydra.types import RunMode
from omegaconf import DictConfig

from scaledrelu.config.compose import finalize
from scaledrelu.config.hydra_tree import check_specialisations, places_in_lists
from scaledrelu.config.identity import run_id
from scaledrelu.config.overrides import expand_overrides
from scaledrelu.config.places import CONF_DIR, expand_home
from scaledrelu.config.plugins import is_search
from scaledrelu.config.run import RunConfig
from scaledrelu.config.shell import (
    HYDRA_MODE,
    PlannedRun,
    help_text,
    plain_call,
    planned_run,
    read_arguments,
    ready_for_hydra,
    visible_words,
)
from scaledrelu.config.yaml_file import yaml_line
from scaledrelu.engine.ranks import find_ranks
from scaledrelu.errors import ConfigError, ScaledReluError
from scaledrelu.files import FULL, cannot_use
from scaledrelu.runs.blame import WAIT_S
from scaledrelu.runs.ending import (
    EXIT_CTRL_C,
    EXIT_FAILED,
    EXIT_WRONG_INPUT,
    Ended,
    JobReport,
    concluded,
    exit_status,
)
from scaledrelu.runs.lacking import lacking_here
from scaledrelu.runs.multirun import (
    MultirunFolder,
    has_endings,
    how_to_continue,
    leave_ending,
    read_endings,
    reasons_of,
    score_of,
)
from scaledrelu.runs.process import stop_with_parent
from scaledrelu.runs.search import (
    NO_TRIAL,
    SearchOverError,
    complaint,
    is_of_optuna,
    no_trial_after,
)
from scaledrelu.runs.spawn import run_job, run_planned

log = logging.getLogger(__name__)

PLUGINS = "hydra_plugins.scaledrelu"  # Hydra wants this name; there is no such package on disk
LAUNCHERS = ("joblib", "submitit")  # their errors say that a worker is gone


class Command:
    """One call of ``train.py``; ``reports`` are those of the jobs in this process.

    Args:
        table: returns what a multirun ends with, from its folder and the results folder.
    """

    def __init__(self, table: Callable[[Path, str], str]) -> None:
        self.reports: list[JobReport] = []
        self._untold: list[str] = []
        self._table = table

    def main(
        self,
        job: Callable[[], object],
        text: str,
        *,
        plugins: Sequence[type[Plugin]] = (),
    ) -> int:
        """Check the command line, run, and turn the ending into an exit status.

        Args:
            job: the function that Hydra runs, :meth:`job` inside.
            text: examples, for the help.
            plugins: our own plugins for Hydra.
        """
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach concluded(), not Hydra's printer
        if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun's agent, which may be killed
            stop_with_parent(os.getppid())
        self.reports.clear()
        self._untold.clear()
        MultirunFolder.path = None
        return concluded(lambda: self._answer(job, text, plugins))

    def _answer(self, job: Callable[[], object], text: str, plugins: Sequence[type[Plugin]]) -> int:
        """Do what the command line asks for and return the exit status."""
        if (planned := planned_run(sys.argv[1:])) is not None:
            return self._train_planned(planned)
        asked = read_arguments(expand_overrides(sys.argv[1:]))
        sys.argv[1:] = ready_for_hydra(asked, CONF_DIR)
        if asked.help:
            _print_out(help_text(CONF_DIR, text))
            return 0
        if asked.shell_completion and asked.overrides[0].startswith("query"):
            return _complete(job)
        try:
            _refuse_several_in_ranks(asked)
        except ConfigError:
            if _first_rank():
                raise
            time.sleep(WAIT_S)  # torchrun ends all when one is gone; the first has to say it before
            return EXIT_WRONG_INPUT
        names = {f"{PLUGINS}.{plugin.__name__}": plugin for plugin in plugins}
        Plugins.instance().class_name_to_class.update(names)
        return self._run(job, asked)

    def job(self, composed: DictConfig) -> float | None:
        """Train what Hydra composed; raises nothing: other jobs follow.

        Returns:
            The headline metric, for a sweeper that searches, see ``Result.score``; None if the run
            has no result. How the job ended stands in ``reports``.
        """
        try:
            check_specialisations(HydraConfig.get().runtime)
            config = finalize(composed)
        except ScaledReluError as error:
            self._note(JobReport("", Ended.REFUSED, str(error)))
            return None
        report = self._train(config)
        self._note(report)
        return score_of(config, report)

    def _train(self, config: RunConfig) -> JobReport:
        if any(report.ended is Ended.INTERRUPTED for report in self.reports):
            return JobReport(run_id(config), Ended.INTERRUPTED, "not started")
        if self._untold and not lacking_here(config):  # others were refused, this one trains
            self._tell()
        return run_job(config)

    def _note(self, report: JobReport) -> None:
        self.reports.append(report)
        hydra = HydraConfig.get()
        is_one_of_many = hydra.mode == RunMode.MULTIRUN
        if is_one_of_many and report.ended in (Ended.REFUSED, Ended.INTERRUPTED):
            whose = f"#{hydra.job.num}: {' '.join(hydra.overrides.task)}"
            self._untold.append(f"{report.ended}: {report.reason} ({whose})")
        if any(one.ended is not Ended.REFUSED for one in self.reports):
            self._tell()
        leave_ending(report)

    def _tell(self) -> None:
        """Say at once why runs are refused, unless all are so far: then the end alone says it."""
        for line in self._untold:
            log.warning("%s", line)
        self._untold.clear()

    def _train_planned(self, planned: PlannedRun) -> int:
        """Train a run from its file."""
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        results = Path(expand_home(planned.results, key="paths.results"))
        try:
            self.reports.append(run_planned(results, planned.run_id, changes=planned.changes))
        except KeyboardInterrupt:
            return _interrupted()
        return self._conclude()

    def _run(self, job: Callable[[], object], asked: Namespace) -> int:
        """Let Hydra run what is asked and return the exit status."""
        status = 0
        searches = is_search(asked.overrides)
        try:
            searching = no_trial_after(_was_interrupted) if searches else contextlib.nullcontext()
            with searching, places_in_lists(asked.overrides):
                job()
        except SystemExit as ended:  # Hydra's, which has printed the reason
            return EXIT_WRONG_INPUT if ended.code and asked.cfg else int(ended.code or 0)
        except BrokenPipeError:  # a reader such as head has seen enough
            raise
        except KeyboardInterrupt:
            status = _interrupted()
        except SearchOverError:
            return self._conclude()
        except yaml.YAMLError as error:  # a chosen option's file: a job itself raises nothing
            raise ConfigError(yaml_line(error)) from error
        except Exception as error:
            if is_of_optuna(error):
                return self._conclude_search(error)
            if (line := _reason_outside(error)) is None:
                raise
            _print_error(line)
            status = EXIT_WRONG_INPUT if _has_no_place(error) else EXIT_FAILED
        return status or self._conclude()

    def _conclude_search(self, error: Exception) -> int:
        """Say how the trials ended, and what Optuna complained of beside that."""
        if MultirunFolder.path is not None and not read_endings(MultirunFolder.path):
            # It has begun no trial.
            MultirunFolder.give_back()
            raise ConfigError(f"Optuna stopped: {complaint(error)}") from error
        status = self._conclude()
        if str(error) == NO_TRIAL:  # and so no best one: how each ended has been said
            return status or EXIT_FAILED
        _print_error(f"Optuna stopped: {complaint(error)}")
        return EXIT_FAILED

    def _conclude(self) -> int:
        """Say how the jobs ended and return the exit status."""
        if MultirunFolder.path is None:
            found, all_reports = [], self.reports
        else:
            found = all_reports = read_endings(MultirunFolder.path)
        status = exit_status([report.ended for report in all_reports])
        if status == EXIT_WRONG_INPUT:
            reasons = reasons_of(found) if found else [report.reason for report in all_reports]
            for reason in reasons:
                _print_error(reason)
        elif found and _first_rank():
            _print_out(self._table(MultirunFolder.path, MultirunFolder.results))
        return status


def _refuse_several_in_ranks(asked: Namespace) -> None:
    """Refuse several runs where torchrun or srun started several processes.

    Their meeting place serves one group; that of a second run would not come together.
    """
    mode = f"{HYDRA_MODE}=MULTIRUN"
    ranks = find_ranks()
    if ranks is None or ranks.size == 1 or not (asked.multirun or mode in asked.overrides):
        return
    raise ConfigError(
        f"{'-m' if asked.multirun else mode}: several runs cannot share the {ranks.size} processes "
        "that torchrun or srun started; leave torchrun or srun out and add "
        f"launch.nproc={ranks.size} (each run then starts its own processes), or start one run at "
        "a time"
    )


def _was_interrupted() -> bool:
    """Say whether a job of this multirun was interrupted, in whichever process it ran."""
    folder = MultirunFolder.path
    endings = [] if folder is None else read_endings(folder)
    return any(ending.ended is Ended.INTERRUPTED for ending in endings)


def _reason_outside(error: Exception) -> str | None:
    """Return one line if the results folder or a worker of a launcher failed; None for a bug."""
    if isinstance(error, OSError):
        return cannot_use(error, MultirunFolder.path or ".")
    if type(error).__module__.startswith(LAUNCHERS):
        first = str(error).strip().splitlines()[:1]
        kind = type(error).__name__
        return (
            f"a worker process was killed without an error message ({kind}: {''.join(first)}); run "
            "the same command again to continue"
        )
    return None


def _has_no_place(error: Exception) -> bool:
    """Say whether no job was started, since the results folder cannot be written."""
    folder = MultirunFolder.path
    is_wrong = isinstance(error, OSError) and error.errno not in FULL
    return is_wrong and folder is not None and not has_endings(folder)


def _first_rank() -> bool:
    """Whether this process prints for all that torchrun or srun started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def _complete(job: Callable[[], object]) -> int:
    """Answer the shell's request for completions, without internal groups."""
    words = io.StringIO()
    os.environ["COMP_LINE"] = plain_call(os.environ["COMP_LINE"])
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(Exception, SystemExit),
        contextlib.redirect_stdout(words),
    ):
        job()
    _print_out(" ".join(visible_words(words.getvalue().split(), CONF_DIR)))
    return 0


def _print_out(text: str) -> None:
    """Write to standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _print_error(line: str) -> None:
    """Write one line about a mistake to standard error."""
    sys.stderr.write(f"error: {line}\n")


def _interrupted() -> int:
    sys.stderr.write(f"interrupted; {how_to_continue(MultirunFolder.path)}\n")
    return EXIT_CTRL_C
