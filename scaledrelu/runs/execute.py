"""One run on one process: build, train, leave evidence and a result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from scaledrelu.config.evaluation import BEST_EPOCH
from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.places import EVIDENCE
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.engine.divergence import Verdict
from scaledrelu.engine.logbook import Logbook, in_words
from scaledrelu.engine.loop import Ending, train
from scaledrelu.files import write_atomic
from scaledrelu.runs.announce import announce
from scaledrelu.runs.build import Job, build
from scaledrelu.runs.judgement import describe_crash, describe_judgement
from scaledrelu.runs.observe import collect_evidence, pack
from scaledrelu.runs.on_track import watch
from scaledrelu.runs.planned import PlanWriter, planned_as
from scaledrelu.runs.provenance import (
    Share,
    describe_devices,
    gather_shares,
    skipped_images,
    versions,
)
from scaledrelu.runs.record import write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.text import duration

log = logging.getLogger(__name__)

STOPPED = "%s stopped at step %d and saved; run the same command again to continue"


def execute(
    config: RunConfig, world: World, folder: Path, *, wants_stop: Callable[[], bool]
) -> Outcome | None:
    """Train one run in ``folder`` and write its result.

    Args:
        config: the run's configuration.
        world: this process's place among the run's processes.
        folder: run directory, the same on every rank.
        wants_stop: whether this process was asked to stop.

    Returns:
        The outcome, or None if the run was interrupted and can be resumed.
    """
    name = run_id(config)
    if world.is_main and planned_as(folder) is None:
        PlanWriter().write(config, folder)
    job = build(config, world)
    logbook = Logbook(
        folder if world.is_main else None,
        name=name,
        progress=config.launch.progress,
        images_per_step=config.batch.group * job.groups_per_device * world.size,
    )
    announce(config, job, world)
    try:
        training = watch(job.training, config, world)
        ending = train(training, folder=folder, logbook=logbook, wants_stop=wants_stop)
        if ending.interrupted:
            if world.is_main:
                log.info(STOPPED, name, ending.cursor.step)
            return None
        _write(config, job, world, ending, folder)
        return _outcome(ending)
    finally:
        logbook.close()
        job.close()


def _write(config: RunConfig, job: Job, world: World, ending: Ending, folder: Path) -> None:
    """Write evidence and result, on the main process; the others help to gather them."""
    evidence = collect_evidence(config, job.training, job.validation, ending.cursor)
    shares = gather_shares(job.splits, world)
    if world.is_main:
        write_atomic(folder / EVIDENCE, pack(evidence))
        result = _make_result(config, job, world, ending, shares)
        write_result(folder, result, canonical(config))
        _report_outcome(result, ending.verdict)
    world.barrier()


def _outcome(ending: Ending) -> Outcome:
    return Outcome.CRASH if ending.verdict else Outcome.OK


def _make_result(
    config: RunConfig, job: Job, world: World, ending: Ending, shares: Sequence[Share]
) -> Result:
    """Describe how the run ended; ``shares`` are the facts of every process, in rank order."""
    cursor, verdict = ending.cursor, ending.verdict
    metrics = dict(cursor.latest)
    metrics |= {f"{name}_start": value for name, value in cursor.start.items()}
    if cursor.best:
        headline = job.training.headline
        metrics |= {
            f"{headline}_best": cursor.best["value"],
            f"{headline}{BEST_EPOCH}": cursor.best["epoch"],
        }
    return Result(
        run_id=run_id(config),
        outcome=_outcome(ending),
        metrics=metrics,
        crash=describe_crash(job.training, verdict) if verdict else None,
        provenance=_provenance(config, job, world, shares),
        seconds=round(cursor.seconds, 2),
        judgement=describe_judgement(job.training),
        data=job.splits.sizes,
    )


def _provenance(
    config: RunConfig, job: Job, world: World, shares: Sequence[Share]
) -> dict[str, Any]:
    """Return where and with which versions a run was made."""
    return {
        "device": describe_devices(shares),
        "processes": world.size,
        "groups_per_device": job.groups_per_device,
        "threads": torch.get_num_threads(),
        "lr_base": config.lr.base,
        "lr_effective": config.peak_lr,
        "autocast": config.precision.autocast,
        "attention": config.precision.attention,
        "parameters": sum(p.numel() for p in job.training.task.backbone.parameters()),
        "steps": job.training.schedule.total_steps,
        **versions(),
        "commit": job.training.commit,  # as it started: files may have been edited since
        **skipped_images(shares),
    }


def _report_outcome(result: Result, verdict: Verdict | None) -> None:
    """Log the last line of a run, and any dead stretch that was not a crash."""
    ending = f"crash ({verdict.kind.value}: {verdict.reason})" if verdict else "ok"
    found = in_words(result.metrics) or "no evaluation yet"
    told = filter(None, (ending, found, duration(result.seconds), result.replaced))
    log.info("%s: %s", result.run_id, "; ".join(told))
    if result.judgement and result.judgement["remark"]:
        log.info("%s: %s", result.run_id, result.judgement["remark"])
