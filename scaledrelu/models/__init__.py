"""Networks: stems, FFNs and attention of the paper inside timm's ViT."""

from scaledrelu.models.attention import ScoresThenScale
from scaledrelu.models.build import StemViT, build_vit
from scaledrelu.models.ffn import ConvMlp, Mlp
from scaledrelu.models.stem import ScaledReLU, Stem

__all__ = ["ConvMlp", "Mlp", "ScaledReLU", "ScoresThenScale", "Stem", "StemViT", "build_vit"]
