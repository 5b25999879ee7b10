"""How a run is evaluated: evaluators after an epoch, evidence at its end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, isclass, signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scaledrelu.config.combinations import check_judged
from scaledrelu.config.evaluation import OF_PEOPLE, REPORTED
from scaledrelu.config.group import TARGET
from scaledrelu.config.run import RunConfig
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.datasets import Splits
from scaledrelu.data.reid import ReidSplits
from scaledrelu.data.sources import ImageSource
from scaledrelu.engine.autocast import autocast_context
from scaledrelu.engine.distributed import World
from scaledrelu.engine.loop import Cursor, Evaluation, Training
from scaledrelu.errors import ConfigError
from scaledrelu.evals.tokens import layer_similarity
from scaledrelu.models.channels import channel_pairs
from scaledrelu.models.tokens import (
    attention_weight_norms,
    layer_tokens,
    stem_scales,
    watch_largest,
    watch_tokens,
)
from scaledrelu.runs.create import create, locate, parameters_of, target_of
from scaledrelu.runs.feed import Validation
from scaledrelu.tasks.base import Progress, Task


@dataclass(frozen=True, slots=True)
class Evaluators:
    """The evaluators of a recipe, and a probe for extremes.

    Attributes:
        task: its backbone is evaluated.
        evaluators: in the order of the recipe; the first one's headline is the run's.
        validation: source of the probe's images; the evaluators have gone through all of it first.
        autocast: makes the context of the run's precision.
        with_channels: record the norms per channel that Theorem 1 relates, too.
        uncompiled: makes a context in which compiled networks run as they were written. To compile
            them for images without gradients would take longer than it saves.
    """

    task: Task
    evaluators: Sequence[Any]
    validation: Validation
    autocast: partial[AbstractContextManager[Any]]
    with_channels: bool = False
    uncompiled: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def headline(self) -> str:
        """Name of the metric whose best value is kept."""
        return self.evaluators[0].headline

    def __call__(self, t: Progress) -> Evaluation:
        """Return all metrics and arrays of the backbone as it is now."""
        with self.uncompiled():
            return self._evaluate()

    def _evaluate(self) -> Evaluation:
        backbone = self.task.backbone
        metrics: dict[str, float] = {}
        arrays: dict[str, Tensor] = {}
        for evaluator in self.evaluators:
            numbers, found = _checked(evaluator, evaluator(backbone))
            metrics.update(numbers)
            arrays.update(found)
        images = self.validation.probe
        with self.autocast():
            with watch_largest(backbone) as largest, watch_tokens(backbone) as layers:
                backbone(images)
            observed = _look_inside(backbone, layers or layer_tokens(backbone, images))
        arrays["max/activation"] = largest.activation.cpu()
        arrays["max/score"] = largest.score.cpu()
        if self.with_channels:
            observed |= _channel_norms(backbone)
        observed["largest/activation"] = float(largest.activation)
        observed["largest/score"] = float(largest.score)
        return Evaluation(metrics, arrays, observed)


def _checked(evaluator: Any, returned: Any) -> tuple[Mapping[str, float], Mapping[str, Tensor]]:
    """Return what an evaluator returned, if it is two dictionaries."""
    pair = isinstance(returned, tuple | list) and len(returned) == 2
    if not (pair and all(isinstance(one, Mapping) for one in returned)):
        found = [type(one).__name__ for one in (returned if pair else [returned])]
        raise ConfigError(
            f"evaluation.build: {_name(evaluator)}: must return (numbers, arrays), two "
            f"dictionaries; returned {' and '.join(found)}"
        )
    return returned


def _name(evaluator: Any) -> str:
    return f"{type(evaluator).__module__}.{type(evaluator).__qualname__}"


def _look_inside(backbone: nn.Module, layers: Sequence[Tensor]) -> dict[str, float]:
    """Return what one evaluation records of the network itself.

    Per layer, as in Figure 1 but over a few images only: ``similarity/absolute_00``, ... and
    ``similarity/signed_00``, ... Over the channels of the stem's last scaled ReLU, where it has
    one: ``stem/alpha_min``, ``_mean``, ``_max`` and the same of ``beta``.
    """
    found = [layer_similarity(tokens_BND) for tokens_BND in layers]
    observed = {}
    for kind in ("absolute", "signed"):
        values = torch.stack([getattr(layer, kind) for layer in found]).tolist()
        observed |= {f"similarity/{kind}_{i:02d}": value for i, value in enumerate(values)}
    scales = stem_scales(backbone.patch_embed)
    if scales is not None:
        for name, value_C in (("alpha", scales.alpha), ("beta", scales.beta)):
            summary = torch.stack([value_C.min(), value_C.mean(), value_C.max()]).tolist()
            kinds = (f"stem/{name}_{what}" for what in ("min", "mean", "max"))
            observed |= dict(zip(kinds, summary, strict=True))
    return observed


def _channel_norms(backbone: nn.Module) -> dict[str, float]:
    """Return, channel by channel, the norms of the pairs of parameters that Theorem 1 relates.

    ``channel/<pair>_scale_000`` is ``|(alpha, beta)|`` of a channel, ``channel/<pair>_reader_000``
    the L2 norm of the weights that read it; the pairs are those of ``models/channels.py``.
    """
    found = {}
    for name, pair in channel_pairs(backbone).items():
        for kind, norm_C in (("scale", pair.scale_norm()), ("reader", pair.reader_norm())):
            values = enumerate(norm_C.tolist())
            found |= {f"channel/{name}_{kind}_{c:03d}": value for c, value in values}
    return found


def build_evaluation(
    config: RunConfig,
    task: Task,
    validation: Validation,
    world: World,
    splits: Splits | ReidSplits,
) -> Evaluators:
    """Build every evaluator of the recipe; each gets what it names among its arguments.

    Args:
        config: the run's configuration.
        task: its backbone is evaluated.
        validation: this process's shard.
        world: this process's place among the run's processes.
        splits: the run's data set; images outside the validation set are opened only while an
            evaluator needs them.
    """
    place = _Place(config, validation, world, splits)
    has_people = isinstance(splits, ReidSplits)
    offered = OFFERED if has_people else OF_EVERY_DATA_SET
    evaluators = []
    check_judges(config, has_people=has_people)
    for build in config.evaluation.build:
        wanted = parameters_of(build)
        given = {name: make(place) for name, make in offered.items() if name in wanted}
        evaluators.append(create(build, **given))
    if not hasattr(evaluators[0], "headline"):
        raise ConfigError(
            f"evaluation.build: {_name(evaluators[0])}: is the first of the list and needs an "
            "attribute `headline`: the name of the metric whose best value is kept"
        )
    return Evaluators(
        task,
        evaluators,
        validation,
        OFFERED["autocast"](place),
        config.evaluation.channels,
        partial(uncompiled, config, world.device),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """What the arguments of evaluators are made of."""

    config: RunConfig
    validation: Validation
    world: World
    splits: Any  # Splits, or ReidSplits where an evaluator asks for people


# What evaluators may ask for, by the names of their arguments.
OF_EVERY_DATA_SET: dict[str, Callable[[_Place], Any]] = {
    "batches": lambda run: partial(iter, run.validation),
    "num_images": lambda run: run.validation.num_images,
    "training": lambda run: partial(shard_of, run.config, run.splits.train, run.world),
    "num_training": lambda run: len(run.splits.train),
    "reduce_sum": lambda run: run.world.reduce_sum,
    "autocast": lambda run: partial(
        autocast_context, run.config.precision.autocast, run.world.device
    ),
}
OFFERED = OF_EVERY_DATA_SET | {  # of a data set of people
    "query": lambda run: partial(iter, run.validation),
    "gallery": lambda run: partial(shard_of, run.config, run.splits.gallery, run.world),
    "query_ids": lambda run: run.splits.query_ids,
    "query_cameras": lambda run: run.splits.query_cameras,
    "gallery_ids": lambda run: run.splits.gallery_ids,
    "gallery_cameras": lambda run: run.splits.gallery_cameras,
}


def check_judges(config: RunConfig, *, has_people: bool) -> None:
    """Refuse evaluators that judge other data than the run's, classes of one's own among them.

    Args:
        config: the run's configuration.
        has_people: whether the data set has queries and a gallery.

    Raises:
        ConfigError: naming the data set and the first such class.
    """
    for build in config.evaluation.build:
        check_judged(
            build[TARGET],
            config.data,
            judges_people=_judges_people(build),
            has_people=has_people,
        )


def _judges_people(build: Mapping[str, Any]) -> bool | None:
    """Say whether a class asks for a gallery (True) or is one that compares classes (False)."""
    if "gallery" in parameters_of(build):
        return True
    target = target_of(build)
    of_classes = tuple(locate(name) for name in REPORTED if name not in OF_PEOPLE)
    return False if isclass(target) and issubclass(target, of_classes) else None


def check_evaluator(build: Mapping[str, Any]) -> None:
    """Refuse a class of evaluators that asks for what no run has, or cannot be called.

    Raises:
        ConfigError: naming the class, and the arguments that it may have.
    """
    name, target = build[TARGET], target_of(build)
    if not isclass(target) or hasattr(target, "Settings"):
        return
    lacking = [
        one.name
        for one in signature(target).parameters.values()
        if one.default is Parameter.empty
        and one.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and one.name not in (*build, *OFFERED)
    ]
    if lacking:
        raise ConfigError(
            f"{name}: needs {', '.join(lacking)}; give it beside _target_, or ask for what a run "
            f"has: {', '.join(OFFERED)}"
        )
    if "__call__" not in dir(target):
        raise ConfigError(f"{name}: has no __call__(self, network)")
    try:
        signature(target.__call__).bind(None, None)
    except TypeError as error:
        raise ConfigError(
            f"{name}: __call__ gets the network alone ({error}); __init__ may ask for "
            f"{', '.join(OFFERED)}"
        ) from error


def uncompiled(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which compiled networks run as they were written.

    Args:
        config: the run's configuration.
        device: the device of its networks.
    """
    if not config.compiles(device.type):
        return nullcontext()  # not without need: the other loads the compiler, which takes seconds
    return torch.compiler.set_stance("force_eager")


