"""The loss of training, validation and held-out rows by epoch, over all folds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.evaluator import Evaluation
from pipeline.report.style import (
    BLUE,
    FAINT,
    GREEN,
    VERMILION,
    WIDTH,
    ReportFigure,
    Sheet,
    round_ticks,
)

Losses = NDArray[np.floating]
BAND = (1 / 6, 5 / 6)  # quantiles between which two thirds of the folds lie
LEFT, HEIGHT, KEY = 0.6, 2.5, 0.165  # inches: of the axes, and of each line of the key above them
LOG_FROM = 4  # times the smallest loss, from which a logarithmic scale shows more


class Kind(NamedTuple):
    """One kind of rows: the field of `FoldResult`, what to call it, its colour and dashes."""

    field: str
    label: str
    colour: str
    dashes: object


KINDS = (
    Kind("loss", "training rows", BLUE, "-"),
    Kind("val_loss", "validation rows, which decide when to stop", GREEN, (0, (1, 1))),
    Kind("test_loss", "held-out rows, looked at only", VERMILION, (0, (4, 1.5))),
)


def training_curves(evaluation: Evaluation) -> ReportFigure | None:
    """Return the mean of the folds' losses by epoch with the band of most; None without epochs."""
    drawn = {
        kind: losses
        for kind in KINDS
        if np.isfinite(
            losses := extend([getattr(fold, kind.field) for fold in evaluation.folds])
        ).any()
    }
    if not drawn:
        return None
    ends = sorted({max(map(len, (f.loss, f.test_loss))) for f in evaluation.folds})
    above = KEY * len(drawn) + 0.06
    sheet = Sheet(
        f"Loss by epoch: {evaluation.dataset.name}",
        _explanation(len(evaluation.folds), len(ends) > 1),
        above + HEIGHT + 0.48,
    )
    axes = sheet.axes(LEFT, above, WIDTH - LEFT - 0.2, HEIGHT)
    for kind, losses in drawn.items():
        _draw(axes, losses, kind)
    _scale(axes, np.concatenate([losses.ravel() for losses in drawn.values()]))
    if len(ends) > 1:
        _mark_ends(axes, [len(fold.loss) for fold in evaluation.folds])
    axes.set(xlabel="epoch", ylabel="loss")
    axes.set_xlim(1 - (ends[-1] == 1), ends[-1] + (ends[-1] == 1))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), labelspacing=0.25)
    return sheet.picture("training_curves", _alt(drawn))


def extend(curves: Sequence[Losses]) -> Losses:
    """Return curves of several lengths as one table; a fold that stopped keeps its last value.

    The mean over only those folds that go on would be one of those that still get better.

    Returns:
        Array of shape (n_folds, epochs of the longest); NaN for a fold without a curve.
    """
    table = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        if len(curve):
            row[: len(curve)] = curve
            row[len(curve) :] = curve[-1]
    return table


def _explanation(n_folds: int, stopped: bool) -> str:
    if n_folds == 1:
        return "One fold."
    band = f"Lines: mean of {n_folds} folds. Bands: the middle two thirds of them."
    if not stopped:
        return band
    return f"{band} A triangle marks where a fold stops; it counts on with its last loss."


def _draw(axes: Axes, losses: Losses, kind: Kind) -> None:
    known = losses[np.isfinite(losses).all(axis=1)]
    if not len(known):
        return
    epochs = np.arange(1, known.shape[1] + 1)
    low, high = np.quantile(known, BAND, axis=0)
    mean = known.mean(axis=0)
    if len(known) > 1:
        axes.fill_between(epochs, low, high, color=kind.colour, alpha=0.17, linewidth=0)
    axes.plot(
        epochs,
        mean,
        linestyle=kind.dashes,
        color=kind.colour,
        marker="o" if len(epochs) == 1 else None,
        label=f"{kind.label}: {mean[-1]:.3g} at the end",
    )


def _mark_ends(axes: Axes, lengths: Sequence[int]) -> None:
    """Draw a triangle on the lower edge at each epoch in which a fold stops."""
    axes.plot(
        lengths,
        np.zeros(len(lengths)),
        "^",
        color=FAINT,
        alpha=0.6,
        markersize=6,
        markeredgewidth=0,
        clip_on=False,
        transform=axes.get_xaxis_transform(),
    )


def _scale(axes: Axes, losses: Losses) -> None:
    """Choose a logarithmic scale where it shows more, with round numbers on it."""
    known = losses[np.isfinite(losses)]
    low, high = float(known.min()), float(known.max())
    if low <= 0 or high / low < LOG_FROM:
        return
    axes.set_yscale("log")
    round_ticks(axes.yaxis, *axes.get_ylim())


def _alt(drawn: dict[Kind, Losses]) -> str:
    parts = [
        f"{kind.label.partition(',')[0]} from {np.nanmean(losses[:, 0]):.3g} "
        f"to {np.nanmean(losses[:, -1]):.3g}"
        for kind, losses in drawn.items()
    ]
    n_epochs = max(losses.shape[1] for losses in drawn.values())
    return f"Mean loss over {n_epochs} epochs: {'; '.join(parts)}."
