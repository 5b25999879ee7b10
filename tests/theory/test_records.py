"""What the page says of runs comes from their records, and goes with them."""

import json
import shutil

import numpy as np
import pytest

from scaledrelu.errors import RunError
from scaledrelu.reports.published_tables import Line
from scaledrelu.runs.record import Status, write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.theory import records, trained

SETTING = f"{trained.DEIT}, AdamW, lr 1e-3"


def leave_run(runs, name, *, seed, similarity, crash=False, alpha=None):
    """Leave the record of a run: its result and its evidence."""
    outcome = Outcome.CRASH if crash else Outcome.OK
    result = Result(name, outcome, {"val/top1": 50.0}, crash={"kind": "x"} if crash else None)
    write_result(runs / name, result, {"seed": seed})
    arrays = {"similarity.absolute": np.full(8, similarity), "qkv_channel_norm": np.arange(1.0, 5)}
    if alpha is not None:
        arrays |= {"stem.alpha": np.array(alpha), "stem.beta": np.full(len(alpha), 2.0)}
    np.savez(runs / name / "evidence.npz", **arrays)


def line_of(*run_ids):
    """Return a row of a published table with some runs."""
    fields = dict.fromkeys(Line.__slots__)
    fields |= {"run_ids": run_ids, "labels": {}, "values": {}, "status": Status.OK}
    return Line(**fields)


@pytest.fixture
def runs(tmp_path):
    for seed, (high, low) in enumerate(((0.5, 0.2), (0.6, 0.2), (0.7, 0.3))):
        leave_run(tmp_path, f"with-{seed}", seed=seed, similarity=high, alpha=[-1.0, 1, -1, -2])
        leave_run(tmp_path, f"without-{seed}", seed=seed, similarity=low)
    leave_run(tmp_path, "with-3", seed=3, similarity=1.0, crash=True)
    leave_run(tmp_path, "without-3", seed=3, similarity=0.0)
    return tmp_path


def _evidence(runs):
    return [
        records.read_evidence(runs, line_of(*(f"{kind}-{seed}" for seed in range(4))))
        for kind in ("with", "without")
    ]


def test_a_difference_is_over_seeds_that_held_in_both(runs):
    size, crashed = trained.difference(*_evidence(runs), trained.STEM)
    assert (size.n, crashed) == (3, 1)
    assert size.mean == pytest.approx((0.3 + 0.4 + 0.4) / 3)


def test_deleting_one_run_takes_its_dot_and_its_pair_and_nothing_else(runs):
    before, _ = _evidence(runs)
    shutil.rmtree(runs / "with-1")
    after, other = _evidence(runs)
    assert [run.run_id for run in after] == [r.run_id for r in before if r.run_id != "with-1"]
    assert len(other) == 4
    size, _ = trained.difference(after, other, trained.STEM)
    assert size.n == 2
    assert size.mean == pytest.approx((0.3 + 0.4) / 2)


def test_shifts_are_counted_in_units_of_their_scales(runs):
    evidence = {(SETTING, trained.FULL): _evidence(runs)[0][:3]}
    (shifts,) = trained._shifts(evidence)
    assert shifts.runs == 3
    assert shifts.negative == 0.75
    assert sorted(set(shifts.ratios)) == [-1.0, -0.5, 0.5]


def test_what_a_run_did_not_record_is_missing(runs, tmp_path):
    np.savez(runs / "with-0" / "evidence.npz", other=np.zeros(1))
    assert [run.seed for run in _evidence(runs)[0]] == [1, 2, 3]
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0, "step": 22, "val/top1": 10.0}\n')
    assert records.channel_norms(tmp_path) == {}


def test_damage_is_one_line_that_names_the_file(runs, tmp_path):
    (runs / "with-0" / "evidence.npz").write_bytes(b"no archive")
    (tmp_path / "metrics.jsonl").write_text("{")
    reads = {
        "evidence.npz": lambda: _evidence(runs),
        "metrics.jsonl": lambda: records.channel_norms(tmp_path),
    }
    for name, read in reads.items():
        with pytest.raises(RunError, match=name) as refused:
            read()
        assert "\n" not in str(refused.value)


def test_norms_per_channel_come_back_in_the_order_of_channels(tmp_path):
    rows = [
        {"epoch": e, "step": 22 * (e + 1)}
        | {f"channel/projection_scale_{c:03d}": 10.0 for c in (2, 0, 1)}
        | {f"channel/projection_reader_{c:03d}": 10.0 ** (c + e) for c in (2, 0, 1)}
        for e in range(2)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(text)
    norms = records.channel_norms(tmp_path)["projection"]
    np.testing.assert_allclose(norms.log_ratio, [[-1, 0, 1], [0, 1, 2]])
    assert records.steps_per_epoch(tmp_path) == 22
