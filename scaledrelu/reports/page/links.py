"""Links from a page to the records behind its numbers, and to the files beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.config.places import RESULT
from scaledrelu.reports.page.html import Html, escaped, joined, tag
from scaledrelu.runs.record import run_directory


@dataclass(frozen=True, slots=True)
class Links:
    """What a page in a folder may point at: only what lies on disk.

    Attributes:
        folder: where the page and the files that it shows lie.
        root: the folder that holds ``runs/`` and ``artifacts/``.
        places: names of sections of the page.
        inside: where a text that is put into the page lies: ``curves/``.
    """

    folder: Path
    root: Path
    places: frozenset[str] = frozenset()
    inside: str = ""

    def place(self, file: str, shown: str) -> Html:
        """Return a link to another report as one to its section; its text alone without one.

        Args:
            file: name of the report, such as ``table1.md``.
            shown: text of the link.
        """
        name = Path(file).stem
        return tag("a", shown, href=f"#{name}") if name in self.places else escaped(shown)

    def record(self, name: str, shown: str | None = None, **attributes: object) -> Html:
        """Return a link to the record of a run or an artifact; its text alone without a record.

        Args:
            name: id of the run or artifact.
            shown: text of the link; None = the id.
            attributes: the link's own.
        """
        text = escaped(name if shown is None else shown)
        target = self.target(name)
        return text if target is None else tag("a", text, href=target, **attributes)

    def target(self, name: str) -> str | None:
        """Return the relative address of a record; None where there is none, or it may not be seen.

        Args:
            name: id of the run or artifact.
        """
        places = (
            run_directory(self.root, name) / RESULT,
            artifact_directory(self.root, name) / MANIFEST,
        )
        found = next((path for path in places if os.path.isfile(path)), None)
        return None if found is None else Path(os.path.relpath(found, self.folder)).as_posix()

    def files(self, *names: str) -> Html | None:
        """Return links to files beside the page, those that exist; None without any.

        Args:
            names: relative to the page's folder.
        """
        there = [name for name in names if (self.folder / name).is_file()]
        links = joined((tag("a", name, href=name) for name in there), ", ")
        return tag("p", "Files: ", links, class_="files") if links else None
