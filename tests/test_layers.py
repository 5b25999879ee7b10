"""Who may import whom: lower layers never see upper ones, siblings never see each other."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "scaledrelu"
LEAVES = {"countdown", "errors", "files", "integrity", "randomness", "text"}
BASE = LEAVES | {"inputs", "config"}
PARTS = {"tasks", "models", "data", "labels", "evals", "optim"}
ALLOWED = {
    **dict.fromkeys(LEAVES, LEAVES),
    "inputs": LEAVES,
    "config": LEAVES | {"inputs"},
    "models": BASE,
    "data": BASE,
    "evals": BASE,
    "optim": BASE,
    "labels": BASE | {"models", "data"},
    "tasks": BASE | {"models"},
    "engine": BASE | {"tasks", "optim"},
    "runs": BASE | PARTS | {"engine"},
    "cost": BASE,
    "tables": BASE | {"runs"},
    "launch": BASE | {"cost", "tables", "runs"},
    "reports": BASE | {"cost", "tables", "runs"},
    "dashboards": BASE | {"tables", "runs"},
    "theory": BASE | PARTS | {"engine", "runs", "tables", "reports"},
    "bench": BASE | PARTS | {"engine", "runs", "tables", "reports"},
}
# What planning, launching and reporting may see of runs, and who of them does.
SEEN_OF_RUNS = {
    # What a run leaves, and who works on it.
    "record": {"tables", "launch", "reports", "dashboards"},
    "damage": {"tables", "launch", "reports", "dashboards"},
    "result": {"tables", "launch", "reports", "dashboards"},
    "evidence": {"reports"},
    "lock": {"launch"},
    # How a run's process is told what to train, and how it ends.
    "planned": {"launch", "dashboards"},
    "lacking": {"launch"},
    "process": {"launch"},
    "ending": {"launch", "reports"},
    "multirun": {"launch", "reports"},
    # The copy at W&B, which lies in engine/.
    "mirrored": {"launch", "dashboards"},
}
PAGE = ROOT / "docs" / "architecture.md"
ROW_OF_RUNS = re.compile(r"^\| (`[^|]+`) \| [^|]+ \| (`[^|]+`) \|$", re.M)


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports_of(path: Path) -> set[str]:
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def is_refused(path: Path, name: str) -> bool:
    package, *parts = name.split(".")
    if package == "scripts":
        return True
    if package != "scaledrelu" or not parts or parts[0] == part_of(path):
        return False
    return parts[0] not in ALLOWED[part_of(path)]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_lower_layers(path: Path) -> None:
    assert not {name for name in imports_of(path) if is_refused(path, name)}


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    edges = {name: imports_of(path) & names.keys() for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in names:
        visit(name, ())


@pytest.mark.parametrize("room", sorted(set.union(*SEEN_OF_RUNS.values())))
def test_tables_launch_and_reports_see_no_more_of_runs_than_they_need(room: str) -> None:
    found = {
        name.split(".")[2]
        for path in (PACKAGE / room).rglob("*.py")
        for name in imports_of(path)
        if name.startswith("scaledrelu.runs.")
    }
    assert found <= {module for module, rooms in SEEN_OF_RUNS.items() if room in rooms}


def test_the_page_says_who_may_see_what_of_runs() -> None:
    _, _, below = PAGE.read_text().partition("| of `runs/` |")
    table, _, _ = below.partition("\n\n")
    rows = [[re.findall(r"`(\w+)`", cell) for cell in row] for row in ROW_OF_RUNS.findall(table)]
    assert {one: set(rooms) for modules, rooms in rows for one in modules} == SEEN_OF_RUNS


def test_only_one_module_instantiates() -> None:
    users = [p.name for p in PACKAGE.rglob("*.py") if "hydra.utils" in imports_of(p)]
    assert users == ["create.py"]


def test_nothing_prints_but_scripts() -> None:
    for path in modules():
        for node in nodes_of(path):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            allowed = part_of(path) == "bench" or path.name == "compose.py"  # its error line
            assert allowed or not (called and node.func.id == "print"), path


def test_planning_reporting_and_help_import_no_slow_package() -> None:
    code = (
        "import sys; import scaledrelu.launch.sweep, scaledrelu.runs.spawn;"
        "import scaledrelu.reports.report, scaledrelu.reports.publish;"
        "import scaledrelu.reports.page.write, scaledrelu.reports.figure1.write;"
        "import scaledrelu.reports.milestones;"
        "import scaledrelu.dashboards.afterwards, scaledrelu.dashboards.save;"
        "slow = {'torch', 'timm', 'torchvision', 'wandb', 'pandas', 'matplotlib', 'sklearn',"
        "        'hydra'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
