"""A mistake in conf/claims.yaml is one line that says where and what is allowed."""

import re
from dataclasses import replace

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import TableError
from scaledrelu.reports.claims.decision import Verdict
from scaledrelu.reports.claims.findings import CellName, Judged, Part, Said
from scaledrelu.reports.claims.rows import Rows
from scaledrelu.reports.claims.spec import Relation, load_claims
from scaledrelu.reports.claims.words import cells_text
from tests.helpers.claim_fakes import ROWS, judged, write_conf
from tests.helpers.table_fakes import write_table


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"higher": "hihg", "than": "low"}, "x: higher: no row 'hihg'; did you mean 'high'?"),
        ({"higher": "high"}, "x, higher: no 'than'"),
        ({"higher": "high", "than": "low", "by": 1}, "x, higher: unknown key 'by'"),
        ({"hgher": "high", "than": "low"}, "exactly one relation (found hgher, than)"),
        ({"higher": "high", "holds": "low"}, "exactly one relation"),
        ({"not_higher": "high", "than": "low", "by": -1}, "by=-1: must be a number of points"),
        ({"about": "high", "as": "low", "within": "x"}, "within=x: must be a number"),
        ({"crashes": []}, "crashes: names no row"),
        ({"setting": "high", "key": "lr.base", "is": 1, "figures": 0}, "figures=0"),
        ({"setting": "high", "key": "lr.base", "is": 1, "of": "x"}, "of=x: not allowed"),
        ({"setting": "high", "key": "lr.bas", "is": 1}, "no setting 'lr.bas'"),
        ({"setting": "high", "key": "lr.base", "is": 1, "of": "upstream"}, "starts from no other"),
        ({"higher": "high", "than": "low", "columns": ["top5"]}, "has no column 'top5'; allowed"),
        ({"ahead": "M9", "of": "M2"}, "no milestone 'M9'; did you mean"),
        ({"figure1": "lower"}, "no statement of kind 'lower'; did you mean 'lower_layers'?"),
        ("higher", "must be 'key: value' pairs"),
        ({"value": "dead"}, "value dead: the paper prints crash in Table 8, row 4"),
        ({"gain": "dead", "over": "low"}, "gain dead: the paper prints crash"),
    ],
)
def test_a_wrong_check_is_one_line(tmp_path, check, words):
    write_conf(tmp_path, checks={"x": check})
    with pytest.raises(TableError) as error:
        judged(tmp_path)
    assert words in str(error.value)
    assert str(error.value).startswith("conf/claims.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"table8": ["stem=conv"]}, "fits 1, 3, 5 of table8"),
        ({"table8": ["stem=conv", "lr.base=9"]}, "fits no row of table8"),
        ({"table9": ["stem=conv"]}, "no table 'table9'"),
        ({}, "must be {table: [overrides]}"),
        ({"table8": ["stem"]}, "'stem': write key=value"),
    ],
)
def test_a_row_that_is_not_one_row_of_its_table_is_one_line(tmp_path, place, words):
    write_conf(tmp_path, checks={"x": {"higher": "high", "than": "low"}}, rows={"wrong": place})
    with pytest.raises(TableError) as error:
        judged(tmp_path)
    assert "row 'wrong'" in str(error.value)
    assert words in str(error.value)


def test_a_name_means_the_row_with_these_overrides_and_the_fewest_others(tmp_path):
    conf = write_conf(tmp_path)
    found = Rows(load_claims(conf), conf)
    numbers = {name: found.place(name).row.number for name in ROWS}
    assert numbers == {name: number for name, (*_, number) in ROWS.items()}


def test_the_base_row_of_a_block_has_a_name_like_any_other(tmp_path):
    conf = write_conf(tmp_path, rows={"base": {"table8": ["stem=conv"]}})
    base = {"paper": {"top1": 80.0}}
    lines = [{"run": [f"lr.base={rate}"], "paper": {"top1": 1.0}} for rate in (1e-3, 2e-3)]
    blocks = [
        {"label": label, "run": [f"stem={stem}"], "baseline": base, "rows": lines}
        for label, stem in (("first", "patchify"), ("second", "conv"))
    ]
    write_table(conf, blocks=blocks)
    claims = load_claims(conf)
    only = replace(claims, rows={"base": claims.rows["base"]}, claims=())
    found = Rows(only, conf).place("base")
    assert (found.row.number, found.row.block) == (0, "second")
    assert found.title == "Table 8, row base (second)"
    cell = CellName("table8", 0, "top1")
    part = Part("", Relation.HIGHER, (cell,), *2 * [Said(Verdict.UNDECIDED)])
    judged_claim = Judged("x", "", "", False, (part,))
    assert cells_text(judged_claim, ["table8"]) == "[Table 8](table8.md), row base"


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({"says": "b", "section": "c", "checks": []}, "no 'id'"),
        ({"id": "a", "says": "b", "section": "c"}, "a: no 'checks'"),
        ({"id": "a", "says": "b", "section": "c", "checks": [1], "x": 1}, "unknown key 'x'"),
    ],
)
def test_a_claim_lacks_nothing(tmp_path, claim, words):
    write_conf(tmp_path, claims=[claim])
    with pytest.raises(TableError, match=words):
        load_claims(tmp_path / "conf")


@pytest.mark.parametrize("ratio", [0, -0.9, 1.1, "x", True])
def test_a_limit_for_crashes_is_a_ratio(tmp_path, ratio):
    conf = write_conf(tmp_path)
    text = (conf / "claims.yaml").read_text()
    (conf / "claims.yaml").write_text(text.replace("- 0.95", f"- {ratio}"))
    with pytest.raises(TableError, match=f"crash_limits: {ratio}: must be a ratio"):
        load_claims(conf)


def test_what_a_claim_takes_for_granted_is_read_like_a_check(tmp_path):
    claim = {"id": "a", "says": "b", "section": "c", "checks": [{"holds": "high"}]}
    write_conf(tmp_path, claims=[claim | {"given": [{"crashes": "hihg"}]}])
    with pytest.raises(TableError, match="a: crashes: no row 'hihg'; did you mean 'high'"):
        load_claims(tmp_path / "conf")


def test_numbers_of_a_table_with_several_columns_name_theirs(tmp_path):
    conf = write_conf(tmp_path, checks={"x": {"higher": "high", "than": "low"}})
    table = conf / "table" / "table8.yaml"
    text = re.sub(
        r"( +)top1:\n", r"\1top5: {metric: val/top5}\n\1top1:\n", table.read_text(), count=1
    )
    table.write_text(re.sub(r"paper:\n( +)", r"paper:\n\1top5: missing\n\1", text))
    with pytest.raises(TableError, match="x: 'high' has several columns; name some"):
        judged(tmp_path)


def test_ids_are_given_once(tmp_path):
    claim = {"id": "a", "says": "b", "section": "c", "checks": [{"no_run": "d"}]}
    write_conf(tmp_path, claims=[claim, claim])
    with pytest.raises(TableError, match="the id a is given twice"):
        load_claims(tmp_path / "conf")


def test_the_head_of_the_file_names_every_relation():
    head = (CONF_DIR / "claims.yaml").read_text().partition("\nprinted:")[0]
    assert [relation for relation in Relation if f"{relation}:" not in head] == []
