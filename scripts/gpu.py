"""Use a GPU that is at hand for minutes: `make gpu BUDGET=540` is this, with --budget 540.

python scripts/gpu.py --budget 540                       # tests, step bench, loader, then runs
python scripts/gpu.py --budget 300 --only runs           # runs only, the rows of most worth first
python scripts/gpu.py --budget 90 --device cpu --profile smoke   # does the script itself work?
Needs no W&B and installs nothing. Writes results/published/<profile>/ and results/published/bench/,
and a log per piece to results/gpu/. Exit status 1 if a piece failed or ran over its share.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.bench.gpu import main
from scaledrelu.errors import ScaledReluError

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], show=partial(print, end="", flush=True)))
    except ScaledReluError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
