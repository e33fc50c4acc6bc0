"""Figure of the training, validation and held-out loss by epoch, averaged over folds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.fold_results import Evaluation
from pipeline.report.style import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    WIDTH,
    ReportFigure,
    Sheet,
    set_log_ticks,
)

Losses = NDArray[np.floating]
BAND_QUANTILES = (1 / 6, 5 / 6)  # between which two thirds of the folds lie
LEFT, HEIGHT = 0.6, 2.5  # inches
LEGEND_LINE = 0.165  # inches: height of a line of the legend above the axes
MIN_RATIO_OF_LOG_SCALE = 4  # largest to smallest loss


class LossKind(NamedTuple):
    """Field of `FoldResult` with one kind of loss, its name, and the style of its line."""

    field: str
    name: str
    purpose: str
    colour: str
    dashes: object


LOSS_CURVES = (
    LossKind("loss", "training rows", "", BLUE, "-"),
    LossKind("val_loss", "validation rows", " (for early stopping)", GREEN, (0, (1, 1))),
    LossKind("test_loss", "held-out rows", " (monitored only)", VERMILION, (0, (4, 1.5))),
)


def draw_loss_curves(evaluation: Evaluation) -> ReportFigure | None:
    """Draw the mean loss by epoch and a band of most folds; None if there are no losses."""
    losses_by_kind = {
        kind: losses
        for kind in LOSS_CURVES
        if np.isfinite(
            losses := pad_with_last([getattr(fold, kind.field) for fold in evaluation.folds])
        ).any()
    }
    if not losses_by_kind:
        return None
    n_epochs = sorted({max(map(len, (f.loss, f.test_loss))) for f in evaluation.folds})
    stops_early = len(n_epochs) > 1
    legend_height = LEGEND_LINE * len(losses_by_kind) + 0.06
    sheet = Sheet(
        f"Loss by epoch: {evaluation.dataset.name}",
        _explanation(len(evaluation.folds), stops_early),
        legend_height + HEIGHT + 0.48,
    )
    axes = sheet.axes(LEFT, legend_height, WIDTH - LEFT - 0.2, HEIGHT)
    for kind, losses in losses_by_kind.items():
        _draw_losses(axes, losses, kind)
    _set_scale(axes, np.concatenate([losses.ravel() for losses in losses_by_kind.values()]))
    if stops_early:
        _mark_last_epochs(axes, [len(fold.loss) for fold in evaluation.folds])
    last, padding = n_epochs[-1], n_epochs[-1] == 1
    axes.set(xlabel="epoch", ylabel="loss", xlim=(1 - padding, last + padding))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), labelspacing=0.25)
    return sheet.to_figure("training_curves", _alt_text(losses_by_kind))


def pad_with_last(curves: Sequence[Losses]) -> Losses:
    """Stack loss curves; a fold that stops early keeps its last loss in later epochs.

    A mean over the remaining folds alone would be biased: those are the ones still improving.

    Returns:
        Array of shape (n_folds, n_epochs of the longest curve); NaN for a fold without losses.
    """
    table = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        if len(curve):
            row[: len(curve)] = curve
            row[len(curve) :] = curve[-1]
    return table


def _explanation(n_folds: int, stops_early: bool) -> str:
    if n_folds == 1:
        return "One fold."
    lines = f"Lines: mean of {n_folds} folds. Bands: the middle two thirds of the folds."
    if not stops_early:
        return lines
    return f"{lines} Triangles: last epochs of folds, whose last losses count in later epochs."


def _draw_losses(axes: Axes, losses: Losses, kind: LossKind) -> None:
    finite = losses[np.isfinite(losses).all(axis=1)]
    if not len(finite):
        return
    epochs = np.arange(1, finite.shape[1] + 1)
    low, high = np.quantile(finite, BAND_QUANTILES, axis=0)
    mean = finite.mean(axis=0)
    if len(finite) > 1:
        axes.fill_between(epochs, low, high, color=kind.colour, alpha=0.17, linewidth=0)
    axes.plot(
        epochs,
        mean,
        linestyle=kind.dashes,
        color=kind.colour,
        marker="o" if len(epochs) == 1 else None,
        label=f"{kind.name}{kind.purpose}: {mean[-1]:.3g} at the end",
    )


def _mark_last_epochs(axes: Axes, lengths: Sequence[int]) -> None:
    """Draw a triangle on the lower edge at the last epoch of each fold."""
    axes.plot(
        lengths,
        np.zeros(len(lengths)),
        "^",
        color=GREY,
        alpha=0.6,
        markersize=6,
        markeredgewidth=0,
        clip_on=False,
        transform=axes.get_xaxis_transform(),
    )


def _set_scale(axes: Axes, losses: Losses) -> None:
    """Use a logarithmic scale, with ticks at round numbers, if the losses span a wide range."""
    finite = losses[np.isfinite(losses)]
    low, high = float(finite.min()), float(finite.max())
    if low <= 0 or high / low < MIN_RATIO_OF_LOG_SCALE:
        return
    axes.set_yscale("log")
    set_log_ticks(axes.yaxis, *axes.get_ylim())


def _alt_text(losses_by_kind: dict[LossKind, Losses]) -> str:
    means = [
        f"{kind.name} from {np.nanmean(losses[:, 0]):.3g} to {np.nanmean(losses[:, -1]):.3g}"
        for kind, losses in losses_by_kind.items()
    ]
    n_epochs = max(losses.shape[1] for losses in losses_by_kind.values())
    return f"Mean loss over {n_epochs} epochs: {'; '.join(means)}."
