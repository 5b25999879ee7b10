import shutil
from dataclasses import replace

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.engine.saved import write_saved
from scaledrelu.errors import ConfigError, TableError
from scaledrelu.launch import estimate, overview
from scaledrelu.launch.estimate import Estimate, Estimator, total_text
from scaledrelu.launch.overview import plan_text
from scaledrelu.launch.sweep import runs_to_train
from scaledrelu.runs.record import Status, run_directory, write_error
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table
from tests.helpers import table_fakes
from tests.helpers.table_fakes import FakeCompose, finish, plan_of, write_table

TOP1 = "scaledrelu.evals.classification.Top1"
UPSTREAM = {
    "blocks": [
        {
            "label": "two stages",
            "run": ["recipe=probe"],
            "upstream": ["recipe=dino", "lr.base=3e-3"],
            "rows": [
                {"run": ["stem=patchify", "lr.base=1"], "paper": {"top1": 1}},
                {"run": ["stem=conv", "lr.base=1"], "paper": {"top1": 1}},
                {"run": ["stem=conv", "lr.base=2"], "paper": {"top1": 1}},
            ],
        }
    ],
    "columns": {
        "lr": {"from": "lr.base", "of": "upstream"},
        "top1": {"metric": "val/top1"},
    },
}


@pytest.fixture
def conf(tmp_path):
    write_table(tmp_path / "conf")
    return tmp_path


def test_same_run_in_two_tables_is_planned_once(conf):
    write_table(conf / "conf", "table9")
    plan = plan_of(conf, "table8", "table9")
    assert len(plan.cells) == 4
    assert len(plan.runs) == 2
    assert plan.runs_of(plan.tables[0]) == plan.runs_of(plan.tables[1])


def test_one_run_for_every_seed(conf):
    plan = plan_of(conf, seeds=(0, 1, 2))
    assert [len(cell.run_ids) for cell in plan.cells] == [3, 3]
    assert sorted(run.seed for run in plan.runs.values()) == [0, 0, 1, 1, 2, 2]


def test_run_of_seed_0_does_not_depend_on_the_other_seeds(conf):
    alone, three = plan_of(conf), plan_of(conf, seeds=(2, 0))
    assert alone.cells[0].run_ids[0] == three.cells[0].run_ids[1]


def test_extra_overrides_are_strongest_and_change_the_run(conf):
    plan = plan_of(conf, overrides=("stem=conv",))
    assert len(plan.runs) == 1
    assert plan.cells[0].labels["stem"] == "ViT_c"


