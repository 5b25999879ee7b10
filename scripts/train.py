"""Train one run, or several with -m: group=option chooses an option, key=value sets a value.

python scripts/train.py stem=conv lr.base=1e-3              one row of Table 1, at mini
python scripts/train.py -m stem=patchify,conv seed=0,1      four runs
python scripts/train.py stem=conv profile=paper data.root=/data/imagenet1k
torchrun --nproc-per-node 8 scripts/train.py stem=conv profile=paper
python scripts/train.py --run deit-0123456789ab             a planned run, from its config.yaml
torchrun --nproc-per-node 8 -- scripts/train.py --run deit-0123456789ab    (-- is needed)
python scripts/train.py --cfg job --resolve stem=conv       show the configuration
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.places import CONF_DIR
from scaledrelu.launch.slots_launcher import SlotsLauncher
from scaledrelu.reports.collect.multirun import multirun_text
from scaledrelu.runs.command import Command

command = Command(multirun_text)


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")
def job(composed: DictConfig) -> float | None:
    """Train one run and return its headline metric, None if it has no result."""
    return command.job(composed)


def main() -> int:
    """Train what the command line asks for; return the exit status."""
    return command.main(job, __doc__, plugins=[SlotsLauncher])


if __name__ == "__main__":
    logging.getLogger("scaledrelu").setLevel(logging.INFO)
    sys.exit(main())
