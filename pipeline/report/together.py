"""Which labels come together: in the data, and in what the model predicts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from pipeline.report.picture import Picture
from pipeline.report.pooled import Pooled
from pipeline.report.style import BODY, EDGE, FAINT, INK, SMALL, WIDTH, Sheet, fit, widest

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


def come_together(pooled: Pooled) -> Together:
    """Return what comes together, in the truth and in the decisions."""
    n = len(pooled.y_true)
    true, predicted = _both(pooled.y_true), _both(pooled.y_pred)
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


def co_occurrence(pooled: Pooled) -> Picture | None:
    """Return two heat maps side by side, true and predicted; None for a single label."""
    if len(pooled.label_names) < 2:
        return None
    found = come_together(pooled)
    n, n_labels = len(found.labels), len(pooled.label_names)
    names = [fit(pooled.label_names[label], MAX_NAME, SMALL) for label in found.labels]
    margin = widest(names, SMALL) + 0.06
    side = (WIDTH - 2 * EDGE - margin - GAP) / 2
    shown = f" The {n} most frequent of {n_labels} labels." if n < n_labels else ""
    scale = " White: none; darkest: all." if n > MAX_NUMBERED else ""
    never = " Grey rows: never predicted." if _never(found.predicted) else ""
    sheet = Sheet(
        f"Labels that come together: {pooled.name}",
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
    _write_pairs(sheet, pooled, found, 0.25 + side + margin + 0.15)
    return sheet.picture("co_occurrence", _alt(pooled, found))


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


def _write_pairs(sheet: Sheet, pooled: Pooled, found: Together, top: float) -> None:
    if not found.pairs:
        return
    words = "Largest differences, as shares of all rows:"
    sheet.text(EDGE, top, words, size=SMALL, color=FAINT)
    for first, second, true, predicted in found.pairs:
        top += 0.16
        numbers = f"true {true:.1%}, predicted {predicted:.1%}"
        room = (WIDTH - 2 * EDGE - widest([f" and : {numbers}"], SMALL)) / 2
        one, other = (fit(pooled.label_names[label], room, SMALL) for label in (first, second))
        sheet.text(EDGE, top, f"{one} and {other}: {numbers}", size=SMALL)


def _alt(pooled: Pooled, found: Together) -> str:
    pairs = [
        f"{pooled.label_names[first]} and {pooled.label_names[second]}: true {true:.1%}, "
        f"predicted {predicted:.1%}"
        for first, second, true, predicted in found.pairs
    ]
    listed = f" Largest differences, as shares of all rows: {'; '.join(pairs)}." if pairs else ""
    return f"Heat maps of which labels come together, true and predicted.{listed}"
