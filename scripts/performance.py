"""Write docs/performance.md, the GPU-hours of the whole paper; `make performance` calls this.

python scripts/performance.py

Reads the speeds in results/published/bench/ and the configuration of every run at the paper's size.
Trains nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.cost.records import read_records
from scaledrelu.errors import DataError
from scaledrelu.files import writing_to
from scaledrelu.reports.performance.page import plan_paper, write_page
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say
from scripts._tables import run_script


def performance(settings: Settings, say: Say) -> int:
    """Write the page and its picture.

    Args:
        settings: extra overrides, and where what was composed is kept.
        say: prints one line.

    Raises:
        DataError: no speed of a GPU is published, or some of what is needed is not there.
    """
    records = read_records()
    if records is None:
        raise DataError(
            "results/published/bench: holds no training step of a GPU at the paper's size; "
            "measure some with make gpu, or restore the published files"
        )
    docs = settings.conf_dir.parent / "docs"
    with writing_to(docs):
        for path in write_page(plan_paper(settings), records, docs=docs):
            say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script("performance", performance, __doc__))
