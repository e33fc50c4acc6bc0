"""Style of all figures: colours, fonts, and sheets with axes positioned in inches."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.lines import Line2D
from PIL import Image

from pipeline.errors import shorten
from pipeline.report.glyphs import FONTS, font_families, replace_undrawable, to_drawable

# Palette of Okabe and Ito, for colour-blind readers; markers and dashes differ as well, for print.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = "os^Dv<>"
Style = dict[str, Any]  # keyword arguments of a Matplotlib artist
BLACK, GREY, LIGHT_GREY, GRID_GREY = "#1F1F1F", "#666666", "#BBBBBB", "#E4E4E4"
WIDTH = 5.0  # inches; text stays readable when scaled to the width of a phone
DPI = 200
MEASURING_SIZE = 100  # points, at which characters are measured
MISSING_GLYPH_WIDTH = 1.3  # of the box drawn for a character in no font, relative to its size
ALMOST_WHITE = 250  # of 255: reducing the colours can turn white into this
MARGIN = 0.1  # inches around all
LINE_HEIGHT = 1.32  # relative to the font size
TITLE, BODY, SMALL = 10.5, 8.5, 7.5  # points
RC = {
    "text.parse_math": False,  # names may contain $
    "text.hinting": "no_hinting",  # saves a fifth of the drawing time
    "text.color": BLACK,
    "font.size": BODY,
    "axes.titlesize": BODY,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": BODY,
    "axes.labelcolor": BLACK,
    "axes.labelpad": 3,
    "axes.edgecolor": "#8A8A8A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID_GREY,
    "grid.linewidth": 0.7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": "#8A8A8A",
    "ytick.color": "#8A8A8A",
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": BODY,
    "legend.title_fontsize": BODY,
    "legend.borderaxespad": 0,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
}


@contextmanager
def report_style(names: Sequence[str] = ()) -> Iterator[None]:
    """Draw in the common style, with fonts for these names where the system has them."""
    to_drawable(names)
    with rc_context({**RC, "font.family": font_families()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def to_png(figure: Figure) -> bytes:
    """Render a figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@dataclass(frozen=True)
class ReportFigure:
    """A figure as a PNG file.

    Attributes:
        name: File name without its suffix.
        alt: Alternative text for readers who cannot see the figure.
        png: Content of the file.
        width: Width in pixels.
        height: Height in pixels.
    """

    name: str
    alt: str
    png: bytes
    width: int
    height: int


class Sheet:
    """A figure of fixed width: title and explanation, and below them axes positioned in inches."""

    def __init__(self, title: str, explanation: str, height: float) -> None:
        """Write title and explanation above a body that is `height` inches high."""
        title = replace_undrawable(title)
        lines = [(line, TITLE, "bold", BLACK) for line in wrap_text(title, TITLE, "bold")]
        lines += [(line, BODY, "normal", GREY) for line in wrap_text(explanation, BODY)]
        heading = MARGIN + sum(size * LINE_HEIGHT / 72 for _, size, *_ in lines) + MARGIN
        self.height = heading + height
        self._heading = heading
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI)
        self._canvas = FigureCanvasAgg(self.figure)
        top = MARGIN
        for line, size, weight, colour in lines:
            self.text(MARGIN, top - heading, line, size=size, weight=weight, color=colour)
            top += size * LINE_HEIGHT / 72

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes; `top` is measured downwards from the end of the explanation."""
        bottom = self.height - self._heading - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        )

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Write text with its upper left corner at this position, in inches as in `axes`."""
        y = 1 - (self._heading + top) / self.height
        self.figure.text(left / WIDTH, y, text, **{"va": "top", **style})

    def statistic(self, left: float, top: float, name: str, value: str) -> float:
        """Write a name with its value below it, and return the top of the next statistic."""
        self.text(left, top, name, size=SMALL, color=GREY, linespacing=1.15)
        top += 0.14 * (1 + name.count("\n"))
        self.text(left, top, value, size=BODY + 0.5, weight="bold")
        return top + 0.24

    def line_sample(self, left: float, top: float, width: float, **style: Any) -> None:
        """Draw a short line, as in a legend, level with text written at the same `top`."""
        y = 1 - (self._heading + top + 0.06) / self.height
        x = (left / WIDTH, (left + width) / WIDTH)
        line = Line2D(x, (y, y), solid_capstyle="butt", **style)
        line.set_transform(self.figure.transFigure)
        self.figure.add_artist(line)

    def to_figure(self, name: str, alt: str) -> ReportFigure:
        """Render the sheet as a PNG of 256 colours, which is four times smaller than a full one."""
        self._canvas.draw()
        size = self._canvas.get_width_height()
        image = Image.frombuffer("RGBA", size, self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        file = io.BytesIO()
        reduced = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
        palette = np.array(reduced.getpalette()).reshape(-1, 3)
        palette[palette.min(axis=1) > ALMOST_WHITE] = 255
        reduced.putpalette(palette.astype(np.uint8).tobytes())
        reduced.save(file, "png", compress_level=6, dpi=(DPI, DPI))
        return ReportFigure(name, alt, file.getvalue(), *map(int, size))


def text_width(text: str, size: float, weight: Literal["normal", "bold"] = "normal") -> float:
    """Return the width of a line in inches, with 1.5% added for rounding."""
    return sum(_advance(character, weight) for character in text) * size * 1.015 / 72


def max_text_width(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest text in inches."""
    return max((text_width(text, size) for text in texts), default=0.0)


def shorten_to_width(text: str, width: float, size: float) -> str:
    """Return the text, or its beginning and its end, at most `width` inches wide."""
    shown, length = text, len(text)
    while length > 1 and (actual := text_width(shown, size)) > width:
        length = min(length - 1, max(1, int(length * width / actual)))
        shown = shorten(text, length)
    return shown


def wrap_text(
    text: str, size: float, weight: Literal["normal", "bold"] = "normal", width: float = 0
) -> list[str]:
    """Split the text into lines that fit a sheet, or `width` inches."""
    available = width or WIDTH - 2 * MARGIN
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= available:
            lines[-1] = longer
        else:
            lines.append(shorten_to_width(word, available, size))
    return lines


def set_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Set at least four ticks at round numbers, if there are that many, on a logarithmic axis."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = np.sort(np.outer(decades, steps).ravel())
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) >= 4:
            break
    axis.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axis.set_ticks([], minor=True)


@cache
def _advance(character: str, weight: str) -> float:
    """Return the width of a character relative to its size; a guess if DejaVu Sans lacks it."""
    font = get_font(findfont(FontProperties(family=FONTS[0], weight=weight)))
    if not font.get_char_index(ord(character)):
        return MISSING_GLYPH_WIDTH
    font.set_size(MEASURING_SIZE, 72)
    glyph = font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return float(glyph.linearHoriAdvance) / 65536 / MEASURING_SIZE
