"""Every run on disk as a pandas DataFrame, for notebooks: the only module that imports pandas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaledrelu.reports.collect.filters import read_filters, select
from scaledrelu.reports.collect.rows import FACTS, config_keys, metric_names, read_rows

if TYPE_CHECKING:
    import pandas


def load_runs(
    results: str | Path = "results", filters: str | Sequence[str] = ()
) -> pandas.DataFrame:
    """Return one row per run: facts, then metrics, then every key of the configuration.

    The columns are ``run_id``, ``outcome`` (ok, crash, failed, damaged, running or missing),
    ``reason`` (why it failed or cannot be read), ``crash_kind``, ``crash_step``, ``seconds``,
    ``device``, ``commit`` and ``tags``; metrics under their own names, as ``val/top1`` (at the last
    epoch) and ``val/top1_best``; and dotted keys such as ``stem.label`` and ``lr.base``. Runs
    without a result have no metrics, published records no labels and no tags.

    Args:
        results: results folder, e.g. ``results`` or ``results/published/mini``.
        filters: ``key=value[,value]``, one by one or in one line, as in a shell:
            ``"stem.label=ViT_c lr.base>=1e-3 outcome=ok,crash"``.

    Raises:
        ConfigError: no such folder, or a filter that cannot be read or names an unknown key.
    """
    import pandas

    asked = read_filters(filters)  # before anything is read
    everything = read_rows(results)
    chosen = select(everything, asked)
    columns = [*FACTS, *metric_names(everything), *config_keys(everything)]
    return pandas.DataFrame([[row.get(key) for key in columns] for row in chosen], columns=columns)
