"""What a person adds costs what docs/architecture.md says; its examples are read from that page."""

from __future__ import annotations

import itertools
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from timm.optim import Lamb
from torch import nn

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import run_id
from scaledrelu.errors import ConfigError
from scaledrelu.runs.build import build_task
from scaledrelu.runs.create import create
from scaledrelu.runs.observe import OFFERED
from scaledrelu.runs.optimisation import build_optimizer, build_schedule
from scaledrelu.tables.captions import Subject, components
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers.documents import ROOT, conf_without_examples, example_files


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the configuration tree to add to."""
    return conf_without_examples(tmp_path)


FILES = example_files()
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def add(conf: Path, *names: str) -> None:
    """Add files as the page shows them; a module goes beside the configuration."""
    for name in names:
        (conf.parent / name).write_text(FILES[name])


@pytest.fixture
def importable(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules beside the configuration can be imported, as those beside README.md can."""
    monkeypatch.syspath_prepend(conf.parent)
    yield
    for name in ("my_norms", "my_curves", "my_metrics", "my_stems", "my_normed"):
        sys.modules.pop(name, None)


CURVES = """\
class Bent:
    def __init__(self, power=1.0):
        self.power = power

    def __call__(self, done, length):
        return (1 - done / length) ** self.power


class Rising:
    def __call__(self, done, length):
        return done / length


class Halved:
    def __call__(self, done, length):
        return 1 - done / length / 2


class Short:
    def __call__(self, done):
        return 1 - done


class Silent: ...


def line(done, length):
    return 1 - done / length
"""


def shown_in_text(*begins: str) -> str:
    """Return an option file whose fields stand in the running text of the page."""
    found = [re.search(rf"`({re.escape(begin)}[^`]*)`", PAGE)[1] for begin in begins]
    return "\n".join(("# From the page.", *(" ".join(one.split()) for one in found)))


def test_a_stem_within_the_grammar_is_one_file(conf: Path) -> None:
    add(conf, "conf/stem/conv_scaled_relu.yaml")
    config = compose_unpinned(["stem=conv_scaled_relu"], conf_dir=conf)
    assert components(Subject(config, None, 16)) == "3Conv+3ScaledReLU+1Proj"
    convs = build_task(config, 10).backbone.patch_embed.convs
    assert [type(part).__name__ for part in convs] == ["Conv2d", "ScaledReLU"] * 3


@pytest.mark.parametrize("profile", ["mini", "cifar", "smoke", "small", "paper"])
def test_the_page_says_where_a_profile_sets_the_width_of_a_stem(conf: Path, profile: str) -> None:
    (at,) = re.findall(
        r"the profile files set `hidden: 16` at (.*?), whatever", " ".join(PAGE.split())
    )
    (wins,) = re.findall(r"`(stem\.hidden=\d+)` wins", PAGE)
    (conf / "stem" / "own.yaml").write_text("# Wider.\ndefaults: [conv, _self_]\nhidden: 24\n")
    asked = ["stem=own", f"profile={profile}"]
    assert compose_unpinned(asked, conf_dir=conf).stem.hidden == (16 if profile in at else 24)
    assert compose_unpinned([*asked, wins], conf_dir=conf).stem.hidden == 24


@pytest.mark.usefixtures("importable")
def test_a_norm_for_stems_is_one_module_and_one_file(conf: Path) -> None:
    add(conf, "my_norms.py", "conf/stem/conv_group_norm.yaml")
    with pytest.raises(ConfigError, match=r"add trust=\[my_norms\]"):
        compose_unpinned(["stem=conv_group_norm"], conf_dir=conf)
    config = compose_unpinned(["stem=conv_group_norm", "trust=[my_norms]"], conf_dir=conf)
    norms = build_task(config, 10).backbone.patch_embed.convs[1::3]
    assert [(type(norm).__name__, norm.num_groups) for norm in norms] == [("GroupNorm", 4)] * 3
    assert run_id(config) != run_id(compose_unpinned(["stem=conv"], conf_dir=conf))
    assert components(Subject(config, None, 16)) == "3Conv+3GroupNorm+3ReLU+1Proj"


