"""The arguments of train.py before Hydra reads them: conflicting flags, globs, help.

Hydra answers some mistakes with a traceback, and offers options that are not for people.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import yaml

from scaledrelu.config.options import group_options
from scaledrelu.config.overrides import check_overrides, expand_glob, is_list, parse_overrides
from scaledrelu.config.plugins import sweeper_settings
from scaledrelu.config.stem import CONVOLUTIONS, without_projection
from scaledrelu.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

RUN_FLAGS = ("--run", "-r")
PLACE = "paths.results="
HYDRA_MODE = "hydra.mode"  # RUN or MULTIRUN, as -m says it
ONE_OF = ("run", "multirun", "cfg", "info", "shell_completion")
COMPLETION = re.compile(r"(install|uninstall|query)=(bash|fish|zsh)")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What ``--run <run id>`` asks for."""

    run_id: str
    results: str
    changes: tuple[str, ...]  # overrides of where and how fast


def planned_run(arguments: Sequence[str]) -> PlannedRun | None:
    """Return the planned run that is to be trained; None where Hydra composes one.

    Hydra's own ``--run`` takes no value.

    Raises:
        ConfigError: if there are flags beside it.
    """
    words = [part for word in arguments for part in _split_run_flag(word)]
    at = next((i for i, word in enumerate(words) if word in RUN_FLAGS), len(words))
    name = next(iter(words[at + 1 :]), None)
    if name is None or "=" in name or name.startswith(("-", "+", "~")):
        return None
    others = [*words[:at], *words[at + 2 :]]
    if flags := [word for word in others if word.startswith("-")]:
        raise ConfigError(f"{flags[0]}: --run {name} takes overrides only, e.g. launch.workers=4")
    results = [w.partition("=")[2] for w in others if w.startswith(PLACE)]
    changes = tuple(word for word in others if not word.startswith(PLACE))
    return PlannedRun(name, results[-1] if results else "results", changes)


def _split_run_flag(word: str) -> list[str]:
    flag, equals, name = word.partition("=")
    return [flag, name] if equals and flag == RUN_FLAGS[0] else [word]


def read_arguments(arguments: Sequence[str]) -> Namespace:
    """Return flags and overrides as Hydra will read them; flags may stand anywhere.

    Raises:
        ConfigError: one line about an unknown flag, or about flags that cannot be combined.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error, parser.allow_abbrev = _refuse, False
    asked = parser.parse_intermixed_args(list(arguments))
    asked.flags = _without(arguments, asked.overrides)
    _check_flags(asked)
    return asked


def ready_for_hydra(asked: Namespace, conf_dir: Path) -> list[str]:
    """Return the arguments to hand to Hydra, every override checked and every glob written out.

    Args:
        asked: flags and overrides, as :func:`read_arguments` returns them.
        conf_dir: the configuration tree.

    Raises:
        ConfigError: one line with the nearest valid name.
    """
    if asked.hydra_help or asked.shell_completion:
        return [*asked.overrides, *asked.flags]
    folders = _folders_of_the_user(asked)
    groups = group_options(conf_dir, *folders)
    overrides = [expand_glob(text, groups) for text in asked.overrides]
    check_overrides(overrides, conf_dir, *folders)
    parsed = parse_overrides(overrides)
    for override in parsed:
        _check_sweep(override)
    if not asked.multirun and all(one.key_or_group != HYDRA_MODE for one in parsed):
        for text, override in zip(asked.overrides, parsed, strict=True):
            if override.is_sweep_override():
                raise ConfigError(f"{text}: {_single(text, override, asked)}")
    return [*overrides, *sweeper_settings(overrides), *asked.flags]


def _check_sweep(override: Override) -> None:
    """Refuse a list or range without a value, and an interval without one."""
    if override.is_interval_sweep():
        _check_interval(override)
    if not override.is_discrete_sweep():
        return
    try:
        first = next(iter(override.sweep_iterator()), None)
    except (ArithmeticError, ValueError) as error:  # a range with step 0
        raise ConfigError(f"{override.input_line}: {error}") from error
    if first is None:
        raise ConfigError(
            f"{override.input_line}: the list or range is empty; give at least one value"
        )


def _check_interval(override: Override) -> None:
    interval, line = override.value(), override.input_line
    low, high = interval.start, interval.end
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{line}: must have finite ends")
    if low > high:
        raise ConfigError(f"{line}: must begin below its end; swap {low} and {high}")
    if "log" in interval.tags and low <= 0:
        raise ConfigError(f"{line}: must begin above 0 on a logarithmic scale")


def _single(text: str, override: Override, asked: Namespace) -> str:
    """Return what to type instead of several values where one run is asked for."""
    key, _, values = text.partition("=")
    if override.key_or_group.startswith("hydra"):
        return "give one value"
    if asked.cfg or asked.info:
        return f"--{'cfg' if asked.cfg else 'info'} shows one run; give one value"
    brackets = _in_brackets(key, values, asked)
    can_be_list = is_list(override.key_or_group)
    if can_be_list:
        return brackets
    again = shlex.join(["-m", *asked.flags, *asked.overrides])
    several = f"several values need -m: python scripts/train.py {again}"
    return several if can_be_list is False else f"{several}; {brackets}"


def _in_brackets(key: str, values: str, asked: Namespace) -> str:
    """Return the list to type instead of values with commas."""
    name, items = key.lstrip("+"), values.split(",")
    own = any(text.lstrip("+").startswith("stem.kernels=") for text in asked.overrides)
    if name == "stem.strides" and len(items) == CONVOLUTIONS + 1 and not own:
        shown = without_projection(items, key)
        return f"a list needs brackets, and this one leaves out the projection's stride: {shown}"
    return f"a list needs brackets: {key}=[{values}]"


def plain_call(line: str) -> str:
    """Return a command line as Hydra's completion can read it.

    It knows "python" and paths of letters, digits, dots and slashes: neither python3.11 nor a
    folder with a hyphen.

    Args:
        line: what is typed so far.
    """
    return re.sub(r"^.*?\.py(?=\s|$)", "python train.py", line, count=1)


def visible_words(words: Iterable[str], conf_dir: Path) -> list[str]:
    """Return the completions that a person may choose, out of all that Hydra offers.

    Args:
        words: completions as Hydra offers them.
        conf_dir: the configuration tree.
    """
    groups = group_options(conf_dir)
    hidden = {p.name for p in conf_dir.iterdir() if p.is_dir()} - {*groups, "hydra"}
    parts = ((word, re.split(r"[=/]", word.lstrip("+~"), maxsplit=1)) for word in words)
    return [w for w, (key, *value) in parts if key not in hidden and not _is_base(value)]


def help_text(conf_dir: Path, examples: str) -> str:
    """Return what ``--help`` prints: what a person may choose, and where the rest is shown.

    Args:
        conf_dir: the configuration tree.
        examples: the title and the commands to print first.
    """
    chosen = _defaults(conf_dir)
    groups = group_options(conf_dir)
    width = max(map(len, groups))
    lines = [
        f"  {name:{width}}  {', '.join(_starred(options, chosen.get(name)))}"
        for name, options in groups.items()
    ]
    title, *commands = examples.strip().splitlines()
    shown = "\n".join([title, *(f"  {command}".rstrip() for command in commands)])
    return HELP.format(examples=shown, groups="\n".join(lines))


HELP = """\
{examples}

