"""What the scripts do when their output is not read to its end."""

import os
import sys

from scripts._tables import run_script


def test_a_reader_that_leaves_early_is_no_error(monkeypatch):
    """``make plan | head`` ends without a traceback, also when the buffer is flushed at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "argv", ["sweep.py", "--help"])
        assert not run_script("sweep", lambda settings, say: 1, "a script")
        print("more", flush=True)  # goes nowhere


def test_what_a_script_returns_is_its_exit_status_while_somebody_reads(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweep.py"])
    assert run_script("sweep", lambda settings, say: 1, "a script") == 1
    monkeypatch.setattr(sys, "argv", ["sweep.py", "seed=3"])
    assert run_script("sweep", lambda settings, say: 0, "a script") == 2
    assert capsys.readouterr().err.startswith("error: 'seed=3'")
