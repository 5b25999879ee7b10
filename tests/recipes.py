"""The recipes of conf as the tests of tasks use them."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONF = Path(__file__).parents[1] / "conf"


def task_of(recipe: str) -> dict[str, Any]:
    """Return what ``conf/recipe/<recipe>.yaml`` gives its task, as keyword arguments."""
    fields = OmegaConf.load(CONF / "recipe" / f"{recipe}.yaml").task
    return {key: value for key, value in fields.items() if key != "_target_"}
