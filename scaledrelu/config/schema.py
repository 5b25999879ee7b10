"""The typed fields of a run: types and meaning only; every value stands in ``conf/``.

``MISSING`` everywhere is deliberate: a default lives in one place, and that place is a YAML file.
``build`` entries carry a ``_target_`` and are opened by ``runs/execute.py`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """A backbone family and its size (recipes A.1)."""

    label: str = MISSING  # what reports print, e.g. "DeiT-Small"
    build: dict[str, Any] = MISSING
    width: int = MISSING
    depth: int | None = MISSING  # null: the build lists its stages (VOLO)
    heads: int = MISSING
    mlp_ratio: float = MISSING
    patch_size: int = MISSING
    norm_eps: float = MISSING
    drop_path: float = MISSING


@dataclass
class StemConfig:
    """The stem grammar: convolutions, then one projection, then a tail (recipes G.1)."""

    label: str = MISSING
    build: dict[str, Any] = MISSING
    strides: list[int] = MISSING  # of the convolutions; empty = patchify
    kernels: list[int] = MISSING  # of the convolutions
    hidden: int = MISSING  # channels of the convolutions
    norm: str = MISSING  # batch | layernorm | none: after each convolution
    act: str = MISSING  # relu | gelu | scaled_relu | none: after each normalisation
    tail: list[str] = (
        MISSING  # what follows the projection, of batch | layernorm | relu | gelu | scaled_relu
    )
    proj_kernel: int | None = MISSING  # null = the projection's stride
    shrink: bool = MISSING  # strides that do not fit a small patch fall to 1 from the right


@dataclass
class FfnConfig:
    """The feed-forward part of every block (Table 5, Algorithm 2)."""

    label: str = MISSING
    build: dict[str, Any] = MISSING
    act: str = MISSING  # gelu | relu
    norm: bool = MISSING  # keep the LayerNorm before the FFN


@dataclass
class SamConfig:
    """Sharpness-aware minimisation (recipes E)."""

    rho: float = MISSING
    per_group: bool = MISSING  # perturb with each group's own gradient (per worker)
    stats_in_second_pass: bool = MISSING  # let pass two update BatchNorm running statistics
    same_masks: bool = MISSING  # pass two repeats the drop-path masks of pass one


@dataclass
class OptimizerConfig:
    """The base optimizer and, for SAM, its perturbation."""

    label: str = MISSING  # what reports print
    build: dict[str, Any] = MISSING  # torch or timm optimizer without parameters and lr
    sam: SamConfig | None = MISSING
    clip_grad: float | None = MISSING  # largest L2 norm of the gradient
    clip: str = MISSING  # global | per_tensor: what that norm is taken of
    decay_tokens: bool = MISSING  # position embedding and class token decay too (DINO)
    decay_all: bool = MISSING  # no exemptions at all (ReID)
    bias_lr_factor: float = MISSING  # on the peak rate of biases (ReID)


@dataclass
class LrConfig:
    """Peak learning rate: ``base * batch.total / reference_batch`` (recipes section 1)."""

    label: str = MISSING
    base: float = MISSING
    reference_batch: int | None = MISSING  # null: base is used as written


@dataclass
class WarmupConfig:
    """Warm-up shape and its length in epochs of the paper's schedule."""

    label: str = MISSING
    shape: str = MISSING  # linear | none
    epochs: float = MISSING
    start_lr: float | None = MISSING  # absolute, not scaled (recipes A.4); null: use the fraction
    start_lr_fraction: float | None = MISSING  # of the peak


@dataclass
class ScheduleConfig:
    """Length and decay of the learning rate, in epochs of the paper (recipes A.4)."""

    epochs: int = MISSING
    cooldown_epochs: int = MISSING
    unit: str = MISSING  # epoch | step
    delay_epochs: int = MISSING  # DeiT's loop runs epoch e at value(e - 1)
    min_lr: float | None = MISSING  # absolute floor; null = use min_lr_fraction
    min_lr_fraction: float | None = MISSING  # floor as a fraction of the peak
    cosine: str = MISSING  # whole (warm-up replaces its beginning) | after_warmup (DINO)
    weight_decay_end: float | None = MISSING  # cosine from optimizer.build.weight_decay to it


@dataclass
class BatchConfig:
    """``total`` images per update, in groups of ``group`` (what one GPU of the paper held)."""

    total: int = MISSING
    group: int = MISSING
    instances: int | None = MISSING  # images of an identity per update (ReID); null: any images
    sync_bn: bool = MISSING  # BatchNorm statistics over the whole update, not over groups (DINO)


@dataclass
class PrecisionConfig:
    """Autocast type and attention path (recipes section 2)."""

    label: str = MISSING
    autocast: str = MISSING  # none | fp16 | bf16
    attention: str = MISSING  # fused | scores_then_scale
    loss_scaling: bool = MISSING
    initial_scale: float = MISSING
    growth_interval: int = MISSING


@dataclass
class DataConfig:
    """Where images come from and how the bytes become tensors."""

    name: str = MISSING
    build: dict[str, Any] = MISSING
    root: str | None = MISSING  # transient; made: an artifact (a generated set)
    digest: str | None = MISSING  # of the files that are read; filled in by config.digest
    num_classes: int | None = MISSING  # null = counted from the class folders
    image_size: int = MISSING  # pixels: height, and width where that is null
    image_width: int | None = MISSING
    mean: list[float] = MISSING
    std: list[float] = MISSING
    augment: str = MISSING  # reference (timm/PIL) | device (batched)
    in_memory: bool = MISSING  # decode once into one uint8 tensor
    fraction: float = MISSING  # of the training images, stratified per class (Table 7)
    fraction_seed: int = MISSING
    on_bad_image: str = MISSING  # raise | skip
    token_labels: str = MISSING  # none | made (by a teacher run of our own) | folder of label maps
    token_labels_digest: str | None = MISSING  # of the maps; filled in by config.artifacts


