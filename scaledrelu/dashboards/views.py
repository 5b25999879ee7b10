"""What W&B shows: one workspace for a profile and one report for each table, as code.

The panels rest on what copies of runs are given: ``stem.name``, ``lr.base`` and ``warmup.epochs``
in the configuration, ``crashed`` in the summary, the row as the group, tables and profile as tags.
Needs the extra ``dashboards``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaledrelu.dashboards.afterwards import TABLE_JOB
from scaledrelu.tables.table import Table

STEM, RATE, WARMUP = "stem.name", "lr.base", "warmup.epochs"
FIGURE_1 = "figure1"
WIDE, HALF, HEIGHT = 24, 12, 9  # in the units of a report's grid


@dataclass(frozen=True, slots=True)
class Where:
    """The project at W&B that views show, and what is in it."""

    entity: str
    project: str
    profile: str
    metric: str  # headline of most runs: val/top1
    layers: int  # with token similarity


def workspace(where: Where) -> Any:
    """Return the workspace of a profile: every run of it, table by table."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    return ws.Workspace(
        entity=where.entity,
        project=where.project,
        name=f"scaledrelu {where.profile}",
        sections=[
            ws.Section(name=title, panels=panels, is_open=True)
            for title, panels in _sections(where, where.metric).items()
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('JobType') != '{TABLE_JOB}' and Tags() in ['{where.profile}']",
            groupby=[expr.Metric("Group")],
            pinned_columns=[
                "summary:outcome",
                f"summary:{where.metric}",
                "summary:paper/outcome",
                *(f"config:{backend_key(key)}" for key in (STEM, RATE, WARMUP, "optimizer.label")),
            ],
        ),
    )


def report(where: Where, table: Table) -> Any:
    """Return the report of one table.

    Args:
        where: the project and the profile.
        table: the table.
    """
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [
        wr.P(f"{table.opening} Profile {where.profile}. Made by `make dashboard`."),
        wr.H2("Result"),
        _grid(where, _tables_of(where, table.name), _result_panels(table.name)),
    ]
    metric = table.metrics[0].source
    for title, panels in _sections(where, metric).items():
        blocks += [wr.H2(title), _grid(where, _runs_of(where, table.name), panels)]
    blocks += [
        wr.H2("Figure 1 as a picture"),
        _grid(where, _tables_of(where, FIGURE_1), [_picture(f"{FIGURE_1}_picture")]),
    ]
    return wr.Report(
        entity=where.entity,
        project=where.project,
        title=f"scaledrelu {table.name} ({where.profile})",  # by which it is found again
        description=table.title,
        blocks=blocks,
        width="fluid",
    )


def _sections(where: Where, metric: str) -> dict[str, list[Any]]:
    """Return the panels that every view has, by the title of their section."""
    return {
        "Accuracy by stem": _by_stem(metric),
        "Crash map": _crash_map(metric),
        "Curves by row": _curves(metric),
        "Figure 1: token similarity": _similarity(where.layers),
        "Inside the network": _inside(),
    }


def backend_key(key: str) -> str:
    """Return how W&B stores a key of a nested configuration: ``stem.value.name``."""
    group, _, rest = key.partition(".")
    return f"{group}.value.{rest}" if rest else f"{group}.value"


