"""Which row of which table a name in ``conf/claims.yaml`` means; a wrong one is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.identity import canonical
from scaledrelu.errors import TableError
from scaledrelu.reports.claims.spec import OF_NUMBERS, WHERE, Check, Claims, RowName
from scaledrelu.reports.grid import row_name
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.cell_planner import OFFICIAL, compose_at_paper
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.spec import load_table, merge_overrides, table_names
from scaledrelu.tables.table import Column, Row, Table


@dataclass(frozen=True, slots=True)
class Place:
    """One metric of one row."""

    name: str  # as claims call the row
    table: Table
    row: Row
    column: Column

    @property
    def title(self) -> str:
        """The row as people say it: ``Table 1, row 8``."""
        return f"{title_of(self.table.name)}, row {row_name(self.row)}"

    @property
    def text(self) -> str:
        """The row with its column, where the table has several: ``conv (msmt17_map)``."""
        several = len(self.table.metrics) > 1
        return f"{self.name} ({self.column.header})" if several else self.name


class Rows:
    """The named rows of ``conf/claims.yaml``, found in the table files.

    Args:
        claims: what names rows.
        conf_dir: the configuration tree.

    Raises:
        TableError: a name that fits no row of its table, or several.
    """

    def __init__(self, claims: Claims, conf_dir: Path) -> None:
        known = table_names(conf_dir)
        self.tables: Mapping[str, Table] = {
            name: load_table(name, conf_dir) for name in claims.tables if name in known
        }
        self._rows = {name: self._row(reference) for name, reference in claims.rows.items()}
        for claim in claims.claims:
            for check in claim.every_check:
                self._check_columns(check, claim.name)

    def place(self, name: str, column: str = "") -> Place:
        """Return a row with one of its columns.

        Args:
            name: the row's name in the file.
            column: name of the column; empty: the first.
        """
        table, row = self._rows[name]
        found = next(c for c in table.metrics if not column or c.name == column)
        return Place(name, table, row, found)

    def of_runs(self, name: str) -> list[Place]:
        """Return a row once for each set of runs that its columns are metrics of."""
        table, _ = self._rows[name]
        first = {column.run: column.name for column in reversed(table.metrics)}
        return [self.place(name, column) for column in reversed(first.values())]

    def same_run(self, run: Sequence[str], compose: Compose) -> Place | None:
        """Return the first row that composes to the same run as some overrides.

        Args:
            run: Hydra overrides.
            compose: overrides -> composed config; compared at the official profile.
        """
        wanted = canonical(compose.unpinned(merge_overrides(run, (f"profile={OFFICIAL}",))).config)
        for name, (_, row) in self._rows.items():
            place = self.place(name)
            composed, upstream = compose_at_paper(compose, row, place.column)
            if upstream is None and canonical(composed.config) == wanted:
                return place
        return None

    def _check_columns(self, check: Check, claim: str) -> None:
        """Refuse columns that a check's tables lack, and numbers of no named one of several."""
        for name in (*check.rows, *check.others):
            if name not in self._rows:
                continue  # a milestone, or a statement on Figure 1
            table, _ = self._rows[name]
            known = [column.name for column in table.metrics]
            allowed = f"{', '.join(known)} ({table.name})"
            for column in check.columns:
                if column not in known:
                    raise TableError(
                        f"{WHERE}, {claim}: '{name}' has no column '{column}'; allowed: {allowed}"
                    )
            if check.relation in OF_NUMBERS and len(known) > 1 and not check.columns:
                raise TableError(
                    f"{WHERE}, {claim}: '{name}' has several columns; name some with columns: "
                    f"[...], allowed: {allowed}"
                )

    def _row(self, reference: RowName) -> tuple[Table, Row]:
        where = f"{WHERE}, row '{reference.name}'"
        if reference.table not in self.tables:
            raise TableError(f"{where}: no table '{reference.table}'; see conf/table/")
        table = self.tables[reference.table]
        wanted = set(reference.run)
        fitting = [row for row in table.rows if wanted <= set(row.run)]
        least = min((len(row.run) for row in fitting), default=0)
        found = [row for row in fitting if len(row.run) == least]
        if len(found) != 1:
            told = ", ".join(map(row_name, found)) or "no row"
            raise TableError(
                f"{where}: {list(reference.run)} fits {told} of {table.name}; give the overrides "
                "that set one row apart"
            )
        return table, found[0]
