"""Reports say what differs from the paper's recipe; the truth is composed, never written down."""

from dataclasses import replace

import pytest

from scaledrelu.config.identity import canonical
from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports import recipe_differences as module
from scaledrelu.reports.readable_config import SAID_OTHERWISE, describe_run, readable_value
from scaledrelu.reports.recipe_differences import recipe_differences
from scaledrelu.reports.report import write_reports
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables import composer as composing
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers.configs import with_values
from tests.helpers.table_fakes import plan_of, write_table

# Read by hand from conf/recipe/deit.yaml, conf/data/*.yaml, conf/profile/mini.yaml and what mini
# adds for deit, vit_small, imagenet1k and sam.
TABLE_1 = {
    "data set": {
        (
            "imagenet1k: 1,281,167 training images, 50,000 validation images, 1,000 classes",
            "digits: 1,437 training images, 360 validation images, 10 classes",
            "all",
        )
    },
    "image size": {("224 x 224 pixels", "16 x 16 pixels", "all")},
    "peak learning rate": {
        ("1e-3 (lr.base=5e-4)", "4e-3 (lr.base=5e-4)", "1, 4, 7, 11"),
        ("2e-3 (lr.base=1e-3)", "8e-3 (lr.base=1e-3)", "2-3, 5, 8-10, 12"),
        ("2e-4 (lr.base=1e-4)", "8e-4 (lr.base=1e-4)", "6, 13"),
    },
    "last learning rate": {("1e-5", "0.01 of the peak", "all")},
    "epochs": {("300", "16", "all")},
    "images per update": {("1,024", "64", "all")},
    "updates": {("375,300", "352", "all")},
    "warm-up": {
        ("5 of 300 epochs", "20 of 300 epochs, run as 1.07 of 16", "1-2, 4-8, 11-13"),
        ("20 of 300 epochs", "80 of 300 epochs, run as 4.27 of 16", "3, 9"),
    },
    "warm-up, updates": {("6,255", "24", "1-2, 4-8, 11-13"), ("25,020", "94", "3, 9")},
    "precision": {
        (
            "fp16 autocast, loss scaled from 65536, growing every 2000 updates",
            "fp32",
            "all",
        )
    },
    "attention": {("scores_then_scale", "fused", "all")},
    "strides of the stem": {
        ("(16), projection 16x16", "(4), projection 4x4", "1-6"),
        ("(2,1,1,8), projection 8x8", "(2,1,1,2), projection 2x2", "7-13"),
    },
    "`model.width`": {("384", "64", "all")},
    "`model.depth`": {("12", "6", "all")},
    "`model.heads`": {("6", "2", "all")},
    "`model.patch_size`": {("16", "4", "all")},
    "`model.drop_path`": {("0.1", "0", "all")},
    "`stem.hidden`": {
        ("64 (unused without convolutions)", "16 (unused without convolutions)", "1-6"),
        ("64", "16", "7-13"),
    },
    "`optimizer.sam.rho`": {("0.1", "0.05", "4-6, 11-13")},
    "`schedule.unit`": {("epoch", "step", "all")},
    "`schedule.delay_epochs`": {("1", "0", "all")},
    "`batch.group`": {("128", "64", "all")},
    "`data.mean`": {("[0.485, 0.456, 0.406]", "[0.306, 0.306, 0.306]", "all")},
    "`data.std`": {("[0.229, 0.224, 0.225]", "[0.319, 0.319, 0.319]", "all")},
    "`data.augment`": {("reference", "device", "all")},
    "`data.in_memory`": {("false", "true", "all")},
    "`augment.crop`": {("random_resized", "shift", "all")},
    "`augment.shift`": {("0", "1", "all")},
    "`augment.hflip`": {("0.5", "0", "all")},
    "`augment.rand_augment`": {("rand-m9-mstd0.5-inc1", "none", "all")},
    "`augment.color_jitter`": {("0.3 (inactive beside rand_augment)", "0", "all")},
    "`augment.erasing`": {("0.25", "0", "all")},
    "`augment.mixup`": {("0.8", "0", "all")},
    "`augment.cutmix`": {("1", "0", "all")},
    "`augment.smoothing`": {("0.1", "0", "all")},
    "`augment.repeats`": {("3", "1", "all")},
    "`evaluation.crop`": {("0.875", "1", "all")},
    "`ema.decay`": {("0.99996", "none", "all")},
}


