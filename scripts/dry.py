"""Take one training and one evaluation step of every row at paper size, on random 224-px images.

python scripts/dry.py                                     # fp32, batch 2, CPU
python scripts/dry.py tables=[table1] overrides=[precision=fp16_2021]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.compose import compose
from scaledrelu.errors import ScaledReluError
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script

SMALL = ("batch.total=2", "batch.group=2", "precision=fp32", "launch=local", "launch.device=cpu")
IMAGENET_CLASSES = 1000


def dry(settings: Settings, say: Say) -> int:
    """Take the steps run by run; return 1 if any of them failed.

    Args:
        settings: which tables, and overrides of every run.
        say: prints one line.
    """
    from scaledrelu.runs.dry import dry_step

    runs = list(plan_tables(settings).runs.values())
    failures = 0
    for number, run in enumerate(runs, 1):
        started = time.monotonic()
        overrides = [*run.overrides, f"profile={settings.profile}", *SMALL, *settings.overrides]
        overrides.append(f"trust=[{','.join(settings.trust)}]")
        try:
            found = dry_step(compose(overrides), num_classes=IMAGENET_CLASSES)
        except (ScaledReluError, RuntimeError) as error:
            failures += 1
            say(f"[{number}/{len(runs)}] {run.run_id} failed: {error}")
            continue
        say(
            f"[{number}/{len(runs)}] {run.run_id} {' '.join(run.overrides)}: "
            f"{found.parameters:,} parameters, loss {found.loss:.3f}, "
            f"|grad| {found.grad_norm:.2f}, logits {found.logits}  "
            f"{time.monotonic() - started:.1f}s"
        )
    say(f"{len(runs) - failures} of {len(runs)} runs took their steps")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_script("dry", dry, __doc__))
