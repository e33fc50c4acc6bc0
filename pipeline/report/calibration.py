"""Calibration curve: the fraction of positives among predictions of similar probability."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import BLUE, GREY, SKY, SMALL, ReportFigure, Sheet, Style
from pipeline.scoring import format_number
from pipeline.scoring.classification_metrics import MAX_CELLS

N_BINS = 15  # as in the metric expected_calibration_error
MAX_ROWS = 50_000  # that are counted at once
Z = 1.96  # normal quantile of a 95% interval
LEFT, SIDE, BAR_HEIGHT = 0.62, 2.75, 0.75  # inches
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Predictions of all labels, grouped by probability; empty bins are dropped.

    Attributes:
        bin_index: Index of the bin, from 0 to `N_BINS` - 1.
        mean_score: Mean predicted probability.
        fraction_positive: Fraction of the predictions whose label is present.
        count: Number of predictions.
        n_independent: Number of independent predictions whose fraction would vary as much.
    """

    bin_index: NDArray[np.int64]
    mean_score: Values
    fraction_positive: Values
    count: NDArray[np.int64]
    n_independent: Values

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of probability and fraction of positives."""
        distance = np.abs(self.mean_score - self.fraction_positive)
        return float(np.average(distance, weights=self.count))


def calibration_bins(out_of_fold: OutOfFold) -> CalibrationBins:
    """Group the predictions into bins of equal width; an edge belongs to the bin below it."""
    n, n_positive, n_rows, score_sum = np.zeros((4, N_BINS))
    products = np.zeros((3, N_BINS))  # sums over rows, of whole numbers
    n_at_once = min(MAX_ROWS, max(1, MAX_CELLS // out_of_fold.y_true.shape[1]))
    order = np.argsort(out_of_fold.rows, kind="stable")
    starts = np.arange(0, out_of_fold.rows.max(initial=-1) + 1, n_at_once)
    edges = np.searchsorted(out_of_fold.rows[order], starts[1:])
    for start, chosen in zip(starts, np.split(order, edges), strict=False):
        scores = out_of_fold.y_score[chosen].astype(np.float64)
        bins = np.clip(np.ceil(scores * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
        cells = bins + N_BINS * (out_of_fold.rows[chosen, None] - start)
        is_given = (
            np.ones_like(bins, bool) if out_of_fold.mask is None else out_of_fold.mask[chosen]
        )
        counts, positives = (
            np.bincount(cells[it], minlength=N_BINS * n_at_once).reshape(-1, N_BINS)
            for it in (is_given, is_given & (out_of_fold.y_true[chosen] == 1))
        )
        n += counts.sum(axis=0)
        n_positive += positives.sum(axis=0)
        n_rows += (counts > 0).sum(axis=0)
        pairs = ((positives, positives), (positives, counts), (counts, counts))
        products += [(one * other).sum(axis=0) for one, other in pairs]
        score_sum += np.bincount(bins[is_given], weights=scores[is_given], minlength=N_BINS)
    used = np.flatnonzero(n)
    n, fraction = n[used], n_positive[used] / n[used]
    n_independent = _n_independent(n, fraction, n_rows[used], products[:, used])
    return CalibrationBins(used, score_sum[used] / n, fraction, n.astype(np.int64), n_independent)


def _n_independent(n: Values, fraction: Values, n_rows: Values, products: Values) -> Values:
    """Return the number of independent predictions whose fraction of positives varies as much.

    A row's labels depend on each other, and so do repeated predictions of it. So the variance is
    that of rows: linearized, as in surveys of clusters. Equal labels have no variance; of these,
    each row counts once.

    Args:
        n: Number of predictions in each bin, of shape (n_bins,).
        fraction: Fraction of them whose label is present.
        n_rows: Number of rows with a prediction in each bin.
        products: Sums over rows of the products of a row's number of positives p and number of
            predictions c: of p p, p c and c c, of shape (3, n_bins).

    References:
        Korn and Graubard, Analysis of Health Surveys, Wiley 1999.
    """
    squares = products[0] - 2 * fraction * products[1] + fraction**2 * products[2]  # of p - f c
    variance = squares / n**2 * n_rows / np.maximum(n_rows - 1, 1)
    varies = (squares > 1e-12 * products[2]) & (n_rows > 1)
    effective = np.divide(fraction * (1 - fraction), variance, out=n_rows * 1.0, where=varies)
    n_independent: Values = np.clip(effective, 1, n)
    return n_independent


def draw_calibration(out_of_fold: OutOfFold) -> ReportFigure:
    """Draw the calibration curve above a histogram of the probabilities."""
    bins = calibration_bins(out_of_fold)
    n_labels = len(out_of_fold.label_names)
    labels = f"all {n_labels} labels together" if n_labels > 1 else "1 label"
    sheet = Sheet(
        f"Calibration of the probabilities: {out_of_fold.name}",
        f"{out_of_fold.description}, {labels}. Whiskers: 95% interval of the fraction; "
        "rows count as independent, labels of a row do not.",
        SIDE + BAR_HEIGHT + 0.62,
    )
    curve = sheet.axes(LEFT, 0, SIDE, SIDE)
    histogram = sheet.axes(LEFT, SIDE + 0.12, SIDE, BAR_HEIGHT)
    _draw_curve(curve, bins)
    _draw_histogram(histogram, bins)
    top = 0.02
    for name, value in (
        (f"expected calibration\nerror, {N_BINS} bins", bins.error),
        ("mean probability", np.average(bins.mean_score, weights=bins.count)),
        ("fraction of positives", np.average(bins.fraction_positive, weights=bins.count)),
    ):
        top = sheet.statistic(LEFT + SIDE + 0.15, top, name, format_number(float(value)))
    return sheet.to_figure("calibration", _alt_text(bins))


def wilson_interval(fraction: Values, n: Values) -> tuple[Values, Values]:
    """Return the ends of the 95% interval of a fraction.

    References:
        Wilson, Journal of the American Statistical Association 22, 1927.
    """
    middle = (fraction + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(fraction * (1 - fraction) / n + Z**2 / (4 * n**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _draw_curve(axes: Axes, bins: CalibrationBins) -> None:
    low, high = wilson_interval(bins.fraction_positive, bins.n_independent)
    axes.plot((0, 1), (0, 1), color=GREY, linestyle=(0, (1, 2)), linewidth=1.1)
    axes.vlines(bins.mean_score, low, high, color=BLUE, linewidth=1.1)
    marker: Style = {"color": BLUE, "markersize": 5, "mec": "white", "mew": 0.7}
    axes.plot(bins.mean_score, bins.fraction_positive, "o-", **marker)
    style: Style = {"size": SMALL, "color": GREY}
    axes.text(0.03, 0.97, "more positives\nthan predicted", ha="left", va="top", **style)
    axes.text(0.97, 0.03, "fewer positives\nthan predicted", ha="right", va="bottom", **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="fraction of positives")
    axes.tick_params(axis="x", labelbottom=False)


def _draw_histogram(axes: Axes, bins: CalibrationBins) -> None:
    axes.bar((bins.bin_index + 0.5) / N_BINS, bins.count, width=0.85 / N_BINS, color=SKY)
    axes.set(xlim=(-0.01, 1.01), xlabel="predicted probability", ylabel="count", yscale="log")
    axes.set_ylim(0.5, 2 * bins.count.max())
    exponent = int(np.log10(bins.count.max()))
    ticks = [1, 10 ** max(exponent, 1)] if exponent < 4 else [1, 100, 10**exponent]
    axes.set_yticks(ticks, [_abbreviate(tick) for tick in ticks])
    axes.set_yticks([], minor=True)


def _abbreviate(n: int) -> str:
    """Return 1000 as 1k and 1000000 as 1M."""
    for unit, suffix in ((10**6, "M"), (10**3, "k")):
        if n >= unit:
            return f"{n // unit:,}{suffix}"
    return str(n)


def _alt_text(bins: CalibrationBins) -> str:
    points = ", ".join(
        f"{score:.2f}: {fraction:.2f}"
        for score, fraction in zip(bins.mean_score, bins.fraction_positive, strict=True)
    )
    return (
        f"Calibration curve, fraction of positives by mean predicted probability: {points}. "
        f"Expected calibration error {format_number(bins.error)}."
    )