def test_upstream_run_shares_the_backbone_and_is_trained_first(tmp_path):
    write_table(tmp_path / "conf", **UPSTREAM)
    plan = plan_of(tmp_path, seeds=(0, 1))
    children = [run for run in plan.runs.values() if run.upstream]
    parents = [plan.runs[run.upstream] for run in children]
    assert len(children) == 6
    assert len({run.run_id for run in parents}) == 4  # two rows share one pre-training per seed
    for child, parent in zip(children, parents, strict=True):
        assert (child.wave, parent.wave) == (1, 0)
        assert child.seed == parent.seed
        assert child.config.stem == parent.config.stem
        assert (child.config.init.kind, child.config.init.run) == ("run", parent.run_id)
        assert parent.config.task == {"_target_": "dino"}
        assert f"init.run={parent.run_id}" in child.overrides
        assert "recipe=dino" in parent.overrides
    assert {cell.labels["lr"] for cell in plan.cells} == {"3e-3"}
    assert [run.wave for run in runs_to_train(plan, "failed")] == [0] * 4 + [1] * 6


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": {"caption": "stirde"}}, "table8, row 1: column 'a': no such caption 'stirde'"),
        (
            {"a": {"from": "lr.bsae"}},
            "table8, row 1: column 'a': the run's configuration has no key",
        ),
        (
            {"a": {"from": "lr"}},
            "'lr' is a group, not a value; write one of lr.label, lr.base",
        ),
        (
            {"a": {"from": "stem.norm._target_"}},
            "write one that --cfg job prints, or {caption: components} instead of from",
        ),
        (
            {"a": {"from": "stem.build"}},
            "write one of stem.build._target_, or {caption: components} instead of from",
        ),
        ({"a": {"metric": "val/topp1"}}, "table8, row 1: column 'a': the run reports no metric"),
        ({"a": {"metric": "val/topp1"}}, "did you mean 'val/top1'"),
        ({"a": {"metric": "val/top1_start"}}, "no metric 'val/top1_start'"),
        ({"a": {"metric": "val/loss_best"}}, "no metric 'val/loss_best'"),
        ({"a": {"metric": "val/loss", "run": ["evaluation.report=best"]}}, "'val/loss_best'"),
        ({"a": {"metric": "val/top1", "judged_on": {"metric": "val/n", "name": "n"}}}, "'val/n'"),
    ],
)
def test_what_no_run_reports_is_found_before_anything_is_trained(
    conf, monkeypatch, columns, message
):
    monkeypatch.setattr(table_fakes, "EVALUATORS", [{"_target_": TOP1}])
    metrics = {"top1": {"metric": "val/top1"}}
    rows = [{"run": ["stem=conv"], "paper": {"top1": 1.0, "a": 1.0}}]
    if "metric" not in columns["a"]:
        rows[0]["paper"].pop("a")
    write_table(conf / "conf", columns=metrics | columns, blocks=[{"rows": rows}])
    with pytest.raises(TableError) as caught:
        plan_of(conf)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_seeds_of_a_block_are_its_own_unless_the_plan_has_some(conf):
    rows = [[{"run": [f"stem={stem}"], "paper": {"top1": 1.0}}] for stem in ("conv", "patchify")]
    blocks = [{"label": "a", "seeds": [0, 1], "rows": rows[0]}, {"label": "b", "rows": rows[1]}]
    write_table(conf / "conf", seeds=[0, 1, 2], blocks=blocks)
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=None).cells] == [2, 3]
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=(5,)).cells] == [1, 1]


def test_seeds_of_a_row_are_its_own_unless_the_plan_has_some(conf):
    rows = [{"run": [f"stem={stem}"], "paper": {"top1": 1.0}} for stem in ("conv", "patchify")]
    rows[0]["seeds"] = [0, 1, 2, 3]
    write_table(conf / "conf", seeds=[0], blocks=[{"label": "a", "seeds": [0, 1], "rows": rows}])
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=None).cells] == [4, 2]
    assert [len(cell.run_ids) for cell in plan_of(conf, seeds=(5,)).cells] == [1, 1]


def test_a_profile_may_have_seeds_of_its_own(conf):
    write_table(conf / "conf", seeds={"default": [0, 1, 2], "mini": [7]})
    shutil.copytree(CONF_DIR / "profile", conf / "conf" / "profile")
    found = {p: plan_of(conf, profile=p, seeds=None) for p in ("mini", "paper")}
    seeds = {p: [run.seed for run in plan.runs.values()] for p, plan in found.items()}
    assert seeds == {"mini": 2 * [7], "paper": 2 * [0, 1, 2]}


def test_status_of_each_run_is_that_of_its_directory(conf):
    plan = plan_of(conf)
    first, second = plan.runs
    finish(plan, first, crash="collapsed")
    write_error(run_directory(plan.results, second), "disk full")
    plan = plan_of(conf)
    assert plan.runs[first].status is Status.CRASH
    assert plan.runs[second].status is Status.FAILED
    assert plan.runs[second].reason == "disk full"


@pytest.mark.parametrize(
    ("redo", "trained"),
    [("none", [3]), ("failed", [2, 3]), ("all", [0, 1, 2, 3]), (0, [0, 2, 3])],
)
def test_redo_decides_what_is_trained_again(conf, redo, trained):
    plan = plan_of(conf, seeds=(0, 1))
    names = list(plan.runs)
    finish(plan, names[0])
    finish(plan, names[1], crash="collapsed")
    write_error(run_directory(plan.results, names[2]), "lost node")
    plan = plan_of(conf, seeds=(0, 1))
    chosen = runs_to_train(plan, names[redo] if isinstance(redo, int) else redo)
    assert [names.index(run.run_id) for run in chosen] == trained


