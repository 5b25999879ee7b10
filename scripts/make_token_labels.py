r"""Write the token-label maps of a training set, from a finished run or a timm model.

python scripts/make_token_labels.py --run volo-0123456789ab --results results
python scripts/make_token_labels.py --timm dm_nfnet_f6.dm_in1k --pretrained --image-size 576 \
    --crop 1.0 --data data/imagenet1k/train --out data/token_labels --batch 64 --workers 16
Run the same command again to continue where it stopped. About 8 KB per image at 18 x 18
(10.5 GB for ImageNet-1k).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scaledrelu.config.command_line import option_parser
from scaledrelu.config.launch import visible_cores
from scaledrelu.config.ranges import COUNT, PIXELS, SHARE_OF_AN_IMAGE, WORKERS, within
from scripts._resumable import run_resumable
from scripts._runs import add_place_of_run


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = option_parser(__doc__)
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument(
        "--run", metavar="ID", help="id of a finished run; labels its training images"
    )
    teacher.add_argument("--timm", metavar="NAME", help="timm model; labels the images of --data")
    add_place_of_run(parser)
    parser.add_argument(
        "--artifact-id", help="id of the maps, default: follows from teacher and images"
    )
    parser.add_argument(
        "--out", help="folder of the maps, default: <results>/artifacts/<artifact id>"
    )
    of_timm = _add_options_of_timm(parser)
    parser.add_argument(
        "--batch", type=within(COUNT), default=64, help="images per forward pass, default: 64"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--workers",
        type=within(WORKERS),
        default=min(4, visible_cores()),
        help="loader processes, default: 4, or one for each core where there are fewer",
    )
    options = parser.parse_args(arguments)
    if options.timm and not options.data:
        parser.error("--timm needs --data")
    given = [one for one in of_timm if getattr(options, one.dest) != one.default]
    if options.run and given:
        parser.error(
            f"{', '.join(one.option_strings[0] for one in given)}: only with --timm; a run labels "
            "its own training images, prepared as for its evaluation"
        )
    return options


def _add_options_of_timm(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        parser.add_argument("--data", help="with --timm: folder of class folders"),
        parser.add_argument(
            "--pretrained", action="store_true", help="with --timm: use timm's weights"
        ),
        parser.add_argument("--checkpoint", help="with --timm: file of weights"),
        parser.add_argument(
            "--image-size",
            type=within(PIXELS),
            help="with --timm: side in pixels, default: the model's",
        ),
        parser.add_argument(
            "--crop",
            type=within(SHARE_OF_AN_IMAGE),
            help="with --timm: share of the resized short side that is kept, default: the model's",
        ),
        parser.add_argument(
            "--crop-mode",
            default="center",
            choices=("center", "squash", "border"),
            help="with --timm: how an image becomes square, default: center",
        ),
        parser.add_argument(
            "--skip-bad-images",
            action="store_true",
            help="with --timm: replace bad images by others",
        ),
    ]


def main(options: argparse.Namespace) -> None:
    """Build the teacher and write its maps."""
    from scaledrelu.data.decoding import BadImageError

    # By itself the line of a bad image names an option of training.
    other = ", or add --skip-bad-images to replace it by the next image of its class"
    try:
        _make_maps(options)
    except BadImageError as error:
        otherwise = other if options.timm else ""
        raise BadImageError(error.path, error.reason, error.remedy, otherwise) from None


def _make_maps(options: argparse.Namespace) -> None:
    from scaledrelu.engine.distributed import pick_device
    from scaledrelu.labels.writing import make_label_maps

    if options.run:
        from scaledrelu.runs.teachers import teacher_from_run

        teacher = teacher_from_run(options.results, options.run, trust=options.trust)
    else:
        from scaledrelu.labels.teachers import timm_teacher

        teacher = timm_teacher(
            options.timm,
            data=options.data,
            pretrained=options.pretrained,
            checkpoint=options.checkpoint,
            image_size=options.image_size,
            crop=options.crop,
            crop_mode=options.crop_mode,
            on_bad_image="skip" if options.skip_bad_images else "raise",
        )
    make_label_maps(
        teacher,
        results=options.results,
        artifact_id=options.artifact_id,
        out=options.out,
        batch=options.batch,
        device=pick_device(options.device, 0),
        workers=options.workers,
    )


if __name__ == "__main__":
    sys.exit(run_resumable(lambda: main(parse(sys.argv[1:]))))
