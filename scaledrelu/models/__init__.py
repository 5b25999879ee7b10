"""Networks: stems, FFNs and attention of the paper inside timm's ViT and VOLO."""

from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.build import StemViT, build_vit
from scaledrelu.models.ffn import ConvMlp, Mlp
from scaledrelu.models.stem import ScaledReLU, Stem
from scaledrelu.models.volo import StemVOLO, build_volo

__all__ = [
    "ConvMlp",
    "Mlp",
    "ScaledReLU",
    "ScoresThenScale",
    "Stem",
    "StemVOLO",
    "StemViT",
    "build_vit",
    "build_volo",
]
