"""Split lines of ARFF text into tokens by the rules of WEKA.

References:
    `initTokenizer` and `getInstanceWeight` in `weka.core.converters.ArffLoader`: characters up to
    the blank and commas separate values, % starts a comment wherever it is outside of quotes, both
    quotes quote, with the escapes of a backslash, and braces stand alone.
    https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BLANKS = "".join(map(chr, range(33)))  # a no-break space is none
QUOTED = r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+\""""
_TOKEN = re.compile(rf"""({QUOTED})|([{{}}])|(,)|[^\x00-\x20,%'"{{}}]++""", re.S)
_GAP = re.compile(r"[\x00-\x20]*+")
_SEPARATORS = re.compile(r"[\x00-\x20,]++")
_NAME = re.compile(rf"[\x00-\x20]*+({QUOTED}|[^\x00-\x20{{%]++)", re.S)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_MARKS = "'\"{}%"

Value = str | None  # None where it is missing: ? without quotes


class TokenError(ValueError):
    """An invalid token; its message is the text from it on."""


@dataclass(frozen=True)
class Row:
    """The values of a line, in the two ways that it can be read.

    Attributes:
        values: Values between commas and blanks, as WEKA reads them.
        by_commas: Values between commas alone: blanks belong to a value, and nothing between two
            commas is a missing value. None if quotes or braces forbid that.
        weight: Text of the instance weight, or None.
        is_sparse: Whether the values stand between braces.
    """

    values: list[Value]
    by_commas: list[Value] | None
    weight: str | None = None
    is_sparse: bool = False


def strip_name(text: str) -> tuple[str, str]:
    """Return the name that a text starts with, without quotes, and the text behind it."""
    match = _NAME.match(text)
    return (unquote(match[1]), text[match.end() :]) if match else ("", text)


def unquote(text: str) -> str:
    """Remove the quotes and escapes of a name or value."""
    if len(text) < 2 or text[0] not in "'\"":
        return text
    return _ESCAPE.sub(_unescape, text[1:-1])


def split_row(line: str) -> Row:
    """Split a line of the data; the values of a sparse row are index, value, index, value ...

    Raises:
        TokenError: If a quote or a brace is not closed, or a weight is none.
    """
    if not any(mark in line for mark in _MARKS):
        texts = _split_values(line)
        by_commas = [_value(it.strip(BLANKS)) for it in line.split(",")] if "," in line else None
        return Row([None if word == "?" else word for word in texts], by_commas)
    if line[0] == "{" and line[-1] == "}" and not any(mark in line[1:-1] for mark in _MARKS):
        texts = _split_values(line[1:-1])
        return Row([None if word == "?" else word for word in texts], None, is_sparse=True)
    tokens = list(_tokens(line))
    if not tokens:
        return Row([], None)
    is_sparse = tokens[0][0] == "{"
    body, weight = _split_weight(line, tokens, is_sparse)
    inner = body[1:-1] if is_sparse else body
    for text, start, _ in inner:
        if text in ("{", "}"):
            raise TokenError(line[start:])
    values = [_value(text) for text, _, _ in inner if text != ","]
    return Row(values, None if is_sparse else _by_commas(line, inner), weight, is_sparse)


def split_categories(text: str) -> Row:
    """Split the categories of a nominal attribute, from the opening brace on.

    Raises:
        TokenError: If a quote or a brace is not closed.
    """
    inner: list[tuple[str, int, int]] = []
    for token in _tokens(text):
        if token[0] == "}":
            break
        inner.append(token)
    else:
        raise TokenError(text)
    for it, start, _ in inner[1:]:
        if it == "{":
            raise TokenError(text[start:])
    values: list[Value] = [unquote(it) for it, _, _ in inner[1:] if it != ","]  # ? is one, too
    return Row(values, _by_commas(text, inner[1:]))


def _split_values(text: str) -> list[str]:
    """Return the words between blanks and commas of a text without quotes."""
    if text.isascii():
        return text.replace(",", " ").split()
    return [word for word in _SEPARATORS.split(text) if word]


def _value(text: str) -> Value:
    return None if text in ("?", "") else unquote(text)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield words, quoted texts, braces and commas up to a comment, with their start and end."""
    gap = _GAP.match(text)
    end = gap.end() if gap else 0
    while end < len(text) and text[end] != "%":
        match = _TOKEN.match(text, end)
        if not match:
            raise TokenError(text[end:])
        yield match[0], match.start(), match.end()
        gap = _GAP.match(text, match.end())
        end = gap.end() if gap else match.end()


def _split_weight(
    line: str, tokens: list[tuple[str, int, int]], is_sparse: bool
) -> tuple[list[tuple[str, int, int]], str | None]:
    """Return the tokens of the values and the text of an instance weight such as {2} behind them.

    The commas before and behind the weight are separators, as in WEKA.
    """
    texts = [text for text, _, _ in tokens]
    if is_sparse:
        if "}" not in texts:
            raise TokenError(line)
        end = texts.index("}") + 1
    else:
        end = texts.index("{") if "{" in texts else len(texts)
    rest = [text for text in texts[end:] if text != ","]
    if not rest:
        return tokens[:end], None
    if len(rest) != 3 or (rest[0], rest[2]) != ("{", "}"):
        raise TokenError(line[tokens[end][1] :])
    while not is_sparse and end and texts[end - 1] == ",":
        end -= 1
    return tokens[:end], unquote(rest[1])


def _by_commas(line: str, tokens: list[tuple[str, int, int]]) -> list[Value] | None:
    """Return the values between commas; None if a quoted one has a neighbour, or there is none."""
    values: list[Value] = []
    start = stop = n = 0
    for text, begin, end in [*tokens, (",", 0, 0)]:
        if text == ",":
            values.append(_value(line[start:stop]) if n else None)
            n = 0
            continue
        if n and (text[0] in "'\"" or line[start] in "'\""):
            return None
        start, stop, n = (start if n else begin), end, n + 1
    return values if len(values) > 1 else None
