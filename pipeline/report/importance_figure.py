"""Figure of the importance of features: a bar each overall, and a cell for each label."""

import numpy as np
from numpy.typing import NDArray

from pipeline.report.glyphs import to_drawable
from pipeline.report.style import (
    BLACK,
    GREY,
    MARGIN,
    SKY,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    max_text_width,
    shorten_to_width,
)
from pipeline.scoring import common_decimals, format_number, metric_title
from pipeline.scoring.feature_importance import FeatureImportance

MAX_FEATURES = 25  # the most important ones
MAX_LABELS = 20  # those that depend most on the features shown
MAX_NAME = 1.3  # inches of a feature's or a label's name
LINE, BARS, NUMBER = 0.19, 1.25, 0.45  # inches: height of a line, width of bars, of their numbers
MAX_CELL = 0.42  # inches: width of a cell
MIN_CELL_WITH_NUMBER = 0.36
DARK = 0.5  # relative to the darkest cell, whose number is white
Values = NDArray[np.float64]


def draw_importance(importance: FeatureImportance, name: str) -> ReportFigure:
    """Draw the mean decrease overall with its deviation over folds, and that of each label.

    Args:
        importance: The importance of all features.
        name: Name of the data set.
    """
    n = min(len(importance.features), MAX_FEATURES)
    mean, std = importance.mean[:n], importance.std[:n]
    labels = _most_dependent(mean[:, 1:])
    features = _fit(importance.features)[:n]
    label_names = [_fit(importance.targets[1:])[label] for label in labels]
    top = max_text_width(label_names, SMALL) + 0.12
    sheet = Sheet(
        f"Importance of features: {name}",
        _explanation(importance, mean[:, 1 + labels], len(labels)),
        top + n * LINE + 0.48,
    )
    left = MARGIN + max(max_text_width(features, SMALL), 0.4) + 0.07
    style: Style = {"ha": "right", "size": SMALL, "va": "center_baseline"}
    decimals = common_decimals(zip(mean[:, 0], std[:, 0], strict=True))
    for line, (feature, value) in enumerate(zip(features, mean[:, 0], strict=True)):
        middle = top + (line + 0.5) * LINE
        sheet.text(left - 0.07, middle, feature, **style)
        number = format_number(value, decimals)
        sheet.text(left + BARS + NUMBER - 0.05, middle, number, **style)
    bars = sheet.axes(left, top, BARS, n * LINE)
    rows = np.arange(n)
    bars.barh(rows, mean[:, 0], height=0.72, color=SKY, linewidth=0)
    if len(importance.folds) > 1:
        bars.hlines(rows, mean[:, 0] - std[:, 0], mean[:, 0] + std[:, 0], color=BLACK, linewidth=1)
    bars.axvline(0, color=GREY, linewidth=0.8)
    bars.set(ylim=(n - 0.5, -0.5), xlabel=f"decrease of {metric_title(importance.metrics[0])}")
    bars.set_yticks([])
    bars.locator_params(axis="x", nbins=3)
    start = left + BARS + NUMBER
    cell = min(MAX_CELL, (WIDTH - MARGIN - start) / len(labels))
    cells = sheet.axes(start, top, cell * len(labels), n * LINE)
    values = mean[:, 1 + labels]
    limit = _largest(values) or 1.0
    cells.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    cells.set_facecolor("#BBBBBB")  # of undefined values
    if cell >= MIN_CELL_WITH_NUMBER:
        for (row, column), decrease in np.ndenumerate(values):
            colour = "white" if abs(decrease) > DARK * limit else BLACK
            number = format_number(decrease, decimals) if np.isfinite(decrease) else ""
            centred: Style = {"ha": "center", "va": "center_baseline", "size": SMALL - 1}
            cells.text(column, row, number, color=colour, **centred)
    cells.spines[["top", "right"]].set_visible(True)
    cells.grid(False)
    cells.set_xticks([])
    cells.set_yticks([])
    for column, label_name in enumerate(label_names):
        above: Style = {"rotation": 90, "ha": "center", "va": "bottom", "size": SMALL}
        sheet.text(start + (column + 0.5) * cell, top - 0.05, label_name, **above)
    return sheet.to_figure("importance", _alt_text(importance))


def _fit(names: tuple[str, ...]) -> list[str]:
    return [shorten_to_width(name, MAX_NAME, SMALL) for name in to_drawable(names)]


def _most_dependent(by_label: Values) -> NDArray[np.int64]:
    """Return the labels with the largest decreases, in their own order."""
    largest = np.nan_to_num(np.abs(by_label)).max(axis=0)
    return np.sort(np.argsort(-largest, kind="stable")[:MAX_LABELS])


def _largest(values: Values) -> float:
    return float(np.nan_to_num(np.abs(values)).max())


def _explanation(importance: FeatureImportance, values: Values, n_labels: int) -> str:
    n_features, n_all = len(importance.features), len(importance.targets) - 1
    lines = " Lines: standard deviation over folds." if len(importance.folds) > 1 else ""
    shown = f" The {MAX_FEATURES} most important of {n_features}." * (n_features > MAX_FEATURES)
    of_labels = f"{n_labels} of {n_all} labels" if n_labels < n_all else "each label"
    return (
        "Scores fall when a column is permuted among held-out rows. Bars: overall."
        f"{lines} Blue: decrease of {metric_title(importance.metrics[1])} of {of_labels}, up to "
        f"{format_number(_largest(values))}; red: an increase, by chance.{shown}"
    )


def _alt_text(importance: FeatureImportance) -> str:
    pairs = zip(importance.features, importance.mean[:, 0], strict=True)
    first = ", ".join(f"{name} {format_number(value)}" for name, value in [*pairs][:5])
    metric = metric_title(importance.metrics[0])
    return f"Decrease of {metric} when a feature is permuted, the largest first: {first}."
