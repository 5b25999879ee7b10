"""What stopped Optuna is said in one line, with what to do; test_optuna.py has real searches."""

from __future__ import annotations

import pytest

from scaledrelu.runs import search

CHOICES = "CategoricalDistribution does not support dynamic value space."


@pytest.mark.parametrize(
    ("error", "sqlalchemy", "said"),
    [
        (RuntimeError("the study\n is gone"), 1, "the study is gone"),
        (RuntimeError("the study\n is gone"), 0, "the study is gone"),
        (AssertionError(), 1, "AssertionError"),
        (AssertionError(), 2, "AssertionError; Optuna 2 cannot store with SQLAlchemy 2, run: pip "
                              "install -e '.[optuna]'"),
        (ValueError(CHOICES), 2, f"{CHOICES} The stored study has other choices; give another "
                                 "hydra.sweeper.study_name"),
    ],
)  # fmt: skip
def test_a_complaint_of_optuna_is_never_empty_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sqlalchemy: int, said: str
) -> None:
    monkeypatch.setattr(search, "_major", lambda _: sqlalchemy)
    assert search.complaint(error) == said
