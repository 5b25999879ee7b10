"""What an autopsy found, in words and one small table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scaledrelu.engine.divergence import not_finite_reason
from scaledrelu.engine.watch import GRADIENT, LOSS, OUTPUT, Seen
from scaledrelu.runs.autopsy import (
    FP32,
    KINDS,
    Autopsy,
    Finding,
    Part,
    changes,
    compare,
    first_grown,
    first_not_finite,
    norm_overflow,
    parts_of,
)
from scaledrelu.runs.replay import Replay
from scaledrelu.runs.result import NON_FINITE

CLOSE = 0.01  # assumption: how far rounding alone takes a loss or gradient norm in a replay
NAMES = {FP32: "fp32", "fp16": "fp16", "bf16": "bf16"}


def autopsy_text(found: Autopsy, *, factor: float) -> str:
    """Return the whole report.

    Args:
        found: what the replays of a crashed run showed.
        factor: growth or loss that is worth naming.
    """
    crash = found.crashed.result.crash
    lines = [
        f"{found.crashed.result.run_id}: crash ({crash['kind']}) at step {crash['step']} of "
        f"{crash['total_steps']}: {_reason(crash)}",
        _start(found),
        "",
        _faithful(found),
    ]
    for one in (found.own, found.full):
        if one is not None:
            lines += _replay_lines(found, one, factor=factor)
    if found.crashed.is_collapse:
        lines += ["", *_collapse_lines(found, factor=factor)]
    lines += ["", *_table(found)]
    return "\n".join(lines)


def _reason(crash: Mapping[str, Any]) -> str:
    """Say why a run crashed, from the row of that step, if the record holds it.

    Older records say of every crash that is not finite that the loss was not.
    """
    row = next((row for row in crash["last"] if int(row["step"]) == crash["step"]), None)
    if crash["kind"] != NON_FINITE or row is None:
        return crash["reason"]
    return not_finite_reason(row)


def _start(found: Autopsy) -> str:
    state, last = found.own.state, found.own.seen[-1].step
    where = f"its {state.path.name}" if state.path else "the start of the run"
    return f"replayed: steps {state.step} to {last}, from {where}, on {found.own.device}"


def _faithful(found: Autopsy) -> str:
    """Say how far the replay repeats the record: bit for bit, up to rounding, or not."""
    same, own = compare(found.crashed, found.own), NAMES[found.own.autocast]
    if not same.steps:
        return "the record holds no loss of these steps, so the replay could not be compared"
    what = f"losses and gradient norms of {same.steps} recorded steps"
    if same.largest == 0:
        return f"the replay in {own} repeats the {what} exactly"
    made_on = found.crashed.result.provenance.get("device", "an unknown device")
    if same.largest <= CLOSE:
        return (
            f"the replay in {own} repeats the {what} to within {same.largest:.2g}, relative, which "
            f"may be rounding; they were recorded on {made_on}"
        )
    by = (
        "some are finite on one side only"
        if math.isinf(same.largest)
        else (f"they differ by up to {same.largest:.2g}, relative")
    )
    return (
        f"the replay in {own} does not repeat the {what}: {by}; they were recorded on {made_on}, "
        "so what follows is about the replay"
    )


def _replay_lines(found: Autopsy, one: Replay, *, factor: float) -> list[str]:
    name, scaled = NAMES[one.autocast], found.crashed.config.precision.loss_scaling
    bad = first_not_finite(one.seen, skipped_by_scaler=scaled and one.autocast != FP32)
    grown = first_grown(one.seen, factor=factor)
    lines = []
    if bad is not None:
        lines.append(f"{name}: first not finite: {_bad_text(bad)}")
    else:
        lines.append(f"{name}: every output and gradient of these steps is finite")
        if (overflow := norm_overflow(one)) is not None:
            lines.append(
                f"{name}: only the norm of all gradients together overflowed, at step "
                f"{overflow.step}; the largest gradient, of the weights of "
                f"{overflow.event.module}, is {_number(overflow.event.size)}"
            )
    if grown is not None:
        weight = "" if grown.weight is None else f"; its largest weight is {_number(grown.weight)}"
        lines.append(
            f"{name}: first to grow beyond {factor:g} times its value at step "
            f"{one.seen[0].step}: {grown.event.module}, output {_number(grown.event.size)} at step "
            f"{grown.step}, from {_number(grown.before)}{weight}"
        )
    elif len(one.seen) > 1:
        lines.append(f"{name}: no output grew beyond {factor:g} times its first value before that")
    return lines


def _bad_text(bad: Finding) -> str:
    event = bad.event
    if event.what != OUTPUT:
        whole = event.module.rpartition(".")[0]
        source = f" (it comes from what uses that output, in {whole})" if whole else ""
        return (
            f"{event.module}, the {event.what}{source if event.what == GRADIENT else ''}, at step "
            f"{bad.step}: {_number(event.size)}; all outputs of this step are finite"
        )
    weight = "" if bad.weight is None else f", its largest weight is {_number(bad.weight)}"
    if event.module == LOSS:
        return f"the loss itself at step {bad.step}, from finite outputs of the network"
    return (
        f"{event.module} at step {bad.step}: output {_number(event.size)}, while the largest value "
        f"that went in is {_number(event.fed)}{weight}"
    )


def _collapse_lines(found: Autopsy, *, factor: float) -> list[str]:
    step, dead = found.healthy.step, found.own.seen[-1]
    since = found.crashed.dead_from
    start = "; no checkpoint from between is left" if found.healthy_is_start else ""
    lines = [
        "a collapse has no bad value to find; below, the network dead (step "
        f"{dead.step}) beside itself alive (step {step}{start})"
    ]
    if since is not None:
        lines.append(f"it was dead from step {since} on, by the mean loss of windows")
    found_changes = changes(parts_of(found.healthy), parts_of(dead), factor=factor)
    for kind in dict.fromkeys(change.kind for change in found_changes):
        texts = [
            f"{c.part} ({_number(c.alive)} -> {_number(c.dead)})"
            for c in found_changes
            if c.kind == kind
        ]
        lines.append(f"{kind} changed by more than {factor:g} times in: {', '.join(texts)}")
    if not found_changes:
        lines.append(f"no output, spread or gradient changed by more than {factor:g} times")
    lines.append("these are signs of the dead state, not proof of what led into it")
    return lines


def _table(found: Autopsy) -> list[str]:
    """Return the parts of the network alive and at the crash; before a bad value also just then."""
    own = found.own.seen
    columns: list[Seen] = [found.healthy, *([] if found.crashed.is_collapse else own[-2:-1])]
    columns.append(own[-1])
    columns = list({one.step: one for one in columns}.values())
    parts = [parts_of(one) for one in columns]
    names = list(dict.fromkeys(name for one in parts for name in one))
    steps = [str(one.step) for one in columns]
    rows = [["", *(word for kind in KINDS for word in (kind, *[""] * (len(steps) - 1)))]]
    rows.append(["at step", *steps * len(KINDS)])
    rows += [[name, *_cells([one.get(name) for one in parts])] for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "largest output, spread of the output over the images (share of its root mean square), "
        "largest gradient:",
        *(
            f"{row[0]:<{widths[0]}}  {'  '.join(map(str.rjust, row[1:], widths[1:]))}"
            for row in rows
        ),
    ]


def _cells(parts: Sequence[Part | None]) -> list[str]:
    return [
        "-" if part is None else _number(getattr(part, kind)) for kind in KINDS for part in parts
    ]


def _number(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.3g}"
