"""The files of a profile's folder: which are reports of tables, and what lies beside them."""

from __future__ import annotations

from pathlib import Path

from scaledrelu.tables.figures import FIGURE1
from scaledrelu.tables.grids import FOLDER as STABILITY

# What other commands write beside the tables of a profile, with Figure 1 and the stability maps.
CLAIMS, CURVES = "claims", "curves"
MILESTONES = "milestones"  # beside the curves: what the paper says of them, with ours
SUFFIXES = (".csv", ".md", ".svg", ".png")


def table_files(folder: Path) -> list[Path]:
    """Return the CSVs of tables in a folder, in order of their names; some CSVs are others.

    Args:
        folder: one profile's reports.
    """
    return [path for path in sorted(folder.glob("*.csv")) if path.stem not in (CLAIMS, FIGURE1)]


def other_files(folder: Path) -> list[list[Path]]:
    """Return the files of claims, of Figure 1, of all curves and of all stability maps.

    Args:
        folder: one profile's reports.
    """
    patterns = (f"{CLAIMS}.*", f"{FIGURE1}.*", f"{CURVES}/*.*", f"{STABILITY}/*.*")
    found = (sorted(folder.glob(pattern)) for pattern in patterns)
    kept = [[path for path in paths if path.suffix in SUFFIXES] for paths in found]
    return [paths for paths in kept if paths]
