"""The start of the log says what sets a run apart, in words that compose to the same run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import pytest
import yaml

from scaledrelu.config import differences
from scaledrelu.config.compose import compose, compose_unpinned
from scaledrelu.config.differences import overrides_against_recipe
from scaledrelu.config.identity import run_id
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig


@cache
def _unpinned(*overrides: str) -> RunConfig:
    return compose_unpinned(overrides)


@pytest.fixture(autouse=True)
def _each_base_is_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpinned(overrides: Sequence[str], *, will_run: bool) -> RunConfig:
        assert not will_run, "only compared"
        return _unpinned(*overrides)

    monkeypatch.setattr(differences, "compose_unpinned", unpinned)


def deit_rows() -> list[list[str]]:
    """Return the overrides of DeiT rows of the tables: of every choice of options one.

    Of rows that differ in values alone, as in the rate, the first stands for the others.
    """
    found = {}
    for path in sorted((CONF_DIR / "table").glob("*.yaml")):
        table = yaml.safe_load(path.read_text())
        for block in table["blocks"]:
            for row in block["rows"]:
                whole = [*table.get("base", []), *block.get("run", []), *row.get("run", [])]
                merged = dict(item.split("=", 1) for item in whole)
                if merged.get("recipe") == "deit" and not (block.keys() | row) & {"upstream"}:
                    options = {k: v for k, v in merged.items() if "." not in k}
                    kind = frozenset(options.items()), frozenset(merged)
                    found.setdefault(kind, [f"{key}={value}" for key, value in merged.items()])
    return list(found.values())


def read_back(config: RunConfig, found: list[str]) -> str:
    """Return the id of the run that the differences compose to."""
    base = [f"recipe={config.method}", f"profile={config.profile.name}"]
    return run_id(compose([*base, *found]))


@pytest.mark.parametrize("row", deit_rows(), ids=" ".join)
def test_differences_of_a_row_compose_to_its_run(row: list[str]) -> None:
    config = compose(row)
    found = overrides_against_recipe(config)
    assert read_back(config, found) == run_id(config)
    typed = {item.partition("=")[0] for item in row} - {"recipe", "model"}
    assert {item.partition("=")[0] for item in found} <= typed


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["stem=conv", "lr.base=1e-3"], ["stem=conv", "lr.base=1e-3"]),
        (["stem=conv", "stem.act=scaled_relu"], ["stem=conv", "stem.act=scaled_relu"]),
        (["profile=paper", "optimizer=sam"], ["optimizer=sam"]),
        (["optimizer=sam", "optimizer.sam.rho=0.2"], ["optimizer=sam", "optimizer.sam.rho=0.2"]),
        (["warmup=none"], ["warmup=none"]),
        (["warmup.epochs=0"], ["warmup.epochs=0"]),
        (["ema={decay: 0.9}", "seed=3"], ["seed=3", "ema={decay:0.9}"]),
        (["~optimizer.build.fused"], ["~optimizer.build.fused"]),
        (["+optimizer.build.amsgrad=true"], ["+optimizer.build.amsgrad=true"]),
        (["augment.crop_scale=[0.1,1]"], ["augment.crop_scale=[0.1,1]"]),
        (["data=imagefolder", "data.root=/nowhere", "launch.workers=3"], ["data=imagefolder"]),
        (["stem=patchify", "lr.base=5e-4", "stem.label=other", "wandb=offline"], []),
    ],
    ids=str,
)
def test_differences_are_what_a_person_would_type(overrides: list[str], expected: list) -> None:
    config = compose(overrides)
    found = overrides_against_recipe(config)
    assert found == expected
    assert read_back(config, found) == run_id(config)


def test_composing_works_inside_a_job_that_hydra_started() -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert compose(["stem=conv"]).stem.label == "ViT_c"
        assert GlobalHydra.instance().hydra is outer, "the job's own comes back"


@pytest.mark.parametrize(
    "start",
    [["init=run", "init.run=deit-0123456789ab"], ["init=checkpoint", "init.path=weights.pth"]],
)
def test_weights_to_start_from_are_a_difference(start: list[str]) -> None:
    assert overrides_against_recipe(compose_unpinned(["recipe=deit", *start])) == start


def test_code_of_others_is_a_difference_like_any_other() -> None:
    lion = ["optimizer.build={_target_: my_optimizers.Own}", "trust=[my_optimizers]"]
    found = overrides_against_recipe(compose_unpinned(lion))
    assert "optimizer.build._target_=my_optimizers.Own" in found


@pytest.mark.parametrize("recipe", group_options(CONF_DIR)["recipe"])
def test_every_recipe_is_found_by_its_method(recipe: str) -> None:
    config = compose_unpinned([f"recipe={recipe}", "seed=3"])
    assert overrides_against_recipe(config) == ["seed=3"]


DRAFTS = {
    "a name that is none": "defaults: [_grammer, _self_]\nlabel: draft\n",
    "a name of another package": "defaults: [/stem/conv, _self_]\nlabel: draft\n",
    "an open bracket": "defaults: [_grammar, _self_]\nstrides: [2, 1, 1\n",
    "a list": "- 1\n",
    "a text": "draft\n",
    "a circle": "defaults: [draft, _self_]\nlabel: draft\n",
    "bytes": "label: \udcff\n",
    "nothing": "",
    "a list of texts as defaults": "defaults: conv\n",
}


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration tree that differences are read from."""
    conf = Path(shutil.copytree(CONF_DIR, tmp_path / "conf"))
    monkeypatch.setattr(differences, "CONF_DIR", conf)
    monkeypatch.setattr(differences, "compose_unpinned", partial(compose_unpinned, conf_dir=conf))
    return conf


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_a_draft_that_nobody_chose_ends_no_run(own_conf: Path, draft: str) -> None:
    (own_conf / "stem" / "draft.yaml").write_text(draft, errors="surrogateescape")
    assert overrides_against_recipe(compose(["stem=conv_relu"])) == ["stem=conv_relu"]


def test_differences_are_told_though_the_option_names_code_that_the_run_never_calls(
    own_conf: Path,
) -> None:
    fields = "defaults: [_grammar, _self_]\nlabel: mine\nbuild: {_target_: my_stems.MyStem}\n"
    (own_conf / "stem" / "mine.yaml").write_text(f"# A stem of one's own.\n{fields}")
    typed = ["stem=mine", "stem.build._target_=my_bad.Stem"]
    config = compose_unpinned([*typed, "trust=[my_bad]"], conf_dir=own_conf)
    assert overrides_against_recipe(config) == typed
