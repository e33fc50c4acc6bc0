"""Figures of label sets, true and predicted: labels per row, and label co-occurrence."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.dataset import count_pairs, most_frequent
from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import (
    BLACK,
    BLUE,
    BODY,
    GREY,
    MARGIN,
    ORANGE,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    max_text_width,
    shorten_to_width,
)

Fractions = NDArray[np.float64]
CENTERED: Style = {"ha": "center", "va": "center"}

MAX_CLASSES = 12  # of label counts; with more, neighbouring counts share a class
MAX_SINGLE_CLASSES = 6  # up to which the last class is not open-ended
TAIL_QUANTILE = 0.99  # of the label counts; the rows above it share the last class
LEFT, SIDE, BAR_HEIGHT = 0.62, 2.75, 0.8  # inches


@dataclass(frozen=True, eq=False)
class LabelCountTable:
    """Rows by their true and their predicted number of labels, in classes.

    Attributes:
        class_names: Such as `3`, `4-5` or `12+`.
        table: Numbers of rows, of shape (n_true_classes, n_predicted_classes).
        mean_true: Mean true number of labels.
        mean_predicted: Mean predicted number of labels.
        fraction_correct: Fraction of the rows whose predicted number is the true one.
    """

    class_names: tuple[str, ...]
    table: NDArray[np.int64]
    mean_true: float
    mean_predicted: float
    fraction_correct: float


def count_labels(out_of_fold: OutOfFold) -> LabelCountTable:
    """Cross-tabulate true and predicted label counts."""
    true = out_of_fold.y_true.sum(axis=1, dtype=np.int64)
    predicted = out_of_fold.y_pred.sum(axis=1, dtype=np.int64)
    counts = np.concatenate([true, predicted])
    low, high = int(counts.min()), int(counts.max())
    if high - low + 1 > MAX_SINGLE_CLASSES:
        high = int(np.quantile(counts, TAIL_QUANTILE))
    width = -(-(high - low + 1) // MAX_CLASSES)
    edges = np.arange(low, high + 1, width)
    table = np.zeros((len(edges), len(edges)), dtype=np.int64)
    classes = (np.searchsorted(edges, column, side="right") - 1 for column in (true, predicted))
    np.add.at(table, tuple(classes), 1)
    return LabelCountTable(
        tuple(_class_names(edges, width, int(counts.max()))),
        table,
        float(true.mean()),
        float(predicted.mean()),
        float((true == predicted).mean()),
    )


def _class_names(edges: NDArray[np.int64], width: int, largest: int) -> list[str]:
    names = [str(edge) if width == 1 else f"{edge}-{edge + width - 1}" for edge in edges]
    if largest > edges[-1] + width - 1:
        names[-1] = f"{edges[-1]}+"
    return names


def draw_label_counts(out_of_fold: OutOfFold) -> ReportFigure | None:
    """Draw rows by true and predicted number of labels, below both distributions.

    Rows in which a label is not known are left out.

    Returns:
        The figure, or None without rows.
    """
    out_of_fold = out_of_fold.complete_rows()
    if not len(out_of_fold.y_true):
        return None
    counts = count_labels(out_of_fold)
    sheet = Sheet(
        f"Labels per row, true and predicted: {out_of_fold.name}",
        f"{out_of_fold.description}. Each column: predicted numbers of labels of the "
        "rows with this true number. Framed: the correct number.",
        BAR_HEIGHT + 0.1 + SIDE + 0.5,
    )
    _draw_distributions(sheet.axes(LEFT, 0, SIDE, BAR_HEIGHT), counts)
    _draw_table(sheet.axes(LEFT, BAR_HEIGHT + 0.1, SIDE, SIDE), counts)
    left, top = LEFT + SIDE + 0.15, 0.02
    for name, colour in (("true", ORANGE), ("predicted", BLUE)):
        sheet.line_sample(left, top, 0.16, color=colour, linewidth=6)
        sheet.text(left + 0.23, top, f"{name} labels", size=SMALL)
        top += 0.17
    top = BAR_HEIGHT + 0.15
    for name, value in (
        ("true labels per row", f"{counts.mean_true:.2f}"),
        ("predicted labels per row", f"{counts.mean_predicted:.2f}"),
        ("rows with the correct\nnumber", f"{counts.fraction_correct:.0%}"),
    ):
        top = sheet.statistic(left, top, name, value)
    alt = (
        f"Rows have {counts.mean_true:.2f} true and {counts.mean_predicted:.2f} predicted labels "
        f"on average; the number is correct for {counts.fraction_correct:.0%} of the rows."
    )
    return sheet.to_figure("label_counts", alt)


def _draw_distributions(axes: Axes, counts: LabelCountTable) -> None:
    x, n_rows = np.arange(len(counts.class_names)), counts.table.sum()
    for sums, colour, offset in (
        (counts.table.sum(axis=1), ORANGE, -0.2),
        (counts.table.sum(axis=0), BLUE, 0.2),
    ):
        axes.bar(x + offset, 100 * sums / n_rows, width=0.4, color=colour)
    axes.set(xlim=(-0.5, len(x) - 0.5), ylabel="% of rows")
    axes.set_xticks([])
    axes.locator_params(axis="y", nbins=3)


def _draw_table(axes: Axes, counts: LabelCountTable) -> None:
    """Draw the table as fractions of its columns: true numbers along x, predicted along y."""
    n = len(counts.class_names)
    sums = counts.table.sum(axis=1, keepdims=True)
    fractions = np.divide(counts.table, sums, out=np.full((n, n), np.nan), where=sums > 0).T
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    axes.grid(False)
    for (row, column), fraction in np.ndenumerate(fractions):
        if fraction >= 0.005:
            colour, size = "white" if fraction > 0.55 else BLACK, 6.5 if n < 9 else 5.5
            axes.text(column, row, f"{fraction:.0%}", **CENTERED, color=colour, size=size)
    for i in range(n):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, ec=GREY, lw=0.9))
    step = 1 if n * (max_text_width(counts.class_names, SMALL) + 0.04) <= SIDE else 2
    axes.set_xticks(range(0, n, step), counts.class_names[::step])
    axes.set_yticks(range(n), counts.class_names)
    axes.tick_params(length=0)
    axes.set(xlabel="true labels of a row", ylabel="predicted labels")


MAX_LABELS = 15  # in the heat maps, the most frequent ones
MAX_LABELS_WITH_NUMBERS = 6  # in the cells
MAX_NAME = 1.15  # inches of a label's name
N_PAIRS = 3  # listed below the heat maps
GAP = 0.12  # inches between the heat maps
NORM = PowerNorm(0.5, vmin=0, vmax=1)  # most fractions are small


@dataclass(frozen=True, eq=False)
class CoOccurrence:
    """Co-occurrence of labels in the true and in the predicted label sets.

    Attributes:
        labels: Indices of the most frequent labels, the most frequent first.
        true: Fraction of the rows with the label of the matrix row that also have the label of the
            column, of those in which that is known, of shape (n, n); NaN on the diagonal and for
            labels without rows.
        predicted: The same for the predicted labels.
        pairs: The pairs of labels, among the most frequent, whose true and predicted numbers of
            rows differ most: both labels and the fractions of all rows in which both are known,
            true and predicted, with both.
    """

    labels: NDArray[np.int64]
    true: Fractions
    predicted: Fractions
    pairs: tuple[tuple[int, int, float, float], ...]


def label_co_occurrence(out_of_fold: OutOfFold) -> CoOccurrence:
    """Compute the co-occurrence of labels, true and predicted."""
    paired = most_frequent(out_of_fold.y_true.sum(axis=0, dtype=np.int64))
    y_true, y_pred = out_of_fold.y_true[:, paired], out_of_fold.y_pred[:, paired]
    mask = None if out_of_fold.mask is None else out_of_fold.mask[:, paired]
    if mask is not None:
        y_pred = y_pred & mask
    true, predicted = count_pairs(y_true, y_true), count_pairs(y_pred, y_pred)
    n_true, n_predicted = np.diag(true)[:, None], np.diag(predicted)[:, None]
    n_rows = np.full_like(true, len(y_true))
    if mask is not None:  # of each pair, the rows in which the second label is known, or both
        n_true, n_predicted = count_pairs(y_true, mask), count_pairs(y_pred, mask)
        n_rows = np.maximum(count_pairs(mask, mask), 1)
    labels = np.argsort(-np.diag(true), kind="stable")[:MAX_LABELS]
    shown = np.ix_(labels, labels)
    first, second = np.triu_indices(len(true), k=1)
    difference = (np.abs(predicted - true) / n_rows)[first, second]
    largest = [i for i in np.argsort(-difference, kind="stable")[:N_PAIRS] if difference[i]]
    pairs = tuple(
        (*paired[[i, j]].tolist(), *((it[i, j] / n_rows[i, j]).item() for it in (true, predicted)))
        for i, j in zip(first[largest], second[largest], strict=True)
    )
    of_true, of_predicted = _fractions(true, n_true), _fractions(predicted, n_predicted)
    return CoOccurrence(paired[labels], of_true[shown], of_predicted[shown], pairs)


def _fractions(pair_counts: NDArray[np.int64], totals: NDArray[np.int64]) -> Fractions:
    fractions = np.full(pair_counts.shape, np.nan)
    np.divide(pair_counts, totals, out=fractions, where=totals > 0)
    np.fill_diagonal(fractions, np.nan)
    return fractions


def draw_co_occurrence(out_of_fold: OutOfFold) -> ReportFigure | None:
    """Draw two heat maps side by side, true and predicted; None for a single label."""
    if len(out_of_fold.label_names) < 2:
        return None
    result = label_co_occurrence(out_of_fold)
    n, n_labels = len(result.labels), len(out_of_fold.label_names)
    names = [
        shorten_to_width(out_of_fold.label_names[label], MAX_NAME, SMALL) for label in result.labels
    ]
    name_width = max_text_width(names, SMALL) + 0.06
    side = (WIDTH - 2 * MARGIN - name_width - GAP) / 2
    bottom = 0.25 + side + name_width
    shown = f" The {n} most frequent of {n_labels} labels." if n < n_labels else ""
    scale = " White: 0; darkest blue: 1." if n > MAX_LABELS_WITH_NUMBERS else ""
    has_unpredicted = bool(np.isnan(result.predicted).all(axis=1).any())
    unpredicted = " Grey rows: labels that are never predicted." if has_unpredicted else ""
    sheet = Sheet(
        f"Label co-occurrence, true and predicted: {out_of_fold.name}",
        "Fraction of the rows with the label on the left that also have the label below"
        f"{'' if out_of_fold.mask is None else ', of those in which both are known'}."
        f"{shown}{scale}{unpredicted}",
        bottom + 0.45 + 0.16 * (1 + len(result.pairs)),
    )
    left = MARGIN + name_width
    for title, fractions in (("true", result.true), ("predicted", result.predicted)):
        _draw_heat_map(sheet.axes(left, 0.25, side, side), fractions)
        sheet.text(left, 0.06, title, size=BODY, weight="bold")
        for i, name in enumerate(names):
            middle = (i + 0.5) * side / n
            below: Style = {"rotation": 90, "ha": "center", "size": SMALL}
            sheet.text(left + middle, 0.25 + side + 0.05, name, **below)
            if title == "true":
                beside: Style = {"ha": "right", "va": "center_baseline", "size": SMALL}
                sheet.text(left - 0.05, 0.25 + middle, name, **beside)
        left += side + GAP
    _write_pairs(sheet, out_of_fold, result, bottom + 0.15)
    return sheet.to_figure("co_occurrence", _co_occurrence_alt(out_of_fold, result))


def _draw_heat_map(axes: Axes, fractions: Fractions) -> None:
    axes.set_facecolor("#D0D0D0")
    axes.imshow(fractions, cmap="Blues", norm=NORM, aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    if len(fractions) > MAX_LABELS_WITH_NUMBERS:
        return
    for (row, column), fraction in np.ndenumerate(fractions):
        if np.isfinite(fraction):
            colour, size = "white" if fraction > 0.35 else BLACK, SMALL - 0.5
            axes.text(column, row, f"{fraction:.0%}", **CENTERED, color=colour, size=size)


def _write_pairs(sheet: Sheet, out_of_fold: OutOfFold, result: CoOccurrence, top: float) -> None:
    if not result.pairs:
        return
    title = f"Pairs of labels with the largest differences, as fractions of {_rows(out_of_fold)}:"
    sheet.text(MARGIN, top, title, size=SMALL, color=GREY)
    for i, j, true, predicted in result.pairs:
        top += 0.16
        numbers = f"true {true:.1%}, predicted {predicted:.1%}"
        width = (WIDTH - 2 * MARGIN - max_text_width([f" and : {numbers}"], SMALL)) / 2
        first = shorten_to_width(out_of_fold.label_names[i], width, SMALL)
        second = shorten_to_width(out_of_fold.label_names[j], width, SMALL)
        sheet.text(MARGIN, top, f"{first} and {second}: {numbers}", size=SMALL)


def _rows(out_of_fold: OutOfFold) -> str:
    return "all rows" if out_of_fold.mask is None else "the rows in which both are known"


def _co_occurrence_alt(out_of_fold: OutOfFold, result: CoOccurrence) -> str:
    pairs = [
        f"{out_of_fold.label_names[first]} and {out_of_fold.label_names[second]}: true {true:.1%}, "
        f"predicted {predicted:.1%}"
        for first, second, true, predicted in result.pairs
    ]
    rows = _rows(out_of_fold)
    differences = f" Largest differences: {'; '.join(pairs)} of {rows}." if pairs else ""
    return f"Heat maps of label co-occurrence, true and predicted.{differences}"
