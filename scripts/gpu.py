"""Use a GPU for a few minutes: `make gpu BUDGET=540` calls this with --budget 540.

python scripts/gpu.py --budget 540                       # tests, steps, whole loops, loader, runs
python scripts/gpu.py --budget 300 --only runs           # runs only, the most important rows first
python scripts/gpu.py --budget 90 --device cpu --profile smoke   # try the script itself on a CPU
Needs no W&B and installs nothing. Writes results/published/<profile>/ and results/published/bench/,
and one log for each piece to results/gpu/. Exit status 1 if a piece failed or took too long.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.bench.gpu import main
from scaledrelu.runs.ending import concluded

if __name__ == "__main__":
    show = partial(print, end="", flush=True)
    sys.exit(concluded(lambda: main(sys.argv[1:], show=show)))
