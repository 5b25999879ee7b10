"""Links from a page to the records behind its numbers, and to the files beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifacts_root
from scaledrelu.config.group import folder_name
from scaledrelu.config.places import RESULT, runs_root
from scaledrelu.reports.page.html import Html, escaped, joined, tag


@dataclass(frozen=True)
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
        """Return the relative address of a record; None without one, or where it is not seen."""
        folder_name(name, what="run id")
        # Joined as texts: a page has tens of thousands of links.
        for root, address, file in self._shelves:
            if os.path.isfile(f"{root}/{name}/{file}"):
                return f"{address}/{name}/{file}"
        return None

    def files(self, *names: str) -> Html | None:
        """Return links to files beside the page, those that exist; None without any."""
        there = [name for name in names if (self.folder / name).is_file()]
        links = joined((tag("a", name, href=name) for name in there), ", ")
        return tag("p", "Files: ", links, class_="files") if links else None

    @cached_property
    def _shelves(self) -> list[tuple[str, str, str]]:
        """Folders of records, each with its address on the page and the file of a record."""
        files = {runs_root(self.root): RESULT, artifacts_root(self.root): MANIFEST}
        return [
            (str(root), Path(os.path.relpath(root, self.folder)).as_posix(), file)
            for root, file in files.items()
        ]
