"""Figures and tables from an `Evaluation`."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.runner import Evaluation
from pipeline.scoring import Summary, in_words, label_scores

rcParams["text.parse_math"] = False  # a name with $ is no formula

# Okabe and Ito's colours, told apart by colour-blind readers; markers tell them apart in print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = "os^Dv<>"
MAY_BE_UNDEFINED = ("roc_auc", "average_precision")  # of a label, in a fold


def folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per fold: repeat, fold, sizes, every score, labels left out, seconds."""
    incomplete = [name for name, summary in evaluation.summary.items() if summary.n_left_out]
    return pd.DataFrame(
        [
            {
                "repeat": fold.split.repeat,
                "fold": fold.split.fold,
                "n_train": len(fold.split.train),
                "n_test": len(fold.split.test),
                **fold.scores,
                **{f"{name}_left_out": fold.left_out.get(name, 0) for name in incomplete},
                "seconds": round(fold.seconds, 4),
            }
            for fold in evaluation.folds
        ]
    )


def labels_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per label: its scores alone, mean and deviation over folds, as in summaries.

    A fold in which a score is undefined is left out; where that can happen, the column `*_folds`
    says how many remain.
    """
    y, config = evaluation.dataset.y, evaluation.config.scoring
    folds = [
        label_scores(config, y[fold.split.test], fold.y_score, fold.y_pred)
        for fold in evaluation.folds
    ]
    columns: dict[str, object] = {"label": evaluation.dataset.label_names}
    for name in folds[0]:
        values = np.ma.masked_invalid([fold[name] for fold in folds])
        columns[f"{name}_mean"] = values.mean(axis=0).filled(np.nan)
        columns[f"{name}_std"] = values.std(axis=0).filled(np.nan)
        if name in MAY_BE_UNDEFINED:
            columns[f"{name}_folds"] = values.count(axis=0)
    return pd.DataFrame(columns)


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per test row of each fold: repeat, fold, row, id, `true_*` and `score_*`."""
    splits = [fold.split for fold in evaluation.folds]
    sizes = [len(split.test) for split in splits]
    rows = np.concatenate([split.test for split in splits])
    scores = np.concatenate([fold.y_score for fold in evaluation.folds])
    labels, ids = evaluation.dataset.label_names, evaluation.dataset.ids
    y_true = evaluation.dataset.y[rows]
    return pd.DataFrame(
        {
            "repeat": np.repeat([split.repeat for split in splits], sizes),
            "fold": np.repeat([split.fold for split in splits], sizes),
            "row": rows,
            **({} if ids is None else {"id": ids[rows]}),
            **{f"true_{label}": y_true[:, i] for i, label in enumerate(labels)},
            **{f"score_{label}": scores[:, i] for i, label in enumerate(labels)},
        }
    )


def fold_scores_figure(evaluation: Evaluation) -> Figure:
    """Return the headline metric of each fold, repeats told apart, with mean and interval."""
    metric, summary = next(iter(evaluation.summary.items()))
    figure, axes = _figure(f"{in_words(metric)} of each fold, {evaluation.dataset.name}")
    _draw_summary(axes, summary)
    repeats = sorted({fold.split.repeat for fold in evaluation.folds})
    for repeat in repeats:
        folds = [fold for fold in evaluation.folds if fold.split.repeat == repeat]
        shift = 0.5 * ((repeat + 0.5) / len(repeats) - 0.5)
        axes.plot(
            [fold.split.fold + 1 + shift for fold in folds],
            [fold.scores[metric] for fold in folds],
            MARKERS[repeat % len(MARKERS)],
            color=COLOURS[repeat % len(COLOURS)],
            markersize=6,
            label=f"repeat {repeat + 1}",
        )
    axes.set(xlabel="fold", ylabel=in_words(metric))
    axes.set_xticks(sorted({fold.split.fold + 1 for fold in evaluation.folds}))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def training_curves_figure(evaluation: Evaluation) -> Figure:
    """Return the loss of training and held-out rows by epoch: mean and middle of folds."""
    figure, axes = _figure(f"Loss by epoch, mean of {len(evaluation.folds)} folds")
    epochs = np.arange(1, evaluation.config.training.epochs + 1)
    curves = {
        "training rows": np.stack([fold.loss for fold in evaluation.folds]),
        "held-out rows": np.stack([fold.test_loss for fold in evaluation.folds]),
    }
    for (name, losses), colour, line in zip(curves.items(), COLOURS, ("-", "--"), strict=False):
        low, high = np.quantile(losses, [0.16, 0.84], axis=0)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, losses.mean(axis=0), line, color=colour, linewidth=2, label=name)
    axes.set(xlabel="epoch", ylabel="binary cross-entropy (log scale)", yscale="log")
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(frameon=False, title="band: two thirds of the folds", alignment="left")
    return figure


def _draw_summary(axes: Axes, summary: Summary) -> None:
    label = f"mean {summary.mean:.3f}\ndeviation {summary.std:.3f}"
    axes.axhline(summary.mean, color="#444444", linewidth=1.2, label=label)
    if summary.ci:
        low, high = summary.ci
        interval = f"95% interval of the mean\n{low:.3f} to {high:.3f}"
        axes.axhspan(low, high, color="#999999", alpha=0.2, linewidth=0, label=interval)


def _figure(heading: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_title(heading, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes
