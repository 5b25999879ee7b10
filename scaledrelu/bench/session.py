"""One call of the bench: its budget, and where its rows are written at once."""

from __future__ import annotations

import argparse
import logging
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from scaledrelu.bench.picture import draw_ratios, ratios
from scaledrelu.bench.table import Origin, Row, flat, merge, render_csv, render_markdown
from scaledrelu.files import write_atomic

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """One call of the bench: its budget and its rows."""

    options: argparse.Namespace
    device: Any
    origin: Origin
    path: Path
    peak_note: str
    started: float = field(default_factory=time.monotonic)
    found: list[dict[str, str]] = field(default_factory=list)
    failures: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> int:
        """Number of ratios of every case."""
        few = self.options.quick or self.device.type == "cuda"
        return self.options.blocks or (5 if few else 7)

    @property
    def turn_seconds(self) -> float:
        """Seconds of one turn."""
        return self.options.turn or 0.2

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.options.budget - (time.monotonic() - self.started)

    def keep(self, row: Row) -> None:
        """Write one row to the files."""
        self.found.append(flat(row, self.origin))
        rows = merge(self.path, self.found)
        write_atomic(self.path, render_csv(rows))
        picture = self.path.with_suffix(".png").name if ratios(rows) else None
        page = render_markdown(rows, self.peak_note, picture=picture)
        self.path.with_suffix(".md").write_text(page)
        log.info("  %s", _say(row))

    def draw(self) -> None:
        """Draw the picture of all rows, if some are beside others'."""
        draw_ratios(merge(self.path, self.found), self.path.with_suffix(""))

    def attempt(
        self, label: str, cost: float, blank: Row, rows: Callable[[], Iterable[Row]]
    ) -> float:
        """Measure something that is expected to take ``cost`` seconds; return what it took.

        A failure becomes a row that says so, and the bench continues.

        Args:
            label: name in the log.
            cost: expected seconds.
            blank: the row of a failure.
            rows: measures and yields rows.
        """
        if self.left < cost:
            self.left_out.append(label)
            return cost
        log.info("%s", label)
        start = time.monotonic()
        try:
            for row in rows():
                self.keep(row)
        except Exception as error:
            self.failures += 1
            log.exception("%s failed", label)
            lines = str(error).strip().splitlines() or [""]
            self.keep(replace(blank, problem=f"{type(error).__name__}: {lines[0][:120]}"))
        return time.monotonic() - start


def open_session(options: argparse.Namespace, arguments: Sequence[str]) -> Session:
    """Find the device and describe where the numbers come from.

    Args:
        options: the command line, parsed.
        arguments: the command line as typed, for the published file.

    Raises:
        DataError: the published file is cut off.
    """
    import timm
    import torch

    from scaledrelu.bench.machine import peak_note, slug
    from scaledrelu.engine.distributed import pick_device, take_device
    from scaledrelu.runs.provenance import device_name

    device = pick_device(options.device, 0)
    take_device(device)
    name = device_name(device)
    log.info("%s, torch %s", name, torch.__version__)
    # Local folders mean nothing elsewhere and do not belong in a published file.
    words = [Path(a).name if Path(a).is_absolute() else a for a in arguments]
    origin = Origin(
        date=date.today().isoformat(),
        device=name,
        torch=torch.__version__,
        timm=timm.__version__,
        command=shlex.join(["python", "scripts/bench.py", *words]),
        note=options.note,
    )
    path = options.out / f"{slug(name)}.csv"
    merge(path, ())  # a file that cannot be added to is refused before anything is measured
    return Session(options, device, origin, path, peak_note(device))


def _say(row: Row) -> str:
    values = flat(row, Origin("", "", "", "", ""))
    names = ("name", "images_per_s", "plain_images_per_s", "ratio", "ratio_min", "ratio_max")
    names += ("mfu_percent", "first_step_s", "memory_gib", "seconds", "loss_gap", "problem")
    return "  ".join(f"{name} {values[name]}" for name in names if values[name])
