import shutil

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.seeds import Seeds
from scaledrelu.errors import TableError
from scaledrelu.tables.spec import load_table, merge_overrides, table_names, tables_of
from tests.helpers.table_fakes import write_table

NAN = float("nan")


def block(**fields):
    row = {"run": ["stem=patchify"], "paper": {"top1": 1.0}}
    return {"blocks": [{"label": "b", "rows": [row], **fields}]}


def test_last_value_of_a_key_wins():
    merged = merge_overrides(["a=1", "b.c=2"], ["a=3"], ["d=[1,2]"])
    assert merged == ("b.c=2", "a=3", "d=[1,2]")


@pytest.mark.parametrize("name", table_names(CONF_DIR))
def test_every_table_file_loads_with_rows_numbered_from_one(name):
    table = load_table(name, CONF_DIR)
    numbers = [row.number for row in table.rows if not row.is_baseline]
    assert numbers == list(range(1, len(numbers) + 1))
    assert table.metrics
    assert table.labels


@pytest.mark.parametrize("name", [f"table{number}" for number in range(1, 8)])
def test_rows_with_a_wide_spread_are_published_with_more_seeds(name):
    """With eight, most claims about DeiT rows stayed undecided at mini."""
    table = load_table(name, CONF_DIR)
    for row in table.rows:
        deit = name in ("table1", "table3") or str(row.block).startswith("DeiT-Small")
        seeds = 16 if deit else 8 if name in ("table5", "table6") else 3
        wanted = row.seeds or table.seeds
        assert wanted.at("mini") == tuple(range(seeds)), row
        assert wanted.at("cifar") == wanted.at("paper") == (0, 1, 2), row


def test_rows_at_the_edge_of_stability_have_seeds_enough_to_decide_a_crash():
    table = load_table("edge", CONF_DIR)
    for row in table.rows:
        number = 5 if "lr.base=4e-3" in row.run else 3
        assert (row.seeds or table.seeds).at("cifar") == tuple(range(number)), row


def test_rows_inherit_base_and_block(tmp_path):
    write_table(tmp_path, **block(run=["optimizer=sam", "lr.base=1"]))
    row = load_table("table8", tmp_path).rows[0]
    assert row.run == ("recipe=deit", "model=vit", "optimizer=sam", "lr.base=1", "stem=patchify")


def test_a_table_without_values_of_the_paper_is_ones_own_and_lacks_them_all(tmp_path):
    rows = [{"run": [f"stem={stem}"]} for stem in ("conv", "patchify")]
    write_table(tmp_path, **block(rows=rows))
    table = load_table("table8", tmp_path)
    assert [row.paper for row in table.rows] == 2 * [{"top1": "missing"}]
    assert not table.is_of_the_paper
    write_table(tmp_path, **block(rows=[{**rows[0], "paper": {"top1": 1.0}}, rows[1]]))
    with pytest.raises(TableError, match="row 2: column 'top1' has no paper value") as caught:
        load_table("table8", tmp_path)
    assert str(caught.value).endswith("; in a table of your own remove paper: from every row.")
    write_table(tmp_path, **block(rows=[{**rows[0], "paper": {"top1": 1.0}}]))
    assert load_table("table8", tmp_path).is_of_the_paper