@dataclass
class MultiCropConfig:
    """DINO's views: two global crops and some small local ones (recipes C.1)."""

    num_local: int = MISSING
    local_size: int = MISSING  # pixels
    global_scale: list[float] = MISSING  # area
    local_scale: list[float] = MISSING
    jitter: list[float] = MISSING  # brightness, contrast, saturation, hue
    jitter_prob: float = MISSING
    grey_prob: float = MISSING
    blur_prob: list[float] = MISSING  # first global crop, second, local ones
    solarize_prob: float = MISSING  # second global crop


@dataclass
class AugmentConfig:
    """Training augmentation in the official order (recipes A.5, A.6)."""

    crop: str = MISSING  # random_resized | shift | none
    crop_scale: list[float] = MISSING
    crop_ratio: list[float] = MISSING
    interpolation: str = MISSING
    shift: int = MISSING  # pixels, for crop=shift: zero-padded random translation
    hflip: float = MISSING
    rand_augment: str | None = MISSING  # timm policy string
    color_jitter: float = MISSING  # only without rand_augment, as in timm
    erasing: float = MISSING  # probability; pixel mode, one box
    mixup: float = MISSING  # Beta parameter, 0 = off
    cutmix: float = MISSING  # Beta parameter, 0 = off
    mix_prob: float = MISSING
    switch_prob: float = MISSING
    smoothing: float = MISSING
    repeats: int = MISSING  # repeated augmentation; 1 = off
    multi_crop: MultiCropConfig | None = MISSING  # DINO; its crops replace ``crop``
    label_axes: str = MISSING  # official (rows and columns exchanged) | corrected, of label maps


@dataclass
class EvaluationConfig:
    """How a run is judged."""

    build: list[dict[str, Any]] = MISSING  # evaluators
    crop: float = MISSING  # short side resized to image_size / crop
    every_epochs: int = MISSING  # of the run's own epochs
    at_start: bool = MISSING  # once before the first update, too: metrics named <metric>_start
    batch: int = MISSING
    report: str = MISSING  # last | best: which top-1 tables print


@dataclass
class DivergenceConfig:
    """When a finite run counts as collapsed (recipes, "Crash rule"; mini protocol)."""

    ratio: float = MISSING  # of the task's chance loss; a window with a higher mean is dead
    judge: str = MISSING  # after_warmup | fraction
    judge_at: float = MISSING  # end of the first window: paper epochs after warm-up, or fraction
    window: float = MISSING  # same unit as judge_at
    stop: bool = MISSING  # dead windows in a row end the run; else only its end is judged
    patience: int = MISSING  # how many, with stop


@dataclass
class EmaConfig:
    """Exponential moving average of the weights, kept and never evaluated (recipes A.3)."""

    decay: float = MISSING


@dataclass
class InitConfig:
    """Where the first weights come from."""

    kind: str = MISSING  # scratch | run | checkpoint
    run: str | None = MISSING  # run id, for kind=run
    path: str | None = MISSING  # file, for kind=checkpoint; transient
    sha256: str | None = MISSING  # of that file; filled in when the file is there
    positions: str = MISSING  # bicubic | bilinear: how they are resized to another grid
    head_scale: float | None = MISSING  # times the usual start of a new classifier; null: scratch


@dataclass
class ProfileConfig:
    """Scale factors of one profile: applied in the schedule and the loaders, nowhere else."""

    name: str = MISSING
    epoch_scale: float = MISSING
    warmup_scale: float = MISSING
    lr_scale: float = MISSING
    batch_scale: float = MISSING
    notes: list[str] = MISSING  # what reports say on top and in footnotes


@dataclass
class LaunchConfig:
    """Processes, devices and files: never part of a run's identity."""

    nproc: int = MISSING
    device: str = MISSING  # auto | cpu | cuda
    threads: int = MISSING  # torch threads per process; 0 = leave torch's choice
    workers: int = MISSING  # loader processes per device
    compile: bool = MISSING
    channels_last: bool = MISSING
    timeout_s: int = MISSING  # collectives: a dead rank ends the run within this time
    checkpoint_every_steps: int = MISSING
    log_every_steps: int = MISSING
    progress: bool = MISSING
    fp16_on_cpu: bool = MISSING  # let fp16 train on a CPU, which only emulates it
    requeue: bool = MISSING  # a SLURM job that saved before its time limit queues itself again


@dataclass
class WandbConfig:
    """The W&B mirror: never read by tables."""

    mode: str = MISSING  # disabled | offline | online
    project: str = MISSING
    entity: str | None = MISSING
    tags: list[str] = MISSING


@dataclass
class PathsConfig:
    """Where this checkout writes."""

    results: str = MISSING


@dataclass
class RunConfig:
    """One run. Its identity is the hash of everything here that is science."""

    method: str = MISSING
    task: dict[str, Any] = MISSING
    seed: int = MISSING
    model: ModelConfig = field(default_factory=ModelConfig)
    stem: StemConfig = field(default_factory=StemConfig)
    ffn: FfnConfig = field(default_factory=FfnConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    lr: LrConfig = field(default_factory=LrConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    ema: EmaConfig | None = MISSING
    init: InitConfig = field(default_factory=InitConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    trust: list[str] = MISSING  # modules that a _target_ may name beside those of config.trust
