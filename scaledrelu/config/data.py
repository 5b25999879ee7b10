"""The group ``data``: where images come from and how the bytes become tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, part_of_path, word
from scaledrelu.config.group import TARGET, Group, require, typed
from scaledrelu.config.ranges import PIXELS, SEED, Range
from scaledrelu.inputs.reid_listing import MARKET_LAYOUT

NONE, MADE = "none", "made"  # words of token_labels; ``made`` is one of root, too
# Without label maps, an image that the host augments is decoded by Pillow; at every profile.
UNLABELLED = f"data.token_labels={NONE} data.decoder=pil"
OWN_OPENERS = "scaledrelu.data."  # what their names begin with
_WITHOUT_FILES = f"{OWN_OPENERS}datasets.open_digits"
_GENERATED = f"{OWN_OPENERS}reid.open_made"


@dataclass(frozen=True, slots=True)
class DataConfig(Group):
    """A data set."""

    KEY: ClassVar[str] = "data"

    name: str = part_of_path()
    build: dict[str, Any] = build()
    root: str | None  # transient; made: an artifact (a generated set)
    digest: str | None  # of the files that are read; filled in by config.digest
    num_classes: int | None = number(Range("[2, 1000000000]", whole=True))  # null = counted
    image_size: int = number(PIXELS)  # height, and width where that is null
    image_width: int | None = number(PIXELS)
    mean: tuple[float, ...] = number(Range("[0, 1]", count=3))
    std: tuple[float, ...] = number(Range("(0, 10]", count=3))
    augment: str = word("reference", "device")  # timm/PIL, or batched on the device
    decoder: str = word("pil", "tensor")  # of image files, and how they are cropped
    in_memory: bool  # decode once into one uint8 tensor
    fraction: float = number(Range("(0, 1]"))  # of the training images, per class (Table 7)
    fraction_seed: int = number(SEED)
    on_bad_image: str = word("raise", "skip")
    token_labels: str  # none | made (by a teacher run of our own) | folder of label maps
    token_labels_digest: str | None  # of the maps; filled in by config.artifacts

    def check(self) -> None:
        """Refuse one of our own openers without a folder, and tensors that need no decoding."""
        opener = str(self.build.get(TARGET))
        foreign = not opener.startswith(OWN_OPENERS)
        require(
            self.root is not None or opener == _WITHOUT_FILES or foreign,
            f"data.root=null: {opener.rpartition('.')[2]} reads files; set data.root=<folder>",
        )
        require(
            self.decoder != "tensor" or not self.in_memory,
            "data.decoder=tensor: is for files that are decoded at every step; set "
            "data.in_memory=false, or data.decoder=pil",
        )

    def refuse_root_without_effect(self) -> None:
        """Refuse a folder beside images that come with a package: it would go unnoticed.

        Not a part of :meth:`check`, so that runs that were stored with one can still be read.

        Raises:
            ConfigError: naming the folder.
        """
        require(
            self.root is None or self.build.get(TARGET) != _WITHOUT_FILES,
            f"data.root={self.root}: has no effect, since {self.name} come with scikit-learn (at "
            "mini and smoke they stand in for imagenet1k); write data=imagefolder to train on your "
            "own images",
        )

    def refuse_build_without_effect(self) -> None:
        """Refuse fields of the opener that a generated set stands in for: they would go unnoticed.

        Profiles set them to null. Not a part of :meth:`check`, so that runs that were stored with
        one can still be read.

        Raises:
            ConfigError: naming the field.
        """
        if self.build.get(TARGET) != _GENERATED:
            return
        for key, value in self.build.items():
            require(
                value is None or key == TARGET,
                f"data.build.{key}={typed(value)}: has no effect, since {self.name} is generated, "
                f"{MARKET_LAYOUT}; leave it out, or choose profile=paper",
            )

    @property
    def has_labels(self) -> bool:
        """Whether a run learns from label maps."""
        return self.token_labels != NONE

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image_size

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image_width or self.image_size

    @property
    def size(self) -> int | tuple[int, int]:
        """Pixels of a side, or (height, width) where a width is given."""
        return self.image_size if self.image_width is None else (self.height, self.width)
