"""A search with Optuna: when it draws no further trial, and what its errors mean to a person."""

from __future__ import annotations

import contextlib
import importlib.metadata
import traceback
from collections.abc import Callable, Iterator
from typing import Any

SEARCHERS = ("optuna.", "hydra_plugins.hydra_optuna_sweeper.", "sqlalchemy.", "alembic.")
NO_TRIAL = "No trials are completed yet."  # Optuna's words where no run has a result
OTHER_CHOICES = "dynamic value space"  # its words where a stored study knows other choices


class SearchOverError(Exception):
    """Ends Hydra's sweeper, which would draw all its trials, after one was interrupted."""


@contextlib.contextmanager
def no_trial_after(is_over: Callable[[], bool]) -> Iterator[None]:
    """Raise SearchOverError instead of drawing a trial once the search is over.

    The trials before have been told their ends by then, so that none stays open in a stored study.

    Args:
        is_over: asked before each trial.
    """
    from optuna.study import Study

    ask = Study.ask

    def ask_unless_over(study: Study, *args: Any, **kwargs: Any) -> Any:
        if is_over():
            raise SearchOverError
        return ask(study, *args, **kwargs)

    Study.ask = ask_unless_over
    try:
        yield
    finally:
        Study.ask = ask


def is_of_optuna(error: Exception) -> bool:
    """Say whether Optuna or its plugin for Hydra raised an error."""
    frames = traceback.walk_tb(error.__traceback__)
    *_, last = (frame.f_globals.get("__name__", "") for frame, _ in frames)
    return last.startswith(SEARCHERS)


def complaint(error: Exception) -> str:
    """Return what stopped Optuna, in one line, and what to do about it.

    Args:
        error: an error that Optuna or its plugin for Hydra raised.
    """
    words = " ".join(str(error).split()) or type(error).__name__
    if OTHER_CHOICES in words:
        return f"{words} The stored study has other choices; give another hydra.sweeper.study_name"
    if _major("sqlalchemy") >= 2 and not isinstance(error, ValueError):
        return f"{words}; Optuna 2 cannot store with SQLAlchemy 2, run: pip install -e '.[optuna]'"
    return words


def _major(distribution: str) -> int:
    try:
        return int(importlib.metadata.version(distribution).partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0
