"""Hydra's ``hydra/launcher=slots``: trains a person's own multirun in slots, like a sweep.

Every job is composed here and becomes a file, like a planned run, and is trained the same way.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from scaledrelu.config.compose import finalize
from scaledrelu.config.hydra_tree import check_specialisations
from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError, ScaledReluError
from scaledrelu.launch.executor import Event, Files, Job, What, note_signals
from scaledrelu.launch.jobs import trust_of
from scaledrelu.launch.local import LocalExecutor
from scaledrelu.launch.progress import result_text
from scaledrelu.launch.slots import slots_of
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.lacking import lacking_here
from scaledrelu.runs.multirun import score_of, write_ending
from scaledrelu.runs.planned import PlanWriter
from scaledrelu.runs.record import read_result, read_status, run_directory
from scaledrelu.tables.typed import is_whole

log = logging.getLogger(__name__)

POLL_S = 1.0
NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class _Composed:
    """One job of a multirun: the run to train, or why it cannot be trained."""

    overrides: tuple[str, ...]
    config: RunConfig | None
    refused: str = ""


class SlotsLauncher(Launcher):
    """Runs jobs in processes that are forked from one that has imported torch.

    Args:
        n_jobs: runs at a time; None = as many as a sweep would choose.
        train: dotted name of the function that the process of a run calls, see ``jobs.Train``.
        preload: modules that every such process needs.
    """

    def __init__(self, n_jobs: int | None, train: str, preload: Sequence[str]) -> None:
        self._n_jobs, self._train, self._preload = n_jobs, train, tuple(preload)
        self._was_stopped = False

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take Hydra's settings of the multirun.

        Args:
            hydra_context: composes the configuration of a job.
            task_function: not used: runs are trained from files.
            config: Hydra's configuration of the multirun.
        """
        jobs = self._n_jobs
        if jobs is not None and not is_whole(jobs, 1):
            raise ConfigError(
                f"hydra.launcher.n_jobs={jobs}: must be a whole number from 1 on, or null to let "
                "this machine decide"
            )
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train all jobs and return the headline metric of each, None for one without a result.

        A sweeper may call this several times; after a signal nothing more is started.

        Args:
            job_overrides: the overrides of each job.
            initial_job_idx: number of the first job.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        composed = [self._compose(overrides) for overrides in job_overrides]
        are_some_trained = any(job.config is not None for job in composed)
        for number, job in enumerate(composed, initial_job_idx):
            log.info("#%d : %s", number, " ".join(job.overrides))
            if job.config is None and are_some_trained:  # else the end alone says it
                log.warning("#%d %s: %s", number, Ended.REFUSED, job.refused)
        reports = self._run([job for job in composed if job.config is not None])
        folder, returns = Path(self._config.hydra.sweep.dir), []
        for number, job in enumerate(composed, initial_job_idx):
            report = JobReport("", Ended.REFUSED, job.refused)
            done = JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
            if job.config is not None:
                report = reports[run_id(job.config)]
                done.return_value = score_of(job.config, report)
            write_ending(folder, report, number=number, overrides=job.overrides)
            returns.append(done)
        return returns

    def _compose(self, overrides: Sequence[str]) -> _Composed:
        try:
            config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
            check_specialisations(config.hydra.runtime)
            typed = tuple(config.hydra.overrides.task)
            with open_dict(config):
                del config["hydra"]
            run = finalize(config)
            refused = _refusal(run)
            return _Composed(typed, None if refused else run, refused)
        except ScaledReluError as error:
            return _Composed(tuple(overrides), None, str(error))

    def _run(self, composed: Sequence[_Composed]) -> dict[str, JobReport]:
        """Train runs; return how each ended, by its id."""
        if not composed:
            return {}
        configs, writer = [one.config for one in composed], PlanWriter()
        reports = {run_id(c): JobReport(run_id(c), Ended.INTERRUPTED, NOT_STARTED) for c in configs}
        if self._was_stopped:
            return reports
        results = Path(configs[0].paths.results)
        slots = slots_of(configs, self._n_jobs)
        executor = LocalExecutor(Files(results), slots, preload=self._preload)
        executor.submit([self._job(one, results, writer) for one in composed])
        with note_signals() as asked:
            try:
                while executor.open_jobs and not asked:
                    _note(executor.poll(POLL_S), reports, results)
                _note(executor.stop(lambda: len(asked) > 1), reports, results)
            finally:
                self._was_stopped = bool(asked)
                executor.close()
        return reports

    def _job(self, composed: _Composed, results: Path, writer: PlanWriter) -> Job:
        name, words = run_id(composed.config), " ".join(composed.overrides)
        folder, changes = run_directory(results, name), trust_of(composed.config)
        train = pkgutil.resolve_name(self._train)
        return Job(
            name=name,
            work=partial(train, results, name, changes=changes),
            prepare=partial(writer.write, composed.config, folder, planned_as=words),
        )


def _refusal(config: RunConfig) -> str:
    """Return what a run needs and this machine lacks, empty if nothing, or if it is done."""
    with suppress(RecordError):  # the process of the run says it
        if read_status(run_directory(config.paths.results, run_id(config))).done:
            return ""
    return next(iter(lacking_here(config)), "")


def _note(events: Sequence[Event], reports: dict[str, JobReport], results: Path) -> None:
    for event in events:
        told = f"{event.what}: {event.reason}" if event.reason else str(event.what)
        if event.what is What.DONE:
            result = read_result(run_directory(results, event.name))
            reports[event.name] = JobReport(event.name, Ended(result.outcome.value))
            told = result_text(result)
        elif event.what in (What.FAILED, What.LEFT_OUT):
            reports[event.name] = JobReport(event.name, Ended.FAILED, event.reason)
        elif event.what is What.STOPPED:
            reports[event.name] = JobReport(event.name, Ended.INTERRUPTED, event.reason)
        log.info("%s %s", event.name, told)
