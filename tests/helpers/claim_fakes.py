"""Claims about a small table of six rows, and runs that bear them out, or not, as one likes."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.tables.planner import planner_of
from scaledrelu.tables.settings import load_settings
from tests.helpers.table_fakes import FakeCompose, finish, plan_of, write_table

IMAGES = 360
PER_EPOCH = 10  # updates
ROWS = {  # name of a row -> its overrides, what the paper prints, its number in the table
    "high": (["stem=conv", "lr.base=1e-3"], 81.9, 1),
    "low": (["stem=patchify", "lr.base=1e-3"], 79.8, 2),
    "even": (["stem=conv", "lr.base=5e-4"], 81.6, 3),
    "dead": (["stem=patchify", "lr.base=2e-3"], "crash", 4),
    "open": (["stem=conv", "lr.base=2e-3"], 80.0, 5),
    "longer": (["stem=conv", "lr.base=1e-3", "warmup.epochs=20"], 81.7, 6),
}
CHECKS = {
    "above": {"higher": "high", "than": "low"},
    "below": {"higher": "low", "than": "high"},
    "near": {"higher": "high", "than": "even"},
    "unrun": {"higher": "high", "than": "open"},
    "crash": {"crashes": "dead"},
    "trains": {"holds": "high"},
    "both crash": {"crashes": ["dead", "high"]},
    "gain": {"gain": "high", "over": "low"},
    "size": {"value": "high"},
    "alike": {"about": "high", "as": "even", "within": 5.0},
    "at most": {"not_higher": "low", "than": "high", "by": 0.5},
    "hardly": {"not_higher": "even", "than": "high", "by": 5.0},
    "rate": {"setting": "high", "key": "lr.base", "is": 0.001},
    "nobody": {"no_run": "an outlook"},
}
MILESTONES = [
    {"claim": f"M{n}", "run": ["recipe=deit", "model=vit", *ROWS[row][0]], "metric": "val/top1"}
    | {"epoch": 3, "paper": paper}
    for n, row, paper in ((1, "high", 20.0), (2, "low", 10.0))
]
CHANCE = 2.3  # loss of a uniform guess, of which a composed run's limit for crashes is 0.9
CRASH_LIMITS = [0.85, 0.95]
PRINTED = {"seed_sd": {"val/top1": 0.15}, "early_sd": 0.5}
FIGURE = {
    "source": "Figure 1",
    "title": "A small figure",
    "base": ["recipe=deit", "model=vit"],
    "seeds": [0, 1, 2, 3, 4],
    "layers": 3,
    "axes": {"x": "x", "y": "y", "y_ticks": [0.5]},
    "columns": {"top1": {"metric": "val/top1", "header": "Top-1", "digits": 1}},
    "series": [
        {"label": "p", "run": ["stem=patchify", "lr.base=1e-3"], "values": "missing"},
        {"label": "c", "run": ["stem=conv", "lr.base=1e-3"], "values": "missing"},
    ],
    "statements": [{"says": "lower", "kind": "lower_layers", "series": "c", "against": "p"}],
}


def write_conf(folder: Path, *, checks=None, rows=None, printed=None, claims=None) -> Path:
    """Write a configuration tree with one table, claims about it, and what figures need."""
    conf = folder / "conf"
    for name in ("profile", "figure"):
        (conf / name).mkdir(parents=True, exist_ok=True)
    for profile in ("mini", "paper"):
        (conf / "profile" / f"{profile}.yaml").touch()
    shutil.copy(CONF_DIR / "sweep.yaml", conf)
    curves = {"tolerance": "half_gap", "seeds": [0, 1, 2, 3, 4], "milestones": MILESTONES}
    _write(conf / "figure" / "curves.yaml", curves)
    _write(conf / "figure" / "figure1.yaml", FIGURE)
    lines = [{"run": run, "paper": {"top1": value}} for run, value, _ in ROWS.values()]
    write_table(conf, blocks=[{"label": "block", "rows": lines}], seeds=[0, 1, 2, 3, 4])
    named = {name: {"table8": run} for name, (run, *_) in ROWS.items()}
    made = [
        {"id": name, "section": "A section", "says": f"It says {name}.", "checks": [check]}
        for name, check in (CHECKS if checks is None else checks).items()
    ]
    _write(
        conf / "claims.yaml",
        {
            "printed": printed or PRINTED,
            "crash_limits": CRASH_LIMITS,
            "rows": named | (rows or {}),
            "claims": made if claims is None else claims,
        },
    )
    return conf


def _write(path: Path, content: dict) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def fill(
    folder: Path,
    row: str,
    shares: Sequence[float],
    *,
    crashed: int = 0,
    images: bool = True,
    profile: str = "mini",
    order: int = 0,
    alike: float | None = None,
    log: Sequence[float] = (),
    losses: Sequence[float] = (),
    kind: str = "collapsed",
) -> list[Path]:
    """Finish one run of a row for each share of images it gets right; the first ones crash.

    Args:
        folder: holds ``conf`` and ``results``.
        row: a name of :data:`ROWS`.
        shares: per seed, from 0 on.
        crashed: how many of them crash.
        images: leave the images that are right beside the result.
        profile: of the runs.
        order: which images are hard; the same for rows that err on the same images.
        alike: similarity of tokens in every layer, and 0.01 more for each seed.
        log: accuracy after each epoch, and 0.1 points more for each seed.
        losses: per seed, the judged loss as a ratio of that of a uniform guess.
        kind: how those that crash do.
    """
    plan = plan_of(folder, seeds=range(len(shares)), profile=profile)
    cell = next(cell for cell in plan.cells if cell.row.number == ROWS[row][2])
    hardness = np.random.default_rng(order).permutation(IMAGES)
    folders = []
    for seed, share in enumerate(shares):
        right = hardness < round(share * IMAGES)
        made = finish(
            plan,
            cell.run_ids[seed],
            100 * float(right.mean()),
            crash=kind if seed < crashed else None,
            judged=(losses[seed] * CHANCE, 0.9 * CHANCE) if losses else None,
            steps=PER_EPOCH * cell.composed.config.run_epochs,
        )
        evidence = {"val.correct": right} if images else {}
        if alike is not None:
            layers = np.full(3, alike + 0.01 * seed)
            evidence |= {f"similarity.{mean}": layers for mean in ("absolute", "signed")}
        if evidence:
            np.savez(made / "evidence.npz", **evidence)
        points = enumerate(value + 0.1 * seed for value in log)
        lines = [
            {"epoch": e, "step": PER_EPOCH * (e + 1), "val/top1": value} for e, value in points
        ]
        (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(made)
    return folders


def judged(
    folder: Path, *, profile: str = "mini", seeds: str = "table", overrides: str = ""
) -> dict[str, Judged]:
    """Write the claims; return each by its id."""
    arguments = [f"profile={profile}", f"seeds={seeds}", f"results={folder / 'results'}"]
    arguments += [f"overrides=[{overrides}]"] * bool(overrides)
    settings = load_settings(arguments, conf_dir=folder / "conf", script="claims")
    planner = planner_of(settings, compose=FakeCompose(folder / "conf"))
    _, found = write_claims(settings, planner=planner)
    return {one.name: one for one in found}
