"""Chains of runs are completed after any death, and change only below what changed."""

import copy
import os
import signal
import subprocess
import sys
import time

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.runs.record import run_directory
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import plan_tables, planner_of
from tests.helpers.sandboxes import Sandbox, settings_in, write_only_table

UPSTREAM = ["recipe=dino", "lr.base=5e-4", "optimizer=adamw", "warmup.epochs=10"]
PROBES = {
    "label": "linear evaluation",
    "run": ["recipe=linear_probe"],
    "upstream": UPSTREAM,
    "rows": [
        {"run": ["stem=patchify"], "paper": {"top1": 73.6}},
        {"run": ["stem=conv"], "paper": {"top1": 76.0}},
    ],
}
TWO_STAGES = {
    "label": "TST",
    "run": ["recipe=deit", "stem=patchify", "warmup.epochs=5"],
    "upstream": UPSTREAM,
    "rows": [{"run": ["lr.base=5e-4"], "paper": {"top1": 81.3}}],
}
ONE_STAGE = {
    "label": "OST",
    "run": ["recipe=deit", "stem=patchify", "warmup.epochs=5"],
    "rows": [{"run": ["lr.base=5e-4"], "paper": {"top1": 79.8}}],
}
TABLE = {
    "source": "Table 8",
    "title": "A table of chains",
    "columns": {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}},
    "blocks": [PROBES, TWO_STAGES, ONE_STAGE],
}
# In the order of the plan: parents come where they are first asked for.
DINO_P, PROBE_P, DINO_C, PROBE_C, TWO, ONE = range(6)


def attempts(sandbox: Sandbox) -> list[int]:
    files = [sandbox.folder(place) / "attempts" for place in range(len(sandbox.names))]
    return [len(file.read_text()) if file.exists() else 0 for file in files]


def test_the_plan_shares_parents_and_trains_them_first(sandbox):
    runs = list(sandbox.plan.runs.values())
    parents = [run.upstream and sandbox.names.index(run.upstream) for run in runs]
    assert parents == [None, DINO_P, None, DINO_C, DINO_P, None]
    sandbox.behave()
    assert sandbox.sweep() == 0
    assert sandbox.started() == [DINO_P, DINO_C, ONE, PROBE_P, PROBE_C, TWO]


def test_a_run_starts_as_soon_as_its_own_upstream_run_is_done(sandbox):
    sandbox.behave(["ok"], ["ok"], ["nap"])
    assert sandbox.sweep("n_jobs=2") == 0
    order = sandbox.started()
    assert order.index(PROBE_P) < order.index(PROBE_C)
    said = [line for line in sandbox.said if line.startswith("[")]
    ended = [sandbox.names.index(line.split()[1]) for line in said]
    assert ended.index(PROBE_P) < ended.index(DINO_C), "it did not wait for the other pre-training"


@pytest.mark.parametrize("victim", range(6))
def test_any_run_that_is_killed_is_tried_again_and_no_other(sandbox, victim):
    sandbox.behave(*(["kill", "ok"] if n == victim else ["ok"] for n in range(6)))
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 6
    assert attempts(sandbox) == [2 if n == victim else 1 for n in range(6)]


def test_a_parent_that_fails_holds_back_what_is_below_it_until_it_is_done(sandbox):
    sandbox.behave(["raise", "ok"])
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["failed", "missing", "ok", "ok", "missing", "ok"]
    assert sandbox.sweep() == 0
    assert sandbox.started()[-3:] == [DINO_P, PROBE_P, TWO]
    left = [line for line in sandbox.said if "left out: it needs" in line]
    assert len(left) == 2
    assert all(line.endswith("which failed") for line in left)


def test_nothing_starts_from_a_run_that_crashed_and_its_rows_say_so(sandbox):
    sandbox.behave(["crash"])
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["crash", "missing", "ok", "ok", "missing", "ok"]
    text = (sandbox.base / "results" / "mini" / "table8.md").read_text()
    assert text.count(f"upstream crashed ({sandbox.names[DINO_P]})") >= 2
    assert sandbox.sweep() == 0
    assert attempts(sandbox) == [1, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("asleep", [DINO_C, PROBE_C])
def test_after_a_power_cut_the_same_command_completes_the_chain(sandbox, asleep):
    sandbox.behave(*(["sleep", "ok"] if n == asleep else ["ok"] for n in range(6)))
    trained = run_directory(sandbox.base / "results", sandbox.names[asleep]) / "asleep"
    planner = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(base=str(sandbox.base))],
        start_new_session=True,
        cwd=CONF_DIR.parent,
    )
    while not trained.exists():
        assert planner.poll() is None
        time.sleep(0.02)
    for pid in session_of(planner.pid):
        os.kill(pid, signal.SIGKILL)
    planner.wait()
    done = [n for n, status in enumerate(sandbox.statuses()) if status == "ok"]
    assert done == ([DINO_P] if asleep == DINO_C else [DINO_P, PROBE_P, DINO_C, ONE])
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 6
    assert attempts(sandbox) == [2 if n == asleep else 1 for n in range(6)]


DRIVER = """
from pathlib import Path
from tests.helpers.sandboxes import sweep_in
sweep_in(Path({base!r}), "n_jobs=1")
"""


def session_of(leader: int) -> list[int]:
    """Return the processes of a session, its leader first: the planner and what it started."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [leader]
    for pid in found:
        found += [child for child, parent in pairs if parent == pid]
    return found


OTHER = [*UPSTREAM, "task.student_temp=0.2"]
CHANGES = {
    "the parents of all": ({(0, "upstream"): OTHER, (1, "upstream"): OTHER}, {0, 1, 2, 3, 4}),
    # The other block still starts from the first parent.
    "the parents of one block": ({(0, "upstream"): OTHER}, {PROBE_P, DINO_C, PROBE_C}),
    "the parent of one run": ({(1, "upstream"): OTHER}, {TWO}),
    "children": ({(0, "run"): ["recipe=linear_probe", "task.num_blocks=2"]}, {PROBE_P, PROBE_C}),
    "one without parents": (
        {(2, "run"): [*ONE_STAGE["run"][:-1], "warmup.epochs=20"]},
        {ONE},
    ),
}


@pytest.fixture(scope="module")
def composer(prepared):
    """One for all changes: only the tables differ, and no table is part of a composed config."""
    return Composer(prepared / "results", conf_dir=prepared / "conf")


@pytest.mark.parametrize(("fields", "replanned"), CHANGES.values(), ids=CHANGES)
def test_a_changed_field_plans_anew_exactly_what_lies_below_it(
    sandbox, composer, fields, replanned
):
    table = copy.deepcopy(TABLE)
    for (block, key), value in fields.items():
        table["blocks"][block][key] = value
    write_only_table(sandbox.base, table)
    settings = settings_in(sandbox.base)
    plan = plan_tables(settings, planner=planner_of(settings, compose=composer))
    gone = {n for n, name in enumerate(sandbox.names) if name not in plan.runs}
    assert gone == replanned
