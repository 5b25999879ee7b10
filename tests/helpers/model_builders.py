"""Builders for the model tests: the stems and FFNs of conf at any size."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import nn

from scaledrelu.models.build import StemViT, build_vit
from scaledrelu.models.stem import Stem
from scaledrelu.models.volo import StemVOLO, build_volo

CONF = Path(__file__).parents[2] / "conf"
STEMS = sorted(path.stem for path in (CONF / "stem").glob("[!_]*.yaml"))
FFNS = sorted(path.stem for path in (CONF / "ffn").glob("[!_]*.yaml"))
DEIT_S = {"image_size": 224, "patch_size": 16, "width": 384, "depth": 12, "heads": 6}
MINI = {"image_size": 16, "patch_size": 4, "width": 64, "depth": 2, "heads": 2}
MINI_STEM = {"hidden": 16, "shrink": True}
MINI_VOLO = {"image_size": 16, "patch_size": 2, "width": 16, "heads": 2, "drop_path": 0.0}
MINI_VOLO |= {"layers": [1, 1, 2, 1], "outlook_width": 8, "outlook_heads": 2, "num_classes": 10}
STRIDE_2 = {"strides": [2, 2, 2], "proj_kernel": 8}  # Table 3


def stem_fields(name: str, **changes) -> dict:
    """Return the fields of ``conf/stem/<name>.yaml`` as keyword arguments of Stem."""
    files = (CONF / "stem" / "_grammar.yaml", CONF / "stem" / f"{name}.yaml")
    merged = OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.load, files)))
    fields = {k: v for k, v in merged.items() if k not in ("defaults", "label", "build")}
    return fields | changes


def make_stem(name: str, **changes) -> Callable[..., Stem]:
    return partial(Stem, **stem_fields(name, **changes))


def make_ffn(name: str) -> tuple[Callable[[int, int], nn.Module], bool]:
    """Return the FFN builder of ``conf/ffn/<name>.yaml`` and whether its LayerNorm stays."""
    fields = OmegaConf.to_container(OmegaConf.load(CONF / "ffn" / f"{name}.yaml"))
    kwargs = {k: v for k, v in fields["build"].items() if k != "_target_"}
    cls = get_class(fields["build"]["_target_"])
    return partial(cls, act=fields["act"], **kwargs), fields["norm"]


def make_vit(stem="patchify", ffn="mlp", stem_changes=None, **changes) -> StemViT:
    """Build a mini ViT; ``**DEIT_S`` gives the paper's."""
    builder, norm = make_ffn(ffn)
    size = {"num_classes": 10, "mlp_ratio": 4.0, "norm_eps": 1e-6, "drop_path": 0.0, **MINI}
    options = size | {"ffn_norm": norm, "attention": "fused"} | changes
    mini_stem = MINI_STEM if options["patch_size"] == 4 else {}
    stem_maker = make_stem(stem, **(mini_stem | (stem_changes or {})))
    return build_vit(make_stem=stem_maker, make_ffn=builder, **options)


def volo_fields() -> dict:
    """Return ``conf/model/volo_d1.yaml`` as keyword arguments of build_volo."""
    fields = OmegaConf.to_container(OmegaConf.load(CONF / "model" / "volo_d1.yaml"))
    build = fields.pop("build")
    del fields["label"], build["_target_"]
    return fields | build | {"image_size": 224, "num_classes": 1000}


def make_volo(stem="conv", ffn="mlp", **changes) -> StemVOLO:
    """Build VOLO-D1 as conf has it; ``**MINI_VOLO`` shrinks it."""
    builder, norm = make_ffn(ffn)
    options = volo_fields() | {"ffn_norm": norm, "attention": "fused"} | changes
    mini_stem = MINI_STEM if options["patch_size"] == 2 else {}
    return build_volo(make_stem=make_stem(stem, **mini_stem), make_ffn=builder, **options)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