Options, group=option (* is the default, unless the recipe or the profile sets another):

{groups}

Values, key=value: any field of a group, e.g. lr.base=1e-3 warmup.epochs=20 batch.total=512, and
seed, paths.results, trust (docs/trust.md). To print all fields of a run with their values:

  python scripts/train.py --cfg job --resolve [overrides]

Several runs: -m (--multirun) with lists, ranges or globs: stem=conv,patchify seed=range(0,3)
'stem=glob(conv*)'; add hydra/launcher=slots to train them in parallel. A failed run does not stop
the others; the output ends with one line per run.

Exit status: 0 trained (a crash is a result, too) or already done; 1 a run failed; 2 wrong input,
nothing was trained; 69 another process is training this run; 75 or 130 interrupted (run the same
command again to continue).

Completion: eval "$(python scripts/train.py -sc install=bash)". Hydra's own flags: --hydra-help.
For whole tables see scripts/sweep.py --help, or use make."""


def _check_flags(asked: Namespace) -> None:
    several = [f"--{name.replace('_', '-')}" for name in ONE_OF if getattr(asked, name)]
    if len(several) > 1:
        hint = "; --cfg shows one run: leave out -m and give single values" if asked.cfg else ""
        raise ConfigError(f"{' and '.join(several)} cannot be combined; give one of them{hint}")
    for flag in ("resolve", "package"):
        if getattr(asked, flag) and not asked.cfg and not asked.help:
            raise ConfigError(f"--{flag}: works only with --cfg; write --cfg job --{flag}")
    if asked.config_path or asked.config_name:
        raise ConfigError(
            "--config-path, --config-name: not supported; add options of your own to conf/, or "
            "from elsewhere with --config-dir <folder>"
        )
    if asked.config_dir and not Path(asked.config_dir).is_dir():
        raise ConfigError(f"--config-dir {asked.config_dir}: no such folder")
    if asked.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun: not supported; to repeat a run give its overrides again (they "
            "stand at the start of its log)"
        )
    if asked.shell_completion:
        _check_completion(asked.overrides)


def _check_completion(overrides: Sequence[str]) -> None:
    if len(overrides) != 1 or not COMPLETION.fullmatch(overrides[0]):
        raise ConfigError(
            f"-sc {' '.join(overrides)}: cannot be done; write -sc install=bash (or fish, zsh), or "
            "-sc uninstall=bash"
        )
    if overrides[0].startswith("query") and "COMP_LINE" not in os.environ:
        raise ConfigError(
            f"-sc {overrides[0]}: is for the shell's completion only (COMP_LINE is not set)"
        )


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; see --help and --hydra-help")


def _without(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the arguments that are not overrides, in their order."""
    left = list(overrides)
    return [a for a in arguments if a not in left or left.remove(a)]


def _folders_of_the_user(asked: Namespace) -> list[Path]:
    """Return folders with further options, from --config-dir and hydra.searchpath."""
    found = [asked.config_dir] if asked.config_dir else []
    for override in parse_overrides([a for a in asked.overrides if "hydra.searchpath" in a]):
        value = override.value()
        entries = value if isinstance(value, list) else [value]
        found += [str(e).removeprefix("file://") for e in entries if "pkg://" not in str(e)]
    return [folder for folder in map(Path, found) if folder.is_dir()]


def _is_base(value: Sequence[str]) -> bool:
    return bool(value) and value[0].startswith("_")


def _defaults(conf_dir: Path) -> dict[str, str]:
    """Return the option that each group has in ``train.yaml``."""
    entries = yaml.safe_load((conf_dir / "train.yaml").read_text())["defaults"]
    return {k: v for entry in entries if isinstance(entry, dict) for k, v in entry.items()}


def _starred(options: Sequence[str], chosen: str | None) -> list[str]:
    return [f"{option}*" if option == chosen else option for option in options]
