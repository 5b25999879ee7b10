"""Overrides that stand in a list keep one form, in tables, settings and milestones alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scaledrelu.config.milestones import Milestone
from scaledrelu.errors import ScaledReluError
from scaledrelu.tables import reading
from scaledrelu.tables.settings import load_settings
from scaledrelu.tables.spec import merge_overrides

LISTS: dict[str, Callable[[list[str]], object]] = {
    "row": lambda items: reading.overrides({"run": items}, "run", "table8, row 1"),
    "setting": lambda items: load_settings([f"overrides=[{','.join(items)}]"]),
    "milestone": lambda items: Milestone("C01", tuple(items), "val/top1", 5, 18.1),
}
OF_THREE = pytest.mark.parametrize("take", LISTS.values(), ids=LISTS)


def refused(take: Callable[[list[str]], object], *items: str) -> str:
    with pytest.raises(ScaledReluError) as caught:
        take(list(items))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@OF_THREE
def test_keys_and_values_are_taken(take) -> None:
    take(["stem=conv", "lr.base=1e-3"])


@OF_THREE
@pytest.mark.parametrize("item", ["+stem=conv", "~stem", "~stem=conv", "=3", "++a.b=1"])
def test_what_is_no_key_with_a_value_is_refused(take, item: str) -> None:
    assert f"'{item}': write key=value, without + or ~" in refused(take, item)


@OF_THREE
@pytest.mark.parametrize("sweep", ["lr.base=interval(1,2)", "stem=conv,patchify", "lr.base=1,2"])
def test_several_values_are_told_from_a_word_without_a_key(take, sweep: str) -> None:
    said = refused(take, *sweep.split(","))
    assert "': write key=value, one value per override; a sweep over values is a table, or " in said
    assert "`train.py -m`" in said


@OF_THREE
def test_a_key_may_stand_once(take) -> None:
    assert "'lr.base' is given twice" in refused(take, "lr.base=1", "stem=conv", "lr.base=2")


@OF_THREE
@pytest.mark.parametrize(
    ("item", "instead"),
    [
        ("seed=7", "write seeds"),
        ("+seed=7", "write seeds"),
        ("profile=paper", "set profile=<name>"),
        ("profile.name=paper", "set profile=<name>"),
        ("paths.results=x", "set results=<folder>"),
        ("hydra.sweep.dir=x", "Hydra's settings are not part of a run"),
        ("hydra/launcher=basic", "Hydra's settings are not part of a run"),
    ],
)
def test_what_is_decided_elsewhere_is_refused_with_its_place(take, item, instead) -> None:
    assert f"'{item}' is not allowed here; {instead}" in refused(take, item)


def test_only_the_command_line_trusts_modules() -> None:
    assert "which alone may trust code" in refused(LISTS["row"], "trust=[os]")
    assert "which alone may trust code" in refused(LISTS["milestone"], "trust=[os]")
    assert "write trust=[<module>] beside overrides=" in refused(LISTS["setting"], "'trust=[os]'")
    assert load_settings(["trust=[os]"]).trust == ("os",)


@pytest.mark.parametrize("bad", ["stem", "+a=1", "~a", "=3"])
def test_what_has_no_key_is_not_merged(bad: str) -> None:
    assert "write key=value" in refused(merge_overrides, bad)
