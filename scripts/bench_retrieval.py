"""Measure mAP and CMC on random features of MSMT17's size: seconds, processor seconds, peak memory.

python scripts/bench_retrieval.py --threads 2              # 11,659 queries, 82,161 gallery images
python scripts/bench_retrieval.py --query 1000 --device cuda
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.ranges import COUNT, FEW, within
from scaledrelu.runs.ending import concluded

MSMT17 = {"query": 11_659, "gallery": 82_161, "persons": 3_060, "cameras": 15}
NOISE = 4.0  # of an image around its person: leaves something to rank


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    for name, count in MSMT17.items():
        add = parser.add_argument
        add(f"--{name}", type=within(COUNT), default=count, help=f"default: {count:,}")
    parser.add_argument(
        "--features", type=within(COUNT), default=384, help="features per image, default: 384"
    )
    parser.add_argument("--threads", type=within(FEW), help="threads of torch, default: torch's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> None:
    """Make the features, rank them and print one line."""
    import torch

    from scaledrelu.evals.ranking import Embedded, rank_gallery

    if options.threads:
        torch.set_num_threads(options.threads)
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(options.persons, options.features, generator=draw)

    def images(count: int) -> Embedded:
        ids = torch.randint(options.persons, (count,), generator=draw)
        features = (
            torch.randn(count, options.features, generator=draw).mul_(NOISE).add_(centres[ids])
        )
        features = torch.nn.functional.normalize(features)
        cameras = torch.randint(options.cameras, (count,), generator=draw)
        return Embedded(*(part.to(options.device) for part in (features, ids, cameras)))

    query, gallery = images(options.query), images(options.gallery)
    wall, processor = time.perf_counter(), time.process_time()
    found = rank_gallery(query, gallery)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{options.query:,} x {options.gallery:,}, {options.features} features, {options.device}, "
        f"{torch.get_num_threads()} threads: {wall:.1f} s, {processor:.1f} processor seconds, "
        f"peak {peak:.2f} GiB, mAP {100 * found.map:.2f}, rank-1 {100 * float(found.cmc[0]):.2f}, "
        f"{found.valid_queries:,} valid queries"
    )


if __name__ == "__main__":
    sys.exit(concluded(lambda: main(parse(sys.argv[1:]))))
