"""Figure of the rates of labels over time."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from pipeline.dataset import LabelRates
from pipeline.report.glyphs import to_drawable
from pipeline.report.style import (
    COLOURS,
    MARGIN,
    MARKERS,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    report_style,
    shorten_to_width,
)

MAX_LABELS = len(COLOURS)
MAX_TICKS = 5
HEIGHT, LEFT, LEGEND = 2.0, 0.55, 1.3  # inches


def label_rates_png(name: str, rates: LabelRates, label_names: Sequence[str]) -> bytes:
    """Render `draw_label_rates` as a PNG file."""
    with report_style(label_names):
        return draw_label_rates(name, rates, to_drawable(label_names)).png


def draw_label_rates(
    name: str,
    rates: LabelRates,
    label_names: Sequence[str],
    colour_of: Mapping[int, str] = MappingProxyType({}),
) -> ReportFigure:
    """Draw the rates of the labels that vary most over time as lines.

    Args:
        name: Name of the data set.
        rates: The rates.
        label_names: Names of the labels, in drawable characters.
        colour_of: Colours of labels in other figures of a report, by their index.
    """
    labels = rates.by_change[:MAX_LABELS].tolist()
    free = [it for it in COLOURS if it not in {colour_of.get(label) for label in labels}]
    colours = [colour_of.get(label) or free.pop(0) for label in labels]
    which = f"the {len(labels)} labels of {len(label_names)} that vary most"
    sheet = Sheet(
        f"Label rates over time: {name}",
        "Fraction of the rows with each label"
        + (f", {which}." if len(labels) < len(label_names) else "."),
        HEIGHT + 0.45,
    )
    axes = sheet.axes(LEFT, 0, WIDTH - LEFT - LEGEND - MARGIN, HEIGHT)
    x = np.arange(len(rates.periods))
    left = WIDTH - LEGEND
    for line, label in enumerate(labels):
        style: Style = {"color": colours[line], "marker": MARKERS[line], "linewidth": 1.4}
        axes.plot(x, rates.rates[:, label], markersize=3.5, **style)
        top = 0.05 + 0.22 * line
        sheet.line_sample(left, top, 0.18, color=colours[line], linewidth=1.8)
        text = shorten_to_width(label_names[label], LEGEND - 0.34, SMALL)
        sheet.text(left + 0.24, top, text, size=SMALL)
    step = -(-len(x) // MAX_TICKS)
    axes.set_xticks(x[::step], [_wrap(period) for period in rates.periods[::step]])
    axes.set(ylim=(0, None), ylabel="fraction of rows")
    axes.grid(False, axis="x")
    return sheet.to_figure("label_rates", _alt_text(rates, label_names))


def _wrap(period: str) -> str:
    return period.replace("week of ", "").replace("from ", "").replace(" ", "\n")


def _alt_text(rates: LabelRates, label_names: Sequence[str]) -> str:
    label = rates.by_change[0]
    first, last = rates.rates[[0, -1], label]
    return (
        f"Rates of labels in {len(rates.periods)} periods from {rates.periods[0]} to "
        f"{rates.periods[-1]}. {label_names[label]} varies most: from {first:.1%} to {last:.1%}."
    )