def test_an_activation_of_torch_just_works() -> None:
    (shown,) = re.findall(r"`act: (\{_target_: torch\.nn\.ELU.*?\})`", PAGE)
    config = compose_unpinned(["stem=conv", f"stem.act={shown}", "trust=[torch.nn]"])
    acts = build_task(config, 10).backbone.patch_embed.convs[2::3]
    assert [(type(act).__name__, act.alpha) for act in acts] == [("ELU", 0.5)] * 3


def test_a_norm_of_torch_does_without_a_module() -> None:
    (shown,) = re.findall(r"`norm: (\{_target_: torch\.nn\.GroupNorm.*?\})`", PAGE, re.DOTALL)
    config = compose_unpinned(
        ["stem=conv", f"stem.norm={' '.join(shown.split())}", "trust=[torch.nn]"]
    )
    norms = build_task(config, 10).backbone.patch_embed.convs[1::3]
    assert [norm.num_groups for norm in norms] == [4] * 3


def test_strides_at_mini_are_those_that_the_page_shows() -> None:
    shown = re.findall(r"\(([\d,]+)\) runs as\s+\(([\d,]+)\)", PAGE)
    assert len(shown) == 2
    for at_paper, at_mini in ([[int(n) for n in one.split(",")] for one in pair] for pair in shown):
        assert math.prod(at_paper) == 16
        strides = f"stem.strides=[{','.join(map(str, at_paper[:-1]))}]"
        config = compose_unpinned(["stem=conv", strides])
        fitted = config.stem.fit(config.model.patch_size)
        assert [*fitted.strides, fitted.proj] == at_mini


@pytest.mark.usefixtures("importable")
def test_a_curve_of_the_rate_is_one_module_and_one_file(conf: Path) -> None:
    add(conf, "my_curves.py")
    option = shown_in_text("defaults: [linear512,", "label: straight", "curve: ")
    (conf / "lr" / "straight.yaml").write_text(option)
    overrides = ["lr=straight", "warmup=none", "trust=[my_curves]"]
    config = compose_unpinned(overrides, conf_dir=conf)
    schedule = build_schedule(config, steps_per_epoch=25)
    peak, floor = config.peak_lr, config.peak_lr / 100
    middle = schedule.total_steps // 2
    assert schedule.at(0) == peak
    assert schedule.at(middle) == pytest.approx((peak + floor) / 2)
    assert schedule.at(middle // 2) == pytest.approx(floor + 0.75 * (peak - floor))
    cosine = compose_unpinned(["warmup=none"], conf_dir=conf)
    assert run_id(config) != run_id(cosine)
    shape = 0.5 * (1 + math.cos(math.pi / 4))
    assert build_schedule(cosine, 25).at(middle // 2) == pytest.approx(
        floor + shape * (peak - floor)
    )
    given = compose_unpinned(
        ["lr.curve={_target_: my_curves.Straight}", *overrides[1:]], conf_dir=conf
    )
    assert [build_schedule(given, 25).at(t) for t in range(9)] == [schedule.at(t) for t in range(9)]


@pytest.mark.usefixtures("importable")
def test_a_curve_takes_arguments(conf: Path) -> None:
    (conf.parent / "my_curves.py").write_text(CURVES)
    curve = "lr.curve={_target_: my_curves.Bent, power: 2}"
    config = compose_unpinned([curve, "warmup=none", "trust=[my_curves]"], conf_dir=conf)
    schedule = build_schedule(config, steps_per_epoch=25)
    peak, floor = config.peak_lr, config.peak_lr / 100
    middle = schedule.total_steps // 2
    assert schedule.at(middle) == pytest.approx(floor + 0.25 * (peak - floor))


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Rising", "is 0 at the start and 1 at the end; must be a class with __call__(done, "),
        ("Halved", "is 1 at the start and 0.5 at the end; must be a class"),
        ("Short", "must be a class with __call__(done, length) that falls from 1 to 0 ("),
        ("Silent", "must be a class with __call__(done, length) that falls from 1 to 0"),
        ("line", "must be a class with __call__(done, length) that falls from 1 to 0"),
    ],
)
def test_a_curve_that_does_not_fall_from_1_to_0_is_refused(
    conf: Path, name: str, message: str
) -> None:
    (conf.parent / "my_curves.py").write_text(CURVES)
    overrides = [f"lr.curve={{_target_: my_curves.{name}}}", "trust=[my_curves]"]
    config = compose_unpinned(overrides, conf_dir=conf)
    with pytest.raises(
        ConfigError, match=re.escape(f"lr.curve._target_=my_curves.{name}: {message}")
    ):
        build_schedule(config, steps_per_epoch=25)


