"""The section of the page on weight decay as it is applied: the two halves of the penalty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.models.channels import ATTENTION, PROJECTION, THEOREM
from scaledrelu.reports.drawing import drawing, look, save_picture
from scaledrelu.text import markdown_table
from scaledrelu.theory.balance import (
    TOY_DECAY,
    TOY_RATE,
    TOY_STEPS,
    Balance,
    Flow,
)
from scaledrelu.theory.finding import (
    Finding,
    Section,
    Verdict,
    of_share,
    picture,
    signed,
    size,
    span,
)
from scaledrelu.theory.penalty import random_layer
from scaledrelu.theory.theorem1 import exempt_decay

ALONG, AT_END = "theory_balance", "theory_channels"
SHOWN = {
    PROJECTION: "BatchNorm + ReLU, projection",
    ATTENTION: "LayerNorm, attention",
    THEOREM: "BatchNorm + ReLU, attention (stem of one projection)",
}
ETA = 10.0  # example of a factor


@dataclass(frozen=True, slots=True)
class Decay:
    """Everything that the section says."""

    runs: tuple[Balance, ...]
    papers_decay_done: float
    flow: Flow

    def showing(self, pair: str) -> list[Balance]:
        """Return the runs that show a pair; one with that of Theorem 1 shows no other."""
        runs = [one for one in self.runs if pair in one.norms]
        return [one for one in runs if (THEOREM in one.norms) == (pair == THEOREM)]

    def of(self, pair: str, *, decays_all: bool) -> list[Balance]:
        """Return the runs that show a pair, of one way to apply weight decay.

        Args:
            pair: name of the pair.
            decays_all: whether alpha and beta decay, too.
        """
        return [one for one in self.showing(pair) if one.decays_all is decays_all]


def draw(facts: Decay, folder: Path) -> list[Path]:
    """Draw the section's pictures.

    Args:
        facts: the numbers.
        folder: where pictures lie.
    """
    strengths = sorted({one.weight_decay for one in facts.runs}) or [0.0]
    with drawing(9, 5, nrows=2, ncols=len(strengths), sharex=True, squeeze=False) as (figure, axes):
        for row, pair in zip(axes, (PROJECTION, ATTENTION), strict=True):
            for ax, strength in zip(row, strengths, strict=True):
                _draw_along(ax, facts, pair, strength)
                if pair == PROJECTION:
                    ax.set_title(f"weight decay {strength:g}")
            row[0].set_ylabel(f"{SHOWN[pair]}\nlog10 |w| / |(alpha, beta)|")
        for ax in axes[1]:
            ax.set_xlabel("epoch")
        if facts.runs:
            axes[0][0].legend()
        written = save_picture(figure, folder / ALONG)
    with drawing(9, 4, ncols=len(SHOWN), sharey=True) as (figure, axes):
        for ax, pair in zip(axes, SHOWN, strict=True):
            _draw_end(ax, facts, pair)
        axes[0].set_ylabel("|w| of the channel")
        figure.legend(*_labels(axes), loc="outside lower center", ncols=2)
        return written + save_picture(figure, folder / AT_END)


def _draw_along(ax: Any, facts: Decay, pair: str, strength: float) -> None:
    ax.axhline(0, color="#444444", linewidth=0.8)
    labelled: set[bool] = set()
    for one in facts.showing(pair):
        if one.weight_decay != strength:
            continue
        style, ratio_TC = look(int(one.decays_all)), one.norms[pair].log_ratio
        epochs = np.arange(1, len(ratio_TC) + 1)
        label = "decays, too" if one.decays_all else "exempt (official)"
        ax.fill_between(
            epochs, ratio_TC.min(axis=1), ratio_TC.max(axis=1), color=style.colour, alpha=0.12
        )
        ax.plot(
            epochs,
            np.median(ratio_TC, axis=1),
            markersize=3,
            label=None if one.decays_all in labelled else f"(alpha, beta) {label}",
            **style.settings,
        )
        labelled.add(one.decays_all)


def _draw_end(ax: Any, facts: Decay, pair: str) -> None:
    kinds = sorted({(one.weight_decay, one.decays_all) for one in facts.runs})
    alive = [one for one in facts.showing(pair) if one.run.is_there]
    for one in alive:
        style = look(kinds.index((one.weight_decay, one.decays_all)))
        norms = one.norms[pair]
        what = "(alpha, beta) decays" if one.decays_all else "(alpha, beta) exempt"
        ax.plot(
            norms.scale_TC,
            norms.reader_TC,
            color=style.colour,
            linewidth=0.4,
            alpha=0.3,
            rasterized=True,
        )
        ax.plot(
            norms.scale_TC[-1],
            norms.reader_TC[-1],
            markersize=3.5,
            alpha=0.7,
            rasterized=True,  # thousands of markers would make the SVG large
            label=f"weight decay {one.weight_decay:g}, {what}",
            **style.dots,
        )
    if alive:
        ends = np.linspace(*ax.get_xlim(), 50)
        ax.plot(ends, ends, color="#444444", linewidth=0.8)
    ax.set(yscale="log", title=SHOWN[pair].replace(" (stem", "\n(stem"))
    ax.set_yticks((0.01, 0.03, 0.1, 0.3, 1), ("0.01", "0.03", "0.1", "0.3", "1"))
    ax.yaxis.set_minor_formatter("")
    ax.set_xlabel("|(alpha, beta)| of the channel")


def _labels(axes: Sequence[Any]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = sorted(found)
    return [found[name] for name in names], names


def section(facts: Decay) -> Section:
    """Return the section's text and findings."""
    lines = ["## Weight decay as it is applied", *_premise(facts), *_measured(facts)]
    return Section(tuple(lines), tuple(_findings(facts)))


