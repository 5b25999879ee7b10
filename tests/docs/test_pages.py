"""Who follows the documents finds what they name: files, links, options, the counts of results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scaledrelu.inputs.listing import IMAGE_SUFFIXES
from tests.helpers.documents import README, ROOT, WRITTEN, example_files
from tests.helpers.options import GROUPS

MOST_LINES_OF_README = 150
OF_OTHERS = "recipes.md"  # cites files of the official code
# What looks like a path of the repository; <id> stands for any name.
ROOMS = "|".join(sorted(path.name for path in (ROOT / "scaledrelu").iterdir() if path.is_dir()))
PATH = re.compile(
    r"(?<![\w./<-])((?:conf|docs|scaledrelu|scripts|tests|results/published)/[\w./<>*-]*"
    rf"|(?:{ROOMS})/[\w<>*]+\.py|Makefile|README\.md|requirements\.lock)(?![\w<])"
)
LINK = re.compile(r"(?:\]\(|src=\")([^)\"\s]+)[)\"]")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

pages = pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.name)


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES_OF_README


@pages
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    found = {} if page.name == OF_OTHERS else PATH.findall(page.read_text())
    names = {name.rstrip(".") for name in found} - example_files().keys()
    assert [name for name in sorted(names) if not _exists(name)] == []


def _exists(name: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", name)
    return any(found for base in (ROOT, ROOT / "scaledrelu") for found in base.glob(pattern))


def test_the_endings_of_images_in_class_folders_are_listed() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert ", ".join(f"`{ending}`" for ending in IMAGE_SUFFIXES) in page


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text()):
        place, _, heading = link.partition("#")
        target = page.parent / place if place else page
        if not place.startswith("https://") and not (
            target.exists() and (not heading or heading in _anchors(target))
        ):
            broken.append(link)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    titles = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_leads_to_every_page() -> None:
    text = README.read_text()
    assert [p.name for p in WRITTEN if p != README and f"](docs/{p.name})" not in text] == []


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_lists_every_option_of(group: str) -> None:
    row = re.search(rf"^\| `{group}` \| ([^|]+) \|", README.read_text(), re.MULTILINE)
    listed = set(re.findall(r"\w+", row[1] if row else ""))
    unsaid, gone = sorted({*GROUPS[group]} - listed), sorted(listed - {*GROUPS[group]})
    assert not unsaid, (
        f"README.md, table of 'Choosing a run': add {', '.join(unsaid)} to the row `{group}`; "
        f"conf/{group}/{unsaid[0]}.yaml is an option that no reader can find"
    )
    assert not gone, f"README.md, table of 'Choosing a run', row `{group}`: no option {gone}"


def test_the_readme_lists_every_group_and_nothing_else_as_one() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)) == set(GROUPS)
