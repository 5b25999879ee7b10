"""What people call a run: ``conv lr 1e-3 adamw wm5 s0``, and the row that its seeds share.

Words for people: no identity, plan or result rests on them. They follow from the configuration
alone, so that a run has the same name whether a table or a person asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scaledrelu.config.differences import number_text
from scaledrelu.config.group import TARGET
from scaledrelu.config.identity import canonical, fingerprint
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stem import StemConfig, own_class_of

SHORT = {"batch": "bn", "layernorm": "ln", "none": ""}
USUAL_STRIDES = (2, 1, 1)
USUAL_METHOD, USUAL_FFN = "deit", "MLP"
LAYERS = ("build", "strides", "norm", "act", "tail")  # the fields that make the name of a stem
Layer = str | dict[str, Any]


def stem_name(stem: StemConfig) -> str:
    """Return what tells stems apart, as the options of ``conf/stem`` are called: ``conv_bn``.

    Args:
        stem: the group ``stem``; its label is the same for several stems.
    """
    return name_of_layers(**{key: getattr(stem, key) for key in LAYERS})


def name_of_layers(
    *,
    build: Mapping[str, Any],
    strides: Sequence[int],
    norm: Layer,
    act: Layer,
    tail: Sequence[Layer],
) -> str:
    """Return the name of a stem of which only its fields are known, see :data:`LAYERS`.

    A class of one's own stands in front; alone where the fields describe no layers.

    Args:
        build: the class.
        strides: strides of the convolutions; empty = patchify.
        norm: what follows each convolution.
        act: what follows each normalisation.
        tail: what follows the projection.
    """
    own, ends = own_class_of(build), [_layer(one) for one in tail]
    front = [own] if own else []
    if not strides:
        return "_".join([own or "patchify", *ends])
    norm, act = _layer(norm), _layer(act)
    if (norm, act) == ("bn", "relu"):
        parts = []
    elif norm == "bn" and act:
        parts = [act]  # an activation in the place of ReLU
    else:
        parts = [part for part in (norm, act) if part] or ["plain"]
    return "_".join([*front, "conv", *parts, *ends])


def readable_name(config: RunConfig, upstream: RunConfig | None = None) -> str:
    """Return what people call a run, e.g. ``conv lr 1e-3 adamw wm5 s0``.

    Args:
        config: the run's configuration.
        upstream: configuration of the run that it starts from, where known.
    """
    return f"{row_name(config, upstream)} s{config.seed}"


def row_name(config: RunConfig, upstream: RunConfig | None = None) -> str:
    """Return the name without the seed: what a row of a table says.

    Args:
        config: the run's configuration.
        upstream: configuration of the run that it starts from, where known.
    """
    words = [] if config.method == USUAL_METHOD else [config.method]
    words.append(stem_name(config.stem))
    if config.stem.strides and tuple(config.stem.strides) != USUAL_STRIDES:
        words.append(",".join(map(str, config.stem.strides)))
    if config.ffn.label != USUAL_FFN:
        words.append(config.ffn.label)
    words.append(_training(config))
    if config.data.fraction != 1:
        words.append(f"{100 * config.data.fraction:g}% data")
    if "token_weight" in config.task and not config.data.has_labels:
        words.append("no token labels")
    if config.batch.instances is not None:  # the sets of persons differ by nothing else
        words.append(config.data.name)
    if config.init.run is not None:
        words.append(f"from {config.init.run.partition('-')[0]}")
        words += [_training(upstream)] if upstream is not None else []
    elif config.init.kind != "scratch":
        words.append(f"from {config.init.kind}")
    return " ".join(words)


def row_key(config: RunConfig, upstream: RunConfig | None = None) -> str:
    """Return what runs share that differ in their seeds alone, as 6 hex digits.

    Args:
        config: the run's configuration.
        upstream: configuration of the run that it starts from, whose seed differs with it.
    """
    science = canonical(config)
    del science["seed"]
    if config.init.run is not None:
        start = row_key(upstream) if upstream is not None else config.init.run
        science["init"] = {**science["init"], "run": start}
    return fingerprint(science)[:6]


def row_group(config: RunConfig, upstream: RunConfig | None = None) -> str:
    """Return one text per row and profile: ``conv lr 1e-3 adamw wm5 (mini, 1f2e3d)``.

    Args:
        config: the run's configuration.
        upstream: configuration of the run that it starts from, where known.
    """
    key = row_key(config, upstream)
    return f"{row_name(config, upstream)} ({config.profile.name}, {key})"


def _training(config: RunConfig) -> str:
    """Return rate, optimizer and warm-up: ``lr 1e-3 adamw wm5``."""
    warmup = 0.0 if config.warmup.shape == "none" else float(config.warmup.epochs)
    rate = number_text(float(config.lr.base))
    return f"lr {rate} {config.optimizer.label.lower()} wm{number_text(warmup)}"


def _layer(kind: Layer) -> str:
    if isinstance(kind, dict):
        return str(kind[TARGET]).rpartition(".")[2]
    return SHORT.get(kind, kind)
