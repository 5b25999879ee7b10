from __future__ import annotations

import pytest

from scaledrelu.bench.pairing import MIN_STEPS, Pairing, alternate, join


class Clock:
    """A clock that moves by what the steps cost."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, ""

    def step(self, name: str, seconds: float):
        def run() -> None:
            self.now += seconds
            self.order += name

        return run


def run(clock: Clock, a: float, b: float, **options):
    return alternate(
        clock.step("A", a),
        clock.step("B", b),
        synchronize=lambda: None,
        clock=lambda: clock.now,
        **({"rounds": 2, "turn_seconds": 0.0} | options),
    )


def test_turns_come_in_the_order_a_b_b_a():
    clock = Clock()
    run(clock, 1.0, 2.0)
    turns = clock.order[2 * MIN_STEPS :][::MIN_STEPS]
    assert turns == "ABBA" * 2


def test_the_ratio_says_how_much_faster_a_is():
    pairing = run(Clock(), 1.0, 3.0)
    assert pairing.ratios == [3.0, 3.0]
    assert (pairing.rate_a, pairing.rate_b) == pytest.approx((1.0, 1 / 3))


def test_a_machine_that_slows_down_steadily_changes_no_ratio():
    clock = Clock()
    cost = {"now": 1.0}

    def step() -> None:
        clock.now += cost["now"]
        cost["now"] += 0.01

    pairing = alternate(
        step, step, rounds=5, turn_seconds=0.0, synchronize=lambda: None, clock=lambda: clock.now
    )
    assert pairing.ratios == pytest.approx([1.0] * 5, abs=1e-9)


def test_the_slower_side_sets_the_number_of_steps_of_both():
    clock = Clock()
    run(clock, 0.1, 0.5, turn_seconds=2.0, rounds=1)
    assert clock.order[2 * MIN_STEPS :] == "AAAABBBB" + "BBBBAAAA"


def test_the_device_is_waited_for_around_turns_and_never_inside():
    clock = Clock()
    alternate(
        clock.step("A", 1.0),
        clock.step("B", 1.0),
        rounds=1,
        turn_seconds=4.0,
        synchronize=lambda: clock.step("|", 0.0)(),
        clock=lambda: clock.now,
    )
    assert clock.order == "|AA||BB|" + "|AAAA||BBBB||BBBB||AAAA|"


def test_joined_blocks_have_one_ratio_each():
    joined = join([Pairing([1.0, 3.0], [4.0, 4.0]), Pairing([1.0, 1.0], [1.0, 1.0])])
    assert joined.ratios == [2.0, 1.0]
