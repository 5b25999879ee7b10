"""The page's runs are those of conf/theory.yaml, and no run of a table is renamed for them."""

import pytest

from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.record import Status
from scaledrelu.theory.plan import named, plan_theory, theory_runs
from tests.helpers.configs import with_values


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return theory_runs(plan_theory(results=tmp_path_factory.mktemp("theory"), conf_dir=CONF_DIR))


def test_every_run_records_channels_and_pairs_differ_in_decay_alone(runs):
    by_name = {run.name: run.run.config for run in runs if run.seed == 0}
    assert all(config.evaluation.channels for config in by_name.values())
    for exempt, decays in (("exempt", "all"), ("exempt_1.4", "all_1.4"), ("exempt_14", "all_14")):
        one, other = by_name[exempt].optimizer, by_name[decays].optimizer
        assert (one.decay_all, other.decay_all) == (False, True)
        assert one.build == other.build
        assert by_name[exempt].stem == by_name[decays].stem


def test_a_run_that_records_no_channels_is_the_run_that_it_was(runs):
    ours = next(run.run for run in runs if run.name == "exempt" and run.seed == 0)
    without = with_values(ours.config, {"evaluation.channels": False})
    assert run_id(without) == "deit-0400170f5a35"  # published before there was the field
    assert run_id(ours.config) == ours.run_id != run_id(without)


def test_untrained_runs_are_left_out_and_not_guessed(runs):
    assert {run.run.status for run in runs} == {Status.MISSING}
    assert named(runs, "exempt", "all") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs: {one: [stem=conv]}\nrun: {}\n", "conf/theory.yaml: unknown key 'run'"),
        ("base: []\n", "conf/theory.yaml: no 'runs'"),
        ("runs: {one: [seed=3]}\n", "seed"),
        ("runs: [\n", "conf/theory.yaml"),
    ],
)
def test_a_mistake_in_the_file_gets_one_line(tmp_path, text, words):
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "theory.yaml").write_text(text)
    with pytest.raises(ScaledReluError, match=words) as refused:
        plan_theory(results=tmp_path / "results", conf_dir=conf)
    assert "\n" not in str(refused.value)
