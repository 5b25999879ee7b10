"""A grid of learning rates and warm-ups, written out as the table that it is short for.

``conf/stability/<name>.yaml`` names stems, optimizers, multiples of a rate and warm-ups; every
combination is a row. What plans, trains and reports tables does the same with it, so that a run
which a table shares with a grid is trained once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaledrelu.config.options import options_of
from scaledrelu.errors import TableError
from scaledrelu.tables import reading

FOLDER = "stability"  # below conf/, and below <results>/<profile>/
AXES = ("stems", "optimizers", "multiples", "warmups")
NAMES = ("source", "title", "base", "seeds", "more_seeds", "metric")
LABELS = {
    "stem": {"caption": "components"},
    "optimizer": {"from": "optimizer.label"},
    "lr": {"from": "lr.base"},
    "wm-epoch": {"from": "warmup.epochs"},
}
METRIC = "metric"  # name of the column that holds what is measured


def grid_names(conf_dir: Path) -> list[str]:
    """Return the names of all grids that exist as files."""
    return list(options_of(conf_dir, FOLDER))


def written_out(name: str, conf_dir: Path) -> dict[str, Any]:
    """Return ``conf/stability/<name>.yaml`` as a table file would say it.

    Args:
        name: name of the grid.
        conf_dir: the configuration tree.

    Raises:
        TableError: a value that is not allowed in its place; one line that names it.
    """
    where = f"conf/{FOLDER}/{name}.yaml"
    raw = reading.read_yaml(conf_dir / FOLDER / f"{name}.yaml", where)
    reading.check_keys(raw, (*NAMES, *AXES), where)
    for key in (*AXES, "metric"):
        if not raw.get(key):
            raise TableError(f"{where}: no '{key}'; a grid needs {', '.join((*AXES, 'metric'))}")
    stems, rates = _options(raw, "stems", where), _rates(raw, where)
    multiples = _numbers(raw, "multiples", where, lowest=math.ulp(0.0))
    warmups = _numbers(raw, "warmups", where, lowest=0.0)
    blocks = [
        {
            "label": f"{stem}, {optimizer}",
            "run": [f"stem={stem}", f"optimizer={optimizer}"],
            "rows": list(_rows(base, multiples, warmups)),
        }
        for stem in stems
        for optimizer, base in rates.items()
    ]
    kept = {key: raw[key] for key in NAMES if key in raw and key != "metric"}
    return {**kept, "columns": {**LABELS, METRIC: raw["metric"]}, "blocks": blocks}


def _rows(
    base: float, multiples: Sequence[float], warmups: Sequence[float]
) -> Iterator[dict[str, Any]]:
    for epochs in warmups:
        warmup = ["warmup=linear", f"warmup.epochs={epochs:g}"] if epochs else ["warmup=none"]
        for multiple in multiples:
            yield {
                "run": [f"lr.base={base * multiple:.12g}", *warmup],
                "paper": {METRIC: "missing"},
            }


def _options(raw: Mapping[str, Any], key: str, where: str) -> list[str]:
    found = reading.a_list(raw, key, where)
    if any(not isinstance(item, str) for item in found) or len(set(found)) < len(found):
        raise TableError(f"{where}: {key}={found}: must be different options of conf/{key[:-1]}")
    return found


def _rates(raw: Mapping[str, Any], where: str) -> dict[str, float]:
    rates = raw["optimizers"]
    reading.check_pairs(rates, f"{where}, optimizers")
    for name, value in rates.items():
        if not reading.a_number(value, highest=math.inf) or not value:
            raise TableError(
                f"{where}, optimizers: {name}: {value!r}: must be the rate above 0 that the "
                "multiples are of, with a decimal point (1.0e-3)"
            )
    return {str(name): float(value) for name, value in rates.items()}


def _numbers(raw: Mapping[str, Any], key: str, where: str, *, lowest: float) -> list[float]:
    found = reading.a_list(raw, key, where)
    fit = all(reading.a_number(item, highest=math.inf) and item >= lowest for item in found)
    if not fit or len(set(found)) < len(found):
        limit = "above 0" if lowest else "from 0 on"
        raise TableError(f"{where}: {key}={found}: must be different numbers {limit}")
    return sorted(map(float, found))
