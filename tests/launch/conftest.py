"""Sandboxes around the TABLE of a test module."""

import signal

import pytest

from tests.helpers.sandboxes import Sandbox, prepare


@pytest.fixture(scope="module")
def prepared(request, tmp_path_factory):
    """The configuration tree whose only table is the module's, composed once."""
    return prepare(tmp_path_factory.mktemp("prepared"), request.module.TABLE)


@pytest.fixture
def sandbox(prepared, tmp_path):
    """A fresh copy of it; ``sweep`` runs its runs through the stand-in for training."""
    return Sandbox(prepared, tmp_path)


@pytest.fixture
def in_a_terminal():
    """Signals do what they do there: in the background SIGINT is ignored, under nohup SIGHUP."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
