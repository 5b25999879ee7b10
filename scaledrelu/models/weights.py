"""Loads the weights of another training into a backbone: all of them, or none.

Knows the layouts of the official DINO and DeiT, of timm and of our own runs. Only a classifier may
be missing and only positions may have another size; any other difference is an error.

Shapes: D width, h x w patch grid, N = h * w patch tokens.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scaledrelu.errors import CheckpointError
from scaledrelu.models.weight_facts import differences

Weights = dict[str, Tensor]
Grid = tuple[int, int]

# Entry of the file that holds the weights, and whose layout it is.
ENTRIES = {
    "task": "a run of this project",
    "teacher": "official DINO",
    "model": "official DeiT",
    "state_dict": "timm",
}
BARE = "a bare state dict"
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")  # DDP (DINO with BatchNorm), torch.compile
# Prefixes of a backbone inside other modules: DINO's teacher, a task's backbone, a probe's network.
INNER = ("teacher.", "backbone.", "frozen.")
TIMM_CONVS, OUR_CONVS = "patch_embed.conv.", "patch_embed.convs."  # of a VOLO's stem
HEADS = ("head.", "head_dist.", "aux_head.", "pre_logits.")
COUNTER = ".num_batches_tracked"
ALLOWED = "official DINO or DeiT, timm's ViT, runs of this project"
LISTED = 3  # names in an error


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was done with the weights in a file and with those of the model.

    Attributes:
        source: file or run.
        layout: whose file it is, and which entry was taken.
        loaded: names in the model that now hold values of the file, buffers included.
        num_parameters: number of values among them, without buffers.
        skipped: names in the file that were left out.
        fresh: names in the model that keep their initialisation.
        positions: how the position embedding was resized; None if it fitted.
    """

    source: str
    layout: str
    loaded: tuple[str, ...]
    num_parameters: int
    skipped: tuple[str, ...]
    fresh: tuple[str, ...]
    positions: str | None

    def lines(self) -> list[str]:
        """Return the report as lines of a log."""
        positions = f", positions {self.positions}" if self.positions else ""
        return [
            f"weights from {self.source} ({self.layout}): loaded {len(self.loaded)} tensors, "
            f"{self.num_parameters:,} parameters{positions}",
            f"  skipped {len(self.skipped)}: {_grouped(self.skipped)}",
            f"  freshly initialised {len(self.fresh)}: {_grouped(self.fresh)}",
        ]


def read_backbone(
    state: Mapping[str, Any],
    model: nn.Module,
    *,
    source: str = "state dict",
    grid: Grid | None = None,
    resize: str = "bicubic",
) -> LoadReport:
    """Copy the backbone's weights from the content of a checkpoint into a model.

    Args:
        state: content of the checkpoint as ``torch.load`` returns it; a teacher is preferred to its
            student.
        model: bare backbone; unchanged if anything is wrong.
        source: name of the file in messages.
        grid: patch grid of the positions in ``state``; None = a square one, or the model's.
        resize: bicubic | bilinear: how positions are resized to another grid.

    Raises:
        CheckpointError: if the file holds no backbone, another one, or weights that are not finite.
    Source: recipes C.1 and F; DINO utils.py ``load_pretrained_weights``, DeiT main.py --finetune.
    """
    layout, weights, skipped = _find(state, source)
    own = model.state_dict()
    weights = {name.replace(TIMM_CONVS, OUR_CONVS): w for name, w in weights.items()}
    for name in [name for name in weights if name.startswith(HEADS)]:  # a new task has its own
        skipped.append(name)
        del weights[name]
    positions = _fit_positions(weights, own, model, source, grid, resize)
    _check(weights, own, source, layout)
    model.load_state_dict(weights, strict=False)
    parameters = dict(model.named_parameters())
    return LoadReport(
        source=source,
        layout=layout,
        loaded=tuple(weights),
        num_parameters=sum(parameters[name].numel() for name in weights if name in parameters),
        skipped=tuple(skipped),
        fresh=tuple(name for name in own if name not in weights),
        positions=positions,
    )


def resize_positions(positions_1ND: Tensor, old: Grid, new: Grid, mode: str = "bicubic") -> Tensor:
    """Return the positions of another grid: class token kept, patches resized, not antialiased.

    Args:
        positions_1ND: class token first, then the patches row by row.
        old: rows and columns of its grid.
        new: rows and columns wanted.
        mode: bicubic | bilinear.

    Source: DeiT main.py, --finetune, for any grid; bilinear: TransReID ``resize_pos_embed``.
    """
    class_11D, patches_1ND = positions_1ND[:, :1].float(), positions_1ND[:, 1:].float()
    patches_1Dhw = patches_1ND.transpose(1, 2).unflatten(2, old)
    patches_1Dhw = F.interpolate(patches_1Dhw, size=new, mode=mode, align_corners=False)
    return torch.cat((class_11D, patches_1Dhw.flatten(2).transpose(1, 2)), dim=1)