def test_redo_of_an_unknown_run_says_so(conf):
    with pytest.raises(ConfigError, match=r"redo=faild: no such run .* did you mean 'failed'"):
        runs_to_train(plan_of(conf), "faild")


def test_plan_in_words_counts_rows_runs_and_states(conf):
    plan = plan_of(conf, seeds=(0, 1))
    names = list(plan.runs)
    finish(plan, names[0], seconds=30.0)
    write_error(run_directory(plan.results, names[1]), "disk full")
    plan = plan_of(conf, seeds=(0, 1))
    todo = runs_to_train(plan, "failed")
    text = plan_text(plan, todo, n_jobs=2, estimate=Estimator(plan.results, plan.runs))
    assert "2 cells, 4 distinct runs (1 ok, 1 failed, 2 missing)" in text
    assert f"-> {names[0]}  ok" in text
    assert f"-> {names[1]}  failed: disk full" in text
    assert f"-> {names[2]}  missing (~30s)" in text
    assert "to train: 3 runs, roughly 45s with 2 jobs" in text


def plan_of_three(conf):
    rows = [["stem=conv"], ["stem=patchify"], ["stem=conv", "optimizer=sam"]]
    blocks = [{"label": "b", "rows": [{"run": run, "paper": {"top1": 1}} for run in rows]}]
    write_table(conf / "conf", blocks=blocks)
    return plan_of(conf)


def test_a_guess_holds_until_a_run_alike_has_finished_and_is_of_those_nearest(conf, monkeypatch):
    plan = plan_of_three(conf)
    conv, _, sam = runs = list(plan.runs.values())
    finish(plan, sam.run_id, seconds=100.0)
    (conf / "published").mkdir()
    plan.results.rename(conf / "published" / "mini")
    monkeypatch.setattr(estimate, "PUBLISHED", conf / "published")
    guess = Estimator(plan.results, plan.runs)
    assert [guess(run) for run in runs] == [
        Estimate(seconds, measured=False) for seconds in (50.0, 50.0, 100.0)
    ]
    finish(plan, conv.run_id, seconds=10.0)
    measured = Estimator(plan.results, plan.runs)
    assert [measured(run).seconds for run in runs] == [10, 10, 20]
    assert [measured(run).measured for run in runs] == [True, False, False]


def test_a_crash_tells_how_long_a_run_takes_only_where_none_has_held(conf):
    plan = plan_of(conf, seeds=(0, 1, 2))
    first, second, third = plan.cells[0].run_ids
    finish(plan, first, seconds=1.0, crash="non_finite")
    assert Estimator(plan.results, plan.runs)(plan.runs[third]).seconds == 1
    finish(plan, second, seconds=10.0)
    assert Estimator(plan.results, plan.runs)(plan.runs[third]).seconds == 10


