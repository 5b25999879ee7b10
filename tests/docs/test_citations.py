"""Who follows a citation finds something: every "recipes A.4" is a heading, every page exists."""

import re
from pathlib import Path

import pytest

from scaledrelu.reports.footnotes import CITES

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes.md"
KINDS = ("*.py", "*.yaml", "*.md", "*.csv", "Makefile", "*.toml")
PLACES = ("scaledrelu", "conf", "scripts", "tests", "docs", "results/published")
# Letters and numbers as headings begin; "recipes" may stand at the end of a commented line.
SECTION = r"(?:section \d+|H\d\d|[A-J](?:\.\d+)?)(?![\w.]*\w)"
CITATION = re.compile(rf"\b[Rr]ecipes[\s#>*`]+({SECTION}(?:(?:, | and |; ){SECTION})*)")
HEADING = re.compile(r"^#+ (\d+|H\d\d|[A-J](?:\.\d+)?)(?=[. ])", re.MULTILINE)
PAGE = re.compile(r"(?<![\w./-])docs/[\w/-]+\.md")


def texts():
    """Yield (path below the repository, text) of everything that may cite."""
    for place in PLACES:
        for kind in KINDS:
            for path in sorted((ROOT / place).rglob(kind)):
                yield path.relative_to(ROOT), path.read_text()
    for name in ("README.md", "Makefile", "pyproject.toml"):
        yield Path(name), (ROOT / name).read_text()


def cited_in(text):
    return [
        part.removeprefix("section ")
        for match in CITATION.finditer(text)
        for part in re.findall(SECTION, match[1])
    ]


def headings():
    return HEADING.findall(RECIPES.read_text())


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("(recipes A.4, H37)", ["A.4", "H37"]),
        ("Recipes G.1: parameters", ["G.1"]),
        ("recipes section 1 (DeiT 512, DINO 256)", ["1"]),
        ("recipes G.1 and G.3.", ["G.1", "G.3"]),
        ("recipes A.5 steps 6 and 7", ["A.5"]),
        ("recipes A; DeiT main.py", ["A"]),
        ("recipes A.4; D.1 for the factor", ["A.4", "D.1"]),
        ("(recipes\n    # H16)", ["H16"]),
        ("recipes in a folder, the recipes deit and dino", []),
        ("recipes A.44 and Z", ["A.44"]),
    ],
)
def test_citations_are_read_with_their_lists(text, cited):
    assert cited_in(text) == cited


def test_every_citation_of_the_recipes_is_a_heading():
    known = set(headings())
    dangling = [
        f"{path}: recipes {section}"
        for path, text in texts()
        if path != Path("tests/docs/test_citations.py")
        for section in cited_in(text)
        if section not in known
    ]
    assert dangling == []


def test_the_search_finds_the_citations_of_code_conf_tests_and_reports():
    found = {}
    for path, text in texts():
        place = path.parts[0]
        found[place] = found.get(place, 0) + len(cited_in(text))
    assert sum(found.values()) > 200
    assert found["scaledrelu"] > 90
    assert found["conf"] > 50
    assert found["results"] > 20


def test_headings_of_the_recipes_are_unique():
    found = headings()
    assert len(found) == len(set(found)) > 80
    assert "### Crash rule\n" in RECIPES.read_text()


def test_every_page_that_is_named_exists():
    missing = [
        f"{path}: {page}"
        for path, text in texts()
        for page in PAGE.findall(text)
        if not (ROOT / page).is_file()
    ]
    assert missing == []


def test_reports_know_a_citation_when_they_see_one():
    """The line of a report that says where the recipes are rests on this pattern."""
    for path, text in texts():
        if path.parts[0] == "conf":
            for line in text.splitlines():
                assert bool(CITES.search(line)) == bool(cited_in(line)), f"{path}: {line}"
