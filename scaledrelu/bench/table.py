"""What was measured, as a CSV that grows and a markdown page made from it alone; torch-free."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from scaledrelu.files import measured_rows
from scaledrelu.text import csv_of, markdown_table

KEY = (
    "kind",
    "name",
    "profile",
    "recipe",
    "stem",
    "optimizer",
    "precision",
    "batch",
    "layout",
    "compiled",
    "compile_mode",
    "fused",
    "groups",
    "peer",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where, when and how a row was measured."""

    date: str
    device: str
    torch: str
    timm: str
    command: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; what does not apply stays empty.

    ``ratios`` are speed over the peer's, one per block; above 1 we are faster.
    """

    kind: str  # step | loop | loader | end | workers | startup | planning
    name: str = ""
    profile: str = ""
    recipe: str = ""
    model: str = ""
    stem: str = ""
    optimizer: str = ""
    precision: str = ""
    attention: str = ""
    batch: int | None = None
    layout: str = ""
    compiled: bool | None = None
    compile_mode: str = ""  # of torch.compile, if not torch's default
    fused: bool | None = None
    groups: str = ""  # of an update with several, and whether in turn or at once
    peer: str = ""
    threads: int | None = None
    steps_per_s: float | None = None
    images_per_s: float | None = None
    plain_images_per_s: float | None = None
    images_per_s_per_core: float | None = None
    seconds: float | None = None
    ratios: list[float] = field(default_factory=list)
    gflop_per_image: float | None = None
    mfu_percent: float | None = None
    peak_tflops: float | None = None
    parameters: int | None = None
    loss_gap: float | None = None
    first_step_s: float | None = None
    memory_gib: float | None = None
    host_syncs: int | None = None  # of one step of ours: how often the host waits for the GPU
    kernels: int | None = None  # that a step of ours starts on the GPU
    gpu_ms: float | None = None  # that the GPU works on them
    plain_kernels: int | None = None
    plain_gpu_ms: float | None = None
    problem: str = ""


def flat(row: Row, origin: Origin) -> dict[str, str]:
    """Return a row as in the CSV: text, with a summary of the ratios.

    Args:
        row: the measurement.
        origin: where, when and how it was made.
    """
    values = {f.name: getattr(row, f.name) for f in fields(Row) if f.name != "ratios"}
    ratios = row.ratios
    values |= {
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_min": min(ratios, default=None),
        "ratio_max": max(ratios, default=None),
        "blocks": len(ratios) or None,
    }
    return {name: _text(value) for name, value in (values | asdict(origin)).items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def merge(path: Path, new: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of a CSV with the new ones; a row measured again replaces the old one.

    Args:
        path: the CSV; may be missing.
        new: rows as :func:`flat` returns them.

    Raises:
        DataError: the CSV is cut off.
    """
    old = measured_rows(path) if path.exists() else []
    rows = {tuple(row.get(k, "") for k in KEY): row for row in old}
    rows.update({tuple(row[k] for k in KEY): row for row in new})
    return list(rows.values())


def render_csv(rows: Sequence[dict[str, str]]) -> str:
    """Return rows as CSV."""
    names = list(flat(Row("step"), Origin("", "", "", "", "")))
    return csv_of(names, ([row.get(name, "") for name in names] for row in rows))


