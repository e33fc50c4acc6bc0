"""Critical-difference diagram: mean ranks, and bars over those without significant difference."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.comparison.across_datasets import AcrossDatasets
from pipeline.errors import shorten
from pipeline.report.glyphs import to_drawable
from pipeline.report.style import BLACK, BLUE, GREY, report_style
from pipeline.scoring import metric_title

MAX_CONFIGURATIONS = 30
MAX_NAME = 44  # characters


def write_critical_difference(across: AcrossDatasets, path: Path) -> None:
    """Write the diagram; the suffix of the path decides the format."""
    with report_style(across.names):
        draw_critical_difference(across).savefig(path)


def draw_critical_difference(across: AcrossDatasets) -> Figure:
    """Draw the mean ranks from the best on top, with bars beside indistinguishable ones."""
    n = min(len(across.names), MAX_CONFIGURATIONS)
    figure = Figure(figsize=(8, 1.9 + 0.3 * n), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.plot(across.ranks[:n], range(n), "o", color=BLUE, markersize=6)
    for row, rank in enumerate(across.ranks[:n]):
        axes.annotate(
            f"{rank:.2f}", (rank, row), (0, 6), textcoords="offset points", ha="center", size=8
        )
    for column, group in enumerate(across.groups()):
        ends = [group.start - 0.25, min(group.stop, n) - 0.75]
        if group.start < n - 1:
            bar = Line2D([1.02 + 0.025 * column] * 2, ends, color=GREY, linewidth=4)
            bar.set_clip_on(False)
            axes.add_artist(bar).set_transform(axes.get_yaxis_transform())
    right = min(float(across.ranks[0]) + across.critical_difference, len(across.names))
    axes.plot([across.ranks[0], right], [-0.8, -0.8], color=BLACK, linewidth=1.5)
    axes.annotate(
        f"critical difference {across.critical_difference:.2f}",
        (across.ranks[0], -0.8),
        (0, 4),
        textcoords="offset points",
        size=8,
    )
    names = to_drawable([shorten(name, MAX_NAME) for name in across.names[:n]])
    axes.set_yticks(range(n), [f"{i + 1}  {name}" for i, name in enumerate(names)])
    axes.set_ylim(n - 0.5, -1.3)
    axes.margins(x=0.1)
    axes.grid(False, axis="y")
    axes.set_xlabel(
        f"mean rank by {metric_title(across.metric)} over {across.n_complete} data sets (1 is best)"
    )
    axes.set_title(
        f"Mean ranks; bars join those without a significant difference (Nemenyi, {across.alpha:g})"
    )
    return figure
