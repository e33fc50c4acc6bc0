"""The labels of a table in one picture: how many rows each has, and which come together."""

import io
from functools import lru_cache

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.dataset import DataSummary
from pipeline.errors import shorten

rcParams["text.parse_math"] = False  # a name with $ is no formula
MAX_LABELS = 160  # drawn, the most frequent ones
MAX_NUMBERED = 12  # labels up to which cells carry their numbers
MAX_NAME = 24  # characters of a label's name
BLUE = "#0072B2"  # of Okabe and Ito; lighter and darker blue, too, serve colour-blind readers
NORM = PowerNorm(0.5, vmin=0, vmax=1)  # small shares are most of them


@lru_cache(1)  # every job of a sweep shows the same
def labels_png(summary: DataSummary) -> bytes:
    """Return `labels_figure` as a file."""
    file = io.BytesIO()
    labels_figure(summary).savefig(file)
    return file.getvalue()


def labels_figure(summary: DataSummary) -> Figure:
    """Return bars of label counts and, in line with them, a heat map of what comes together."""
    order = np.argsort(-summary.label_counts, kind="stable")[:MAX_LABELS]
    n = len(order)
    side = float(np.clip(0.11 * n, 3.2, 12))  # inches
    figure = Figure(figsize=(side + 5.2, side + 2), dpi=150, layout="constrained")
    widths = [max(1.8, 0.2 * side), side]
    bars, cells = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    figure.suptitle(_title(summary), x=0.01, ha="left", fontsize=11)
    names = [shorten(summary.label_names[label], MAX_NAME) for label in order]
    size = float(np.clip(72 * 0.8 * side / n, 4, 9))  # points: most of the height of a line
    counts, together = summary.label_counts[order], summary.co_occurrence[np.ix_(order, order)]
    _draw_counts(bars, counts, names, size)
    shares = together / np.maximum(counts, 1)[:, None]
    shares[np.arange(n), np.arange(n)] = np.nan  # a label always comes with itself
    image = cells.imshow(shares, cmap="Blues", norm=NORM, aspect="auto")
    cells.set_facecolor("#BBBBBB")
    cells.set_xticks(range(n), names, rotation=90, fontsize=size)
    cells.tick_params(length=0, labelleft=False)
    cells.set_title(
        "share of rows with the label at the left\nthat also have the one below", size=9
    )
    if n <= MAX_NUMBERED:
        _number(cells, shares)
    ticks = [0, 0.05, 0.2, 0.4, 0.6, 0.8, 1]
    figure.colorbar(
        image, ax=cells, label="share of rows", pad=0.02, aspect=40, ticks=ticks, format="{x:g}"
    )
    return figure


def _title(summary: DataSummary) -> str:
    n = summary.n_labels
    shown = f", the {MAX_LABELS} most frequent shown" if n > MAX_LABELS else ""
    return (
        f"{summary.name}: {summary.n_samples:,} rows, {n} label{'s' if n > 1 else ''}{shown}\n"
        f"{summary.cardinality:.3g} labels per row, {summary.n_unlabelled:,} rows without a label"
    )


def _draw_counts(axes: Axes, counts: NDArray[np.int64], names: list[str], size: float) -> None:
    places = np.arange(len(counts))
    axes.barh(places, counts, color=BLUE, height=0.8)
    for place, count in zip(places, counts, strict=True):
        text = axes.text(float(count), float(place), f" {count:,}", va="center", fontsize=size)
        text.set_in_layout(False)  # lies inside; the layout is slow with many
    axes.set_yticks(places, names, fontsize=size)
    axes.set_title("rows with each label", fontsize=9)
    axes.set_xlim(0, max(1, counts.max()) * 1.3)  # leaves room for the numbers
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _number(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > 0.35 else "black"
            axes.text(
                column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8
            )