STEP_COLUMNS = {
    "profile": "profile",
    "recipe": "recipe",
    "stem": "stem",
    "optimizer": "optimizer",
    "precision": "precision",
    "B": "batch",
    "layout": "layout",
    "compile": "compiled",
    "mode": "compile_mode",
    "fused": "fused",
    "groups": "groups",
    "images/s": "images_per_s",
    "MFU %": "mfu_percent",
    "peer": "peer",
    "peer images/s": "plain_images_per_s",
    "ratio [min, max]": "ratio",
    "first step s": "first_step_s",
    "GiB": "memory_gib",
    "host waits": "host_syncs",
    "kernels": "kernels",
    "GPU ms": "gpu_ms",
    "peer kernels": "plain_kernels",
    "peer GPU ms": "plain_gpu_ms",
    "problem": "problem",
}
SECTIONS = {
    "step": ("Training step, one batch that stays on the device", STEP_COLUMNS),
    "loop": ("Training loop, data and augmentation included", STEP_COLUMNS),
    "end": (
        "End to end, JPEG file to update",
        {"what": "name", **STEP_COLUMNS},
    ),
    "workers": (
        "One-thread workers side by side",
        {
            "what": "name",
            "profile": "profile",
            "stem": "stem",
            "images/s in total": "images_per_s",
            "ratio [min, max]": "ratio",
            "problem": "problem",
        },
    ),
    "loader": (
        "Loader, JPEG file to batch",
        {
            "path": "name",
            "images/s": "images_per_s",
            "images/s/core": "images_per_s_per_core",
            "peer": "peer",
            "peer images/s": "plain_images_per_s",
            "ratio [min, max]": "ratio",
            "problem": "problem",
        },
    ),
    "startup": (
        "Start of a run, seconds",
        {"what": "name", "seconds": "seconds", "problem": "problem"},
    ),
    "planning": (
        "Plan, status and report, processor seconds",
        {"what": "name", "seconds": "seconds", "GiB": "memory_gib", "problem": "problem"},
    ),
}
RATIOS = (
    "Ratios are our speed over the peer's: median of the blocks (order A B B A, same process)",
    "and their range; above 1 we are faster. The peer is a plain training step as in timm's",
    "script, of the same model with the same weights (VOLO: timm's training pass with the loss",
    "on tokens; DINO: student, teacher and a loss by pairs as in its script); parameters,",
    "weight decay and the losses of the first three steps are checked to agree, before a side",
    "is compiled. Of several groups, ours normalises each by itself, the peer all together.",
)
LOADERS = (
    "Loaders beside a peer are timed by processor seconds, one thread each, in the order A B B",
    "A: other programs on the same cores change the ratio little. The peer is the script's",
    "transform in torch's DataLoader, with the numbers of our run. With a core for each, the",
    "time of all loader processes is divided by their number. From file to update on a GPU,",
    "both sides have as many loader processes, and a turn is an epoch, from empty queues to",
    "the last update; on a CPU they load in the process that trains, and our augmentation",
    "in batches, which is made for a GPU, takes that processor's time. Beside DeiT's",
    "script, images come three times in a row on both sides, as its sampler has it.",
)
HOST_WAITS = (
    "Host waits are those in a step that torch.cuda.set_sync_debug_mode sees; it does not see a",
    "copy from memory that is not page-locked, for which the driver may wait even where torch is",
    "asked not to (non_blocking), above all beyond 64 KB.",
)
KERNELS = (
    "Kernels of a step and the time that the GPU works on them are torch.profiler's; where a step",
    "takes longer than that, the GPU waits for the host.",
)
TRAINS = ("step", "loop")
MEMORY = (  # below a table of these kinds with a column GiB
    "GiB: the most memory of the GPU that is taken while ours trains. What the peer keeps from",
    "step to step is counted too: its batch, and with AdamW 12 bytes a parameter.",
)


def render_markdown(
    rows: Sequence[dict[str, str]], peak_note: str, *, picture: str | None = None
) -> str:
    """Return the page: one section per kind, and below it what is needed to read the numbers.

    Args:
        rows: rows of the CSV.
        peak_note: what utilisation refers to.
        picture: file name of the picture of these rows; None = there is none.
    """
    device = rows[0]["device"] if rows else "nothing"
    parts = [f"# Speed on {device}", ""]
    if picture:
        parts += [f"![Our speed over that of other scripts, at three levels]({picture})", ""]
    for kind, (title, columns) in SECTIONS.items():
        chosen = [row for row in rows if row["kind"] == kind]
        if not chosen:
            continue
        shown = {head: key for head, key in columns.items() if any(_cell(r, key) for r in chosen)}
        cells = [[_cell(row, key) for key in shown.values()] for row in chosen]
        parts += [f"## {title}", "", markdown_table(shown, cells), ""]
    parts += [
        *RATIOS,
        f"Model FLOPs (2 per multiply-add, backward included, SAM twice) over the {peak_note}.",
        *(HOST_WAITS if any(_cell(row, "host_syncs") for row in rows) else ()),
        *(KERNELS if any(_cell(row, "kernels") for row in rows) else ()),
        *(MEMORY if any(r["kind"] in TRAINS and r.get("memory_gib") for r in rows) else ()),
        "",
        *LOADERS,
        "",
        "Measured with:",
        "",
    ]
    seen = {(r["date"], r["torch"], r["timm"], r["command"], r["note"]) for r in rows}
    parts += [
        f"- {date}: `{command}`, torch {torch}, timm {timm}" + (f"; {note}" if note else "")
        for date, torch, timm, command, note in sorted(seen)
    ]
    return "\n".join(parts) + "\n"


def _cell(row: dict[str, str], key: str) -> str:
    value = row.get(key, "")
    if not value:
        return ""
    if key == "ratio":
        low, high = float(row["ratio_min"]), float(row["ratio_max"])
        return f"{float(value):.3f} [{low:.3f}, {high:.3f}]"
    if key in ("images_per_s", "plain_images_per_s", "images_per_s_per_core"):
        return f"{float(value):,.0f}"
    if key in ("mfu_percent", "memory_gib", "first_step_s", "seconds"):
        return f"{float(value):.2f}" if float(value) < 10 else f"{float(value):.1f}"
    return value
