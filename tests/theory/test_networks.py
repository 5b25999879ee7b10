"""A trained network gives what the page says of it: one tiny run, from training to numbers."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.models.channels import ATTENTION, THEOREM, channel_pairs
from scaledrelu.runs.record import Status, read_result, run_directory
from scaledrelu.runs.spawn import run_job
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.theory import balance
from scaledrelu.theory.networks import around_last_relu, load_networks, rescaling_error
from scaledrelu.theory.plan import TheoryRun
from scaledrelu.theory.records import channel_norms
from scaledrelu.theory.theorem2 import mean_cosine

TINY = ("profile=smoke", "stem=patchify_bn_relu", "data.fraction=0.2", "launch.device=cpu")
TINY += ("model.depth=1", "model.width=16", "model.heads=2", "evaluation.channels=true")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    results = tmp_path_factory.mktemp("theory")
    config = compose([*TINY, f"paths.results={results}"])
    logging.disable(logging.INFO)
    run_job(config)
    logging.disable(logging.NOTSET)
    name = run_id(config)
    folder = run_directory(results, name)
    planned = PlannedRun(
        name, (), 0, config, {}, None, None, 0, Status.OK, None, read_result(folder)
    )
    return TheoryRun("tail", 0, planned, folder)


@pytest.fixture(scope="module")
def networks(run):
    return load_networks(run)


def test_the_network_before_training_is_not_the_trained_one(networks):
    start, trained = (network.model.blocks[0].attn.qkv.weight for network in networks)
    assert start.dtype == torch.float64
    assert not torch.equal(start, trained)


def test_rescaling_is_exact_only_where_nothing_lies_between(networks):
    for network in networks:
        assert rescaling_error(network, ATTENTION) < 1e-12
        assert rescaling_error(network, THEOREM) > 1e-3
        assert rescaling_error(network, ATTENTION) < 1e-12  # the network itself was left alone


def test_recorded_norms_end_at_those_of_the_checkpoint(run, networks):
    recorded = channel_norms(run.folder)
    assert set(recorded) == {ATTENTION, THEOREM}
    for name, pair in channel_pairs(networks[1].model).items():
        np.testing.assert_allclose(recorded[name].scale_TC[-1], pair.scale_norm(), rtol=1e-5)
        np.testing.assert_allclose(recorded[name].reader_TC[-1], pair.reader_norm(), rtol=1e-5)


def test_similarity_around_the_relu_is_that_of_its_tokens(networks):
    network = networks[1]
    stem = network.model.patch_embed
    with torch.no_grad():
        x = stem.proj(network.images_BCHW)
        norm = stem.tail[0]
        scale = (norm.running_var + norm.eps).sqrt()[:, None, None]
        before = ((x - norm.running_mean[:, None, None]) / scale).flatten(2).transpose(1, 2)
        after = (before * norm.weight + norm.bias).clamp_min(0)
    found = around_last_relu(network)
    for tokens, absolute, signed in (
        (before, found.before, found.before_signed),
        (after, found.after, found.after_signed),
    ):
        cosines = [mean_cosine(one.numpy()) for one in tokens]
        assert absolute == pytest.approx(np.mean([c.absolute for c in cosines]), rel=1e-4)
        assert signed == pytest.approx(np.mean([c.signed for c in cosines]), abs=1e-4)


def test_the_decay_of_a_run_does_not_hang_on_where_its_metrics_end(run, tmp_path):
    (whole,) = balance.measure([run])
    rows = (run.folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    inside = json.dumps({"epoch": 0, "step": 1, "train/loss": 2.3}) + "\n"
    for text in ("", inside, rows[0]):
        (tmp_path / "metrics.jsonl").write_text(text)
        (cut,) = balance.measure([dataclasses.replace(run, folder=tmp_path)])
        assert cut.decay_done == whole.decay_done


def test_the_decay_of_a_run_is_rate_times_decay_over_its_steps(run):
    (one,) = balance.measure([run])
    rows = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert one.weight_decay == 0.05
    assert not one.decays_all
    assert 0 < one.decay_done < len(rows) * 0.05 * run.run.config.peak_lr * 4
    assert one.norms.keys() == {ATTENTION, THEOREM}
