import pytest

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.errors import ConfigError
from scaledrelu.tables.settings import load_settings, settings_help
from scaledrelu.tables.spec import table_names


def test_defaults_are_every_table_at_mini():
    settings = load_settings([])
    assert settings.tables == tuple(table_names(CONF_DIR))
    assert (settings.profile, settings.seeds, settings.redo) == ("mini", None, "failed")
    assert settings.launcher == "joblib"
    assert settings.n_jobs >= 1


@pytest.mark.parametrize("text", ["tables=[table1,table3]", "tables=table1,table3"])
def test_lists_may_be_written_with_or_without_brackets(text):
    assert load_settings([text]).tables == ("table1", "table3")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0,1,2", (0, 1, 2)), ("[3]", (3,)), ("7", (7,)), ("null", None), ("[table]", None)],
)
def test_seeds_are_whole_numbers(text, seeds):
    assert load_settings([f"seeds={text}"]).seeds == seeds


def test_paper_runs_go_one_by_one_over_all_devices():
    settings = load_settings(["profile=paper", "overrides=[launch.nproc=8,stem=conv]"])
    assert (settings.launcher, settings.n_jobs) == ("basic", 1)
    assert settings.overrides == ("launch.nproc=8", "stem=conv")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("table=[table1]", "did you mean 'tables'"),
        ("tables=[tabel1]", "did you mean 'table1'"),
        ("profile=min", "did you mean 'mini'"),
        ("launcher=slurm", "allowed: auto, joblib, basic, submitit_slurm"),
        ("seeds=a", "seeds=0,1,2"),
        ("seeds=-1", "seeds=0,1,2"),
        ("n_jobs=0", "whole number from 1"),
        ("dry_run=maybe", "allowed: true, false"),
        ("tables=[table1", "close brackets"),
        ("stem=conv", "overrides=\\["),
        ("table1", "write key=value"),
    ],
)
def test_wrong_setting_is_one_line_with_what_is_allowed(argument, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings([argument])
    assert "\n" not in str(caught.value)


def test_help_names_every_setting():
    assert all(f"\n{key}:" in "\n" + settings_help() for key in ("tables", "redo", "results"))
