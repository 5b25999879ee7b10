"""Send finished runs and tables to W&B afterwards; sending again changes nothing.

python scripts/mirror.py --run deit-0123456789ab             # one run; repeatable
python scripts/mirror.py --all --mode offline                # every finished run, for `wandb sync`
python scripts/mirror.py tables=[table1] profile=mini        # a table's runs, and the table itself
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.places import CONF_DIR
from scaledrelu.dashboards.afterwards import (
    Copy,
    Counts,
    Printers,
    copies_of_folder,
    copies_of_plan,
    copies_of_tables,
    send_all,
)
from scaledrelu.errors import ConfigError
from scaledrelu.files import writing_to
from scaledrelu.runs.ending import EXIT_FAILED, EXIT_OK, concluded
from scaledrelu.runs.mirrored import Sender, check_online
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings, load_settings, settings_help
from scripts._tables import ending_text, say


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(
        __doc__, epilog=f"settings:\n{settings_help('mirror')}\n\n{ending_text('mirror')}"
    )
    parser.add_argument(
        "--run", metavar="ID", action="append", default=[], help="id of a finished run"
    )
    parser.add_argument(
        "--all", action="store_true", help="every finished run in the results folder"
    )
    parser.add_argument(
        "--mode", default="online", choices=("online", "offline"), help="default: online"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="tables=[table1] ...")
    options = parser.parse_intermixed_args(arguments)
    options.settings = _read_settings(options)
    return options


def _read_settings(options: argparse.Namespace) -> Settings:
    """Return the settings, after checking that exactly one kind of thing is asked for.

    Raises:
        ConfigError: nothing is asked for, or two kinds of things.
    """
    typed = {item.partition("=")[0] for item in options.settings}
    asked = [bool(options.run), options.all, "tables" in typed]
    if sum(asked) != 1:
        raise ConfigError(
            f"{'two things are' if sum(asked) else 'nothing is'} asked for; give one of "
            "--run <id>, --all, tables=[table1]"
        )
    return load_settings(options.settings, script="mirror")


def main(options: argparse.Namespace) -> int:
    """Send what is asked for, a line each; return the exit status."""
    settings = options.settings
    with writing_to(settings.results):
        copies = _collect_copies(options, settings)
        if options.mode == "online":
            check_online(instead="use --mode offline and send the copies later with `wandb sync`")
        log = settings.results / "wandb" / "mirror.log"
        with Sender(options.mode, log=log) as sender:
            counts = send_all(copies, sender, say)
    say(_in_words(counts))
    return EXIT_FAILED if counts.failed else EXIT_OK


def _collect_copies(options: argparse.Namespace, settings: Settings) -> list[Copy]:
    """Return what is to be sent."""
    printers = Printers(CONF_DIR, settings.results)
    if options.run or options.all:
        return copies_of_folder(settings.results, printers, options.run, say=say)
    plan = plan_tables(settings)
    return [*copies_of_plan(plan, printers), *copies_of_tables(plan)]


def _in_words(counts: Counts) -> str:
    """Return how it went."""
    text = f"sent {counts.sent}, there already {counts.known}, failed {counts.failed}"
    if counts.left:
        return f"{text}, not tried {len(counts.left)}; send them with the same command"
    return f"{text}; send the rest with the same command" if counts.failed else text


if __name__ == "__main__":
    sys.exit(concluded(lambda: main(parse(sys.argv[1:]))))
