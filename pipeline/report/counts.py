"""How many labels a row has, and how many it is given."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.report.picture import Picture
from pipeline.report.pooled import Pooled
from pipeline.report.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SMALL,
    Sheet,
)

MAX_CLASSES = 12  # of counts, drawn; of more, neighbours share one
FEW_CLASSES = 6  # up to which all have their own
TAIL = 0.99  # share of the rows up to which there are more; the rest share the last one
LEFT, SIDE, BARS = 0.62, 2.75, 0.8  # inches


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """Rows by their true and their predicted number of labels, in classes.

    Attributes:
        names: Of the classes, such as `3`, `4-5` or `12+`.
        table: Rows, of shape (true classes, predicted classes).
        mean_true: Mean of the true numbers.
        mean_predicted: Mean of the predicted numbers.
        right: Share of the rows whose number is right.
    """

    names: tuple[str, ...]
    table: NDArray[np.int64]
    mean_true: float
    mean_predicted: float
    right: float


def count_labels(pooled: Pooled) -> LabelCounts:
    """Return how many rows have so many labels and are given so many."""
    true = pooled.y_true.sum(axis=1, dtype=np.int64)
    predicted = pooled.y_pred.sum(axis=1, dtype=np.int64)
    both = np.concatenate([true, predicted])
    low, high = int(both.min()), int(both.max())
    if high - low + 1 > FEW_CLASSES:
        high = int(np.quantile(both, TAIL))
    width = -(-(high - low + 1) // MAX_CLASSES)
    edges = np.arange(low, high + 1, width)
    n = len(edges)
    table = np.zeros((n, n), dtype=np.int64)
    places = (np.searchsorted(edges, counts, side="right") - 1 for counts in (true, predicted))
    np.add.at(table, tuple(places), 1)
    return LabelCounts(
        tuple(_names(edges, width, int(both.max()))),
        table,
        float(true.mean()),
        float(predicted.mean()),
        float((true == predicted).mean()),
    )


def _names(edges: NDArray[np.int64], width: int, largest: int) -> list[str]:
    names = [str(edge) if width == 1 else f"{edge}-{edge + width - 1}" for edge in edges]
    if largest > edges[-1] + width - 1:
        names[-1] = f"{edges[-1]}+"
    return names


def label_counts(pooled: Pooled) -> Picture:
    """Return rows by true and predicted number of labels, and above both distributions."""
    counts = count_labels(pooled)
    sheet = Sheet(
        f"Labels per row, true and predicted: {pooled.name}",
        f"{pooled.described}. Each column: how many labels its rows are given. "
        "Framed: the right number.",
        BARS + 0.1 + SIDE + 0.5,
    )
    above = sheet.axes(LEFT, 0, SIDE, BARS)
    cells = sheet.axes(LEFT, BARS + 0.1, SIDE, SIDE)
    _draw_distributions(above, counts)
    _draw_cells(cells, counts)
    left, top = LEFT + SIDE + 0.15, 0.02
    for name, colour in (("true", ORANGE), ("predicted", BLUE)):
        sheet.sample(left, top, 0.16, color=colour, linewidth=6)
        sheet.text(left + 0.23, top, f"{name} labels", size=SMALL)
        top += 0.17
    top = BARS + 0.15
    for words, value in (
        ("true labels per row", f"{counts.mean_true:.2f}"),
        ("predicted labels per row", f"{counts.mean_predicted:.2f}"),
        ("rows with the right\nnumber", f"{counts.right:.0%}"),
    ):
        top = sheet.fact(left, top, words, value)
    return sheet.picture("label_counts", _alt(counts))


def _draw_distributions(axes: Axes, counts: LabelCounts) -> None:
    total = counts.table.sum()
    places = np.arange(len(counts.names))
    for sums, colour, shift in (
        (counts.table.sum(axis=1), ORANGE, -0.2),
        (counts.table.sum(axis=0), BLUE, 0.2),
    ):
        axes.bar(places + shift, 100 * sums / total, width=0.4, color=colour)
    axes.set(xlim=(-0.5, len(places) - 0.5), ylabel="% of rows")
    axes.set_xticks([])
    axes.locator_params(axis="y", nbins=3)


def _draw_cells(axes: Axes, counts: LabelCounts) -> None:
    """Draw the share of each column's rows, true numbers to the right, predicted ones upwards."""
    n = len(counts.names)
    sums = counts.table.sum(axis=1, keepdims=True)
    shares = np.divide(counts.table, sums, out=np.full((n, n), np.nan), where=sums > 0).T
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    axes.grid(False)
    number: dict[str, Any] = {"ha": "center", "va": "center", "size": 6.5 if n < 9 else 5.5}
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = "white" if share > 0.55 else INK
            axes.text(column, row, f"{share:.0%}", color=colour, **number)
    for place in range(n):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, ec=FAINT, lw=0.9))
    axes.set_xticks(range(n), counts.names)
    axes.set_yticks(range(n), counts.names)
    axes.tick_params(length=0)
    axes.set(xlabel="true labels of a row", ylabel="predicted labels")


def _alt(counts: LabelCounts) -> str:
    return (
        f"Rows have {counts.mean_true:.2f} labels in the mean and are given "
        f"{counts.mean_predicted:.2f}; the number is right for {counts.right:.0%} of them."
    )
