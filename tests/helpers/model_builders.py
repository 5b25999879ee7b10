"""Builders for the model tests: the stems and FFNs of conf at any size."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scaledrelu.config.construct import construct
from scaledrelu.config.model import ModelConfig
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.stem import StemConfig
from scaledrelu.models.build import StemViT, build_vit
from scaledrelu.models.parts import Parts
from scaledrelu.models.volo import StemVOLO, build_volo
from scaledrelu.runs.create import create, create_layer
from tests.helpers.configs import composed, group_with
from tests.helpers.options import of_the_paper

AT_PAPER = ("profile=paper", "launch=local")
DEIT_S = {"image_size": 224, "patch_size": 16, "width": 384, "depth": 12, "heads": 6}
MINI = {"image_size": 16, "patch_size": 4, "width": 64, "depth": 2, "heads": 2}
MINI_STEM = {"hidden": 16, "shrink": True}
MINI_VOLO = {"image_size": 16, "patch_size": 2, "width": 16, "heads": 2, "drop_path": 0.0}
MINI_VOLO |= {"layers": [1, 1, 2, 1], "outlook_width": 8, "outlook_heads": 2, "num_classes": 10}
STRIDE_2 = {"strides": [2, 2, 2], "proj_kernel": 8}  # Table 3


def stem_config(name: str, **changes) -> StemConfig:
    """Return the stem of an option of ``conf/stem``, at the paper's size, with fields changed."""
    return group_with(composed(f"stem={name}", *AT_PAPER).stem, **changes)


def make_stem(name: str, **changes) -> Callable[..., nn.Module]:
    """Return what builds a stem for a width, a patch and an image, as a run has it."""
    stem = stem_config(name, **changes)
    return partial(create, stem.build, stem, create=create_layer)


def make_ffn(name: str) -> tuple[Callable[[int, int], nn.Module], bool]:
    """Return the FFN builder of ``conf/ffn/<name>.yaml`` and whether its LayerNorm stays."""
    ffn = composed(f"ffn={name}", *AT_PAPER).ffn
    return partial(create, ffn.build, act=ffn.act), ffn.norm


def make_parts(ffn: str, stem: Callable[..., nn.Module], attention: str) -> Parts:
    return Parts(stem, *make_ffn(ffn), attention)


def model_config(**fields) -> ModelConfig:
    return construct(ModelConfig, {"label": "a model", "build": {}, "offers": [], **fields})


def make_vit(
    stem="patchify", ffn="mlp", stem_changes=None, attention="fused", **changes
) -> StemViT:
    """Build a mini ViT; ``**DEIT_S`` gives the paper's."""
    fields = {"num_classes": 10, "mlp_ratio": 4.0, "norm_eps": 1e-6, "drop_path": 0.0, **MINI}
    fields |= changes
    offered = {name: fields.pop(name) for name in ("image_size", "num_classes")}
    mini_stem = MINI_STEM if fields["patch_size"] == 4 else {}
    parts = make_parts(ffn, make_stem(stem, **(mini_stem | (stem_changes or {}))), attention)
    return build_vit(model_config(**fields), parts, **offered)


def make_volo(stem="conv", ffn="mlp", attention="fused", **changes) -> StemVOLO:
    """Build VOLO-D1 as conf has it; ``**MINI_VOLO`` shrinks it."""
    fields = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "model" / "volo_d1.yaml"))
    own = fields.pop("build") | {"image_size": 224, "num_classes": 1000}
    del fields["label"], own["_target_"]
    own |= {name: value for name, value in changes.items() if name in own}
    fields |= {name: value for name, value in changes.items() if name not in own}
    mini_stem = MINI_STEM if fields["patch_size"] == 2 else {}
    parts = make_parts(ffn, make_stem(stem, **mini_stem), attention)
    return build_volo(model_config(**fields), parts, **own)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, image: Tensor) -> int:
    """Return the multiply-accumulates of one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(image)
    return counter.get_total_flops() // 2


def lacking(by_stem: Iterable[str], by_ffn: Iterable[str]) -> set[str]:
    """Return the stems and FFNs of the paper's tables that are not among some."""
    return {*of_the_paper("stem"), *of_the_paper("ffn")} - {*by_stem, *by_ffn}
