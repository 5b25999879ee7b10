"""What keeps the runs of a plan from being trained, found before any of them is started.

A line for each distinct reason, with the number of runs that it concerns: what one run lacks, a
whole table lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from scaledrelu.config.places import runs_root
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.config.trust import Untrusted, find_untrusted
from scaledrelu.files import FULL, make_writable, unwritable, writing_to
from scaledrelu.runs.lacking import lacking_device, lacking_download, lacking_files
from scaledrelu.runs.record import Status
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.tables.setting_values import SLURM
from scaledrelu.tables.settings import Settings

Look = Callable[[RunConfig], Iterable[str]]  # configuration -> what the run lacks


def obstacles_here(todo: Sequence[PlannedRun], settings: Settings) -> list[str]:
    """Return why a sweep cannot start, one line each; empty if it can.

    Nodes of a cluster may have files and GPUs that this machine lacks; every job looks for itself.

    Args:
        todo: the runs to train.
        settings: how they are launched.

    Raises:
        RunError: there is no room in the results folder.
    """
    looks: list[Look] = [] if settings.launcher == SLURM else [lacking_device, _files()]
    found = _counted(todo, [_untrusted(todo), *looks])
    return found or (_no_place(settings.results) if todo else [])


def files_not_here(todo: Sequence[PlannedRun], settings: Settings) -> list[str]:
    """Return what a plan says of files that are not on this machine, one line each.

    Where runs are about to be trained here, a file that is not there is an obstacle, and said as
    such; what they download is none.

    Args:
        todo: the runs to train.
        settings: how they are launched.
    """
    on_cluster = settings.launcher == SLURM
    where = "; on this machine: the nodes of the jobs must have it" if on_cluster else ""
    looks: list[Look] = [_files()] if on_cluster or settings.dry_run else []
    return _counted(todo, [*looks, lacking_download], where)


def not_trusted(todo: Sequence[PlannedRun]) -> list[str]:
    """Return the code that runs name and may not call, one line each."""
    return _counted(todo, [_untrusted(todo)])


def _counted(todo: Sequence[PlannedRun], looks: Sequence[Look], where: str = "") -> list[str]:
    """Return the distinct lines; a run that another process trains lacks nothing here."""
    ours = [run.config for run in todo if run.status is not Status.RUNNING]
    counts = Counter(chain.from_iterable(look(config) for look in looks for config in ours))
    return [f"{line} ({n} of {len(todo)} runs to train{where})" for line, n in counts.items()]


def _untrusted(todo: Sequence[PlannedRun]) -> Look:
    """Look for code that a run may not call; every line allows all that the runs together call."""
    found = (one for run in todo for one in _untrusted_of(run.config))
    to_trust = tuple(dict.fromkeys(chain.from_iterable(one.to_trust for one in found)))
    end = f", with make added to what ARGS holds: ARGS='trust=[{','.join(to_trust)}]'"

    def look(config: RunConfig) -> Iterable[str]:
        return [f"{replace(one, to_trust=to_trust)}{end}" for one in _untrusted_of(config)]

    return look


def _untrusted_of(config: RunConfig) -> Iterable[Untrusted]:
    return find_untrusted(plain(config), trust=config.trust)


def _files() -> Look:
    return partial(lacking_files, made=False, known={})  # a sweep makes what is made


def _no_place(results: Path) -> list[str]:
    with writing_to(results):
        try:
            make_writable(runs_root(results))
        except OSError as error:
            if error.errno in FULL:  # as long as there is no room; no wrong input
                raise
            return [unwritable(error, results)]
    return []
