"""Measure the speed of training steps, loaders, workers and start-up on this machine.

python scripts/bench.py                                    # everything that fits the device
python scripts/bench.py --quick --only step                # a minute or so
python scripts/bench.py --profile small --profile paper --only step --budget 280   # one GPU
python scripts/bench.py --only loader --images /data/imagenet/val
Writes results/published/bench/<device>.csv and .md; measuring again replaces the same rows only.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.bench.main import main
from scaledrelu.runs.ending import concluded

if __name__ == "__main__":
    sys.exit(concluded(lambda: main(sys.argv[1:])))
