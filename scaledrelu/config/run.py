"""One run as a tree of groups, and the rules that need more than one group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.batch import BatchConfig
from scaledrelu.config.data import UNLABELLED, DataConfig
from scaledrelu.config.divergence import DivergenceConfig
from scaledrelu.config.evaluation import EvaluationConfig
from scaledrelu.config.fields import build, folder, number, part_of_path
from scaledrelu.config.group import Group, fields_of, require
from scaledrelu.config.init import InitConfig
from scaledrelu.config.launch import LaunchConfig, PathsConfig, WandbConfig
from scaledrelu.config.model import FfnConfig, ModelConfig
from scaledrelu.config.optimizer import OptimizerConfig
from scaledrelu.config.precision import PrecisionConfig
from scaledrelu.config.ranges import (
    CHANNELS,
    EPOCHS,
    FEW,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    Range,
)
from scaledrelu.config.schedule import LrConfig, ScheduleConfig, WarmupConfig
from scaledrelu.config.stem import StemConfig
from scaledrelu.errors import ConfigError

TENSOR_INTERPOLATIONS = ("bicubic", "bilinear")  # of tensors of bytes, exact to Pillow's


@dataclass(frozen=True, slots=True)
class EmaConfig(Group):
    """Exponential moving average of the weights, kept and never evaluated (recipes A.3)."""

    KEY: ClassVar[str] = "ema"

    decay: float = number(Range("[0, 1)"))


@dataclass(frozen=True, slots=True)
class ProfileConfig(Group):
    """Scale factors of one profile: applied in the schedule and the loaders, nowhere else."""

    KEY: ClassVar[str] = "profile"

    name: str = part_of_path()
    epoch_scale: float = number(POSITIVE)
    warmup_scale: float = number(POSITIVE)
    lr_scale: float = number(POSITIVE)
    batch_scale: float = number(POSITIVE)
    notes: tuple[str, ...]  # what reports say on top and in footnotes


@dataclass(frozen=True, slots=True)
class RunConfig(Group):
    """One run. Its identity is the hash of everything here that is science."""

    method: str = folder()
    task: dict[str, Any] = build(
        num_blocks=FEW,
        out_dim=Range("[2, 1000000000]", whole=True),
        head_hidden=CHANNELS,
        bottleneck=CHANNELS,
        head_layers=FEW,
        head_init_std=POSITIVE,
        student_temp=POSITIVE,
        teacher_temp=POSITIVE,
        warmup_teacher_temp=POSITIVE,
        warmup_teacher_temp_epochs=EPOCHS,
        centre_momentum=SHARE,
        teacher_momentum=SHARE,
        freeze_last_layer_epochs=EPOCHS,
        id_weight=POSITIVE,
        triplet_weight=NOT_NEGATIVE,
        distances=("products", "differences"),
        mix_token=Range("[0, 1000]"),
        class_weight=NOT_NEGATIVE,
        token_weight=NOT_NEGATIVE,
    )
    seed: int = number(SEED)
    model: ModelConfig
    stem: StemConfig
    ffn: FfnConfig
    optimizer: OptimizerConfig
    lr: LrConfig
    warmup: WarmupConfig
    schedule: ScheduleConfig
    batch: BatchConfig
    precision: PrecisionConfig
    data: DataConfig
    augment: AugmentConfig
    evaluation: EvaluationConfig
    divergence: DivergenceConfig
    ema: EmaConfig | None
    init: InitConfig
    profile: ProfileConfig
    launch: LaunchConfig
    wandb: WandbConfig
    paths: PathsConfig
    trust: tuple[str, ...]  # modules that a _target_ may name besides those of config.trust

    def check(self) -> None:
        """Refuse groups that contradict each other."""
        self._check_sizes()
        self._check_time()
        self._check_batch()
        self._check_decoder()

    @property
    def num_groups(self) -> int:
        """Groups of images in one update."""
        return self.batch.groups(self.profile.batch_scale)

    @property
    def peak_lr(self) -> float:
        """The effective peak of the learning rate."""
        return self.lr.peak(total_batch=self.batch.total, lr_scale=self.profile.lr_scale)

    @property
    def run_epochs(self) -> int:
        """Epochs that this run trains."""
        return self.schedule.run_epochs(self.profile.epoch_scale)

    def compiles(self, device: str) -> bool:
        """Whether networks are compiled on a kind of device, cpu or cuda."""
        return self.launch.compiles(device, self.method)

    def refuse_fp16_on_cpu(self, *, on_cpu: bool) -> None:
        """Refuse to train in half precision where it is emulated.

        Args:
            on_cpu: whether the run has no GPU.

        Raises:
            ConfigError: fp16 on a CPU without ``launch.fp16_on_cpu``.
        """
        if on_cpu and self.precision.autocast == "fp16" and not self.launch.fp16_on_cpu:
            raise ConfigError(
                f"precision.autocast=fp16: a CPU only emulates it (launch.device="
                f"{self.launch.device}); set precision=fp32 (a different run), or "
                "launch.fp16_on_cpu=true to use it anyway"
            )

    def _check_sizes(self) -> None:
        model, data, augment = self.model, self.data, self.augment
        blocks, patch = self.task.get("num_blocks"), model.patch_size
        require(
            None in (blocks, model.depth) or blocks <= model.depth,
            f"task.num_blocks={blocks}: must lie in [1, {model.depth}] (model.depth)",
        )
        sides = {"data.image_size": data.image_size, "data.image_width": data.image_width}
        crops = augment.multi_crop
        sides |= {"augment.multi_crop.local_size": crops.local_size} if crops else {}
        for key, side in sides.items():
            require(
                side is None or side % patch == 0,
                f"{key}={side}: must be a multiple of model.patch_size={patch}",
            )
        self.stem.fit(patch)
        side = min(data.height, data.width)
        require(
            augment.shift < side,
            f"augment.shift={augment.shift}: must lie in [0, {side}) for images of {side} pixels",
        )

    def _check_time(self) -> None:
        warmup, profile, epochs = self.warmup, self.profile, self.schedule.total_epochs
        require(
            epochs * profile.epoch_scale >= 0.5,
            f"profile.epoch_scale={profile.epoch_scale:g}: leaves no epoch of {epochs}; must be at "
            f"least {1 / epochs:.3g}",
        )
        require(
            warmup.length(profile.warmup_scale) <= self.schedule.epochs,
            f"warmup.epochs={warmup.epochs:g}: longer than the schedule of {self.schedule.epochs} "
            f"epochs (times profile.warmup_scale={profile.warmup_scale:g}); lower it, or raise "
            "schedule.epochs",
        )

    def _check_batch(self) -> None:
        batch, augment = self.batch, self.augment
        batch.groups_per_process(self.profile.batch_scale, processes=self.launch.nproc)
        require(
            not (augment.mixes and batch.group % 2),
            f"batch.group={batch.group}: must be even, since mixup and CutMix pair images; change "
            "it, or set augment.mixup=0 augment.cutmix=0",
        )
        require(
            not (augment.mixes and self.data.has_labels),
            "augment.mixup, augment.cutmix: must be 0 with data.token_labels, since MixToken "
            "already mixes the images",
        )
        require(
            not (augment.multi_crop and self.data.has_labels),
            "data.token_labels: cannot be combined with augment.multi_crop, which has its own "
            "augmentation; set data.token_labels=none or augment.multi_crop=null",
        )
        triplets = "triplet_weight" in self.task
        require(
            not triplets or (batch.instances is not None and batch.instances >= 2),
            f"batch.instances={_shown(batch.instances)}: must be at least 2 with "
            "task.triplet_weight, since the triplet loss compares images of one person",
        )
        if batch.instances is None:
            return
        require(
            not augment.mixes,
            "augment.mixup, augment.cutmix: must be 0 with batch.instances, since an image must "
            "show one person",
        )
        require(
            augment.repeats == 1,
            f"augment.repeats={augment.repeats}: must be 1 with batch.instances, since batches are "
            "drawn by identity",
        )

    def _check_decoder(self) -> None:
        augment, crops = self.augment, self.augment.multi_crop
        if self.data.decoder == "pil":
            return
        leaves_out = "token_weight" in self.task  # the label maps that its task is made for
        instead = UNLABELLED if leaves_out else "data.decoder=pil, or data.augment=device"
        require(
            self.data.augment == "device" or self.data.has_labels,
            f"data.decoder={self.data.decoder}: cannot be combined with data.augment="
            f"{self.data.augment}, which works on Pillow's images where there are no label maps; "
            f"set {instead}",
        )
        require(
            crops is None or crops.pipeline == "device",
            f"data.decoder={self.data.decoder}: cannot be combined with "
            "augment.multi_crop.pipeline=reference, which changes the colours of Pillow's images; "
            "set augment.multi_crop.pipeline=device, or data.decoder=pil",
        )
        drawn = augment.interpolation == "random" and self.data.has_labels  # one of the two
        require(
            drawn or augment.interpolation in TENSOR_INTERPOLATIONS,
            f"data.decoder={self.data.decoder}: cannot interpolate by {augment.interpolation}; set "
            f"augment.interpolation={' or '.join(TENSOR_INTERPOLATIONS)}, or data.decoder=pil",
        )


def plain(value: Any) -> Any:
    """Return a group as dictionaries and lists, in the order of its fields."""
    if isinstance(value, Group):
        return {one.name: plain(getattr(value, one.name)) for one in fields_of(type(value))}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def value_of(config: RunConfig, key: str) -> Any:
    """Return the value of a dotted key, e.g. ``optimizer.label``; a group as it is.

    Args:
        config: a run's configuration.
        key: a field, or an argument in an open dictionary.

    Raises:
        KeyError: if there is nothing under this key.
    """
    value: Any = config
    for part in key.split("."):
        if isinstance(value, dict):
            value = value[part]
        elif isinstance(value, Group) and part in {one.name for one in fields_of(type(value))}:
            value = getattr(value, part)
        else:
            raise KeyError(key)
    return value


def _shown(value: int | None) -> str:
    return "null" if value is None else str(value)