def _find(state: Mapping[str, Any], source: str) -> tuple[str, Weights, list[str]]:
    """Return whose layout it is, the weights of backbone (and head), and the names left out."""
    entry = next((name for name in ENTRIES if isinstance(state.get(name), Mapping)), None)
    layout = BARE if entry is None else f"{ENTRIES[entry]}, entry '{entry}'"
    content = state if entry is None else state[entry]
    skipped = [] if entry is None else [str(name) for name in state if name != entry]
    named = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    skipped += [str(name) for name in content if name not in named]
    if not named:
        found = ", ".join(map(str, list(content or state)[:LISTED])) or "nothing"
        what = "no named weights" if content else "no weights in it"
        raise CheckpointError(f"{source}: {what} (found {found}); allowed: {ALLOWED}")
    tensors = {WRAPPERS.sub("", name): value for name, value in named.items()}
    for prefix in INNER:
        inner = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if inner:
            skipped += [name for name in tensors if not name.startswith(prefix)]
            tensors = inner
    return layout, tensors, skipped


def _fit_positions(
    weights: Weights, own: Weights, model: nn.Module, source: str, old: Grid | None, mode: str
) -> str | None:
    """Resize the position embedding in ``weights`` to the model's grid; return how, in words."""
    name, found = "pos_embed", weights.get("pos_embed")
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if found is None or grid is None or name not in own or found.ndim != 3 or own[name].ndim != 3:
        return None
    old = old or _grid_of(found.shape[1] - 1, tuple(grid))
    if old is None or math.prod(old) != found.shape[1] - 1:
        raise CheckpointError(
            f"{source}: has {found.shape[1]} positions, which are neither a class token and a "
            f"square grid nor the {grid[0]}x{grid[1]} grid of this model; give the weights of "
            "such a ViT"
        )
    if old == tuple(grid):
        return None
    weights[name] = resize_positions(found, old, tuple(grid), mode)
    return f"{old[0]}x{old[1]} -> {grid[0]}x{grid[1]} ({mode})"


def _grid_of(num_patches: int, own: Grid) -> Grid | None:
    side = math.isqrt(num_patches)
    if side * side == num_patches:
        return side, side
    return own if math.prod(own) == num_patches else None


def _check(weights: Weights, own: Weights, source: str, layout: str) -> None:
    """Refuse weights that are not exactly those of the model's network."""
    wanted = {name for name in own if not name.startswith(HEADS)}
    if not wanted & weights.keys():
        some = ", ".join(list(weights)[:LISTED])
        raise CheckpointError(
            f"{source} ({layout}): none of its {len(weights)} tensors ({some}, ...) belongs to "
            f"this backbone; allowed: {ALLOWED}"
        )
    homeless = [name for name in weights if name not in own]
    missing = [n for n in own if n in wanted and n not in weights and not n.endswith(COUNTER)]
    other = [n for n in weights if n in own and weights[n].shape != own[n].shape]
    if homeless or missing or other:
        facts = differences(weights, own) or _named(
            {"not in this model": homeless, "not in the file": missing, "of another shape": other}
        )
        raise CheckpointError(
            f"{source} ({layout}): the weights do not fit this model ({facts}); choose the model, "
            "stem and FFN that they were trained with, or other weights"
        )
    odd = [n for n, w in weights.items() if not _is_like(w, own[n])]
    if odd:
        raise CheckpointError(
            f"{source} ({layout}): {odd[0]} is a {weights[odd[0]].dtype} tensor of layout "
            f"{weights[odd[0]].layout} on {weights[odd[0]].device}; allowed: plain floating-point "
            "weights; save the network without quantisation"
        )
    broken = [n for n, w in weights.items() if w.is_floating_point() and not w.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{source} ({layout}): holds weights that are not finite "
            f"({', '.join(broken[:LISTED])}); give another file"
        )


def _is_like(weight: Tensor, own: Tensor) -> bool:
    """Whether a weight holds values of the kind that the model's does."""
    plain = weight.layout is torch.strided and not weight.is_meta and not weight.is_quantized
    return plain and weight.is_floating_point() == own.is_floating_point()


def _named(problems: dict[str, list[str]]) -> str:
    """Count weights by problem and name the first of them."""
    return "; ".join(
        f"weights {problem}: {len(names)} ({', '.join(names[:LISTED])})"
        for problem, names in problems.items()
        if names
    )


def _grouped(names: Iterable[str]) -> str:
    """Return names; those that share their first part are written once: ``head.* (8)``."""
    names = list(names)
    counts = Counter(name.partition(".")[0] for name in names)
    single = {name.partition(".")[0]: name for name in names}
    groups = (f"{part}.* ({n})" if n > 1 else single[part] for part, n in counts.items())
    return ", ".join(groups) or "none"
