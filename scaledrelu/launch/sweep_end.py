"""How a sweep ended: which runs have no result, why, what to do, and the exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scaledrelu.launch.budget import Budget
from scaledrelu.launch.progress import AGAIN
from scaledrelu.runs.ending import EXIT_CTRL_C, EXIT_FAILED, EXIT_OK
from scaledrelu.runs.record import Status, run_directory
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import Say, plural


@dataclass(frozen=True, slots=True)
class Launched:
    """What a sweep did: the runs that it was to train, and whether it was stopped."""

    todo: tuple[PlannedRun, ...]
    interrupted: bool = False
    submitted: bool = False  # to a cluster, which continues without this command
    left_out: int = 0  # jobs that were not started or submitted
    budget: Budget | None = None
    redo: str = "failed"  # which runs it was to train anew


def conclude(plan: Plan, launched: Launched, say: Say) -> int:
    """Say which runs have no result and why; return the exit status.

    Args:
        plan: made after the sweep.
        launched: what the sweep did.
        say: prints one line.

    Returns:
        0 when every planned run has a result or was submitted, 1 when some failed or are missing,
        130 after Ctrl-C.
    """
    if launched.budget:
        again = how_to_continue(launched.redo)
        for line in launched.budget.what_is_left(plan, launched.todo, again=again):
            say(line)
    if launched.interrupted:
        say(f"interrupted; {_undone(plan)} runs are left: {_going_on(launched, 'continue')}")
        return EXIT_CTRL_C
    lines = _submitted(launched) if launched.submitted else _finished(plan, launched)
    for line in lines:
        say(line)
    is_whole = not (launched.left_out if launched.submitted else _undone(plan))
    return EXIT_OK if is_whole else EXIT_FAILED


def how_to_continue(redo: str) -> str:
    """Return what to do to continue a sweep; ``redo=all`` would train again what has finished.

    Args:
        redo: none, failed, all, or one run id.
    """
    return AGAIN if redo == "none" else _how_to_retry(redo)


def _how_to_retry(redo: str) -> str:
    """Return what to do to try failed runs again, which ``redo=none`` never does."""
    return AGAIN if redo == "failed" else f"{AGAIN} without redo={redo}"


def _undone(plan: Plan) -> int:
    """Return how many runs have no result and could have one."""
    return sum(not run.status.done and not plan.crashed_upstream(run) for run in plan.runs.values())


def _going_on(launched: Launched, end: str) -> str:
    """Return what to do to ``end`` what a sweep left, and what that leaves as it is."""
    again = how_to_continue(launched.redo)
    old = "" if again == AGAIN else "; what it did not reach keeps its old result"
    return f"{again} to {end}{old}"


def _submitted(launched: Launched) -> Iterator[str]:
    """Yield what is to be said of jobs that run on a cluster."""
    yield "the jobs run without this command; make status shows their progress"
    if launched.left_out:
        going_on = _going_on(launched, "submit them")
        yield f"jobs not submitted yet: {launched.left_out}; {going_on}"


def _finished(plan: Plan, launched: Launched) -> Iterator[str]:
    """Yield what has no result, why, and what to do; nothing if there is no such run."""
    failed = [run for run in plan.runs.values() if run.status is Status.FAILED]
    damaged = [run for run in plan.runs.values() if run.status is Status.DAMAGED]
    for run in (*failed, *damaged):
        where = run_directory(plan.results, run.run_id)
        yield f"{run.status}: {run.run_id}: {run.reason} ({where})"
    for item in plan.artifacts.values():
        if item.status is Status.FAILED:
            yield f"failed: {item.artifact_id}: {item.reason}"
    undone = _undone(plan)
    others = undone - len(failed) - len(damaged)
    if undone and (failed or others):
        yield _what_to_do(plan, launched, failed=len(failed), others=others)
    if undone and damaged:
        do = "redo=<run id> sets one aside and trains it again"
        yield f"{len(damaged)} records are damaged; {do}"


def _what_to_do(plan: Plan, launched: Launched, *, failed: int, others: int) -> str:
    """Return how many runs have no result, and what would change that."""
    verb = "has" if others == 1 else "have"
    counts = [f"{plural(failed, 'run')} failed"] if failed else []
    counts += [f"{others if failed else plural(others, 'run')} {verb} no result"] if others else []
    short = launched.budget.too_short_for(plan, launched.todo) if launched.budget else None
    again = _how_to_retry(launched.redo) if failed else how_to_continue(launched.redo)
    todo = short if short and not failed else f"{again} to retry"
    return f"{' and '.join(counts)}; {todo}"
