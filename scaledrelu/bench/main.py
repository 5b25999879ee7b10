"""The command line of the bench: what is measured, in which order."""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from scaledrelu.bench.cases import PROFILES, Case, list_cases
from scaledrelu.bench.end_cases import EndCase, list_end_cases
from scaledrelu.bench.planning import measure_planning
from scaledrelu.bench.session import Session, open_session
from scaledrelu.bench.startup import measure_startup
from scaledrelu.bench.table import Row
from scaledrelu.bench.workers import measure_workers
from scaledrelu.config.command_line import option_parser
from scaledrelu.config.places import published_root
from scaledrelu.config.ranges import COUNT, POSITIVE, within
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.text import plural

log = logging.getLogger(__name__)

COMPILE_SECONDS = 75.0  # first guess of what a compiled case costs; then the last one's time
CASE_SECONDS = 8.0
END_SECONDS = {False: 20.0, True: 95.0}  # from file to update; with and without compilation
QUICK_ENDS = 2
PUBLISHED = published_root("results") / "bench"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(
        "Measure speed: steps, loaders, whole loops, workers, start-up and plans.", prog="bench.py"
    )
    add = parser.add_argument
    add("--profile", action="append", choices=PROFILES, help="repeatable, default: those that fit")
    add("--only", action="append", choices=tuple(MEASURES), help="repeatable, default: all")
    add(
        "--quick",
        action="store_true",
        help="only patchify and conv stem, no switches, fewer rounds",
    )
    add("--match", action="append", default=[], metavar="WORD", help="cases with WORD in the label")
    add(
        "--blocks",
        type=within(COUNT),
        metavar="N",
        help="ratios per case, default: 7; 5 with --quick or on a GPU",
    )
    add("--turn", type=within(POSITIVE), metavar="SECONDS", help="length of one turn, default: 0.2")
    add(
        "--batch", type=within(COUNT), metavar="B", help="images per update, default: the profile's"
    )
    add(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="default: auto, a GPU if there is one",
    )
    add("--images", type=Path, metavar="DIR", help="JPEGs for the loader, default: generated ones")
    add(
        "--budget", type=float, default=float("inf"), metavar="SECONDS", help="stop after this time"
    )
    add(
        "--out",
        type=Path,
        default=PUBLISHED,
        metavar="DIR",
        help=f"folder of the table and its picture, default: {PUBLISHED}, which git tracks",
    )
    add("--note", default="", help="remark for readers, e.g. who shared the machine")
    add("--list", action="store_true", help="print the cases in their order and exit")
    add(
        "--compile-only",
        type=within(COUNT),
        metavar="N",
        help="compile the networks of the first N steps, several at once, and time nothing; a "
        "later call finds them in torch's cache",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 1 if a measurement failed.

    Raises:
        ConfigError: too few images, or nothing to compile.
    """
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("scaledrelu").setLevel(logging.INFO)
    if options.list:
        device = "cpu" if options.device == "auto" else options.device
        for case in (*chosen_cases(options, device), *chosen_ends(options, device)):
            log.info("%s", case.label)
        return 0
    if options.compile_only:
        from scaledrelu.bench.compiling import compile_ahead, to_compile

        device = "cuda" if options.device == "auto" else options.device
        cases = to_compile(chosen_cases(options, device))[: options.compile_only]
        if not cases:
            raise ConfigError(
                f"--compile-only: no step that is chosen on a {device} is compiled; choose others "
                "with --device cuda, or with fewer --match"
            )
        return int(compile_ahead(cases, device) > 0)
    _check_images(options)
    session = open_session(options, arguments)
    for kind, measure in MEASURES.items():
        if kind in (options.only or MEASURES):
            measure(session)
    session.draw()
    if session.found:
        log.info("%s in %s and .md", plural(len(session.found), "row"), session.path)
    else:
        log.info("nothing was measured, so nothing was written")
    if session.left_out:
        log.info("not measured, the budget is used up: %s", ", ".join(session.left_out))
    return 1 if session.failures else 0


def chosen_cases(options: argparse.Namespace, device: str) -> list[Case]:
    """Return the training steps that the command line asks for.

    Args:
        options: the command line.
        device: cpu or cuda.
    """
    profiles = options.profile or (["small", "paper"] if device == "cuda" else ["mini"])
    cases = list_cases(profiles, device, quick=options.quick, batch=options.batch)
    return [c for c in cases if all(word in f" {c.label} " for word in options.match)]


def chosen_ends(options: argparse.Namespace, device: str) -> list[EndCase]:
    """Return what the command line asks for of the cases from file to update.

    Args:
        options: the command line.
        device: cpu or cuda.
    """
    cases = list_end_cases(device)[: QUICK_ENDS if options.quick else None]
    return [c for c in cases if all(word in f" {c.label} " for word in options.match)]


def _measure_steps(session: Session) -> None:
    """Time every training step that fits."""
    from scaledrelu.bench.measure import measure_case

    expected = {False: CASE_SECONDS, True: COMPILE_SECONDS}
    for case in chosen_cases(session.options, session.device.type):

        def rows(case: Case = case) -> Iterator[Row]:
            yield measure_case(
                case,
                session.device,
                blocks=session.blocks,
                turn_seconds=session.turn_seconds,
            )

        cost = expected[case.compiled]
        expected[case.compiled] = session.attempt(case.label, cost, case.row(), rows)
        _forget(session, compiled=case.compiled)


def _check_images(options: argparse.Namespace) -> None:
    """Refuse a folder without images before anything is measured or written."""
    if options.images is None:
        return
    from scaledrelu.bench.data_paths import find_jpegs

    try:
        find_jpegs(options.images)
    except DataError as error:
        raise ConfigError(f"--images: {error}") from error


@contextmanager
def _jpegs(options: argparse.Namespace) -> Iterator[tuple[list[Path], str]]:
    """Yield given or generated JPEG files, and how many of which kind they are."""
    from scaledrelu.bench.data_paths import find_jpegs, generate_jpegs

    with tempfile.TemporaryDirectory() as temporary:
        given = options.images is not None
        paths = find_jpegs(options.images) if given else generate_jpegs(Path(temporary))
        yield paths, f"{len(paths)} {'real' if given else 'generated'} JPEGs"


def _measure_loaders(session: Session) -> None:
    """Time the data paths, on given or generated JPEGs."""
    from scaledrelu.bench.loader import measure_loader

    timing = {"rounds": min(5, session.blocks), "turn_seconds": session.turn_seconds}
    match = session.options.match

    def rows() -> Iterator[Row]:
        with _jpegs(session.options) as (paths, what):
            for row in measure_loader(paths, device=session.device, match=match, **timing):
                yield replace(row, name=f"{row.name}, {what}")

    session.attempt("loader", 40.0, Row("loader", name="loader"), rows)


def _measure_ends(session: Session) -> None:
    """Time scripts from JPEG files to updates."""
    from scaledrelu.bench.end_to_end import measure_end

    cases = chosen_ends(session.options, session.device.type)
    if not cases:
        return
    rounds = min(3 if session.device.type == "cuda" else 5, session.blocks)
    with _jpegs(session.options) as (paths, what):
        for case in cases:
            case = replace(case, name=", ".join(filter(None, [case.name, what])))

            def rows(case: EndCase = case) -> Iterator[Row]:
                yield measure_end(case, paths, session.device, rounds=rounds)

            session.attempt(case.label, END_SECONDS[case.step.compiled], case.row(), rows)
            _forget(session, compiled=case.step.compiled)


def _forget(session: Session, *, compiled: bool) -> None:
    """Free what a case leaves in memory."""
    import torch

    if compiled:
        torch.compiler.reset()
    gc.collect()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()


def _measure_workers(session: Session) -> None:
    """Time one and two workers of mini runs; on the CPU only."""
    timing = {"rounds": min(5, session.blocks), "turn_seconds": 8 * session.turn_seconds}
    rows = partial(measure_workers, **timing)
    session.attempt("workers", 60.0, Row("workers", name="workers"), rows)


def _measure_startup(session: Session) -> None:
    """Time the start of a run."""
    rows = partial(measure_startup, rounds=3)
    session.attempt("startup", 45.0, Row("startup", name="startup"), rows)


def _measure_planning(session: Session) -> None:
    """Measure what the commands about tables cost beside many finished runs."""
    session.attempt("planning", 60.0, Row("planning", name="planning"), measure_planning)


MEASURES: dict[str, Callable[[Session], None]] = {
    "step": _measure_steps,
    "loader": _measure_loaders,
    "end": _measure_ends,
    "workers": _measure_workers,
    "startup": _measure_startup,
    "planning": _measure_planning,
}
