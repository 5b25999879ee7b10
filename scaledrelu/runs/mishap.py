"""An error nobody foresaw, as one line: what the run was doing, where, and what happened."""

from __future__ import annotations

import traceback
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
DOING = {  # function -> what a run does while it is in there; the innermost counts
    "open_data": "opening the data",
    "build_task": "building the model",
    "load_initial": "loading the first weights",
    "build_evaluation": "building the evaluators",
    "embed_training_images": "computing features",
    "build_optimizer": "building the optimizer",
    "build": "building the run",
    "train": "training",
    "restore": "resuming",
    "save": "saving a checkpoint",
    "_look": "evaluating",
    "collect_evidence": "gathering evidence",
    "make_result": "writing the result",
}


def in_one_line(error: BaseException) -> str:
    """Return e.g. ``while training (engine/step.py:88): ValueError: shapes differ``."""
    doing, place = "", ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            doing = DOING.get(frame.f_code.co_name, doing)
            place = f"{path.relative_to(PACKAGE)}:{line}"
    where = f"{f'while {doing}' if doing else 'in'} ({place}): " if place else ""
    first = next(iter(str(error).strip().splitlines()), "no message")
    return f"{where}{type(error).__name__}: {first}"
