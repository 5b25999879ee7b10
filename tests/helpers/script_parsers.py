"""The scripts that read ``--options``, each by the function that reads its command line."""

from __future__ import annotations

from scaledrelu.bench import gpu
from scaledrelu.bench import main as bench
from scripts import (
    autopsy,
    bench_retrieval,
    collect,
    draw_rankings,
    make_mini_data,
    make_token_labels,
    mirror,
    pack_images,
)

PARSERS = {
    "autopsy": autopsy.parse,
    "bench": bench.parse,
    "gpu": gpu.parse,
    "bench_retrieval": bench_retrieval.parse,
    "collect": collect.parse,
    "draw_rankings": draw_rankings.parse,
    "make_mini_data": make_mini_data.parse,
    "make_token_labels": make_token_labels.parse,
    "mirror": mirror.parse,
    "pack_images": pack_images.parse,
}
