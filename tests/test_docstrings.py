"""Public functions say what their parameters are: names, shapes, units."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "scaledrelu").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
ENTRY = re.compile(r"^ {4}\*{0,2}(\w+): (.*)$", re.MULTILINE)
# "config: of the run." names no fact, and a reader of "as above" has to look elsewhere.
NO_FACT = re.compile(r"(of|that|whose|with|for|from|by|as|see|in|at|to)\b", re.IGNORECASE)


def functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    """Yield public functions and methods; those inside functions are nobody's interface."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield child
        elif isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from functions(child)


def documented(node: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield everything that may have an ``Args:`` section, private things included."""
    yield from (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef))


def parameters(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's parameters without self and cls."""
    args = function.args
    found = [*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg]
    return [one.arg for one in found if one is not None and one.arg not in ("self", "cls")]


def entries(text: str | None) -> dict[str, str]:
    """Return the ``Args:`` section of a docstring: parameter -> beginning of its line."""
    _, _, section = (text or "").partition("Args:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    return dict(ENTRY.findall(section))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_function_explains_its_parameters(path: Path) -> None:
    lacking = []
    for function in functions(ast.parse(path.read_text())):
        names = parameters(function)
        unexplained = set(names) - set(entries(ast.get_docstring(function)))
        if len(names) >= 2 and unexplained:
            lacking.append(f"{function.name} (line {function.lineno}): {sorted(unexplained)}")
    assert not lacking, f"add them to Args: {lacking}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_explanation_is_a_noun_and_not_a_pointer(path: Path) -> None:
    vague = [
        f"{node.name} (line {node.lineno}): {name}: {text}"
        for node in documented(ast.parse(path.read_text()))
        for name, text in entries(ast.get_docstring(node)).items()
        if NO_FACT.match(text)
    ]
    assert not vague, f"say what it is: {vague}"