def test_an_optimizer_of_timm_is_one_file(conf: Path) -> None:
    add(conf, "conf/optimizer/lamb.yaml")
    config = compose_unpinned(["optimizer=lamb", "lr.base=0.5"], conf_dir=conf)
    ours, theirs = (nn.Linear(3, 1, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for layer in (ours, theirs):
        layer.weight.grad = torch.tensor([[2.0, -3.0, 0.1]])
    build_optimizer(config.optimizer, ours, lr=config.lr.base).step()
    Lamb(theirs.parameters(), lr=0.5, betas=(0.9, 0.999), weight_decay=0.05).step()
    assert torch.equal(ours.weight, theirs.weight)


def test_sam_around_it_is_one_file_and_its_radius_at_mini(conf: Path) -> None:
    add(conf, "conf/optimizer/lamb.yaml")
    option = shown_in_text("defaults: [lamb,", "label: SAM(LAMB)", "sam: ")
    (conf / "optimizer" / "sam_lamb.yaml").write_text(option)
    with pytest.raises(ConfigError, match=r"add conf/profile_optimizer/mini_sam_lamb\.yaml"):
        compose_unpinned(["optimizer=sam_lamb"], conf_dir=conf)
    radii = conf / "profile_optimizer"
    (radii / "mini_sam_lamb.yaml").write_text((radii / "mini_sam.yaml").read_text())
    ours = compose_unpinned(["optimizer=sam_lamb"], conf_dir=conf).optimizer
    assert ours.build["_target_"] == "timm.optim.Lamb"
    assert ours.sam == compose_unpinned(["optimizer=sam"], conf_dir=conf).optimizer.sam


def test_a_larger_vit_is_one_file_and_its_sizes_at_mini(conf: Path) -> None:
    add(conf, "conf/model/vit_base.yaml")
    with pytest.raises(ConfigError, match=r"conf/profile_model/mini_vit_base\.yaml"):
        compose_unpinned(["model=vit_base", "profile=mini"], conf_dir=conf)
    paper = compose_unpinned(["model=vit_base", "profile=paper", "launch=local"], conf_dir=conf)
    assert (paper.model.width, paper.model.depth, paper.model.patch_size) == (768, 12, 16)
    add(conf, "conf/profile_model/mini_vit_base.yaml")
    for profile in ("mini", "smoke"):  # smoke shares the sizes of mini
        config = compose_unpinned(["model=vit_base", f"profile={profile}"], conf_dir=conf)
        backbone = build_task(config, 10).backbone
        assert (backbone.embed_dim, backbone.patch_embed.num_patches) == (128, 16)


def test_a_table_is_one_file(conf: Path, tmp_path: Path) -> None:
    add(conf, "conf/table/table8.yaml", "conf/optimizer/lamb.yaml")
    table = load_table("table8", conf)
    assert table.opening == "Two optimizers that the paper does not have. A table of our own."
    plan = Planner("mini", results=tmp_path, compose=Composer(tmp_path, conf_dir=conf)).plan(
        [table], (0, 1)
    )
    assert [cell.labels["optimizer"] for cell in plan.cells] == ["Lion", "LAMB"]
    assert len(plan.runs) == 4
    assert [run for run in plan.runs if run in PAGE] == [
        plan.cells[0].run_ids[0],
        plan.cells[1].run_ids[0],
    ]


def test_a_pre_training_trains_on_the_data_set_of_its_rows(conf, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where data/flowers lies
    for split, name in itertools.product(("train", "val"), ("rose", "tulip")):
        folder = tmp_path / "data" / "flowers" / split / name
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(b"x")
    add(conf, "conf/table/flowers.yaml")
    composer = Composer(tmp_path, conf_dir=conf)
    plan = Planner("mini", results=tmp_path, compose=composer).plan(
        [load_table("flowers", conf)], (0,)
    )
    probes = [run for run in plan.runs.values() if run.upstream]
    starts = [plan.runs[run.upstream] for run in probes]
    assert [run.config.stem.label for run in starts] == ["ViT_p", "ViT_c"]
    assert [run.config.method for run in (*probes, *starts)] == ["linear_probe"] * 2 + ["dino"] * 2
    assert {(run.config.data.name, run.config.data.root) for run in plan.runs.values()} == {
        ("flowers", "data/flowers")
    }
    assert {cell.paper_upstream.config.data.name for cell in plan.cells} == {"flowers"}


@pytest.mark.usefixtures("importable")
def test_a_metric_is_one_module(conf: Path) -> None:
    add(conf, "my_metrics.py")
    shown = re.search(r"evaluation\.build=[^']+", PAGE)[0]
    config = compose_unpinned([shown, "trust=[my_metrics]"], conf_dir=conf)
    assert run_id(config) != run_id(compose_unpinned([], conf_dir=conf))
    backbone = build_task(config, 10).backbone
    metrics, arrays = create(config.evaluation.build[1])(backbone)
    weights = nn.utils.parameters_to_vector(backbone.patch_embed.parameters()).detach()
    assert metrics == {"val/stem_norm": pytest.approx(float(weights.square().sum().sqrt()))}
    assert arrays == {}


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("recipe", ["deit", "dino", "volo"])
def test_a_stem_of_another_kind_is_one_module_and_one_file(conf: Path, recipe: str) -> None:
    add(conf, "my_stems.py", "conf/stem/averaged.yaml")
    overrides = [f"recipe={recipe}", "stem=averaged", "trust=[my_stems]"]
    backbone = build_task(compose_unpinned(overrides, conf_dir=conf), 10).backbone
    assert type(backbone.patch_embed).__name__ == "Averaged"
    assert backbone(torch.randn(2, 3, 16, 16)) is not None


NORMED = """\
from my_stems import Averaged


class Normed(Averaged):
    def __init__(self, stem, *, create, **sizes):
        super().__init__(stem, create=create, **sizes)
        self.insert(2, create(stem.norm, stem.hidden))
"""


@pytest.mark.usefixtures("importable")
def test_a_stem_of_another_kind_creates_the_layers_that_its_file_names(conf: Path) -> None:
    assert "`create(stem.norm, channels)`" in " ".join(PAGE.split())
    add(conf, "my_stems.py", "conf/stem/averaged.yaml")
    (conf.parent / "my_normed.py").write_text(NORMED)
    layer = "stem.norm={_target_: torch.nn.GroupNorm, num_groups: 4}"
    trust = "trust=[my_normed,torch.nn]"
    own = ["stem=averaged", "stem.build._target_=my_normed.Normed", layer, trust]
    config = compose_unpinned(own, conf_dir=conf)
    norm = build_task(config, 10).backbone.patch_embed[2]
    assert (norm.num_groups, norm.num_channels) == (4, config.stem.hidden)


def test_the_page_lists_what_a_metric_may_ask_for() -> None:
    listed, _, _ = PAGE.partition("`__init__` may take any of these by name: ")[2].partition(
        " `__c"
    )
    assert set(re.findall(r"`(\w+)`", listed)) == set(OFFERED)


def test_a_profile_may_share_the_sizes_of_another(conf: Path) -> None:
    text = "# @package _global_\n# Mini, for longer.\ndefaults: [mini, _self_]\n"
    own = conf / "profile" / "longer.yaml"
    own.write_text(f"{text}profile: {{name: longer, epoch_scale: 0.1}}\n")
    mini, longer = (
        compose_unpinned([f"profile={name}", "optimizer=sam"], conf_dir=conf)
        for name in ("mini", "longer")
    )
    assert (longer.model, longer.augment, longer.optimizer) == (
        mini.model,
        mini.augment,
        mini.optimizer,
    )
    assert (longer.run_epochs, mini.run_epochs) == (30, 16)


def test_a_profile_that_says_nothing_of_sizes_is_refused(conf: Path) -> None:
    scales = "epoch_scale: 1, warmup_scale: 1, lr_scale: 1, batch_scale: 1, notes: []"
    (conf / "profile" / "own.yaml").write_text(
        f"# @package _global_\n# Nothing said.\nprofile: {{name: own, {scales}}}\n"
    )
    with pytest.raises(ConfigError, match=r"override /sizes: own` to .*conf/profile/own\.yaml"):
        compose_unpinned(["profile=own"], conf_dir=conf)
