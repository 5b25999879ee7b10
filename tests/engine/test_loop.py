"""The loop on one process: every state comes back after a stop, no poison is applied or saved."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

import pytest
import torch

from scaledrelu.data.loaders import TrainLoader
from scaledrelu.engine import loop
from scaledrelu.engine.checkpoint import LAST, load_latest, read_checkpoint, save_checkpoint
from scaledrelu.engine.divergence import Kind
from scaledrelu.engine.loop import Evaluation, Loader
from scaledrelu.engine.windows import Rule
from scaledrelu.errors import CheckpointError
from scaledrelu.runs.checkout import other_code
from tests.helpers.loop_toys import DIES_EARLY, DIES_LATE, TOTAL, Pictures, build, flat, go


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert not go(build(), folder).interrupted
    return folder


@pytest.mark.parametrize("loader", [TrainLoader, Pictures])
@pytest.mark.parametrize("name", ["epoch", "close"])
def test_a_loader_is_called_as_the_loop_declares(loader: type, name: str) -> None:
    declared, own = (
        list(signature(getattr(c, name)).parameters.values()) for c in (Loader, loader)
    )
    assert own == declared


@pytest.mark.parametrize("step", range(1, TOTAL))
def test_a_run_stopped_after_any_step_ends_in_the_same_state_in_every_part(
    step: int, whole: Path, tmp_path: Path
) -> None:
    ending = go(build(), tmp_path, stop_after=step)
    assert ending.interrupted
    assert ending.cursor.step == step
    go(build(), tmp_path)
    assert flat(read_checkpoint(tmp_path / LAST)) == flat(read_checkpoint(whole / LAST))
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_code_that_changed_while_a_run_was_interrupted_is_named(tmp_path, caplog) -> None:
    run = replace(build(), commit="a1", other_code=partial(other_code, here="a1"))
    assert go(run, tmp_path, stop_after=3).interrupted
    caplog.set_level(logging.INFO, logger=loop.__name__)

    def last() -> str:
        return [r.getMessage() for r in caplog.records if r.name == loop.__name__][-1]

    go(run, tmp_path, stop_after=1)
    assert last() == f"resuming at step 3 of {TOTAL}"
    for here, said in (
        ("b2", "from commit a1; this checkout is at b2"),
        ("b2-dirty", "from commit b2; this checkout is at b2-dirty"),
        ("b2-dirty", "from commit b2-dirty, with edits then and now"),
    ):
        step = load_latest(tmp_path)["cursor"]["step"]
        run = replace(build(), commit=here, other_code=partial(other_code, here=here))
        go(run, tmp_path, stop_after=1)
        assert last() == (
            f"resuming at step {step} of {TOTAL}, saved {said}; to start anew move {tmp_path} away"
        )


@pytest.mark.parametrize("made", [None, "absent"])
def test_a_checkpoint_of_an_unknown_commit_is_gone_on_with_as_ever(made, tmp_path, caplog) -> None:
    go(build(), tmp_path, stop_after=3)
    if made == "absent":
        state = read_checkpoint(tmp_path / LAST)
        del state["commit"]
        save_checkpoint(tmp_path, state)
    caplog.set_level(logging.INFO, logger=loop.__name__)
    go(replace(build(), commit="a1", other_code=partial(other_code, here="a1")), tmp_path)
    assert caplog.messages[0] == f"resuming at step 3 of {TOTAL}"


def test_a_state_that_other_code_made_is_refused_with_the_way_out(tmp_path) -> None:
    run = replace(build(), commit="a1", other_code=partial(other_code, here="a1"))
    go(run, tmp_path, stop_after=3)
    state = read_checkpoint(tmp_path / LAST)
    name = next(iter(state["task"]))
    state["task"][f"{name}_of_old"] = state["task"].pop(name)
    save_checkpoint(tmp_path, state)
    with pytest.raises(RuntimeError, match="Missing key"):
        go(run, tmp_path)
    here = replace(build(), commit="b2", other_code=partial(other_code, here="b2"))
    with pytest.raises(CheckpointError) as refused:
        go(here, tmp_path)
    said = str(refused.value)
    assert said.startswith(f"{tmp_path}: Error(s) in loading state_dict for ")
    assert f'Missing key(s) in state_dict: "{name}"' in said
    assert said.endswith(
        f", saved from commit a1; this checkout is at b2; to start anew move {tmp_path} away"
    )


LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("layouts", [LAYOUTS, LAYOUTS[::-1]], ids=str)
@pytest.mark.parametrize("fused", [False, True])
def test_a_run_that_goes_on_in_another_memory_layout_ends_with_the_same_weights(
    fused: bool, layouts: list[torch.memory_format], tmp_path: Path
) -> None:
    first, second = layouts
    go(build(layout=first, fused=fused), tmp_path / "whole")
    go(build(layout=first, fused=fused), tmp_path / "cut", stop_after=1)
    resumed = build(layout=second, fused=fused)
    go(resumed, tmp_path / "cut")
    whole, cut = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "cut"))
    for part in ("task", "ema"):
        for name, value in whole[part].items():
            torch.testing.assert_close(cut[part][name], value, rtol=1e-9, atol=1e-12, msg=name)
    kernel = resumed.task.backbone[0].weight
    assert kernel.is_contiguous(memory_format=second)
    states = [resumed.optimizer.state[kernel][name] for name in ("exp_avg", "exp_avg_sq")]
    averages = [resumed.ema.state["backbone.0.weight"]]
    assert {value.stride() for value in states + averages} == {kernel.stride()}


def test_a_run_killed_between_two_checkpoints_repeats_the_lost_steps_alike(
    whole: Path, tmp_path: Path
) -> None:
    run = build()
    update = run.update.apply
    run.update.apply = lambda skip, t: update(skip, t) if t.step < 9 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        go(run, tmp_path)
    assert load_latest(tmp_path)["cursor"]["step"] == 8
    go(build(), tmp_path)
    assert flat(read_checkpoint(tmp_path / LAST)) == flat(read_checkpoint(whole / LAST))
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("read_every", [1, 100])
def test_what_follows_a_non_finite_loss_is_neither_applied_nor_saved(
    read_every: int, tmp_path: Path
) -> None:
    clean = build()
    go(clean, tmp_path / "clean", stop_after=3)
    run = build(bad=((3, 1),), read_every=read_every)
    ending = go(run, tmp_path / "bad")
    assert (ending.verdict.kind, ending.verdict.step) == (Kind.NON_FINITE, 3)
    for name, value in clean.task.state_dict().items():
        assert torch.equal(run.task.state_dict()[name], value), name
    assert load_latest(tmp_path / "bad")["cursor"]["step"] == 2
    assert ending.cursor.step == 4, "a checkpoint that falls due reads the flag first"


@pytest.mark.parametrize("read_every", [1, 100])
def test_dead_windows_in_a_row_end_a_run_where_the_last_of_them_ends(
    read_every: int, tmp_path: Path
) -> None:
    ending = go(build(rule=DIES_EARLY, read_every=read_every), tmp_path)
    assert (ending.verdict.kind, ending.verdict.step) == (Kind.COLLAPSED, 10)
    assert ending.cursor.step == 11, "however rarely the device is read"


@pytest.mark.parametrize("rule", [DIES_EARLY, DIES_LATE])
@pytest.mark.parametrize("step", range(1, TOTAL))
def test_a_dead_run_stopped_after_any_step_gets_the_same_verdict_and_evidence(
    rule: Rule, step: int, tmp_path: Path
) -> None:
    whole = go(build(rule=rule), tmp_path / "whole")
    go(build(rule=rule), tmp_path / "cut", stop_after=step)
    resumed = build(rule=rule)
    ending = go(resumed, tmp_path / "cut")
    assert ending.verdict == whole.verdict
    assert flat(ending.cursor.best) == flat(whole.cursor.best)
    assert flat(ending.cursor.arrays) == flat(whole.cursor.arrays)


@pytest.mark.parametrize("rule", [replace(DIES_LATE, patience=99, stop=True), DIES_LATE])
def test_a_run_found_dead_at_its_end_is_evaluated_and_saved_and_found_dead_again(
    rule: Rule, tmp_path: Path
) -> None:
    first, again = go(build(rule=rule), tmp_path), go(build(rule=rule), tmp_path)
    assert first.cursor.best == again.cursor.best != {}
    assert first.verdict == again.verdict
    assert (first.verdict.kind, first.verdict.step) == (Kind.COLLAPSED, TOTAL - 1)
    assert load_latest(tmp_path)["cursor"]["step"] == TOTAL


@pytest.mark.parametrize(
    ("values", "best"),
    [((math.nan, 50.0), (50.0, 1)), ((50.0, math.nan), (50.0, 0))],
)
def test_the_best_epoch_is_one_whose_value_is_a_number(
    values: tuple[float, ...], best: tuple[float, int], tmp_path: Path
) -> None:
    run = replace(build(), evaluate=lambda t: Evaluation({"val/top1": values[t.epoch]}))
    assert go(run, tmp_path).cursor.best == dict(zip(("value", "epoch"), best, strict=True))


def test_a_checkpoint_of_another_crash_rule_is_refused_by_name(whole: Path, tmp_path: Path) -> None:
    state = read_checkpoint(whole / LAST)
    state["judge"]["window"] = state["judge"].pop("means")
    save_checkpoint(tmp_path, state)
    with pytest.raises(CheckpointError, match="another crash rule") as caught:
        go(build(), tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def _cut(path: Path, kept: int | None) -> None:
    data = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(data[:kept])


@pytest.mark.parametrize("kept", [None, 0, 10, 150])
def test_a_metrics_file_that_was_deleted_or_cut_goes_on_with_whole_rows(
    kept: int | None, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = (whole / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    go(build(), tmp_path, stop_after=8)
    _cut(tmp_path / "metrics.jsonl", kept)
    go(build(), tmp_path)
    found = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    left = len(b"".join(rows)[:kept].split(b"\n")) - 1 if kept else 0
    steps = [json.loads(row)["step"] for row in found]
    later = [row for row in rows if json.loads(row)["step"] > 8]
    assert found == rows[:left] + later, steps
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "some rows before step 8 are lost" in warnings[0]
    assert str(tmp_path / "metrics.jsonl") in warnings[0]
    ended, expected = (flat(read_checkpoint(folder / LAST)) for folder in (tmp_path, whole))
    for state in (ended, expected):
        del state["/metrics_offset"]
    assert ended == expected
    caplog.clear()
    go(build(), tmp_path)
    assert "lost" not in caplog.text, "the file is whole again"
