"""Write the tables from what is done; train nothing.

python scripts/report.py tables=[table1] profile=mini
python scripts/report.py profile=mini seeds=0,1,2 publish=true
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.launch.sweep import run_report
from scripts.sweep import main

if __name__ == "__main__":
    sys.exit(main(run_report, __doc__))
