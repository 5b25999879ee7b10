"""Stand-ins: a composer without Hydra, and results without training."""

from copy import deepcopy
from pathlib import Path

import yaml

from scaledrelu.config.construct import construct
from scaledrelu.config.identity import canonical
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.runs.record import Status, run_directory, write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.composer import Composed
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers.configs import composed

SCALES = {"epoch_scale": 1, "warmup_scale": 1, "lr_scale": 1, "batch_scale": 1}
NO_STEM = {"norm": "none", "act": "none", "tail": [], "proj_kernel": None}
GROUPS = {
    "stem": {
        "patchify": {**NO_STEM, "label": "ViT_p", "strides": []},
        "conv": {**NO_STEM, "label": "ViT_c", "strides": [2, 1, 1], "norm": "batch", "act": "relu"},
    },
    "optimizer": {"adamw": {"label": "AdamW", "sam": None}, "sam": {"label": "SAM"}},
    "ffn": {"mlp": {"label": "MLP"}},
    "recipe": {"deit": {}, "dino": {}, "probe": {}},
    "model": {"vit": {"label": "ViT", "width": 8, "heads": 2, "depth": 1, "patch_size": 16}},
    "init": {"scratch": {"kind": "scratch"}, "run": {"kind": "run", "run": "upstream"}},
    "warmup": {
        "linear": {"epochs": 5, "shape": "linear", "start_lr": 1e-6, "start_lr_fraction": None},
        "none": {"epochs": 0, "shape": "none", "start_lr": 1e-6, "start_lr_fraction": None},
    },
    "profile": {
        "mini": {"name": "mini", **SCALES, "lr_scale": 4, "notes": ["compare the pattern"]},
        "paper": {"name": "paper", **SCALES, "notes": []},
        "official": {"name": "official", **SCALES, "notes": []},
    },
}
BASE = {
    "lr": {"base": 5e-4, "reference_batch": 512},
    "batch": {"total": 1024, "group": 64},
    "schedule": {"epochs": 300, "min_lr": 1e-5, "min_lr_fraction": None},
    "data": {"build": {"_target_": "foreign"}},
    "divergence": {"ratio": 0.9, "judge": "fraction", "judge_at": 0.6, "window": 0.1},
}
EVALUATORS = [{"_target_": "foreign"}]  # whose metrics nobody knows beforehand
SAM = {"rho": 0.1, "per_group": False, "stats_in_second_pass": False, "same_masks": False}
DEFAULTS = {name: next(iter(options)) for name, options in GROUPS.items()}


class FakeCompose:
    """Overrides in, a small config out; counts how often it was asked."""

    def __init__(self, conf_dir):
        self.conf_dir = conf_dir

    def __call__(self, overrides):
        pairs = dict(item.partition("=")[::2] for item in overrides)
        choices = {**DEFAULTS, **{k: v for k, v in pairs.items() if k in GROUPS}}
        values = deepcopy(plain(composed("profile=mini")))
        parts = [(name, GROUPS[name][choice]) for name, choice in choices.items()]
        for name, fields in (*parts, *BASE.items()):
            if name != "recipe":
                values[name] |= fields
        values["evaluation"]["build"] = EVALUATORS
        if choices["optimizer"] == "sam":
            values["optimizer"]["sam"] = SAM
        is_mini = choices["profile"] == "mini"
        values["stem"]["shrink"] = is_mini
        if is_mini:
            values["model"]["patch_size"] = 4
        else:
            values["data"]["name"] = "imagenet1k"
        values |= {"method": choices["recipe"], "task": {"_target_": choices["recipe"]}}
        for key, value in pairs.items():
            if key not in GROUPS:
                *parents, leaf = key.split(".")
                place = values
                for part in parents:
                    place = place[part]
                place[leaf] = yaml.safe_load(value)
        return Composed(construct(RunConfig, values), choices)

    unpinned = __call__

    def save(self):
        pass


def write_table(conf_dir, name="table8", **fields):
    """Write a two-row table (patchify, conv) with some fields replaced."""
    table = {
        "source": "Table 8",
        "title": "A small table",
        "base": ["recipe=deit", "model=vit"],
        "columns": {
            "stem": {"from": "stem.label"},
            "lr": {"from": "lr.base"},
            "top1": {"metric": "val/top1", "header": "Top-1", "digits": 1},
        },
        "blocks": [
            {
                "label": "block",
                "rows": [
                    {"run": ["stem=patchify"], "paper": {"top1": 79.8}},
                    {"run": ["stem=conv"], "paper": {"top1": "crash"}},
                ],
            }
        ],
        **fields,
    }
    folder = conf_dir / "table"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    for group in ("recipe", "model"):
        for option in GROUPS[group]:
            (conf_dir / group).mkdir(exist_ok=True)
            (conf_dir / group / f"{option}.yaml").touch()


def write_grid(conf_dir, name="rates", **fields):
    """Write a grid of two stems with some fields replaced."""
    grid = {
        "source": "our own",
        "title": "A small grid",
        "base": ["recipe=deit", "model=vit"],
        "stems": ["patchify", "conv"],
        "optimizers": {"adamw": 1e-3},
        "multiples": [0.5, 1, 2],
        "warmups": [5],
        "metric": {"metric": "val/top1", "header": "Top-1", "digits": 1},
        **fields,
    }
    folder = conf_dir / "stability"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))


def plan_of(tmp_path, *names, seeds=(0,), profile="mini", overrides=()):
    """Plan tables that ``write_table`` wrote."""
    conf_dir = tmp_path / "conf"
    compose, results = FakeCompose(conf_dir), tmp_path / "results"
    tables = [load_table(name, conf_dir) for name in names or ("table8",)]
    return Planner(profile, results=results, compose=compose, overrides=overrides).plan(
        tables, seeds
    )


def finish(
    plan,
    run_id,
    value=90.0,
    *,
    crash=None,
    seconds=1.0,
    best=None,
    more=None,
    remark=None,
    judged=None,
    **made,
):
    """Leave the result of one planned run.

    ``more`` are metrics beside top-1, ``remark`` is the judge's, ``judged`` the loss that it saw
    last and its limit, ``made`` goes into provenance.
    """
    loss, limit = judged or (None, None)
    metrics = {} if value is None else {"val/top1": value, "val/top1_best": best or value}
    metrics |= more or {}
    result = Result(
        run_id=run_id,
        outcome=Outcome.CRASH if crash else Outcome.OK,
        metrics=metrics,
        crash={"kind": crash} if crash else None,
        seconds=seconds,
        provenance=made,
        judgement={"remark": remark, "last_mean": loss, "limit": limit},
        data={"train": 1437, "val": 360, "classes": 10},
    )
    folder = Path(run_directory(plan.results, run_id))
    write_result(folder, result, canonical(plan.runs[run_id].config))
    return folder


def planned_run(config, run_id="deit-0", *, overrides=(), saved=None):
    """Return a run of a plan that has not started, or has left a checkpoint."""
    science, missing = canonical(config), Status.MISSING
    return PlannedRun(
        run_id, overrides, 0, config, science, None, None, 0, missing, None, saved=saved
    )