def test_upstream_of_a_row_refines_that_of_its_block(tmp_path):
    row = {"run": ["stem=conv"], "upstream": ["lr.base=2"], "paper": {"top1": 1}}
    write_table(tmp_path, **block(upstream=["recipe=dino", "lr.base=1"], rows=[row]))
    assert load_table("table8", tmp_path).rows[0].upstream == ("recipe=dino", "lr.base=2")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colums": {}}, "did you mean 'columns'"),
        ({"title": ""}, "no 'title'"),
        ({"columns": {"a": {"from": "x", "metric": "y"}}}, "exactly one of"),
        ({"columns": {"a": {"form": "x"}}}, "did you mean 'from'"),
        (
            {"columns": {"a": {"metric": "x", "judged_on": {"metric": "n"}}}},
            "column 'a', judged_on: no 'name'",
        ),
        (block(row=[]), "did you mean 'rows'"),
        (block(rows=[{"run": [], "paper": {}}]), "block 1, row 1: column 'top1' has no paper"),
        (
            block(rows=[{"run": [], "paper": {"top1": "crsh"}}]),
            r"allowed: a number in \[0, 100\], 'crash', 'missing'",
        ),
        (block(rows=[{"run": [], "paper": {"top1": 1, "R1": 2}}]), "unknown key 'R1'"),
        (
            block(rows=[{"paper": {"top1": 1}, "corrected": {"top1": 2}}]),
            "corrected .of the misprints.: unknown key 'top1'",
        ),
        (
            block(rows=[{"paper": {"top1": 1}, "misprints": ["top1"], "corrected": {"top1": "x"}}]),
            "corrected: 'x' of column 'top1': must be a number",
        ),
        (
            block(rows=[{"paper": {"top1": 1}, "misprints": ["top1"], "corrected": {"top1": NAN}}]),
            "corrected: 'nan' of column 'top1': must be a number",
        ),
        (block(rows=["stem=conv"]), "must be 'key: value' pairs"),
        (block(rows=[]), "table8, block 1: no rows"),
        (block(rows=None), "block 1: rows must be a list, found nothing"),
        (block(rows=[None]), "block 1, row 1: must be 'key: value' pairs, found nothing"),
        (block(rows=[{"run": [], "paper": 79}]), "row 1, paper: must be 'key: value' pairs"),
        (block(rows=[{"run": [], "paper": {"top1": NAN}}]), "row 1: paper value 'nan' of column"),
        (block(rows=[{"run": [], "paper": {"top1": float("inf")}}]), "paper value 'inf'"),
        (block(rows=[{"run": [], "paper": {"top1": -1}}]), "paper value '-1' of column 'top1'"),
        (block(rows=[{"run": [], "paper": {"top1": 798}}]), r"a number in \[0, 100\]"),
        (block(rows=[{"run": [], "paper": {"top1": True}}]), "paper value 'True'"),
        (block(rows=[{"run": [], "paper": {"top1": [1]}}]), "not allowed; allowed: a number"),
        (block(rows=[{"run": "stem=conv", "paper": {"top1": 1}}]), "run must be a list"),
        (block(rows=[{"run": ["stem"], "paper": {"top1": 1}}]), "row 1, run: 'stem': write key="),
        (block(rows=[{"run": [5], "paper": {"top1": 1}}]), "row 1, run: '5': write key=value"),
        (block(rows=[{"run": ["a=1", "a=2"], "paper": {"top1": 1}}]), "'a' is given twice"),
        (block(rows=[{"run": ["seed=1"], "paper": {"top1": 1}}]), "write seeds:"),
        (
            block(rows=[{"run": ["profile=paper"], "paper": {"top1": 1}}]),
            "is not allowed here; set profile=<name>",
        ),
        (block(rows=[{"run": ["trust=[os]"], "paper": {"top1": 1}}]), "which alone may trust code"),
        (
            block(run=["hydra.callbacks.x._target_=os.system"]),
            "Hydra's settings are not part of a run",
        ),
        (block(rows=2 * [{"run": ["stem=conv"], "paper": {"top1": 1}}]), "the same as row 1"),
        ({"note": ["two", "notes"]}, "note must be a string"),
        (block(rows=[{"run": [], "paper": {"top1": 1}, "note": []}]), "note must be a string"),
        (block(rows=[{"run": [], "paper": {"top1": 1}, "baseline": 5}]), "baseline must be true"),
        (block(rows=[{"run": [], "paper": {"top1": 1}, "misprints": "top1"}]), "misprints must"),
        (block(seeds=[0, 0]), "must be different whole numbers"),
        (block(seeds=[True]), "must be different whole numbers"),
        (
            block(rows=[{"run": [], "paper": {"top1": 1}, "seeds": 3}]),
            "block 1, row 1: seeds=3: must be different whole numbers",
        ),
        (block(released_weights=["paper"]), "released_weights: must be 'key: value' pairs"),
        (
            block(released_weights=5),
            "released_weights: must be 'key: value' pairs, found the int 5",
        ),
        (block(seeds=[2**32]), r"must be different whole numbers in \[0, 4294967295\]"),
        (block(upstream="recipe=dino"), "upstream must be a list"),
        ({"seeds": 3}, "seeds=3: must be different whole numbers"),
        ({"seeds": {"mini": [0]}}, r"or {default: <such a list>, <profile>: <such a list>}"),
        ({"seeds": {"default": [0], "mini": 3}}, "must be different whole numbers"),
        ({"seeds": []}, "must be different whole numbers"),
        ({"blocks": {"rows": []}}, "table8: blocks must be a list"),
        ({"blocks": ["x"]}, "block 1: must be 'key: value' pairs"),
        ({"base": "recipe=deit"}, "base must be a list"),
        ({"columns": ["a"]}, "table8, columns: must be 'key: value' pairs, found a list"),
        ({"columns": 5}, "table8, columns: must be 'key: value' pairs, found the int 5"),
        ({"columns": {"a": 5}}, "column 'a': must be 'key: value' pairs, found the int 5"),
        ({"columns": {"a": {"from": "lr.base"}}}, "no column with a metric"),
        ({"columns": {"a": {"metric": ["x"]}}}, "metric must be a string"),
        ({"columns": {"a": {"metric": "x", "digits": -1}}}, "digits=-1: must be a whole number"),
        ({"columns": {"a": {"from": "x", "of": "parent"}}}, "of=parent"),
    ],
)
def test_mistake_in_a_table_is_one_line_that_says_where(tmp_path, fields, message):
    write_table(tmp_path, **fields)
    with pytest.raises(TableError, match=message) as caught:
        load_table("table8", tmp_path)
    assert "table8" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_run_may_stand_in_two_blocks_and_as_the_baseline(tmp_path):
    rows = [{"run": ["stem=conv"], "paper": {"top1": 1}}]
    two = [{"label": "a", "baseline": rows[0], "rows": rows}, {"label": "b", "rows": rows}]
    write_table(tmp_path, blocks=two)
    assert [row.number for row in load_table("table8", tmp_path).rows] == [0, 1, 2]