def _premise(facts: Decay) -> Iterator[str]:
    layer = random_layer(0)
    left = exempt_decay(layer, ETA) / exempt_decay(layer, 1.0)
    predicted = facts.flow.predicted
    yield (
        "Theorem 1 assumes that weight decay acts on alpha and beta as it does on the weights. The "
        "official optimizer exempts all parameters with one dimension (recipes A.3), including "
        f"those of BatchNorm. Then nothing limits the factor. At a factor of {ETA:g} on alpha and "
        f"beta, the function is the same and {size(100 * left)} % of the decay is left; the "
        "penalty has no lower bound but zero."
    )
    yield (
        "If alpha and beta decay too, and decay is a penalty in the loss, gradient descent makes "
        "the two halves `|w_c|` and `|(alpha, beta)_c|` equal: a share `exp(-2 s)` of "
        "`|w_c|^2 - |(alpha, beta)_c|^2` is left, where s is the sum of learning rate times weight "
        f"decay. In the fit of a matrix (decay {TOY_DECAY:g}, rate {TOY_RATE:g}, {TOY_STEPS:,} "
        f"steps) the share left is {span(facts.flow.measured)}; the prediction is "
        f"{size(predicted)}. AdamW's decay is not a penalty in the loss: it multiplies both halves "
        "by the same factor and leaves their ratio unchanged."
    )


def _measured(facts: Decay) -> Iterator[str]:
    if not facts.runs:
        yield "No run is trained: `make theory` trains them."
        return
    yield (
        "The table shows what happens in training: runs at mini with AdamW and learning rate 5e-4, "
        "with `optimizer.decay_all` false (exempt) and true (decays). Weight decay 0.05 is the "
        "recipe's; over the steps of the paper's runs it amounts to s = "
        f"{size(facts.papers_decay_done)}. `mean` and `spread` describe "
        "`log10 |w_c| / |(alpha, beta)_c|` over channels, where 0 means balance. `corr` is the "
        "rank correlation of the two norms over channels."
    )
    rows = [row for pair in SHOWN for row in _rows(facts, pair)]
    header = ("parameters", "weight decay", "(alpha, beta)", "s", "runs", "crashed")
    numbers = ("mean, epoch 1", "mean, end", "spread, end", "corr, end")
    yield markdown_table((*header, *numbers), rows)
    yield (
        "Ranges are over seeds and include runs that crashed. In the last kind of pair, the "
        f"position embedding and a LayerNorm lie between the two halves. {_apart(facts)}"
    )
    yield picture(
        ALONG,
        "Ratio of the two halves during training. Lines are medians over channels, one per seed; "
        "the shaded area reaches from the smallest to the largest channel.",
    )
    yield picture(
        AT_END,
        "Every channel of the runs that did not crash: Theorem 1's penalty weight against the norm "
        "of the weights that read the channel, during training (thin line) and at its end "
        "(marker). On the black line the two are equal.",
    )


