"""Figure of the differences between two configurations by label."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.comparison import LabelDifference, Ranking, describe_labels
from pipeline.errors import shorten
from pipeline.report.glyphs import to_drawable
from pipeline.report.style import BLACK, BLUE, GREY, VERMILION, report_style
from pipeline.scoring import metric_title

MAX_LABELS = 60  # those with the largest differences
MAX_NAME = 40  # characters


def write_label_differences(
    ranking: Ranking, differences: Sequence[LabelDifference], metric: str, path: Path
) -> None:
    """Write the figure; the suffix of the path decides the format."""
    with report_style([it.label for it in differences]):
        draw_label_differences(ranking, differences, metric).savefig(path)


def draw_label_differences(
    ranking: Ranking, differences: Sequence[LabelDifference], metric: str
) -> Figure:
    """Draw the advantage on each label with its interval, in colour if it is significant."""
    defined = [it for it in differences if it.n_folds]
    largest = sorted(defined, key=lambda it: -abs(it.advantage))[:MAX_LABELS]
    shown = [it for it in defined if it in largest]
    figure = Figure(figsize=(8, 1.8 + 0.24 * len(shown)), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=BLACK, linewidth=0.8)
    for row, it in enumerate(shown):
        colour = GREY
        if it.p_holm < ranking.alpha:
            colour = BLUE if it.advantage > 0 else VERMILION
        if it.ci:
            axes.plot(it.ci, [row, row], color=colour, linewidth=1.6)
        axes.plot(it.advantage, row, "o", color=colour, markersize=5)
    names = to_drawable([f"{shorten(it.label, MAX_NAME)} ({it.n_true})" for it in shown])
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(False, axis="y")
    interval = f"{1 - ranking.alpha:.0%} interval of each label alone"
    axes.set_xlabel(f"advantage in {metric_title(metric)}, and {interval}")
    first, second = (shorten(name, MAX_NAME) for name in to_drawable(ranking.names))
    axes.set_title(
        f"{describe_labels(differences, first, second, ranking.alpha)}\n"
        "In colour: significant after Holm's adjustment for all labels",
        wrap=True,
    )
    return figure
