"""The scripts of others that ours are timed beside, by the names that tables print."""

from __future__ import annotations

from enum import StrEnum


class Script(StrEnum):
    """Whose loop or data path is the peer."""

    TIMM = "timm best flags"
    TIMM_DEFAULTS = "timm defaults"
    TIMM_LOADER = "timm's script"  # its data path, whatever the flags
    TIMM_BARE = "timm's script without RandAugment"
    DEIT = "DeiT's script"
    DINO = "DINO's script"
    VOLO = "VOLO's script"


# The data path of ours that does what a script does, one of ``data_paths.PATHS``.
TENSOR = "device, decoder=tensor"
OUR_PATH = {**dict.fromkeys(Script, TENSOR), Script.DINO: "DINO", Script.VOLO: "VOLO"}
