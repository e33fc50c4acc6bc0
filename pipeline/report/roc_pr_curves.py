"""Precision-recall and ROC curves of each label over all held-out rows."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT_GREY,
    MARGIN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    shorten_to_width,
)
from pipeline.scoring import format_number
from pipeline.scoring.classification_metrics import Counts
from pipeline.scoring.label_ranking import ranked_parts, ranked_scores

GRID = np.linspace(0, 1, 201)  # recalls, or false positive rates, at which curves are kept
MAX_HIGHLIGHTED = 6  # labels, up to which each has a colour; of more, only the best and the worst
N_BEST, N_WORST = 2, 3
MAX_LINES = 30  # labels, up to which each has a line
LEFT, SIDE = 0.55, 2.75  # inches: of the square axes
LEGEND, SAMPLE, NUMBER, LINE = 3.42, 0.24, 0.4, 0.17  # inches: of the legend at the right
CHANCE_DASHES = (0, (1, 2))
LINE_STYLES = (
    (BLUE, "-"),
    (SKY, (0, (5, 1))),
    (GREEN, (0, (3, 1, 1, 1))),
    (ORANGE, (0, (5, 1))),
    (PURPLE, (0, (1, 1))),
    (VERMILION, (0, (3, 1, 1, 1))),
)
OTHER_DASHES = (0, (6, 2, 1, 2))
Values = NDArray[np.float64]
Indices = NDArray[np.int64]
LabelStyles = dict[int, tuple[str, object]]


@dataclass(frozen=True, eq=False)
class LabelCurves:
    """Curves of all labels on one grid, NaN for a label without a curve.

    Attributes:
        precision: At each recall of `GRID`, the precision at the highest threshold that reaches
            it; of shape (n_labels, n_grid).
        true_positive_rate: At each false positive rate of `GRID`; of the same shape.
        average_precision: Of shape (n_labels,).
        roc_auc: Of shape (n_labels,).
        prevalence: Fraction of the rows with the label, of those in which it is known, of shape
            (n_labels,).
        operating_points: Precision, recall (the true positive rate) and false positive rate of
            the predicted labels, of shape (3, n_labels).
    """

    precision: Values
    true_positive_rate: Values
    average_precision: Values
    roc_auc: Values
    prevalence: Values
    operating_points: Values


class CurveFigure(NamedTuple):
    """Data and texts of one of the two figures; curves and points have a label per row."""

    name: str
    title: str
    score_name: str
    xlabel: str
    ylabel: str
    curves: Values
    scores: Values
    operating_points: Values
    chance_line: tuple[float, float]


def label_curves(out_of_fold: OutOfFold) -> LabelCurves:
    """Compute both curves of each label over the predictions of all folds."""
    y_true, y_score, y_pred = out_of_fold.y_true, out_of_fold.y_score, out_of_fold.y_pred
    n_labels, mask = y_true.shape[1], out_of_fold.mask
    n_rows = np.full(n_labels, len(y_true)) if mask is None else mask.sum(axis=0)
    counts = Counts.of(y_true, y_pred, "macro", mask)
    precision, true_positive_rate = np.full((2, n_labels, len(GRID)), np.nan)
    roc_auc, average_precision, false_positive_rate = np.full((3, n_labels), np.nan)
    for part, ranked, n_others in ranked_parts(y_true, y_score, mask):
        for row in np.flatnonzero(ranked.n_relevant):
            label, n_true, last = part.start + row, ranked.n_relevant[row], None
            roc_auc[label], average_precision[label] = ranked_scores(ranked, row, n_others[row])
            if mask is not None:
                last = n_rows[label]  # the others are ranked last
            n_true_positive = ranked.n_relevant_at_or_above[row, :last]
            n_positive = ranked.n_at_or_above[row, :last]
            highest_threshold = np.searchsorted(n_true_positive / n_true, GRID)
            precision[label] = (n_true_positive / n_positive)[highest_threshold]
            if n_others[row]:
                fpr = np.append(0.0, (n_positive - n_true_positive) / n_others[row])
                tpr = np.append(0.0, n_true_positive / n_true)
                true_positive_rate[label] = np.interp(GRID, fpr, tpr)
    n_negative = n_rows - counts.true
    n_false_positive = counts.predicted - counts.true_positive
    np.divide(n_false_positive, n_negative, out=false_positive_rate, where=n_negative > 0)
    return LabelCurves(
        precision,
        true_positive_rate,
        average_precision,
        roc_auc,
        counts.true / np.maximum(n_rows, 1),
        np.stack([counts.precision(np.nan), counts.recall(np.nan), false_positive_rate]),
    )


def label_styles(curves: LabelCurves) -> LabelStyles:
    """Return colour and dashes of each label that is highlighted in one of the figures.

    A label has the same in both; labels of one figure have different colours.
    """
    first, second = (_rank(it)[1].tolist() for it in (curves.average_precision, curves.roc_auc))
    styles = (
        LINE_STYLES
        if len(first) > N_BEST + N_WORST
        else (*LINE_STYLES[:N_BEST], *LINE_STYLES[-N_WORST:])
    )
    of_label: LabelStyles = dict(zip(first, styles, strict=False))
    taken = {of_label[label][0] for label in second if label in of_label}
    free = [style for style in LINE_STYLES if style not in of_label.values()]
    free += [(style[0], OTHER_DASHES) for style in of_label.values() if style[0] not in taken]
    return of_label | dict(zip([it for it in second if it not in of_label], free, strict=False))


def _rank(scores: Values) -> tuple[Indices, Indices]:
    """Return the labels with a score, the best first, and those of them that are highlighted."""
    defined = np.flatnonzero(np.isfinite(scores))
    ranked = defined[np.argsort(-scores[defined], kind="stable")]
    if len(ranked) <= MAX_HIGHLIGHTED:
        return ranked, ranked
    return ranked, np.append(ranked[:N_BEST], ranked[-N_WORST:])


def draw_precision_recall(out_of_fold: OutOfFold, curves: LabelCurves) -> ReportFigure | None:
    """Draw the precision-recall curve of each label; None if no row has a label."""
    prevalence = curves.prevalence[curves.prevalence > 0]
    chance = float(prevalence.mean()) if len(prevalence) else 0.0
    precision, recall, _ = curves.operating_points
    figure = CurveFigure(
        "precision_recall",
        "Precision-recall curves",
        "average precision",
        "recall",
        "precision",
        curves.precision,
        curves.average_precision,
        np.stack([recall, precision], axis=1),
        (chance, chance),
    )
    return _draw(out_of_fold, figure, label_styles(curves))


def draw_roc(out_of_fold: OutOfFold, curves: LabelCurves) -> ReportFigure | None:
    """Draw the ROC curve of each label; None if every label is always or never present."""
    _, recall, false_positive_rate = curves.operating_points
    figure = CurveFigure(
        "roc",
        "ROC curves",
        "area under the curve",
        "false positive rate",
        "true positive rate (recall)",
        curves.true_positive_rate,
        curves.roc_auc,
        np.stack([false_positive_rate, recall], axis=1),
        (0.0, 1.0),
    )
    return _draw(out_of_fold, figure, label_styles(curves))


def _draw(out_of_fold: OutOfFold, figure: CurveFigure, styles: LabelStyles) -> ReportFigure | None:
    ranked, highlighted = _rank(figure.scores)
    if not len(ranked):
        return None
    n_undefined = len(figure.scores) - len(ranked)
    labels = "label" if n_undefined == 1 else "labels"
    undefined = f" Undefined for {n_undefined} {labels}." if n_undefined else ""
    sheet = Sheet(
        f"{figure.title} of each label: {out_of_fold.name}",
        f"{out_of_fold.description}, pooled over folds. Numbers: {figure.score_name}. "
        f"Dots: the predicted labels.{undefined}",
        SIDE + 0.5,
    )
    axes = sheet.axes(LEFT, 0, SIDE, SIDE)
    _draw_other_labels(axes, figure, ranked, highlighted)
    for label in highlighted:
        colour, dashes = styles[int(label)]
        axes.plot(GRID, figure.curves[label], linestyle=dashes, color=colour, linewidth=1.6)
        marker: Style = {"color": colour, "markersize": 5.5, "mec": "white", "mew": 0.7}
        axes.plot(*figure.operating_points[label], "o", **marker)
    axes.plot((0, 1), figure.chance_line, linestyle=CHANCE_DASHES, color=GREY, linewidth=1.1)
    axes.set(xlabel=figure.xlabel, ylabel=figure.ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    _draw_legend(sheet, out_of_fold, figure, highlighted, styles, len(ranked))
    return sheet.to_figure(figure.name, _alt_text(out_of_fold, figure, ranked))


def _draw_other_labels(
    axes: Axes, figure: CurveFigure, ranked: Indices, highlighted: Indices
) -> None:
    """Draw the labels that are not highlighted, as lines or as a band, and the mean of all."""
    others = figure.curves[np.setdiff1d(ranked, highlighted)]
    if len(ranked) > MAX_LINES:
        low, high = np.quantile(figure.curves[ranked], [0.1, 0.9], axis=0)
        axes.fill_between(GRID, low, high, color=LIGHT_GREY, alpha=0.45, linewidth=0)
    elif len(others):
        axes.plot(GRID, others.T, color=LIGHT_GREY, linewidth=0.8)
    if len(ranked) > 1:
        axes.plot(GRID, figure.curves[ranked].mean(axis=0), color=BLACK, linewidth=2.2)


def _draw_legend(
    sheet: Sheet,
    out_of_fold: OutOfFold,
    figure: CurveFigure,
    highlighted: Indices,
    styles: LabelStyles,
    n_defined: int,
) -> None:
    """List the curves with their scores at the right of the axes."""
    top, highlights_all = 0.02, n_defined == len(highlighted)
    for i, label in enumerate(highlighted):
        colour, dashes = styles[int(label)]
        if not highlights_all and i in (0, N_BEST):
            title = "worst labels" if i else "best labels"
            sheet.text(LEGEND, top, title, size=SMALL, color=GREY)
            top += LINE
        sheet.line_sample(LEGEND, top, SAMPLE, color=colour, linestyle=dashes, linewidth=1.6)
        _write_entry(sheet, top, out_of_fold.label_names[label], figure.scores[label])
        top += LINE
    if n_defined > 1:
        top += 0.08 if highlights_all else LINE
        sheet.line_sample(LEGEND, top, SAMPLE, color=BLACK, linewidth=2.2)
        mean = float(np.nanmean(figure.scores))
        _write_entry(sheet, top, f"mean of {n_defined}", mean, "bold")
        top += LINE
    if not highlights_all:
        is_band = n_defined > MAX_LINES
        sheet.line_sample(LEGEND, top, SAMPLE, color=LIGHT_GREY, linewidth=6 if is_band else 0.8)
        _write_entry(sheet, top, "middle 80%" if is_band else "other labels")
        top += LINE
    sheet.line_sample(LEGEND, top, SAMPLE, color=GREY, linestyle=CHANCE_DASHES, linewidth=1.1)
    is_mean = figure.chance_line[0] and n_defined > 1
    _write_entry(sheet, top, "chance (mean)" if is_mean else "chance")


def _write_entry(
    sheet: Sheet, top: float, name: str, value: float | None = None, weight: str = "normal"
) -> None:
    left = LEGEND + SAMPLE + 0.07
    width = WIDTH - MARGIN - left - (NUMBER if value is not None else 0)
    sheet.text(left, top, shorten_to_width(name, width, SMALL), size=SMALL, weight=weight)
    if value is not None:
        number = format_number(value)
        sheet.text(WIDTH - MARGIN, top, number, size=SMALL, weight=weight, ha="right")


def _alt_text(out_of_fold: OutOfFold, figure: CurveFigure, ranked: Indices) -> str:
    names, best, worst = out_of_fold.label_names, ranked[0], ranked[-1]
    return (
        f"{figure.title}, {figure.score_name} of {len(ranked)} labels: "
        f"mean {format_number(float(np.nanmean(figure.scores)))}, "
        f"best {names[best]} with {format_number(figure.scores[best])}, "
        f"worst {names[worst]} with {format_number(figure.scores[worst])}."
    )