def test_a_block_may_have_seeds_of_its_own(tmp_path):
    write_table(tmp_path, seeds=[0, 1], **block(seeds=[0, 1, 2]))
    table = load_table("table8", tmp_path)
    assert (table.seeds, table.rows[0].seeds) == (Seeds((0, 1)), Seeds((0, 1, 2)))


def test_a_row_may_have_seeds_of_its_own_and_else_has_those_of_its_block(tmp_path):
    rows = [{"run": [f"stem={stem}"], "paper": {"top1": 1}} for stem in ("conv", "patchify")]
    rows[0]["seeds"] = {"default": [0], "mini": [0, 1, 2, 3]}
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "mini.yaml").touch()
    write_table(tmp_path, seeds=[0, 1], **block(rows=rows, seeds=[0, 1, 2]))
    found = [row.seeds for row in load_table("table8", tmp_path).rows]
    assert found == [Seeds((0,), {"mini": (0, 1, 2, 3)}), Seeds((0, 1, 2))]


def test_misspelt_table_gets_the_nearest_name(tmp_path):
    write_table(tmp_path)
    with pytest.raises(TableError, match="did you mean 'table8'"):
        load_table("tabel8", tmp_path)


def test_broken_yaml_is_one_line(tmp_path):
    write_table(tmp_path)
    (tmp_path / "table" / "table8.yaml").write_text("a: [1\nb: }")
    with pytest.raises(TableError, match=r"table8\.yaml") as caught:
        load_table("table8", tmp_path)
    assert "\n" not in str(caught.value)


ONLY_AT_CIFAR = {"augmentation", "edge", "edge_choice", "table2_long"}


def test_a_table_is_made_at_the_profiles_that_it_names(tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(CONF_DIR, conf)
    everywhere = set(table_names(conf))
    for profile in ("mini", "paper"):
        assert everywhere - set(tables_of(profile, conf)) == ONLY_AT_CIFAR
    assert everywhere - set(tables_of("cifar", conf)) == {"table4", "table6", "table7"}
    edge = conf / "table" / "edge.yaml"
    edge.write_text(edge.read_text().replace("only_at: [cifar]", "only_at: [mini]"))
    assert "edge" in tables_of("mini", conf)
    assert "edge" not in tables_of("cifar", conf)
    edge.write_text(edge.read_text().replace("only_at: [mini]", "not_at: [mini]"))
    assert "edge" not in tables_of("mini", conf)
    assert "edge" in tables_of("cifar", conf)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("only_at: [cifar]", "only_at: [cifr]"),
        ("seeds: [0, 1, 2]", "seeds: {default: [0], cifr: [1]}"),
        ("blocks:\n  - ", "blocks:\n  - seeds: {default: [0], cifr: [1]}\n    "),
        ("seeds: [0, 1, 2, 3, 4]", "seeds: {default: [0], cifr: [1]}"),
    ],
)
def test_a_profile_that_is_not_there_is_one_line(tmp_path, right, wrong):
    conf = tmp_path / "conf"
    shutil.copytree(CONF_DIR, conf)
    edge = conf / "table" / "edge.yaml"
    edge.write_text(edge.read_text().replace(right, wrong))
    with pytest.raises(TableError, match="no profile 'cifr'; did you mean 'cifar'"):
        load_table("edge", conf)
