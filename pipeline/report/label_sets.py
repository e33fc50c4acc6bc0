"""Figures of label sets: cardinality and co-occurrence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import (
    BLUE,
    BODY,
    EDGE,
    FAINT,
    INK,
    ORANGE,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    fit,
    widest,
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


def count_labels(out_of_fold: OutOfFold) -> LabelCounts:
    """Return how many rows have so many labels and are given so many."""
    true = out_of_fold.y_true.sum(axis=1, dtype=np.int64)
    predicted = out_of_fold.y_pred.sum(axis=1, dtype=np.int64)
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


def label_counts(out_of_fold: OutOfFold) -> ReportFigure:
    """Return rows by true and predicted number of labels, and above both distributions."""
    counts = count_labels(out_of_fold)
    sheet = Sheet(
        f"Labels per row, true and predicted: {out_of_fold.name}",
        f"{out_of_fold.described}. Each column: how many labels its rows are given. "
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


MAX_LABELS = 15  # drawn, the most frequent ones
MAX_NUMBERED = 6  # labels up to which cells carry their numbers
MAX_NAME = 1.15  # inches of a label's name
N_PAIRS = 3  # named, in which truth and prediction differ most
GAP = 0.12  # inches between the two
NORM = PowerNorm(0.5, vmin=0, vmax=1)  # small shares are most of them
Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Together:
    """Shares of rows with two labels, of the most frequent ones.

    Attributes:
        labels: Which, the most frequent first.
        true: Of the rows with the label of the row, how many also have that of the column; NaN on
            the diagonal and for labels without rows; of shape (n, n).
        predicted: The same of the decisions.
        pairs: Of all labels, the two that most rows more, or fewer, are given together than have
            both, with the shares of all rows that have both and are given both.
    """

    labels: NDArray[np.int64]
    true: Shares
    predicted: Shares
    pairs: tuple[tuple[int, int, float, float], ...]


def label_co_occurrence(out_of_fold: OutOfFold) -> Together:
    """Return what comes together, in the truth and in the decisions."""
    n = len(out_of_fold.y_true)
    true, predicted = _both(out_of_fold.y_true), _both(out_of_fold.y_pred)
    labels = np.argsort(-np.diag(true), kind="stable")[:MAX_LABELS]
    chosen = np.ix_(labels, labels)
    first, second = np.triu_indices(len(true), k=1)
    excess = np.abs(predicted - true)[first, second]
    pairs = [
        (int(one), int(other), float(true[one, other] / n), float(predicted[one, other] / n))
        for one, other in (
            (first[i], second[i]) for i in np.argsort(-excess, kind="stable")[:N_PAIRS] if excess[i]
        )
    ]
    return Together(labels, _shares(true[chosen]), _shares(predicted[chosen]), tuple(pairs))


def _both(y: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many rows have both labels, in pieces of which float32 can count the rows."""
    together = np.zeros((y.shape[1], y.shape[1]), dtype=np.int64)
    for start in range(0, len(y), 100_000):
        rows = y[start : start + 100_000].astype(np.float32)
        together += (rows.T @ rows).astype(np.int64)
    return together


def _shares(both: NDArray[np.int64]) -> Shares:
    sums = np.diag(both)[:, None]
    shares: Shares = np.divide(both, sums, out=np.full(both.shape, np.nan), where=sums > 0)
    np.fill_diagonal(shares, np.nan)
    return shares


def co_occurrence(out_of_fold: OutOfFold) -> ReportFigure | None:
    """Return two heat maps side by side, true and predicted; None for a single label."""
    if len(out_of_fold.label_names) < 2:
        return None
    found = label_co_occurrence(out_of_fold)
    n, n_labels = len(found.labels), len(out_of_fold.label_names)
    names = [fit(out_of_fold.label_names[label], MAX_NAME, SMALL) for label in found.labels]
    margin = widest(names, SMALL) + 0.06
    side = (WIDTH - 2 * EDGE - margin - GAP) / 2
    shown = f" The {n} most frequent of {n_labels} labels." if n < n_labels else ""
    scale = " White: none; darkest: all." if n > MAX_NUMBERED else ""
    never = " Grey rows: never predicted." if _never(found.predicted) else ""
    sheet = Sheet(
        f"Labels that come together: {out_of_fold.name}",
        "Share of the rows with the label at the left that also have the one below."
        f"{shown}{scale}{never}",
        0.25 + side + margin + 0.1 + 0.35 + 0.16 * (1 + len(found.pairs)),
    )
    left = EDGE + margin
    for title, shares in (("true", found.true), ("predicted", found.predicted)):
        axes = sheet.axes(left, 0.25, side, side)
        _draw(axes, shares)
        sheet.text(left, 0.06, title, size=BODY, weight="bold")
        for place, name in enumerate(names):
            middle = (place + 0.5) * side / n
            _write(sheet, left + middle, 0.25 + side + 0.05, name, rotation=90, ha="center")
            if title == "true":
                _write(sheet, left - 0.05, 0.25 + middle, name, ha="right", va="center_baseline")
        left += side + GAP
    _write_pairs(sheet, out_of_fold, found, 0.25 + side + margin + 0.15)
    return sheet.picture("co_occurrence", _together_alt(out_of_fold, found))


def _never(shares: Shares) -> bool:
    return bool(np.isnan(shares).all(axis=1).any())


def _write(sheet: Sheet, left: float, top: float, name: str, **style: Any) -> None:
    sheet.text(left, top, name, size=SMALL, **style)


def _draw(axes: Axes, shares: Shares) -> None:
    axes.set_facecolor("#D0D0D0")
    axes.imshow(shares, cmap="Blues", norm=NORM, aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    if len(shares) > MAX_NUMBERED:
        return
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > 0.35 else INK
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
            axes.text(column, row, f"{share:.0%}", size=SMALL - 0.5, **style)


def _write_pairs(sheet: Sheet, out_of_fold: OutOfFold, found: Together, top: float) -> None:
    if not found.pairs:
        return
    words = "Largest differences, as shares of all rows:"
    sheet.text(EDGE, top, words, size=SMALL, color=FAINT)
    for first, second, true, predicted in found.pairs:
        top += 0.16
        numbers = f"true {true:.1%}, predicted {predicted:.1%}"
        room = (WIDTH - 2 * EDGE - widest([f" and : {numbers}"], SMALL)) / 2
        one, other = (fit(out_of_fold.label_names[label], room, SMALL) for label in (first, second))
        sheet.text(EDGE, top, f"{one} and {other}: {numbers}", size=SMALL)


def _together_alt(out_of_fold: OutOfFold, found: Together) -> str:
    pairs = [
        f"{out_of_fold.label_names[first]} and {out_of_fold.label_names[second]}: true {true:.1%}, "
        f"predicted {predicted:.1%}"
        for first, second, true, predicted in found.pairs
    ]
    listed = f" Largest differences, as shares of all rows: {'; '.join(pairs)}." if pairs else ""
    return f"Heat maps of which labels come together, true and predicted.{listed}"
