"""What the log says before a run trains: its id, rates, images, length and devices."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from scaledrelu.config.artifacts import data_root
from scaledrelu.config.differences import overrides_against_recipe
from scaledrelu.config.evaluation import OF_CLASSES
from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.runs.build import Job
from scaledrelu.runs.planned import planned_as
from scaledrelu.runs.provenance import device_name
from scaledrelu.runs.record import run_directory
from scaledrelu.tasks.base import Task
from scaledrelu.text import plural

log = logging.getLogger(__name__)
MUCH = 0.1  # of the images; an epoch of ImageNet-1k leaves out less than a thousandth


def announce(config: RunConfig, job: Job, world: World) -> None:
    """Log id, differences from the recipe, rates, images, steps, batch per device and devices.

    On the main process only; the others would compose for nothing.

    Args:
        config: the run's configuration.
        job: the built run.
        world: this process's place among the run's processes.
    """
    if not world.is_main:
        return
    schedule, lr, group = job.training.schedule, config.lr, config.batch.group
    name = run_id(config)
    planned = planned_as(run_directory(config.paths.results, name))
    what = _differences_line(config) if planned is None else f"planned as {planned}"
    log.info("%s: %s", name, what)
    log.info(
        "  lr.base %g -> effective peak %g (%s, nominal batch %d, profile x%g)",
        lr.base,
        config.peak_lr,
        lr.label,
        config.batch.total,
        config.profile.lr_scale,
    )
    log.info("  %s", _images_line(config, job.splits.sizes))
    if line := _one_class_line(config, job.splits.sizes):
        log.warning("  %s", line)
    for line in (fitted_line(config), _random_backbone_line(config, job.training.task)):
        if line:
            log.info("  %s", line)
    update = group * job.groups_per_device * world.size
    used = job.training.loader.steps_per_epoch * update
    if line := left_out_line(config, images=len(job.splits.train), used=used):
        log.info("  %s", line)
    log.info(
        "  %d steps = %d epochs x %d, of them %d warm-up; batch %d = %d device(s) x %d group(s) x "
        "%d; %s, %s",
        schedule.total_steps,
        schedule.run_epochs,
        job.training.loader.steps_per_epoch,
        schedule.warmup_steps,
        update,
        world.size,
        job.groups_per_device,
        group,
        config.precision.label,
        device_name(world.device),
    )


def _images_line(config: RunConfig, sizes: Mapping[str, int]) -> str:
    """Say in one line which images a run is trained and judged on, how many, and where they lie."""
    root, fraction = data_root(config), config.data.fraction
    where = f" at {root}" if root is not None else ""
    part = f" (data.fraction={fraction:g})" if fraction < 1 else ""
    judged = f"{sizes['val']} validation images, {plural(sizes['classes'], 'class')}"
    if "gallery" in sizes:
        judged = f"{sizes['val']} query images, {sizes['gallery']} gallery images"
    return f"{config.data.name}{where}: {sizes['train']} training images{part}, {judged}"


def _one_class_line(config: RunConfig, sizes: Mapping[str, int]) -> str:
    """Say in one line that right classes are no news, since there is one; "" if they are."""
    headline = config.evaluation.headline or ""
    if sizes["classes"] > 1 or not headline.startswith(OF_CLASSES):
        return ""
    return (
        f"{headline} is always 100 and says nothing, since all images are of one class; sort them "
        "into a folder for each class to measure it"
    )


def _random_backbone_line(config: RunConfig, task: Task) -> str:
    """Say in one line that a backbone is never trained; "" if it is, or starts from weights."""
    weights = (weight for network in task.networks() for weight in network.parameters())
    if config.init.kind != "scratch" or any(weight.requires_grad for weight in weights):
        return ""
    return "frozen backbone: random weights (init=scratch)"


def fitted_line(config: RunConfig) -> str:
    """Say in one line that a stem shrinks to fit its patch; "" if it runs as it was asked for."""
    stem, patch = config.stem, config.model.patch_size
    fitted = stem.fit(patch)
    if stem.own_class or fitted.strides == stem.strides:
        return ""
    kernel = ""
    if stem.proj_kernel not in (None, fitted.proj_kernel):
        kernel = f", stem.proj_kernel {stem.proj_kernel} as {fitted.proj_kernel}"
    return (
        f"stem.strides {list(stem.strides)} run as {list(fitted.strides)}{kernel} on patches of "
        f"{patch}"
    )


def left_out_line(config: RunConfig, *, images: int, used: int) -> str:
    """Say in one line that an epoch leaves many images out; "" if it leaves few, or by design.

    Args:
        config: the run's configuration.
        images: size of the training set.
        used: images of all updates of an epoch.
    """
    draws_all = config.augment.repeats == 1 and config.batch.instances is None
    left = images - used
    if not draws_all or left < MUCH * images:
        return ""
    return (
        f"{left} of the {images} images are left out of every epoch, others each time, since they "
        "fill no whole update; a smaller batch.total and batch.group use more of them"
    )


def _differences_line(config: RunConfig) -> str:
    """Say in one line how a run differs from its recipe and profile."""
    where = f"recipe {config.method} at {config.profile.name}"
    try:
        found = overrides_against_recipe(config)
    except ConfigError as error:  # a missing log line must not end a run
        return f"differences from {where} unknown ({error})"
    return f"differs from {where}: {' '.join(found)}" if found else f"{where}, unchanged"