def checkpoint(plan, name, step=None):
    folder = run_directory(plan.results, name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.pt").touch()
    if step is not None:
        write_saved(folder, step=step, total_steps=936)


def test_a_run_with_a_checkpoint_is_resumable_and_costs_only_what_is_left(conf):
    plan = plan_of(conf, seeds=(0, 1, 2))
    done, failed, resumable = plan.cells[0].run_ids
    finish(plan, done, seconds=936.0)
    for name, step in ((done, 936), (failed, 468), (resumable, 926)):
        checkpoint(plan, name, step)
    write_error(run_directory(plan.results, failed), "lost node")
    plan = plan_of(conf, seeds=(0, 1, 2))
    todo = [plan.runs[failed], plan.runs[resumable]]
    text = plan_text(plan, todo, n_jobs=1, estimate=Estimator(plan.results, plan.runs))
    assert "(1 ok, 1 failed, 3 missing, 1 resumable)" in text
    assert f"-> {resumable}  resumable at step 926 of 936 (10s left)" in text
    assert f"-> {failed}  failed: lost node; resumable at step 468 of 936" in text
    assert "to train: 2 runs, about 7m 58s" in text


def test_a_checkpoint_that_does_not_say_its_step_is_resumable_all_the_same(conf):
    plan = plan_of(conf)
    checkpoint(plan, plan.cells[0].run_ids[0])
    text = plan_text(plan_of(conf), [], n_jobs=1, estimate=Estimator(plan.results, plan.runs))
    assert "resumable from its checkpoint" in text


def test_measured_seconds_of_runs_alike_replace_the_guess(conf):
    plan = plan_of(conf, seeds=(0, 1, 2))
    patchify = plan.cells[0].run_ids
    finish(plan, patchify[0], seconds=10.0)
    finish(plan, patchify[1], seconds=14.0)
    measured = Estimator(plan.results, plan.runs)
    alike, other = plan.runs[patchify[2]], plan.runs[plan.cells[1].run_ids[0]]
    assert (measured(alike).seconds, measured(alike).measured) == (12.0, True)
    assert measured(other).measured is False
    assert total_text([measured(alike)] * 4, 2) == "about 24s with 2 jobs"


def test_that_no_run_alike_has_finished_is_no_unknown_time_where_the_cost_follows(
    conf, monkeypatch
):
    unknown = "to train: 2 runs, no similar run has finished here"
    plan = plan_of(conf)
    texts = []
    for small in (True, False):
        monkeypatch.setattr(overview, "is_small", lambda _, small=small: small)
        texts.append(
            plan_text(
                plan,
                list(plan.runs.values()),
                n_jobs=1,
                estimate=lambda _: Estimate(None, measured=False),
            )
        )
    assert texts[0].endswith(f"\n{unknown}, so the time is unknown")
    assert f"\n{unknown}\ncost: " in texts[1]


def test_cached_composition_equals_a_fresh_one(tmp_path):
    overrides = ["stem=conv", "optimizer=sam", "lr.base=1e-3", "profile=mini"]
    first = Composer(tmp_path)
    fresh = first(overrides)
    first.save()
    second = Composer(tmp_path)
    assert second(overrides[::-1]) == fresh
    assert second._dirty is False
    assert fresh.choices["profile_optimizer"] == "mini_sam"


def test_an_edit_of_the_configuration_composes_anew(tmp_path):
    conf = tmp_path / "conf"
    (conf / "stem").mkdir(parents=True)
    (conf / "stem" / "a.yaml").write_text("x: 1\n")
    before = Composer(tmp_path, conf_dir=conf)._path
    (conf / "stem" / "a.yaml").write_text("x: 2\n")
    assert Composer(tmp_path, conf_dir=conf)._path != before


def test_planned_seed_is_the_composed_seed(tmp_path):
    composer = Composer(tmp_path)
    plain = composer(["profile=mini"]).config
    assert replace(plain, seed=7) == composer(["profile=mini", "seed=7"]).config


def test_a_shared_planner_plans_as_a_fresh_one(conf):
    """Tables share runs under other labels; what was planned before changes nothing."""
    rows = [{"run": ["stem=conv", "stem.label=mine"], "paper": {"top1": 1.0}}]
    write_table(conf / "conf", "table9", blocks=[{"label": "b", "rows": rows}], seeds=[0, 3])
    finish(plan_of(conf), plan_of(conf).cells[1].run_ids[0])
    compose = FakeCompose(conf / "conf")
    shared = Planner("mini", results=conf / "results", compose=compose)
    for names, seeds in ((("table8",), (0,)), (("table9", "table8"), None), (("table9",), (0,))):
        tables = [load_table(name, conf / "conf") for name in names]
        assert shared.plan(tables, seeds) == plan_of(conf, *names, seeds=seeds)


def test_a_table_that_changed_meanwhile_is_planned_as_it_is_now(conf):
    shared = Planner("mini", results=conf / "results", compose=FakeCompose(conf / "conf"))
    shared.plan([load_table("table8", conf / "conf")], (0,))
    write_table(conf / "conf", title="Another title")
    plan = shared.plan([load_table("table8", conf / "conf")], (0,))
    assert [table.title for table in plan.tables] == ["Another title"]
    assert {cell.table.title for cell in plan.cells} == {"Another title"}
