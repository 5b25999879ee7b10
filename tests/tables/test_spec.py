import pytest
from table_fakes import write_table

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.tables.spec import load_table, merge_overrides, table_names


def block(**fields):
    row = {"run": ["stem=patchify"], "paper": {"top1": 1.0}}
    return {"blocks": [{"label": "b", "rows": [row], **fields}]}


def test_last_value_of_a_key_wins():
    merged = merge_overrides(["a=1", "b.c=2"], ["a=3"], ["d=[1,2]"])
    assert merged == ("b.c=2", "a=3", "d=[1,2]")


@pytest.mark.parametrize("bad", ["stem", "+a=1", "~a", "=3"])
def test_override_that_is_not_key_value_is_refused(bad):
    with pytest.raises(TableError, match="key=value"):
        merge_overrides([bad])


@pytest.mark.parametrize("name", table_names(CONF_DIR))
def test_every_table_file_loads_with_rows_numbered_from_one(name):
    table = load_table(name, CONF_DIR)
    numbers = [row.number for row in table.rows if not row.is_baseline]
    assert numbers == list(range(1, len(numbers) + 1))
    assert table.metrics
    assert table.labels


def test_rows_inherit_base_and_block(tmp_path):
    write_table(tmp_path, **block(run=["optimizer=sam", "lr.base=1"]))
    row = load_table("table8", tmp_path).rows[0]
    assert row.run == ("recipe=deit", "model=vit", "optimizer=sam", "lr.base=1", "stem=patchify")


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
            {"columns": {"a": {"metric": "x", "over": {"metric": "n"}}}},
            "column 'a', over: no 'name'",
        ),
        (block(row=[]), "did you mean 'rows'"),
        (block(rows=[{"run": [], "paper": {}}]), "block 1, row 1: column 'top1' has no paper"),
        (block(rows=[{"run": [], "paper": {"top1": "crsh"}}]), "neither a number"),
        (block(rows=[{"run": [], "paper": {"top1": 1, "R1": 2}}]), "unknown key 'R1'"),
        (
            block(rows=[{"paper": {"top1": 1}, "corrected": {"top1": 2}}]),
            "corrected .of the misprints.: unknown key 'top1'",
        ),
        (
            block(rows=[{"paper": {"top1": 1}, "misprints": ["top1"], "corrected": {"top1": "x"}}]),
            "corrected: 'x' of column 'top1' is no number",
        ),
        (block(rows=["stem=conv"]), "expected 'key: value' pairs"),
    ],
)
def test_mistake_in_a_table_is_one_line_that_says_where(tmp_path, fields, message):
    write_table(tmp_path, **fields)
    with pytest.raises(TableError, match=message) as caught:
        load_table("table8", tmp_path)
    assert "table8" in str(caught.value)
    assert "\n" not in str(caught.value)


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
