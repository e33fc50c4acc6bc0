"""Reliability: how often labels are present that were given a certain probability."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import BLUE, FAINT, SKY, SMALL, ReportFigure, Sheet

N_BINS = 15  # as in the metric expected_calibration_error
Z = 1.96  # normal quantile of a 95% interval
LEFT, SIDE, BARS = 0.62, 2.75, 0.75  # inches
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bins:
    """Entries of the table by probability; empty bins are left out.

    Attributes:
        place: Which bin of `N_BINS`, from 0.
        mean_score: Mean probability.
        share: Share of the entries whose label is present.
        count: Number of entries.
    """

    place: NDArray[np.int64]
    mean_score: Values
    share: Values
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: mean distance of probability and share."""
        return float(np.average(np.abs(self.mean_score - self.share), weights=self.count))


def calibration_bins(out_of_fold: OutOfFold) -> Bins:
    """Return the entries of all labels in bins of equal width; an edge belongs to the bin below."""
    count = np.zeros(N_BINS, dtype=np.int64)
    score, true = np.zeros(N_BINS), np.zeros(N_BINS)
    for y_true, y_score in zip(out_of_fold.y_true.T, out_of_fold.y_score.T, strict=True):
        exact = y_score.astype(np.float64)
        places = np.clip(np.ceil(exact * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
        count += np.bincount(places, minlength=N_BINS)
        score += np.bincount(places, weights=exact, minlength=N_BINS)
        true += np.bincount(places, weights=y_true, minlength=N_BINS)
    place = np.flatnonzero(count)
    n = count[place]
    return Bins(place, score[place] / n, true[place] / n, n)


def calibration(out_of_fold: OutOfFold) -> ReportFigure:
    """Return shares against probabilities, and below how many entries have which probability."""
    bins = calibration_bins(out_of_fold)
    sheet = Sheet(
        f"Reliability of the probabilities: {out_of_fold.name}",
        f"{out_of_fold.described}, {_labels(len(out_of_fold.label_names))}. "
        "Whiskers: 95% interval of the "
        "share, from the number of rows.",
        SIDE + BARS + 0.62,
    )
    axes = sheet.axes(LEFT, 0, SIDE, SIDE)
    below = sheet.axes(LEFT, SIDE + 0.12, SIDE, BARS)
    _draw_shares(axes, bins, out_of_fold.n_rows / len(out_of_fold.y_true))
    _draw_counts(below, bins)
    top = 0.02
    for words, value in (
        ("expected calibration\nerror, 15 bins", f"{bins.error:.3f}"),
        ("mean probability", f"{np.average(bins.mean_score, weights=bins.count):.3f}"),
        ("share present", f"{np.average(bins.share, weights=bins.count):.3f}"),
    ):
        top = sheet.fact(LEFT + SIDE + 0.15, top, words, value)
    return sheet.picture("calibration", _alt(bins))


def _labels(n: int) -> str:
    return f"all {n} labels pooled" if n > 1 else "1 label"


def wilson(share: Values, n: Values) -> tuple[Values, Values]:
    """Return the ends of the 95% interval of a share.

    References:
        Wilson, Journal of the American Statistical Association 22, 1927.
    """
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _draw_shares(axes: Axes, bins: Bins, per_prediction: float) -> None:
    """Draw the bins; predictions of the same row count as one in the intervals."""
    low, high = wilson(bins.share, np.maximum(bins.count * per_prediction, 1))
    axes.plot((0, 1), (0, 1), color=FAINT, linestyle=(0, (1, 2)), linewidth=1.1)
    axes.vlines(bins.mean_score, low, high, color=BLUE, linewidth=1.1)
    axes.plot(bins.mean_score, bins.share, "o-", color=BLUE, markersize=5, mec="white", mew=0.7)
    for x, y, words, sides in (
        (0.03, 0.97, "present more often\nthan the model says", ("left", "top")),
        (0.97, 0.03, "present less often\nthan the model says", ("right", "bottom")),
    ):
        axes.text(x, y, words, size=SMALL, color=FAINT, ha=sides[0], va=sides[1])
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="share of labels present")
    axes.tick_params(axis="x", labelbottom=False)


def _draw_counts(axes: Axes, bins: Bins) -> None:
    axes.bar((bins.place + 0.5) / N_BINS, bins.count, width=0.85 / N_BINS, color=SKY)
    axes.set(xlim=(-0.01, 1.01), xlabel="probability", ylabel="how many", yscale="log")
    axes.set_ylim(0.5, 2 * bins.count.max())
    top = int(np.log10(bins.count.max()))
    ticks = [1, 10 ** max(top, 1)] if top < 4 else [1, 100, 10**top]
    axes.set_yticks(ticks, [_brief(tick) for tick in ticks])
    axes.set_yticks([], minor=True)


def _brief(n: int) -> str:
    """Return 1000 as 1k and 1000000 as 1M."""
    for unit, sign in ((10**6, "M"), (10**3, "k")):
        if n >= unit:
            return f"{n // unit:,}{sign}"
    return str(n)


def _alt(bins: Bins) -> str:
    listed = ", ".join(
        f"{score:.2f}: {share:.2f}"
        for score, share in zip(bins.mean_score, bins.share, strict=True)
    )
    return (
        f"Share of labels present by mean probability: {listed}. "
        f"Expected calibration error {bins.error:.3f}."
    )