def _rows(facts: Decay, pair: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for every weight decay and both ways of applying it."""
    runs = facts.showing(pair)
    for strength, decays_all in sorted({(one.weight_decay, one.decays_all) for one in runs}):
        alike = [o for o in runs if (o.weight_decay, o.decays_all) == (strength, decays_all)]
        numbers = [one.norms[pair] for one in alike]
        yield (
            SHOWN[pair],
            f"{strength:g}",
            "decays" if decays_all else "exempt",
            span([one.decay_done for one in alike]),
            str(len(alike)),
            str(sum(not one.run.is_there for one in alike)),
            span([n.first for n in numbers], signed),
            span([n.last for n in numbers], signed),
            span([n.spread for n in numbers]),
            span([n.correlation for n in numbers], signed),
        )


def _apart(facts: Decay) -> str:
    """Say at which weight decays it shows in the projection whether alpha and beta decay."""
    parts = []
    for strength in sorted({one.weight_decay for one in facts.runs}):
        ends = [
            [
                one.norms[PROJECTION].last
                for one in facts.of(PROJECTION, decays_all=d)
                if one.weight_decay == strength
            ]
            for d in (False, True)
        ]
        if all(ends):
            shows = max(ends[0]) < min(ends[1]) or max(ends[1]) < min(ends[0])
            parts.append(f"{strength:g} {'yes' if shows else 'no'}")
    if not parts:
        return ""
    return (
        "For the projection at the end of training, are the ranges of exempt and of decaying alpha "
        f"and beta disjoint? By weight decay: {', '.join(parts)}."
    )


def _findings(facts: Decay) -> Iterator[Finding]:
    yield _exempt(facts)
    yield _balanced(facts)
    yield _careful(facts)


def _exempt(facts: Decay) -> Finding:
    claim = "Theorem 1's premise: weight decay acts on alpha and beta"
    where = "the official optimizer exempts them (recipes A.3)"
    found = facts.of(PROJECTION, decays_all=False)
    if not found:
        return Finding(claim, Verdict.WRONG, "-", where)
    most = max(one.weight_decay for one in found)
    ends = [10 ** one.norms[PROJECTION].last for one in found if one.weight_decay == most]
    text = f"`|w_c|` ends at {span(ends)} times `|(alpha, beta)_c|` where these are exempt"
    where += f"; mini runs, projection, weight decay {most:g}, {len(ends)} seeds"
    return Finding(claim, Verdict.WRONG, text, where)


def _balanced(facts: Decay) -> Finding:
    predicted = facts.flow.predicted
    alive = [one for one in facts.of(PROJECTION, decays_all=True) if one.run.is_there]
    found = [one.norms[PROJECTION].last for one in alive]
    text = f"gradient descent: {span(facts.flow.measured)} of the imbalance left, "
    text += f"predicted {size(predicted)}"
    if found:
        text += f"; AdamW: log10 ratio {span(found, signed)} at the end"
    return Finding(
        "Eq. 4's balance of both halves is that of an l2 penalty in the loss; AdamW has none",
        Verdict.MISSING,
        text,
        f"fit of a matrix; {len(found)} mini runs with `decay_all`, projection",
    )


def _careful(facts: Decay) -> Finding:
    found = [
        one.norms[pair].correlation
        for decays_all in (False, True)
        for pair in (PROJECTION, ATTENTION)
        for one in facts.of(pair, decays_all=decays_all)
        if one.run.is_there
    ]
    claim = "Channels with larger (alpha, beta) have their attention weights held smaller"
    where = f"{len(found)} pairs of mini runs that did not crash, over channels, at the end"
    if not found:
        return Finding(claim, Verdict.NOT_RUN, "-", where)
    above = sum(value > 0 for value in found)
    text = f"rank correlation above 0 in {above} of {len(found)}: {span(found, signed)}"
    verdict = of_share(len(found) - above, len(found))
    return Finding(claim, verdict, f"{text}; at balance both are equal", where)
