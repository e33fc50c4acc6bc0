"""Names that figures can show: fonts for their characters, and numbers where there is no font."""

from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import fontManager, get_font

# Of Matplotlib: boxes for every character, and mathematical signs under the codes of others.
NO_TEXT_FONTS = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")
# The first one comes with Matplotlib; the others are tried first for what it lacks.
FONTS = (
    "DejaVu Sans",
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans Devanagari"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "WenQuanYi Micro Hei"),
)
_fallbacks: list[str] = []  # fonts of the system beside FONTS that a name needed


def font_families() -> list[str]:
    """Return the fonts to draw with, in order: each lends the characters that others lack."""
    return [*(name for name in FONTS if name in _paths()), *_fallbacks]


def to_drawable(names: Sequence[str]) -> list[str]:
    """Return the names on one line each; one that no font can show becomes `#n`, its position.

    A font of the system that has the characters of a name is added to the fonts of later figures.
    """
    lines = [" ".join(name.split()) for name in names]
    return [line if _is_drawable(line) else f"#{i + 1}" for i, line in enumerate(lines)]


def describe_numbers(names: Sequence[str]) -> str:
    """Return which names the numbers of `to_drawable` stand for; empty if there are none."""
    drawable = to_drawable(names)
    pairs = [
        f"{shown}: {name}" for shown, name in zip(drawable, names, strict=True)
        if not _is_drawable(" ".join(name.split()))
    ]  # fmt: skip
    return ", ".join(pairs)


def replace_undrawable(text: str) -> str:
    """Return a text with a question mark for each character that no font has."""
    return "".join(c if c.isspace() or _is_drawable(c) else "?" for c in text)


def _is_drawable(text: str) -> bool:
    return all(_has_font(character) for character in set(text) - {" "})


@cache
def _has_font(character: str) -> bool:
    """Return whether a font has a character, after its font is added to the fallbacks."""
    code = ord(character)
    families = font_families()
    for name, path in _paths().items():
        if name in families and get_font(path).get_char_index(code):
            return True
    for name, path in _paths().items():
        if get_font(path).get_char_index(code):
            _fallbacks.append(name)
            return True
    return False


@cache
def _paths() -> dict[str, str]:
    """Return the file of each font, upright and of normal weight where there is a choice."""
    paths: dict[str, str] = {}
    by_style = sorted(fontManager.ttflist, key=lambda it: (it.style != "normal", it.weight != 400))
    for font in by_style:
        if not font.name.startswith(NO_TEXT_FONTS):
            paths.setdefault(font.name, font.fname)
    return paths
