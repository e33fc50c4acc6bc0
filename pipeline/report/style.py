"""One style for all figures: colours, type, and sheets on which axes are placed in inches."""

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
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.lines import Line2D
from PIL import Image

from pipeline.errors import shorten

# Okabe and Ito's colours, told apart by colour-blind readers; markers and dashes tell in print.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
)
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = "os^Dv<>"
INK, FAINT, PALE, GRID = "#1F1F1F", "#666666", "#BBBBBB", "#E4E4E4"
WIDTH = 5.0  # inches: scaled to the width of a phone, letters can still be read
DPI = 200
UNIT = 100  # points, at which characters are measured
WIDEST = 1.3  # width of the box that stands for a character without a font, as a multiple of size
ALMOST_WHITE = 250  # of 255: what the palette makes of white
EDGE = 0.1  # inches that stay free all around
LINE = 1.32  # height of a line, as a multiple of its type
TITLE, BODY, SMALL = 10.5, 8.5, 7.5  # points
# Tried in turn where DejaVu Sans, which comes with Matplotlib, lacks a character.
FONTS = (
    "DejaVu Sans",
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans Devanagari"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "WenQuanYi Micro Hei"),
)
RC = {
    "text.parse_math": False,  # a name with $ is no formula
    "text.hinting": "no_hinting",  # a fifth of the time went into it
    "text.color": INK,
    "font.size": BODY,
    "axes.titlesize": BODY,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": BODY,
    "axes.labelcolor": INK,
    "axes.labelpad": 3,
    "axes.edgecolor": "#8A8A8A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": "#8A8A8A",
    "ytick.color": "#8A8A8A",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
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
def styled() -> Iterator[None]:
    """Draw in the house's style; characters that no font has become boxes, without a warning."""
    with rc_context({**RC, "font.family": _fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


@dataclass(frozen=True)
class ReportFigure:
    """One figure as a file.

    Attributes:
        name: The file's, without the ending.
        alt: What it shows, in words, for who cannot see it.
        png: The file.
        width: In pixels.
        height: In pixels.
    """

    name: str
    alt: str
    png: bytes
    width: int
    height: int


class Sheet:
    """A figure of the house's width: title and explanation, below them axes placed in inches."""

    def __init__(self, title: str, explanation: str, height: float) -> None:
        """Write the heading above a body that is `height` inches high."""
        lines = [(line, TITLE, "bold", INK) for line in wrap(title, TITLE, "bold")]
        lines += [(line, BODY, "normal", FAINT) for line in wrap(explanation, BODY)]
        heading = EDGE + sum(size * LINE / 72 for _, size, *_ in lines) + EDGE
        self.height = heading + height
        self._heading = heading
        self.figure = Figure(figsize=(WIDTH, self.height), dpi=DPI)
        self._canvas = FigureCanvasAgg(self.figure)
        below = EDGE
        for line, size, weight, colour in lines:
            self.text(EDGE, below - heading, line, size=size, weight=weight, color=colour)
            below += size * LINE / 72

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes of that size; `top` is counted down from below the heading."""
        bottom = self.height - self._heading - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        )

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Write a line whose upper left corner is there, in inches as in `axes`."""
        y = 1 - (self._heading + top) / self.height
        self.figure.text(left / WIDTH, y, text, **{"va": "top", **style})

    def fact(self, left: float, top: float, name: str, value: str) -> float:
        """Write a number below what it is, and return where the next one may begin."""
        self.text(left, top, name, size=SMALL, color=FAINT, linespacing=1.15)
        top += 0.14 * (1 + name.count("\n"))
        self.text(left, top, value, size=BODY + 0.5, weight="bold")
        return top + 0.24

    def sample(self, left: float, top: float, width: float, **style: Any) -> None:
        """Draw a piece of line beside the text that is written at the same height."""
        y = 1 - (self._heading + top + 0.06) / self.height
        x = (left / WIDTH, (left + width) / WIDTH)
        line = Line2D(x, (y, y), solid_capstyle="butt", **style)
        line.set_transform(self.figure.transFigure)
        self.figure.add_artist(line)

    def picture(self, name: str, alt: str) -> ReportFigure:
        """Draw it. A palette of 256 colours makes the file four times smaller."""
        self._canvas.draw()
        size = self._canvas.get_width_height()
        image = Image.frombuffer("RGBA", size, self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        file = io.BytesIO()
        small = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
        palette = np.array(small.getpalette()).reshape(-1, 3)
        palette[palette.min(axis=1) > ALMOST_WHITE] = 255
        small.putpalette(palette.astype(np.uint8).tobytes())
        small.save(file, "png", compress_level=6, dpi=(DPI, DPI))
        return ReportFigure(name, alt, file.getvalue(), *map(int, size))


def width_of(text: str, size: float, weight: Literal["normal", "bold"] = "normal") -> float:
    """Return how wide a line is at most, in inches: hinting may widen it by a hundredth."""
    return sum(_advance(character, weight) for character in text) * size * 1.015 / 72


def widest(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest of them, in inches."""
    return max((width_of(text, size) for text in texts), default=0.0)


def fit(text: str, width: float, size: float) -> str:
    """Return the text, or its beginning and end, so that it is at most that wide, in inches."""
    shown, length = text, len(text)
    while length > 1 and (actual := width_of(shown, size)) > width:
        length = min(length - 1, max(1, int(length * width / actual)))
        shown = shorten(text, length)
    return shown


def wrap(
    text: str, size: float, weight: Literal["normal", "bold"] = "normal", width: float = 0
) -> list[str]:
    """Return the text in lines that fit a sheet, or that width in inches."""
    room = width or WIDTH - 2 * EDGE
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(fit(word, room, size))
    return lines


def round_ticks(axis: Axis, low: float, high: float) -> None:
    """Put at least four round numbers, where there are as many, on a logarithmic axis."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = np.sort(np.outer(decades, steps).ravel())
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) >= 4:
            break
    axis.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axis.set_ticks([], minor=True)


@cache
def _fonts() -> list[str]:
    known = set(fontManager.get_font_names())
    return [font for font in FONTS if font in known]


@cache
def _advance(character: str, weight: str) -> float:
    """Return the width of a character in multiples of its size, a guess where DejaVu lacks it."""
    font = get_font(findfont(FontProperties(family=FONTS[0], weight=weight)))
    if not font.get_char_index(ord(character)):
        return WIDEST
    font.set_size(UNIT, 72)
    glyph = font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return float(glyph.linearHoriAdvance) / 65536 / UNIT
