"""What the log says is what a person counts: epochs from 1."""

from __future__ import annotations

from scaledrelu.engine.logbook import in_words


def test_the_best_epoch_is_counted_as_the_log_counts_epochs() -> None:
    stored = {"val/top1_best": 95.0, "val/top1_best_epoch": 15, "val/top1": 95.0}
    assert in_words(stored) == "val/top1 95.00 val/top1_best 95.00 val/top1_best_epoch 16"
    assert in_words({"val/knn20_best_epoch": 0.0}) == "val/knn20_best_epoch 1"
