"""Widths of texts in figures, and fonts."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont

from pipeline.report.style import (
    FONTS,
    WIDTH,
    report_style,
    shorten_to_width,
    text_width,
    wrap_text,
)
from tests.random_evaluation import UNUSUAL_NAMES


def test_lines_fit_the_sheet():
    text = "Precision against recall of each label: a data set with quite a long name, Wörter & $5"
    with report_style():
        figure = Figure((1, 1), dpi=720)
        renderer = FigureCanvasAgg(figure).get_renderer()
        width = figure.text(0, 0, text, size=10).get_window_extent(renderer).width / 720
    assert text_width(text, 10) == pytest.approx(width, rel=0.03)
    assert all(text_width(line, 10) <= WIDTH - 0.2 for line in wrap_text(text, 10))
    assert " ".join(wrap_text(text, 10)) == text
    for name in UNUSUAL_NAMES:
        short = shorten_to_width(name, 0.8, 7.5)
        assert text_width(short, 7.5) <= 0.8
        assert (short[0], short[-1]) == (name[0], name[-1])
    assert shorten_to_width("y0", 0.8, 7.5) == "y0"


def test_the_first_font_is_always_installed():
    assert findfont(FONTS[0], fallback_to_default=False)