def _by_stem(metric: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    by_stem = {"groupby": wr.Config(STEM), "groupby_aggfunc": "mean"}
    return _placed(
        wr.BarPlot(
            title=f"{metric} by stem: mean, range over runs",
            metrics=[metric],
            groupby_rangefunc="minmax",
            max_bars_to_show=20,
            **by_stem,
        ),
        wr.ScatterPlot(
            title=f"{metric} of every run against lr.base",
            x=wr.Config(RATE),
            y=wr.SummaryMetric(metric),
            log_x=True,
        ),
    )


def _crash_map(metric: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    column = wr.ParallelCoordinatesPlotColumn
    return _placed(
        wr.BarPlot(
            title="share of crashed runs by stem",
            metrics=["crashed"],
            groupby=wr.Config(STEM),
            groupby_aggfunc="mean",
            range_x=(0.0, 1.0),
        ),
        wr.ScatterPlot(
            title="lr.base x warm-up epochs, coloured by crashed",
            x=wr.Config(RATE),
            y=wr.Config(WARMUP),
            z=wr.SummaryMetric("crashed"),
            log_x=True,
            range_z=(0.0, 1.0),
        ),
        wr.ParallelCoordinatesPlot(
            title="what crashed runs have in common",
            columns=[
                column(metric=wr.Config(STEM)),
                column(metric=wr.Config("optimizer.label")),
                column(metric=wr.Config(RATE), log=True),
                column(metric=wr.Config(WARMUP)),
                column(metric=wr.SummaryMetric("crashed")),
                column(metric=wr.SummaryMetric(metric)),
            ],
        ),
    )


def _curves(metric: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    by_row = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    return _placed(
        wr.LinePlot(title=metric, x="epoch", y=[metric], max_runs_to_show=100, **by_row),
        wr.LinePlot(
            title="train/loss", x="global_step", y=["train/loss"], max_runs_to_show=100, **by_row
        ),
    )


def _similarity(layers: int) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    by_stem = {"groupby": wr.Config(STEM), "groupby_aggfunc": "mean"}
    return _placed(
        wr.BarPlot(
            title="absolute cosine similarity of tokens by layer, at the last evaluation",
            metrics=[f"similarity/absolute_{layer:02d}" for layer in range(layers)],
            orientation="v",
            max_bars_to_show=20 * layers,
            **by_stem,
        ),
        wr.LinePlot(
            title="mean over the layers, along training",
            x="epoch",
            y=["similarity/absolute_mean", "similarity/signed_mean"],
            groupby_rangefunc="minmax",
            **by_stem,
        ),
    )


def _inside() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return _placed(
        wr.LinePlot(title="alpha of the stem", x="epoch", y=["stem/alpha_mean"]),
        wr.LinePlot(title="beta of the stem", x="epoch", y=["stem/beta_mean"]),
        wr.LinePlot(title="largest activation", x="epoch", y=["largest/activation"], log_y=True),
        wr.LinePlot(title="largest score", x="epoch", y=["largest/score"], log_y=True),
        wr.LinePlot(title="images per second", x="global_step", y=["images_per_s"]),
    )


def _result_panels(table: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    shown = wr.WeavePanelSummaryTable(table_name=table, layout=wr.Layout(w=WIDE, h=2 * HEIGHT))
    return [shown, _picture(f"{table}_curves", y=2 * HEIGHT)]


def _picture(key: str, *, y: int = 0) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.MediaBrowser(media_keys=[key], layout=wr.Layout(y=y, w=WIDE, h=2 * HEIGHT))


def _placed(*panels: Any) -> list[Any]:
    """Return panels side by side, two in a row."""
    import wandb_workspaces.reports.v2 as wr

    for place, panel in enumerate(panels):
        x, y = HALF * (place % 2), HEIGHT * (place // 2)
        panel.layout = wr.Layout(x=x, y=y, w=HALF, h=HEIGHT)
    return list(panels)


def _grid(where: Where, filters: str, panels: list[Any]) -> Any:
    import wandb_workspaces.reports.v2 as wr

    runs = wr.Runset(entity=where.entity, project=where.project, name="runs", filters=filters)
    return wr.PanelGrid(runsets=[runs], panels=panels)


def _runs_of(where: Where, table: str) -> str:
    tags = f"Tags() in ['{table}'] and Tags() in ['{where.profile}']"
    return f"Metric('JobType') != '{TABLE_JOB}' and {tags}"


def _tables_of(where: Where, name: str) -> str:
    return f"Metric('ID') == '{name}-{where.profile}'"
