"""The recipes of conf as the tests of tasks use them."""

from typing import Any

from omegaconf import OmegaConf

from scaledrelu.config.places import CONF_DIR


def task_of(recipe: str) -> dict[str, Any]:
    """Return what ``conf/recipe/<recipe>.yaml`` gives its task, as keyword arguments."""
    fields = OmegaConf.load(CONF_DIR / "recipe" / f"{recipe}.yaml").task
    return {key: value for key, value in fields.items() if key != "_target_"}
