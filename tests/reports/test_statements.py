"""What the text says about Figure 1 is judged by paired seeds, the same way for every curve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scaledrelu.reports.similarity import Curve, Metric, Series
from scaledrelu.reports.statements import judge
from scaledrelu.runs.record import Status
from scaledrelu.tables.figures import Kind, Statement

RNG = np.random.RandomState(1)
NOISE = RNG.normal(0, 0.003, (4, 5, 8))  # series, seed, layer
FLAT = np.full(8, 0.5)
RISING = np.linspace(0.3, 0.8, 8)
POSITION = Statement("positions diversify", Kind.POSITION, "", "")


def series(label: str, curves: np.ndarray | list, *, lost: tuple[int, ...] = ()) -> Series:
    found = []
    for seed, curve in enumerate(np.asarray(curves)):
        values = tuple(map(float, curve))
        both = {Metric.ABSOLUTE: values, Metric.SIGNED: tuple(value - 1 for value in values)}
        absent = "missing" if seed in lost else ""
        found.append(Curve(seed, f"deit-{seed}", Status.OK, {} if absent else both, absent))
    return Series(label, tuple(found))


def verdicts(statement: Statement, *all_series: Series) -> list[str]:
    return [one.verdict for one in judge([statement], all_series) if one.metric == "absolute"]


def against(kind: Kind) -> Statement:
    return Statement("a against b", kind, "a", "b")


def test_a_step_down_after_the_positions_supports_a_step_up_contradicts() -> None:
    down, up = FLAT.copy(), FLAT.copy()
    down[0], up[0] = 0.7, 0.3
    found = [series(name, start + NOISE[0]) for name, start in (("d", down), ("u", up))]
    assert verdicts(POSITION, *found) == ["supported", "contradicted"]


def test_what_seeds_cannot_resolve_is_undecided_and_so_is_one_seed() -> None:
    swinging = FLAT + np.zeros((4, 8))
    swinging[:, 1] += [0.1, -0.1, 0.2, -0.2]
    down = FLAT.copy()
    down[0] = 0.7
    assert verdicts(POSITION, series("s", swinging), series("one", [down])) == ["undecided"] * 2


def test_no_run_is_not_run() -> None:
    nothing = series("a", FLAT + NOISE[0], lost=(0, 1, 2, 3, 4))
    assert verdicts(POSITION, nothing) == ["not run"]
    other = series("b", FLAT + NOISE[1])
    assert verdicts(against(Kind.LOWER), nothing, other) == ["not run"]
    # What no run can decide is so before there are any.
    assert verdicts(against(Kind.HIGHER), nothing, other) == ["not testable"]


def test_lower_and_higher_layers_are_the_two_halves() -> None:
    a, b = FLAT + NOISE[0], RISING + NOISE[1]
    for kind, half in ((Kind.LOWER, slice(0, 4)), (Kind.HIGHER, slice(4, 8))):
        (judged, _) = judge([against(kind)], [series("a", a), series("b", b)])
        difference = (a - b)[:, half].mean(axis=1)
        low, high = stats.t.interval(0.95, 4, loc=difference.mean(), scale=stats.sem(difference))
        assert judged.size.mean == pytest.approx(difference.mean())
        assert judged.size.half == pytest.approx((high - low) / 2)
    assert verdicts(against(Kind.LOWER), series("a", a), series("b", b)) == ["contradicted"]
    assert verdicts(against(Kind.HIGHER), series("a", a), series("b", b)) == ["not testable"]


def test_two_curves_are_alike_if_they_are_nearer_than_the_other_pairs() -> None:
    curves = dict(zip("abcd", [RISING, RISING + 0.01, FLAT, FLAT + 0.3], strict=True))
    all_series = [
        series(name, curve + noise)
        for (name, curve), noise in zip(curves.items(), NOISE, strict=True)
    ]
    assert verdicts(against(Kind.ALIKE), *all_series) == ["supported"]
    far = Statement("a is like d", Kind.ALIKE, "a", "d")
    assert verdicts(far, *all_series) == ["contradicted"]
    (judged, _) = judge([against(Kind.ALIKE)], all_series)
    stacked = np.array([[c.values[Metric.ABSOLUTE] for c in s.curves] for s in all_series])
    gap = np.abs(stacked[:, None] - stacked[None]).mean(-1)  # series, series, seed
    others = [gap[i, j] for i in range(4) for j in range(i) if (j, i) != (0, 1)]
    assert list(judged.per_seed.values()) == pytest.approx(list(gap[0, 1] - np.mean(others, 0)))
    likeness = np.mean([np.corrcoef(stacked[0, s], stacked[1, s])[0, 1] for s in range(5)])
    assert f"correlation over layers {likeness:+.2f}" in judged.remark


def test_only_seeds_that_both_have_are_paired() -> None:
    a, b = series("a", FLAT + NOISE[0], lost=(1,)), series("b", RISING + NOISE[1], lost=(3,))
    (judged, _) = judge([against(Kind.LOWER)], [a, b])
    assert list(judged.per_seed) == [0, 2, 4]


def test_a_flat_curve_has_no_correlation() -> None:
    (judged, _) = judge([against(Kind.ALIKE)], [series("a", [FLAT]), series("b", [RISING])])
    assert "correlation" not in judged.remark