def planned(known, *names, profile="mini", overrides=()):
    composer = Composer(known)
    plan = Planner(profile, results=known, compose=composer, overrides=overrides).plan(
        [load_table(name, CONF_DIR) for name in names], [0]
    )
    composer.save()
    return plan


@pytest.fixture(scope="module")
def plan(composed_before):
    return planned(composed_before, "table1", "table6")


def tables_in(section):
    """The small tables of a section: field -> {(paper, here, rows)}."""
    tables = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if cells[0] == "field":
            tables.append({})
        elif line.startswith("|") and cells[0] != "---":
            tables[-1].setdefault(cells[0], set()).add((*cells[1:], "all")[:3])
    return tables


def test_table_1_at_mini_says_all_that_its_protocol_changes(plan):
    (found,) = tables_in(recipe_differences(plan, plan.tables[0]))
    crash_rule = {name for name in found if name.startswith("`divergence.")}
    assert {name: found[name] for name in found if name not in crash_rule} == TABLE_1
    assert crash_rule


def test_every_scientific_field_that_differs_is_in_the_section(plan):
    """Against an independent reading: the two configs that are hashed."""
    for table in plan.tables:
        section = recipe_differences(plan, table)
        for cell in plan.cells_of(table):
            pairs = [(cell.paper, cell.composed), (cell.paper_upstream, cell.upstream)]
            for paper, here in (pair for pair in pairs if pair[0] and pair[1]):
                one, other = (dict(leaves(canonical(c.config))) for c in (paper, here))
                for key in one.keys() | other.keys():
                    if one.get(key) != other.get(key) and not said_otherwise(key):
                        listed = f"| `{key}` |" in section or f"| `{key}." in section
                        assert listed, f"{table.name}, row {cell.row.number}: {key}"


def said_otherwise(key):
    words = (*SAID_OTHERWISE, "science_version")
    return any(key == word or key.startswith(f"{word}.") for word in words)


def leaves(value, path=""):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_scaled_quantities_are_those_that_a_run_computes(plan):
    for cell in plan.cells:
        configs = (cell.composed, cell.upstream, cell.paper, cell.paper_upstream)
        for composed in filter(None, configs):
            config, said = composed.config, describe_run(composed.config, {})
            schedule, batch, profile = config.schedule, config.batch, config.profile
            peak = config.lr.base * profile.lr_scale
            if config.lr.reference_batch:
                peak *= batch.total / config.lr.reference_batch
            assert float(said["peak learning rate"].split()[0]) == pytest.approx(peak)
            paper_epochs = schedule.epochs + schedule.cooldown_epochs
            assert int(said["epochs"]) == max(1, round(paper_epochs * profile.epoch_scale))
            images = int(said["images per update"].replace(",", ""))
            assert images == config.num_groups * batch.group == batch.total * profile.batch_scale


def test_what_rows_start_from_has_a_table_of_its_own(plan):
    section = recipe_differences(plan, plan.tables[1])
    own, above = tables_in(section)
    assert own["`init.kind`"] == {("checkpoint", "run", "1-6")}
    assert above["peak learning rate"] == {("1e-3 (lr.base=5e-4)", "2e-3 (lr.base=5e-4)", "all")}
    assert above["updates"] == {("250,200", "2,640", "all")}
    assert "`task.teacher_temp`" in above
    assert "In the pre-training that rows 1-6 start from:" in section
    assert "start from released weights" in section


def test_at_the_official_profile_nothing_differs_and_nothing_is_printed(composed_before):
    official = planned(composed_before, "table1", "table6", profile="official")
    for table in official.tables:
        assert recipe_differences(official, table) == ""


def test_at_the_papers_profile_where_images_are_decoded_and_augmented_differs(composed_before):
    at_paper = planned(composed_before, "table1", "table2", profile="paper")
    device = {
        "`data.augment`": {("reference", "device", "all")},
        "`data.decoder`": {("pil", "tensor", "all")},
    }
    (found,) = tables_in(recipe_differences(at_paper, at_paper.tables[0]))
    assert found == device
    own, above = tables_in(recipe_differences(at_paper, at_paper.tables[1]))
    assert set(own) == set(device)  # of the rows without label maps
    assert above == {**device, "`augment.multi_crop.pipeline`": {("reference", "device", "all")}}


def test_the_section_stands_in_the_report_before_the_notes(tmp_path):
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path)
    _, path = write_reports(plan)
    titles = [line[3:] for line in path.read_text().splitlines() if line.startswith("## ")]
    assert titles.index(module.TITLE) < titles.index("Notes")
    plan = plan_of(tmp_path, profile="paper")
    _, path = write_reports(plan)
    assert module.TITLE not in path.read_text()


