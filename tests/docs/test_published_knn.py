"""What docs/methods.md says of DINO's k-NN accuracy is what the published table says."""

from __future__ import annotations

import csv

from tests.helpers.documents import ROOT

TABLE = ROOT / "results" / "published" / "mini" / "table2_knn.csv"


def by_seed(components: str, metric: str) -> list[float]:
    """Return the accuracy of every seed of a stem."""
    with TABLE.open() as file:
        (line,) = (
            line
            for line in csv.DictReader(file)
            if (line["components"], line["metric"]) == (components, metric)
        )
    assert "crash" not in line["values"]
    return [float(value.partition("=")[2]) for value in line["values"].split()]


def mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}"


def test_the_page_says_which_stem_gains_by_pre_training_and_which_loses() -> None:
    text = " ".join((ROOT / "docs" / "methods.md").read_text().split())
    start, end = (by_seed("1Proj", metric) for metric in ("val/knn20_start", "val/knn20"))
    assert all(after > before for before, after in zip(start, end, strict=True))
    assert f"patchify rises from {mean(start)} to {mean(end)} %, and in every seed" in text
    start, end = (
        by_seed("3Conv+3BN+3ReLU+1Proj", metric) for metric in ("val/knn20_start", "val/knn20")
    )
    assert f"the paper's stem falls from {mean(start)} to {mean(end)} %" in text
