"""A finished run of our own as a teacher that writes label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaledrelu.data.transforms import eval_transform
from scaledrelu.errors import CheckpointError
from scaledrelu.labels.teachers import Teacher
from scaledrelu.runs.build import build_task
from scaledrelu.runs.feed import open_data
from scaledrelu.runs.initial import finished_run


def teacher_from_run(results: str | Path, run_id: str, *, trust: Sequence[str] = ()) -> Teacher:
    """Return a finished run of our own, with its raw weights and its training images.

    The images are prepared as in its evaluation, without augmentation, in fp32.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: the run's id.
        trust: further modules that its configuration may name; the modules that the stored
            configuration itself trusts are ignored.

    Raises:
        ConfigError: if the run is missing, unfinished or crashed, or its configuration names code
            that is not trusted.
        CheckpointError: if its weights are missing or not the last ones.
    """
    run = finished_run(results, run_id, trust=trust)
    config, data = run.config, run.config.data
    splits = open_data(config)
    task = build_task(config, splits.num_classes)
    try:
        task.load_state_dict(run.state["task"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{run_id}: its weights do not fit the model that its config.yaml builds now; "
            f"train the run again with redo={run_id}"
        ) from error
    pixels = {"mean": data.mean, "std": data.std}
    in_memory = hasattr(splits.train, "images")
    return Teacher(
        name=run_id,
        model=task.backbone.eval(),
        num_classes=splits.num_classes,
        source=splits.train,
        image_size=data.image_size,
        transform=None
        if in_memory
        else eval_transform(image_size=data.image_size, crop=config.evaluation.crop, **pixels),
        threads=config.launch.threads,
        settings={},
        **pixels,
    )