def test_extra_overrides_differ_from_the_paper_too(tmp_path):
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path, profile="paper", overrides=["model.width=16", "lr.base=1e-3"])
    (found,) = tables_in(recipe_differences(plan, plan.tables[0]))
    assert found == {
        "peak learning rate": {("1e-3 (lr.base=5e-4)", "2e-3 (lr.base=1e-3)", "all")},
        "`model.width`": {("8", "16", "all")},
    }


def test_a_difference_of_some_rows_or_columns_names_them(tmp_path):
    columns = {
        "one": {"metric": "a/x", "run": ["data.name=sheep"]},
        "two": {"metric": "b/x", "run": ["data.name=goats"]},
    }
    paper = {"one": 1.0, "two": 2.0}
    rows = [
        {"run": [f"stem={stem}", f"stem.label={n}"], "paper": paper}
        for n, stem in enumerate(("conv", "conv", "patchify", "conv"))
    ]
    write_table(tmp_path / "conf", columns=columns, blocks=[{"label": "b", "rows": rows}])
    plan = plan_of(tmp_path)
    sizes = {"goats": {"train": 7}}
    cells = [c for c in plan.cells if c.row.number in (1, 2, 4) or c.column.name == "two"]
    pairs = [module._pair(c, c.paper, c.composed, {}) for c in plan.cells]
    lines = module._small_table(pairs).splitlines()
    strides = [line for line in lines if line.startswith("| strides")]
    assert [line.split(" | ")[-1] for line in strides] == ["1-2, 4 |", "3 |"]
    pairs = [
        module._pair(c, c.paper, c.composed if c.column.name == "two" else c.paper, sizes)
        for c in cells
    ]
    assert module._small_table(pairs).splitlines()[2].endswith("| all (data.name=goats) |")


def test_the_size_of_a_set_that_is_not_published_is_the_most_that_a_run_used(tmp_path):
    write_table(tmp_path / "conf")
    plan = plan_of(tmp_path, overrides=["data.name=own"])
    runs = {}
    for (name, run), train in zip(plan.runs.items(), (70, 7), strict=True):
        used = {"train": train, "val": 36, "classes": 2}
        runs[name] = replace(run, result=Result(name, Outcome.OK, {}, data=used))
    plan = replace(plan, runs=runs)
    (found,) = tables_in(recipe_differences(plan, plan.tables[0]))
    own = "own: 70 training images, 36 validation images, 2 classes"
    assert found["data set"] == {("imagenet1k", own, "all")}


@pytest.mark.parametrize(
    ("changes", "train", "updates", "rise"),
    [
        ({}, 1_437, "352", "24"),
        ({"augment.repeats": 3}, 1_437, "320", "22"),  # of 1,280 images that are selected
        ({}, 63, "not known", "not known"),  # fewer than the 64 of an update
        ({}, None, "not known", "not known"),
        ({"data.fraction": 0.5}, 1_437, "not known", "not known"),
        ({"warmup.epochs": 0}, None, "not known", None),
    ],
)
def test_updates_that_are_not_known_are_not_said_to_be_none(plan, changes, train, updates, rise):
    config = with_values(plan.cells[0].composed.config, changes)
    said = describe_run(config, {} if train is None else {"train": train})
    assert (said["updates"], said.get("warm-up, updates")) == (updates, rise)


def test_paths_of_this_machine_are_not_printed(plan):
    places = {"data.root": "/home/me/d", "data.token_labels": "/home/me/maps"}
    config = with_values(plan.cells[0].composed.config, places)
    said = describe_run(config, {})
    assert said["data.token_labels"] == "maps in a folder"
    assert "/home" not in str(said)


def test_planning_for_another_profile_looks_at_no_file_of_the_papers(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        composing.composition, "pin_files", lambda config, *_, **__: seen.append(config) or config
    )
    planned(tmp_path, "table3")
    assert {config.profile.name for config in seen} == {"mini"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "none"),
        (True, "true"),
        (0.05, "0.05"),
        (5e-4, "5e-4"),
        (1.3333333333333333, "1.33333"),
        (16.0, "16"),
        (float("inf"), "inf"),
        ([0.08, 1.0], "[0.08, 1]"),
        ({"_target_": "a.b.Knn", "neighbours": [10, 20]}, "Knn(neighbours=[10, 20])"),
    ],
)
def test_values_read_as_a_person_writes_them(value, said):
    assert readable_value(value) == said
