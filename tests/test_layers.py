"""Who may import whom: lower layers never see upper ones, siblings never see each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "scaledrelu"
LEAVES = {"config", "errors", "integrity", "newfiles", "randomness"}
ALLOWED = {
    "errors": set(),
    "integrity": set(),
    "newfiles": set(),
    "randomness": set(),
    "theory": set(),
    "config": {"errors"},
    "models": LEAVES,
    "data": LEAVES,
    "evals": LEAVES,
    "optim": LEAVES,
    "tasks": LEAVES | {"models"},
    "engine": LEAVES | {"tasks", "optim"},
    "runs": LEAVES | {"engine", "tasks", "models", "data", "evals", "optim"},
    "tables": LEAVES | {"runs"},
    "bench": LEAVES | {"runs", "engine", "tasks", "models", "data", "evals", "optim"},
}
# What tables may see of runs.
TORCH_FREE_RUNS = {"record", "result", "attempt", "damage", "files", "mirrored"}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_lower_layers(path: Path) -> None:
    own = part_of(path)
    for name in imports_of(path):
        if name.startswith("scaledrelu."):
            other = name.split(".")[1]
            assert other == own or other in ALLOWED[own], f"{path.name} imports {name}"


def test_tables_see_only_the_records_of_runs() -> None:
    for path in (PACKAGE / "tables").glob("*.py"):
        for name in imports_of(path):
            if name.startswith("scaledrelu.runs"):
                assert name.split(".")[2] in TORCH_FREE_RUNS, f"{path.name} imports {name}"


def test_only_one_module_instantiates() -> None:
    users = [p.name for p in PACKAGE.rglob("*.py") if "hydra.utils" in imports_of(p)]
    assert users == ["create.py"]


def test_nothing_prints_but_scripts() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            allowed = part_of(path) == "bench" or path.name == "compose.py"  # its error line
            assert allowed or not (called and node.func.id == "print"), path


def test_planning_and_help_import_neither_torch_nor_the_other_slow_packages() -> None:
    code = (
        "import sys; import scaledrelu.launch.sweep, scaledrelu.runs.spawn;"
        "slow = {'torch', 'timm', 'torchvision', 'wandb', 'pandas', 'matplotlib', 'sklearn'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_stay_small() -> None:
    for path in modules():
        if path.name != "schema.py":  # a list of fields
            assert len(path.read_text().splitlines()) <= 275, path