def shard_of(config: RunConfig, source: ImageSource, world: World) -> Iterator[RawBatch]:
    """Yield this process's shard of a source's images, prepared like the validation images.

    Args:
        config: the run's configuration.
        source: all images.
        world: this process's place among the run's processes.
    """
    with closing(Validation(config, source, world)) as images:
        yield from images


@torch.no_grad()
def collect_evidence(
    config: RunConfig, training: Training, validation: Validation, cursor: Cursor
) -> dict[str, np.ndarray]:
    """Gather what later reports need from the weights; NaN after a non-finite crash is kept.

    Args:
        config: the run's configuration.
        training: the training that has ended.
        validation: this process's shard.
        cursor: where training ended.
    """
    headline, backbone = training.headline, training.task.backbone
    name = headline.removeprefix("val/")
    backbone.eval()
    autocast = partial(autocast_context, config.precision.autocast, training.world.device)
    similarity = _similarity(backbone, validation, training.world, autocast)
    evidence = {
        "similarity/absolute": similarity[:, 0],
        "similarity/signed": similarity[:, 1],
        "qkv_channel_norm": attention_weight_norms(backbone).float().cpu().numpy(),
        f"{name}/last": np.float64(cursor.latest.get(headline, np.nan)),
        f"{name}/best": np.float64(cursor.best.get("value", np.nan)),
    }
    scales = stem_scales(backbone.patch_embed)
    if scales is not None:
        evidence |= {
            "stem/alpha": scales.alpha.float().cpu().numpy(),
            "stem/beta": scales.beta.float().cpu().numpy(),
        }
    evidence.update({name: value.numpy() for name, value in cursor.arrays.items()})
    return evidence


def _similarity(
    backbone: nn.Module,
    validation: Validation,
    world: World,
    autocast: partial[AbstractContextManager[Any]],
) -> np.ndarray:
    """Return the mean similarity of all images, absolute and signed, for each layer."""
    sums, images_seen = None, 0
    for batch in validation:
        with autocast():
            layers = layer_tokens(backbone, batch.images)
        found = [layer_similarity(tokens) for tokens in layers]
        means = torch.stack([torch.stack((f.absolute, f.signed)) for f in found])
        rows = means.double() * len(batch.images)
        sums = rows if sums is None else sums + rows
        images_seen += len(batch.images)
    count = world.reduce_sum(torch.tensor(float(images_seen), device=world.device))
    return (world.reduce_sum(sums) / count).cpu().numpy()


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an ``.npz`` whose bytes depend on the arrays only."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name.replace("/", "."): arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()
