"""The bench's command line and its clock: runs what fits the budget, writes after every row."""

from __future__ import annotations

import argparse
import gc
import logging
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from scaledrelu.bench.cases import PROFILES, Case, list_cases
from scaledrelu.bench.table import Origin, Row, flat, merge, render_csv, render_markdown

log = logging.getLogger(__name__)

KINDS = ("step", "loader", "workers", "startup")
COMPILE_SECONDS = 75.0  # first guess of what a compiled case costs; then the last one's time
CASE_SECONDS = 8.0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="bench.py", description="Speed of training steps, loaders, workers and start-up."
    )
    add = parser.add_argument
    add("--profile", action="append", choices=PROFILES, help="repeatable; default: what fits")
    add("--only", action="append", choices=KINDS, help="repeatable; default: all")
    add("--quick", action="store_true", help="patchify and conv stem, no switches, fewer rounds")
    add("--match", action="append", default=[], metavar="WORD", help="cases whose label has it")
    add(
        "--blocks",
        type=int,
        metavar="N",
        help="rounds of A B B A (default 11; 5 if quick or on a GPU)",
    )
    add("--turn", type=float, metavar="SECONDS", help="length of one turn (default 0.25)")
    add("--batch", type=int, metavar="B", help="images per update in every case")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add("--images", type=Path, metavar="DIR", help="real JPEGs for the loader; else generated ones")
    add("--budget", type=float, default=float("inf"), metavar="SECONDS", help="stop after these")
    add("--out", type=Path, default=Path("results/published/bench"), metavar="DIR")
    add("--note", default="", help="what else a reader must know, e.g. who shared the machine")
    add("--list", action="store_true", help="print the cases in their order and leave")
    return parser.parse_args(arguments)


@dataclass(slots=True)
class Session:
    """One call of the bench: what it may spend and what it found."""

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
    def rounds(self) -> int:
        """Rounds of A B B A."""
        few = self.options.quick or self.device.type == "cuda"
        return self.options.blocks or (5 if few else 11)

    @property
    def turn_seconds(self) -> float:
        """Length of one turn."""
        return self.options.turn or 0.25

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.options.budget - (time.monotonic() - self.started)

    def keep(self, row: Row, note: str = "") -> None:
        """Take one row into the files."""
        origin = replace(self.origin, note="; ".join(filter(None, (self.origin.note, note))))
        self.found.append(flat(row, origin))
        rows = merge(self.path, self.found)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(render_csv(rows))
        self.path.with_suffix(".md").write_text(render_markdown(rows, self.peak_note))
        log.info("  %s", _say(row))

    def attempt(self, label: str, cost: float, blank: Row, rows: Callable[[], Any]) -> float:
        """Measure something that is expected to take ``cost`` seconds; return what it took.

        What fails becomes a row that says so, and the bench goes on.
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


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 1 if a measurement failed."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("scaledrelu").setLevel(logging.INFO)
    if options.list:
        device = "cpu" if options.device == "auto" else options.device
        for case in chosen_cases(options, device):
            log.info("%s", case.label)
        return 0
    session = open_session(options, arguments)
    kinds = options.only or KINDS
    for kind in KINDS:
        if kind in kinds:
            MEASURES[kind](session)
    log.info("%d rows in %s and .md", len(session.found), session.path)
    if session.left_out:
        log.info("left out, no budget: %s", ", ".join(session.left_out))
    return 1 if session.failures else 0


def chosen_cases(options: argparse.Namespace, device: str) -> list[Case]:
    """Return the training steps that the command line asks for."""
    profiles = options.profile or (["small", "paper"] if device == "cuda" else ["mini"])
    cases = list_cases(profiles, device, quick=options.quick, batch=options.batch)
    return [c for c in cases if all(word in f" {c.label} " for word in options.match)]


def open_session(options: argparse.Namespace, arguments: Sequence[str]) -> Session:
    """Find the device and describe where the numbers come from."""
    import timm
    import torch

    from scaledrelu.bench.machine import device_name, peak_note, slug
    from scaledrelu.engine.distributed import pick_device

    device = pick_device(options.device, 0)
    name = device_name(device)
    log.info("%s, torch %s", name, torch.__version__)
    # Folders of this machine say nothing elsewhere, and do not belong in a published file.
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
    return Session(options, device, origin, path, peak_note(device))


def measure_steps(session: Session) -> None:
    """Time every training step that fits."""
    import torch

    from scaledrelu.bench.measure import measure_case

    expected = {False: CASE_SECONDS, True: COMPILE_SECONDS}
    for case in chosen_cases(session.options, session.device.type):

        def rows(case: Case = case) -> Iterator[Row]:
            yield measure_case(
                case,
                session.device,
                rounds=session.rounds,
                turn_seconds=session.turn_seconds,
            )

        blank = Row(
            kind="loop" if case.whole_loop else "step",
            profile=case.profile,
            stem=case.stem,
            optimizer=case.optimizer,
            precision=case.precision,
            batch=case.batch,
            layout="channels_last" if case.channels_last else "contiguous",
            compiled=case.compiled,
            fused=case.fused,
            peer="timm defaults" if case.defaults else "same switches",
        )
        cost = expected[case.compiled]
        expected[case.compiled] = session.attempt(case.label, cost, blank, rows)
        if case.compiled:
            torch.compiler.reset()
        gc.collect()
        if session.device.type == "cuda":
            torch.cuda.empty_cache()


def measure_loaders(session: Session) -> None:
    """Time the data paths, on given or generated JPEGs."""
    from scaledrelu.bench.loader import find_jpegs, generate_jpegs, measure_loader

    def rows(folder: Path) -> Iterator[Row]:
        given = session.options.images is not None
        paths = find_jpegs(folder) if given else generate_jpegs(folder)
        what = f"{len(paths)} {'real' if given else 'generated'} JPEGs"
        timing = {"rounds": min(5, session.rounds), "turn_seconds": 4 * session.turn_seconds}
        for row in measure_loader(paths, **timing):
            yield replace(row, name=f"{row.name}, {what}")

    with tempfile.TemporaryDirectory() as temporary:
        folder = session.options.images or Path(temporary)
        session.attempt("loader", 40.0, Row("loader", name="loader"), lambda: rows(folder))


def measure_workers(session: Session) -> None:
    """Time one and two workers of mini runs; a question of the CPU alone."""
    from scaledrelu.bench.workers import measure_workers as measure

    rows = lambda: measure(rounds=min(5, session.rounds), turn_seconds=8 * session.turn_seconds)  # noqa: E731
    session.attempt("workers", 60.0, Row("workers", name="workers"), rows)


def measure_startup(session: Session) -> None:
    """Time the start of a run."""
    from scaledrelu.bench.startup import measure_startup as measure

    rows = lambda: measure(rounds=3)  # noqa: E731
    session.attempt("startup", 45.0, Row("startup", name="startup"), rows)


MEASURES: dict[str, Callable[[Session], None]] = {
    "step": measure_steps,
    "loader": measure_loaders,
    "workers": measure_workers,
    "startup": measure_startup,
}


def _say(row: Row) -> str:
    values = flat(row, Origin("", "", "", "", ""))
    names = ("name", "images_per_s", "plain_images_per_s", "ratio", "ratio_min", "ratio_max")
    names += ("mfu_percent", "first_step_s", "memory_gib", "seconds", "loss_gap", "problem")
    return "  ".join(f"{name} {values[name]}" for name in names if values[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
