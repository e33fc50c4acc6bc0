"""Parse lists, tuples, sets and mappings as JSON, Python and NumPy write them."""

import re
from typing import Any

MAX_DEPTH = 8  # of brackets within brackets
MISSING = {"none", "nan", "null", "na", "n/a", "<na>", "-", "--", "\N{EN DASH}", "\N{EM DASH}"}
CLOSING = {"[": "]", "(": ")", "{": "}"}
_WORD = r"[^\s\[\](){},:'\"][^\s\[\](){},:\"]*"
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[\[\](){},:])"
    r"|[uUbB]?(?P<text>'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\")"
    rf"|(?P<bare>{_WORD}(?:\s+{_WORD})*+))\s*",
    re.S,
)
_WRAPPER = re.compile(
    r"(?:(?:np|numpy|collections)\.)?(?:set|frozenset|list|tuple|array|dict|dict_keys|dict_values|"
    r"Counter|OrderedDict|Index|Series|defaultdict)\((?:<class '\w+'>,\s*)?(?=[\[({)])"
)
_OPTIONS = re.compile(r"(?:,\s*\w+=[^()\[\]{}]{0,40})+$")  # such as dtype=object
_SCALAR = re.compile(r"\b(?:np|numpy)\.\w+\(('[^']*'|\"[^\"]*\"|[^()'\"]*)\)")
_QUOTES = ("\u201c\u201d", "\u2018\u2019", "«»", "``", "\u201e\u201c", '""', "''")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.S)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}


class Bare(str):
    """A number or a word without quotes."""


class NotationError(ValueError):
    """A cell is not written in the notation of a list."""


def unwrap(cell: str) -> str:
    """Return a list without the name of a type around it, such as set(...) or np.str_(...)."""
    match = _WRAPPER.match(cell)
    if match and cell.endswith(")"):
        cell = _OPTIONS.sub("", cell[match.end() : -1].strip()) or "[]"
    return _SCALAR.sub(r"\1", cell) if "np." in cell or "numpy." in cell else cell


def parse_notation(text: str) -> Any:
    """Parse a list, tuple, set or mapping of JSON or Python; nothing is executed.

    Elements are texts in either quotes, bare words and numbers, which stay texts, and further
    brackets up to a limited depth. Elements without a comma between them are those of a printed
    NumPy array. Lists, tuples and sets become lists.

    Raises:
        NotationError: If the text is none of them.
    """
    stack: list[tuple[str, list[Any], list[Any]]] = []  # bracket, elements, keys of a mapping
    position, done = 0, None
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or done is not None:
            raise NotationError(f"It cannot be read from {text[position : position + 20]!r} on")
        position, mark = match.end(), match["mark"]
        if mark in CLOSING:
            if len(stack) == MAX_DEPTH:
                raise NotationError(f"It has more than {MAX_DEPTH} brackets within each other")
            stack.append((mark, [], []))
        elif not stack:
            raise NotationError("It has no bracket around it")
        elif mark in (",", ":"):
            bracket, elements, keys = stack[-1]
            if mark == ":":
                if bracket != "{" or len(elements) != len(keys) + 1:
                    raise NotationError("It has a colon that is not behind a key")
                keys.append(elements[-1])
        elif mark is not None:
            bracket, elements, keys = stack.pop()
            if mark != CLOSING[bracket]:
                raise NotationError(f"It has {mark!r} where {CLOSING[bracket]!r} is missing")
            value = _close(elements, keys)
            if stack:
                _append(stack[-1], value)
            else:
                done = value
        else:
            quoted, bare = match["text"], match["bare"]
            if quoted is not None:
                _append(stack[-1], _unescape(quoted))
            else:  # a printed array of numbers has blanks between them
                numbers = bare.split() if bare.replace(" ", "").isdigit() else [bare]
                for number in numbers:
                    _append(stack[-1], _to_bare(number))
    if done is None:
        raise NotationError("Its last bracket is missing")
    return done


def without_quotes(lists: list[list[str]]) -> list[list[str]]:
    """Return lists of labels without the quotes that are around each label."""
    labels = [label for cell in lists for label in cell]
    for marks in _QUOTES:
        if labels and all(it[0] + it[-1] == marks and len(it) > 2 for it in labels):
            return [[label[1:-1].strip() for label in cell] for cell in lists]
    return lists


def read_indicators(name: str, lists: list[list[str]]) -> tuple[list[list[str]], str] | None:
    """Return the labels of lists that have 0 or 1 for each label, such as [0, 1, 1]; else None."""
    cells = [
        list(cell[0]) if len(cell) == 1 and len(cell[0]) > 2 else cell for cell in lists if cell
    ]
    sizes = {len(cell) for cell in cells}
    values = {value for cell in cells for value in cell}
    if len(sizes) != 1 or min(sizes) < 2 or not values <= {"0", "1", "0.0", "1.0", "0.", "1."}:
        return None
    size = min(sizes)
    names = [f"{name}_{j:0{len(str(size - 1))}d}" for j in range(size)]
    rows = iter(cells)
    y = [next(rows) if cell else [] for cell in lists]
    labels = [[label for label, it in zip(names, row, strict=False) if it[0] == "1"] for row in y]
    return labels, f"as 0 or 1 for each of {size} labels, {names[0]!r} to {names[-1]!r}"


def is_mangled(label: str) -> bool:
    """Return whether a label has the brackets or quotes of a list that was cut into pieces."""
    if (label[0] in "'\"" and label[-1] == label[0]) or label[:2] in ("('", '("'):
        return True
    return any(
        (label[0] == opening and label[-1] == closing and opening != "(")
        or (
            (label[0] == opening or label[-1] == closing)
            and label.count(opening) != label.count(closing)
        )
        for opening, closing in ("[]", "{}", "()", "<>")
    )


def _append(level: tuple[str, list[Any], list[Any]], value: Any) -> None:
    """Add an element or, behind a key, its value in the place of the key."""
    _, elements, keys = level
    if keys and len(elements) == len(keys) and not isinstance(elements[-1], _Value):
        elements[-1] = _Value(value)
    else:
        elements.append(value)


class _Value:
    """The value of a key."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _close(elements: list[Any], keys: list[Any]) -> Any:
    if not keys:
        return elements
    if len(keys) != len(elements) or not all(isinstance(it, _Value) for it in elements):
        raise NotationError("It has a key without a value")
    return {str(key): it.value for key, it in zip(keys, elements, strict=True)}


def _to_bare(text: str) -> Bare | None:
    if "..." in text.split():
        raise NotationError("It is shortened by '...'")
    return None if text.lower() in MISSING else Bare(text)


def _unescape(quoted: str) -> str:
    """Return the text of a literal in quotes, with the escapes of JSON and Python."""

    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) > 1:
            code = int(escape[1:], 16)
            return chr(code) if code < 0x110000 else match[0]
        return _CONTROLS.get(escape, escape)

    text = _ESCAPE.sub(replace, quoted[1:-1]) if "\\" in quoted else quoted[1:-1]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
