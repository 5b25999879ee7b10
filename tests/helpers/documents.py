"""What the documents say: their files, their examples, the commands that they show."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.places import CONF_DIR

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
WRITTEN = (README, *sorted(path for path in (ROOT / "docs").glob("*.md")))

# A path alone in a line, then what the file holds.
EXAMPLE = re.compile(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("make", "python", "torchrun", "srun")


def example_files(before: int | None = None) -> dict[str, str]:
    """Return the files that the page on the architecture tells its reader to add: path -> text.

    Args:
        before: only those above this place in the page.
    """
    return dict(EXAMPLE.findall((ROOT / "docs" / "architecture.md").read_text()[:before]))


def conf_without_examples(base: Path) -> Path:
    """Copy ``conf/`` to a folder, as it is before a reader follows the page on the architecture."""
    shutil.copytree(CONF_DIR, base / "conf")
    for name in example_files():
        (base / name).unlink(missing_ok=True)
    return base / "conf"


@dataclass(frozen=True)
class Shown:
    """A command that a page shows.

    Attributes:
        page: where.
        words: as a shell would split them, without comments.
        at: the place of its block in the page.
        answer: what the page shows of its output.
    """

    page: str
    words: tuple[str, ...]
    at: int = 0
    answer: str = ""

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def shown_commands(page: Path) -> list[Shown]:
    """Return the commands in the blocks of a page and in its running text."""
    text, found = page.read_text(), []
    for match in FENCE.finditer(text):
        language, block = match[1], match[2].replace("\\\n", " ")
        if language == "bash":
            found += [(line, match.start(), "") for line in block.splitlines()]
        elif not language:
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, answer = part.partition("\n")
                found.append((line, match.start(), answer))
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text)))
    found += [(span, 0, "") for span in spans if span.split()[0] in PROGRAMS]
    split = ((shlex.split(line, comments=True), *rest) for line, *rest in found)
    return [Shown(page.name, tuple(words), *rest) for words, *rest in split if words]
