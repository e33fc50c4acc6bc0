"""Read cells that list labels: between separators, in tags, or in the notation of a language."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pipeline.dataset.label_notation import (
    CLOSING,
    MISSING,
    NotationError,
    is_mangled,
    parse_notation,
    read_indicators,
    unwrap,
    without_quotes,
)
from pipeline.dataset.label_values import INVALID, LabelValues
from pipeline.errors import UserError

_SEPARATORS = (";", ",", "\t", "\n", "、", "\uff0c", "\uff1b", "•")  # recognised, if there is one
_MARKS = ("/", " & ", " + ", " and ", "::", ":", "+", "&", "#", "~", "^", "·", "-", "_", ".", " ")
_PAIR = re.compile(r"(.+?)\s*[:=]\s*([01](?:\.0*)?|0?\.\d+|true|false|yes|no)", re.I)
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
    stripped = [text.strip() for text in texts]
    cells = ["" if cell.lower() in MISSING else cell for cell in stripped]
    blanks = sorted({cell for cell in stripped if cell.lower() in MISSING})
    column = _Column(source, name, cells, rows)
    lists, reading = _read_cells(column, separator, label_values)
    lists = without_quotes(lists) if separator is None else lists
    reading += f" ({', '.join(map(repr, blanks))} as no label)" if blanks else ""
    if separator is not None:
        return lists, reading
    return read_indicators(name, lists) or (lists, reading)


def _read_cells(
    column: "_Column", separator: str | None, label_values: LabelValues
) -> tuple[list[list[str]], str]:
    cells = column.cells
    present = [cell for cell in cells if cell]
    if separator == "json" or (
        separator is None and 2 * sum(map(_is_bracketed, present)) > len(present)
    ):
        return _read_notation(column, label_values, may_nest=separator is None)
    cells = ["" if unwrap(cell) in ("[]", "{}", "()") else cell for cell in cells]
    present = [cell for cell in cells if cell]
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
        if any(map(is_mangled, labels)):
            column.raise_for(
                i,
                f"labels separated by {separator or '|'!r}, without brackets and quotes around "
                "them",
                "If every row is a list in brackets, give dataset.label_separator=json."
                if _is_bracketed(cells[i])
                else "Leave the brackets and quotes out.",
            )
    if separator is None:
        return lists, "as one label in each row"
    reading = f"as labels separated by {'blanks' if separator == ' ' else repr(separator)}"
    pairs = [[_PAIR.fullmatch(label) for label in labels] for labels in lists]
    if separator in ";,|" and any(pairs) and all(it for cell in pairs for it in cell):
        column.values = [{it[1]: it[2] for it in cell if it} for cell in pairs]
        return _labels_of_values(
            column, "labels with values", label_values
        ), f"{reading}, with values"
    return lists, reading


def split(cell: str, separator: str) -> list[str]:
    """Return the labels between separators."""
    parts = cell.split(None if separator == " " else separator)
    if separator == "\n":
        parts = [part.lstrip("-*• ") for part in parts]
    return [label.strip() for label in parts if label.strip()]


class _Column:
    """The cells of a column, for messages."""

    def __init__(self, source: str, name: str, cells: Sequence[str], rows: Sequence[int]) -> None:
        self.where, self.name, self.cells, self.rows = source, name, cells, rows
        self.values: list[Any] = []
        self.is_in_object = False

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
        for mark in (*_SEPARATORS, *_MARKS)
        if any(mark in cell for cell in distinct)
    }
    marks = [mark for mark in labels if mark in _SEPARATORS]
    if len(marks) == 1 and _recur(distinct, marks[0]):
        return marks[0]
    for mark in () if marks else labels:
        n, parts = len(labels[mark]), [split(cell, mark) for cell in distinct]
        several = {label for labels in parts if len(labels) > 1 for label in labels}
        is_listed_alone = any(len(labels) == 1 and labels[0] in several for labels in parts)
        is_new = all(labels[mark] != labels[other] for other in marks)
        if is_new and (n < len(distinct) or (n == len(distinct) and is_listed_alone)):
            marks.append(mark)
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
    body = unwrap(cell)
    return body[0] in CLOSING and body[-1] == CLOSING[body[0]]


def _read_notation(
    column: _Column,
    label_values: LabelValues,
    *,
    is_quoted: bool = False,
    may_nest: bool = True,
) -> tuple[list[list[str]], str]:
    expected = (
        "labels in quotes, separated by commas"
        if is_quoted
        else "a JSON list of labels, or a Python list, set or mapping"
    )
    column.values = []
    for i, cell in enumerate(column.cells):
        try:
            text = f"[{cell}]" if is_quoted else unwrap(cell or "[]")
            column.values.append(parse_notation(text))
        except NotationError as error:
            column.raise_for(i, expected, f"{error}. Correct it.")
    if (inner := _find_inner_texts(column)) and may_nest:
        column.cells = inner
        return _read_cells(column, None, label_values)
    lists = _labels_of_values(column, expected, label_values)
    key = _find_name_key(column.values)
    return lists, "as labels in quotes" if is_quoted else f"as {_describe(column, key)}"


def _find_inner_texts(column: _Column) -> list[str]:
    """Return the text of each list, if all lists have one and that lists the labels itself."""
    values = column.values
    keys = {key for value in values if isinstance(value, dict) for key in value}
    if len(keys) == 1 and all(isinstance(it, dict | list) for it in values):
        inner: list[Any] = [
            next(iter(it.values()), []) if isinstance(it, dict) else [] for it in values
        ]
        if any(inner) and all(isinstance(it, list) for it in inner):
            column.values = values = inner
            column.is_in_object = True
    texts = [value[0] if isinstance(value, list) and len(value) == 1 else "" for value in values]
    is_inner = all(map(bool, texts)) or all(texts[i] or not it for i, it in enumerate(values))
    texts = [text.strip() if isinstance(text, str) else "" for text in texts]
    is_listed = any(text and ("|" in text or ";" in text or _is_bracketed(text)) for text in texts)
    return texts if is_inner and is_listed else []


def _labels_of_values(column: _Column, expected: str, label_values: LabelValues) -> list[list[str]]:
    """Return the labels of each cell's list or mapping."""
    key = _find_name_key(column.values)
    lists = []
    for i, value in enumerate(column.values):
        try:
            lists.append(list(_labels(value, key, label_values)))
        except NotationError as error:
            column.raise_for(i, expected, f"{error}.")
    return lists


def _describe(column: _Column, key: str | None) -> str:
    """Name the notation of the cells."""
    values = column.values
    if column.is_in_object:
        return "lists within objects"
    if key is not None:
        return f"lists of objects, by their {key!r}"
    text = "".join(column.cells)
    language = "JSON" if '"' in text and "'" not in text else "Python"
    if any(isinstance(value, dict) for value in values):
        return f"{language} mappings from labels to values"
    cells = zip(column.cells, values, strict=True)
    bodies = {unwrap(cell)[0] for cell, value in cells if value} or {"["}
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
            if y == INVALID and mark is None:  # as Arrow writes a key that an object lacks
                continue
            if y == INVALID:
                way = "such as \"dataset.true_values=['>0.5']\" \"dataset.false_values=['<=0.5']\""
                raise NotationError(
                    f"The value of {label!r} is {str(mark)[:20]!r}, neither yes nor no: name it in "
                    f"dataset.true_values or dataset.false_values, {way}"
                )
            if y:
                yield _check_label(label)
        return
    if isinstance(value, list) and len(value) == 1 and (value[0] is None or value[0] == ""):
        return  # as "".split(",") and missing values are written
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
