"""The ranked queries of a finished re-identification run, from its evidence, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from scaledrelu.config.launch import PathsConfig
from scaledrelu.data.reid import ReidSplits
from scaledrelu.errors import ConfigError
from scaledrelu.evals.ranking_picture import RankedQuery, draw_rankings
from scaledrelu.runs.damage import RecordError, keep
from scaledrelu.runs.evidence import read_arrays
from scaledrelu.runs.feed import open_data
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.upstream import stored_config

PICTURED, FIRST_PLACES = "val.pictured", "val.first_places"


def ranking_picture(
    results: str | Path, run_id: str, *, count: int, trust: Sequence[str] = ()
) -> Image.Image:
    """Draw some queries of a finished run beside the gallery images that it ranks first.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: id of a re-identification run.
        count: number of queries, evenly spread over those that the evidence keeps.
        trust: further modules that its configuration may name; the modules that the stored
            configuration itself trusts are ignored.

    Raises:
        ConfigError: if there is no such run, it ranked nothing, or its configuration names code
            that is not trusted.
    """
    folder = run_directory(results, run_id)
    try:
        evidence = read_arrays(folder, (PICTURED, FIRST_PLACES))
    except RecordError as error:
        raise RecordError(f"{folder}: {error}; {keep(folder)}") from error
    if evidence is None:
        raise ConfigError(f"{folder}: no finished run with evidence; train it first")
    if len(evidence) < 2:
        raise ConfigError(f"{folder}: has no rankings; choose a re-identification run")
    pictured, places = evidence[PICTURED], evidence[FIRST_PLACES]
    config = stored_config(folder, trust=trust)
    config = replace(config, paths=PathsConfig(results=str(results)))
    splits = open_data(config)
    assert isinstance(splits, ReidSplits)
    chosen = np.linspace(0, len(pictured) - 1, min(count, len(pictured))).astype(int)
    rows = [
        RankedQuery(
            query=int(pictured[row]),
            person=int(splits.query_ids[pictured[row]]),
            first=places[row],
            persons=splits.gallery_ids[places[row]],
        )
        for row in chosen
    ]
    return draw_rankings(rows, load_query=splits.query.load, load_gallery=splits.gallery.load)
