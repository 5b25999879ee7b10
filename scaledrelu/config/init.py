"""The group ``init``: where the first weights come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import folder, number, word
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import NOT_NEGATIVE

SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class InitConfig(Group):
    """Random weights, those of another run, or a file of weights."""

    KEY: ClassVar[str] = "init"

    kind: str = word("scratch", "run", "checkpoint")
    run: str | None = folder()  # run id, for kind=run
    path: str | None  # file, for kind=checkpoint; transient
    sha256: str | None  # of that file; filled in when the file is there
    positions: str = word("bicubic", "bilinear")  # how they are resized to another grid
    head_scale: float | None = number(NOT_NEGATIVE)  # times the usual start of a new classifier

    def check(self) -> None:
        """Refuse a kind without its run or file, and a digest that no file can have."""
        for kind, key, value in (("run", "run", self.run), ("checkpoint", "path", self.path)):
            require(
                self.kind != kind or bool(value),
                f"init.kind={kind}: needs init.{key}; write init={kind} init.{key}=<{key}>",
            )
        require(
            self.sha256 is None or SHA256.fullmatch(self.sha256) is not None,
            f"init.sha256={self.sha256}: must be the SHA-256 of the file init.path, 64 hexadecimal "
            "digits, or null for any file",
        )
