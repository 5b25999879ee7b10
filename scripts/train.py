"""Train one run, or a Hydra multirun of them.

python scripts/train.py stem=conv lr.base=1e-3            # one row of Table 1, at mini
python scripts/train.py -m stem=patchify,conv seed=0,1    # four runs
python scripts/train.py stem=conv profile=paper launch=ddp8 data.root=/data/imagenet
torchrun --nproc-per-node 8 scripts/train.py stem=conv profile=paper
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.compose import CONF_DIR, finalize, readable_errors
from scaledrelu.config.overrides import check_overrides
from scaledrelu.errors import ConfigError, ScaledReluError
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.runs.spawn import Ended, JobReport, run_job

EXIT_FAILED, EXIT_WRONG_INPUT = 1, 2
EXIT_INTERRUPTED = 75  # "temporary failure": the same command goes on from the checkpoint

reports: list[JobReport] = []
wrong_input: list[ScaledReluError] = []


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def job(composed: DictConfig) -> JobReport:
    """Train one run and return how it ended; nothing is raised, so that a sweep goes on."""
    try:
        asked = HydraConfig.get().runtime.choices.get("experiment")
        if asked and composed.planned_id is None:
            raise ConfigError(f"experiment={asked}: {MISSING_EXPERIMENT}")
        config = finalize(composed)
    except ScaledReluError as error:
        wrong_input.append(error)
        if composed.planned_id:
            with contextlib.suppress(ScaledReluError):  # what is planned names no folder
                folder = run_directory(composed.paths.results, composed.planned_id)
                write_error(folder, str(error))
        return JobReport(composed.planned_id or "", Ended.FAILED, str(error))
    reports.append(run_job(config))
    return reports[-1]


MISSING_EXPERIMENT = "no such file on hydra.searchpath; plan the tables again"


def main() -> int:
    """Check the command line, run, and turn the ending into an exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach readable_errors instead of Hydra's printer
    overrides = [a for a in sys.argv[1:] if "=" in a and not a.startswith("-")]
    with readable_errors():
        check_overrides(overrides, CONF_DIR)
        for asked in overrides:
            if asked.startswith("experiment=") and "hydra.searchpath" not in " ".join(overrides):
                raise ConfigError(f"{asked}: {MISSING_EXPERIMENT}")
        job()
        if wrong_input:
            raise wrong_input[0]
    sweep = any(a in ("-m", "--multirun") for a in sys.argv[1:])
    if not reports or sweep:
        return 0
    return {Ended.FAILED: EXIT_FAILED, Ended.INTERRUPTED: EXIT_INTERRUPTED}.get(reports[0].ended, 0)


if __name__ == "__main__":
    logging.getLogger("scaledrelu").setLevel(logging.INFO)
    sys.exit(main())
