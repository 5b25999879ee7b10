"""What to know about the verdicts as a whole: what they share, what depends on the crash limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from scaledrelu.reports.claims.decision import Count
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.limits import changed, limits_of
from scaledrelu.reports.statistics import LEVEL
from scaledrelu.text import markdown_table, plural

LIMITS = "What depends on the crash limit"


def cautions_text(judged: Sequence[Judged]) -> list[str]:
    """Return in one sentence each that claims overlap, and that some verdicts come by chance."""
    able = [one for one in judged if one.can_be_decided]
    if len(able) < 2:
        return []
    parts = Counter(text for one in able for text in {part.text for part in one.parts})
    text, times = max(parts.items(), key=lambda pair: (pair[1], pair[0]))
    shared = f': "{text}" alone is a part of {times} of them' if times > 1 else ""
    return [
        f"{len(able)} claims are not {len(able)} independent questions{shared}.",
        chance_text(judged),
    ]


def chance_text(judged: Sequence[Judged]) -> str:
    """Return how many verdicts may come by chance; empty for fewer than two claims."""
    able = [one for one in judged if one.can_be_decided]
    if len(able) < 2:
        return ""
    by_chance = sum(_chance(sum(not part.is_given for part in one.parts)) for one in able)
    return (
        f"Each part of a claim is judged at the {100 * (1 - LEVEL):.0f} % level: if nothing made a "
        f"difference, about {by_chance:.0f} of {len(able)} claims would be decided by chance alone."
    )


def _chance(parts: int) -> float:
    """Return how often a claim is decided if no part has any difference and each is on its own.

    One part that comes out against it contradicts it; all have to come out for it to support it.
    """
    tail = (1 - LEVEL) / 2
    return 1 - (1 - tail) ** parts + tail**parts


def limits_sentence(judged: Sequence[Judged]) -> str:
    """Return how many verdicts change by each other limit for crashes; empty without one."""
    own, *others = limits_of(judged) or [0.0]
    if not others:
        return ""
    numbers = [str(len(changed(judged, ratio))) for ratio in others]
    return (
        f"The crash limit is {own:g} times the loss of a uniform guess; with "
        f"{_either([f'{ratio:g}' for ratio in others])} times, {_either(numbers)} verdicts would "
        "change."
    )


def limits_section(judged: Sequence[Judged], crashes: Mapping[float, Count]) -> str:
    """Return the crashed runs by each limit, and the claims whose verdict changes.

    Args:
        judged: the claims of a profile.
        crashes: ratio -> crashed runs, the profile's own first; may be empty.
    """
    own, *others = list(crashes) or [0.0]
    if not others:
        return ""
    rows = [
        [
            f"{ratio:g} (here)" if ratio == own else f"{ratio:g}",
            f"{crashes[ratio].crashed} of {crashes[ratio].total}",
            _changes(judged, ratio),
        ]
        for ratio in sorted(crashes)
    ]
    return "\n\n".join(
        (
            f"## {LIMITS}",
            "A run is a crash if its training loss, averaged over the last part of the run, lies "
            f"above {own:g} times that of a uniform guess (docs/recipes.md, Crash rule). That is a "
            "convention. With other limits, judged by the same recorded losses:",
            markdown_table(["limit", "crashed runs", "verdicts that change"], rows),
            "A run whose loss was not finite, or that could not start because the run it starts "
            "from crashed, stays a crash. One that was stopped early counts by its loss at that "
            "point. Methods with a limit of their own keep it.",
        )
    )


def _either(texts: Sequence[str]) -> str:
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]


def _changes(judged: Sequence[Judged], ratio: float) -> str:
    kinds: dict[str, list[str]] = {}
    pairs = changed(judged, ratio)
    for one, other in pairs:
        kinds.setdefault(f"{one.verdict} -> {other.verdict}", []).append(one.name)
    told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return f"{plural(len(pairs), 'verdict')}: {told}" if told else "none"
