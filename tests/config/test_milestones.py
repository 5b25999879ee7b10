"""What the paper says about training curves is read strictly, and says what the paper says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.milestones import FILE, load_milestones
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError

# Section "The effects of scaled ReLU in conv-stem", word for word.
SENTENCE = (
    "For DeiT-Small, the top-1 accuracy is 18.1 vs 10.6 at 5 epoch, 53.6 vs 46.8 at 20 epoch, "
    "63.8 vs 60.9 at 50 epoch, for conv-stem and patchify-stem, respectively."
)


def written(tmp_path: Path, **changes: object) -> Path:
    raw = yaml.safe_load((CONF_DIR / FILE).read_text()) | changes
    (tmp_path / "figure").mkdir()
    shutil.copytree(CONF_DIR / "profile", tmp_path / "profile")
    (tmp_path / FILE).write_text(yaml.safe_dump(raw))
    return tmp_path


def entry(**changes: object) -> dict[str, object]:
    start = {"claim": "C01", "run": ["stem=conv"], "metric": "val/top1", "epoch": 5, "paper": 18.1}
    return {key: value for key, value in (start | changes).items() if value is not None}


def test_the_values_are_those_of_the_sentence() -> None:
    found = re.findall(r"([\d.]+) vs ([\d.]+) at (\d+) epoch", SENTENCE)
    said = {
        (stem, int(epoch)): float(value)
        for conv, patchify, epoch in found
        for stem, value in (("conv", conv), ("patchify", patchify))
    }
    items = load_milestones().items
    ours = {(one.run[2].removeprefix("stem="), one.epoch): one.paper for one in items}
    assert ours == said
    assert [one.claim for one in items] == [f"C0{i}" for i in range(1, 7)]


def test_half_the_gap_ends_where_a_run_is_as_near_to_the_other_stem() -> None:
    milestones = load_milestones()
    for one, other in zip(milestones.items[::2], milestones.items[1::2], strict=True):
        middle = (one.paper + other.paper) / 2
        assert one.paper - milestones.within(one) == pytest.approx(middle)
        assert other.paper + milestones.within(other) == pytest.approx(middle)


def test_a_number_of_points_is_a_tolerance_too(tmp_path: Path) -> None:
    milestones = load_milestones(written(tmp_path, tolerance=1.5))
    assert {milestones.within(one) for one in milestones.items} == {1.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"milestones": [entry(epoch=0)]}, "entry 1: milestone.epoch=0: must lie in"),
        ({"milestones": [entry(paper=101)]}, "paper=101: val/top1 is a percentage"),
        ({"milestones": [entry(paper=None)]}, "milestone.paper: has no value"),
        ({"milestones": [entry(papr=1)]}, "unknown key 'milestone.papr'; did you mean 'paper'?"),
        ({"milestones": [entry(run=["+stem=conv"])]}, "'+stem=conv': write key=value"),
        ({"milestones": []}, "milestones: must be a list of {claim, run, metric, epoch, paper}"),
        ({"milestones": [entry()]}, "C01 has no other value of val/top1 at epoch 5"),
        ({"tolerance": 0}, "tolerance=0: must be half_gap or a number of points above 0"),
        ({"tolerance": "half"}, "tolerance=half: must be half_gap or a number"),
        ({"seeds": [-1]}, "seeds=[-1]: must be different whole numbers"),
        ({"seeds": {"default": [0], "mni": [1]}}, "seeds: no profile 'mni'; did you mean 'mini'?"),
        ({"more": 1}, "must hold tolerance, seeds, milestones, and nothing else"),
    ],
)
def test_anything_out_of_place_is_refused_by_name(tmp_path: Path, changes, said) -> None:
    with pytest.raises(ConfigError) as refused:
        load_milestones(written(tmp_path, **changes))
    assert str(refused.value).startswith("conf/figure/curves.yaml")
    assert said in str(refused.value)


def test_a_file_that_is_gone_or_torn_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^conf/figure/curves.yaml: .*No such file"):
        load_milestones(tmp_path)
    (tmp_path / "figure").mkdir()
    (tmp_path / FILE).write_text("milestones: [")
    with pytest.raises(ConfigError, match=r"^conf/figure/curves.yaml[:,] [^\n]+$"):
        load_milestones(tmp_path)
