"""Read cells that list labels: between separators, in tags, or in the notation of a language."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pipeline.dataset.label_notation import CLOSING, MISSING, NotationError, parse_notation
from pipeline.dataset.label_values import INVALID, LabelValues
from pipeline.errors import UserError

_MARKS = ("|", ";", ",", "/", " ")
_WRAPPER = re.compile(r"(?:set|frozenset|list|tuple|array|dict_keys)\((?=[\[({)])")
_ARRAY_TYPE = re.compile(r",\s*dtype=[^()\[\]{}]{0,40}$")
_TAGS = re.compile(r"(?:\s*<[^<>]+>\s*)+")


def read_label_lists(
    source: str,
    name: str,
    texts: Sequence[str],
    rows: Sequence[int],
    separator: str | None,
    label_values: LabelValues,
) -> tuple[list[list[str]], str]:
    """Return the labels of each cell, and how the cells were read.

    Args:
        source: Origin of the column, for messages.
        name: Name of the column.
        texts: Distinct cells.
        rows: First row of each, for messages.
        separator: Text between labels, `json` for lists in brackets, `<>` for tags, or None to
            recognise the notation from all cells.
        label_values: Values that mean yes and no, for mappings from labels to values.

    Raises:
        UserError: If a cell does not follow the notation of the others, or several readings are
            possible; the message says what to type.
    """
    cells = [text.strip() for text in texts]
    present = [cell for cell in cells if cell]
    column = _Column(source, name, cells, rows)
    n_brackets = sum(map(_is_bracketed, present))
    n_values = sum(cell.lower() not in MISSING for cell in present)
    if separator == "json" or (separator is None and 2 * n_brackets > n_values):
        return _read_notation(column, label_values)
    if separator is None and present:
        if all(map(_TAGS.fullmatch, present)):
            separator = "<>"
        elif all(cell[0] in "'\"" and cell[-1] == cell[0] for cell in present):
            return _read_notation(column, label_values, is_quoted=True)
        else:
            separator = _find_separator(column, present)
    if separator == "<>":
        for i, cell in enumerate(cells):
            if cell and not _TAGS.fullmatch(cell):
                column.raise_for(i, "labels in tags, such as <a><b>")
        return [re.findall(r"<([^<>]+)>", cell) for cell in cells], "as <a><b>"
    lists = [split(cell, separator or "|") for cell in cells]
    for i, labels in enumerate(lists):
        if any(map(_is_mangled, labels)):
            column.raise_for(
                i,
                f"labels separated by {separator or '|'!r}, without brackets and quotes around "
                "them",
                "If every row is a list in brackets, give dataset.label_separator=json.",
            )
    if separator is None:
        return lists, "as one label in each row"
    return lists, f"as labels separated by {'blanks' if separator == ' ' else repr(separator)}"


def split(cell: str, separator: str) -> list[str]:
    """Return the labels between separators."""
    parts = cell.split(None if separator == " " else separator)
    return [label.strip() for label in parts if label.strip()]


class _Column:
    """The cells of a column, for messages."""

    def __init__(self, source: str, name: str, cells: Sequence[str], rows: Sequence[int]) -> None:
        self.where, self.name, self.cells, self.rows = source, name, cells, rows

    def raise_for(self, index: int, expected: str, hint: str = "Correct it.") -> NoReturn:
        raise UserError(
            f"{self.where}: expected {expected}. Received: {self.cells[index][:60]!r} in column "
            f"{self.name!r}, row {self.rows[index]} (the first is 0). {hint}"
        )


def _find_separator(column: _Column, present: Sequence[str]) -> str | None:
    """Return the separator of labels, None if each cell is one label.

    Raises:
        UserError: If several readings are possible.
    """
    if any("|" in cell for cell in present):
        return "|"
    distinct = set(present)
    labels = {
        mark: {label for cell in distinct for label in split(cell, mark)}
        for mark in _MARKS
        if any(mark in cell for cell in distinct)
    }
    marks = [mark for mark in labels if mark in ";,"]
    if len(marks) == 1 and _recur(distinct, marks[0]):
        return marks[0]
    if not marks:
        marks = [mark for mark in labels if len(labels[mark]) < len(distinct)]
    if not marks:
        return None
    readings = " or ".join(
        f"\"dataset.label_separator='{mark}'\" ({len(labels[mark])} labels)" for mark in marks
    )
    index = next(i for i, cell in enumerate(column.cells) if any(mark in cell for mark in marks))
    column.raise_for(
        index,
        "one way to separate labels",
        f"Give {readings}, or \"dataset.label_separator='|'\" if each cell is one label "
        f"({len(distinct)} labels).",
    )


def _recur(cells: set[str], mark: str) -> bool:
    """Return whether a label is in two cells, as it is in lists but not in names with a comma."""
    labels = [label for cell in cells for label in {*split(cell, mark)}]
    return len(set(labels)) < len(labels)


def _is_bracketed(cell: str) -> bool:
    body = _unwrap(cell)
    return body[0] in CLOSING and body[-1] == CLOSING[body[0]]


def _unwrap(cell: str) -> str:
    """Return a list without the name of a type around it, such as set(...)."""
    match = _WRAPPER.match(cell)
    if match and cell.endswith(")"):
        cell = _ARRAY_TYPE.sub("", cell[match.end() : -1].strip()) or "[]"
    return cell


def _is_mangled(label: str) -> bool:
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


def _read_notation(
    column: _Column,
    label_values: LabelValues,
    *,
    is_quoted: bool = False,
) -> tuple[list[list[str]], str]:
    expected = (
        "labels in quotes, separated by commas"
        if is_quoted
        else "a JSON list of labels, or a Python list, set or mapping"
    )
    values: list[Any] = []
    for i, cell in enumerate(column.cells):
        if cell.lower() in MISSING:
            cell = ""
        try:
            values.append(parse_notation(f"[{cell}]" if is_quoted else _unwrap(cell or "[]")))
        except NotationError as error:
            column.raise_for(i, expected, f"{error}. Correct it.")
    key = _find_name_key(values)
    lists = []
    for i, value in enumerate(values):
        try:
            lists.append(list(_labels(value, key, label_values)))
        except NotationError as error:
            column.raise_for(i, expected, f"{error}. Correct it.")
    return lists, "as labels in quotes" if is_quoted else f"as {_describe(column, values, key)}"


def _describe(column: _Column, values: Sequence[Any], key: str | None) -> str:
    """Name the notation of the cells."""
    if key is not None:
        return f"lists of objects, by their {key!r}"
    text = "".join(column.cells)
    language = "JSON" if '"' in text and "'" not in text else "Python"
    if any(isinstance(value, dict) for value in values):
        return f"{language} mappings from labels to values"
    cells = zip(column.cells, values, strict=True)
    bodies = {_unwrap(cell)[0] for cell, value in cells if value} or {"["}
    if bodies == {"["}:
        return f"{language} lists"
    return "Python tuples" if bodies == {"("} else "sets" if bodies == {"{"} else "Python lists"


def _find_name_key(values: Sequence[Any]) -> str | None:
    """Return the key of all objects that names the label: `name`, else the only text; or None."""
    objects = [it for value in values if isinstance(value, list) for it in value]
    objects += [value for value in values if isinstance(value, dict) and "name" in value]
    mappings = [it for it in objects if isinstance(it, dict)]
    if not mappings:
        return None
    keys = set.intersection(*({k for k, v in it.items() if type(v) is str} for it in mappings))
    return "name" if "name" in keys else next(iter(keys)) if len(keys) == 1 else ""


def _labels(value: Any, key: str | None, label_values: LabelValues) -> Iterator[str]:
    if isinstance(value, dict) and key is None:
        for label, mark in value.items():
            y = label_values.parse(mark)
            if y == INVALID:
                raise NotationError(
                    f"The value of {label!r} is {str(mark)[:20]!r}, neither yes nor no: name it in "
                    "dataset.true_values or dataset.false_values"
                )
            if y:
                yield _check_label(label)
        return
    for item in [value] if isinstance(value, dict) else value:
        if isinstance(item, dict):
            if key not in item:
                shown = ", ".join(map(repr, list(item)[:5]))
                raise NotationError(f"The objects have no 'name' that is a text, but {shown}")
            item = item[key]
        yield _check_label(item)


def _check_label(label: Any) -> str:
    if label is None or isinstance(label, list | dict) or not str(label).strip():
        nested = "an object" if isinstance(label, dict) else "a list"
        received = nested if isinstance(label, list | dict) else repr(label)
        raise NotationError(f"One of its labels is {received}")
    return str(label).strip()
