"""Find columns that give answers away: labels that stayed features, and ids."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ArffConfig, DatasetConfig, OpenmlConfig, TableConfig
from pipeline.dataset.dataset import MAX_SHOWN, Dataset
from pipeline.preprocessing import Column
from pipeline.preprocessing.date_formats import is_iso_date

_BINARY_TEXTS = [{"0", "1"}, {"no", "yes"}, {"n", "y"}, {"false", "true"}, {"f", "t"}]
_GENERIC = {"is", "has", "was", "x", "f", "a", "col", "column", "feature", "var", "att", "attr"}
_ID_NAMES = {"id", "ids", "uuid", "guid", "key", "index", "idx", "pk", "identifier", "rowid"}
_ROW_NUMBERS = {"row", "rownumber", "row_number", "row_num", "rownum", "rowname", "sno", "#", "no"}
_UUID = re.compile(r"\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?", re.I)
_MIN_ROWS = 20  # fewer can be distinct by chance
_DISTINCT = 0.9  # of the rows, from which on a column named like an id is one
_MAX_FAMILIES = 5  # patterns that are named
_MAX_LABELS = 50  # whose names are tried as patterns
_MIN_PER_GROUP = 0.1  # distinct values per row, from which on it names groups, not categories


def find_suspicious_columns(config: DatasetConfig, dataset: Dataset) -> tuple[str, ...]:
    """Return warnings of features that are probably labels, ids of groups or dates.

    Features that `dataset.features`, `categorical` or `numeric` give by their own name are meant.
    """
    if not isinstance(config, TableConfig | ArffConfig | OpenmlConfig):
        return ()
    candidates = _find_undeclared(config, dataset)
    return (
        *_find_siblings(config, dataset, candidates),
        *_find_groups(config, dataset, candidates),
        *_find_dates(dataset, candidates),
    )


def find_row_ids(config: DatasetConfig, dataset: Dataset) -> list[str]:
    """Return the features whose values are probably ids of the rows, unless they are meant."""
    return [
        dataset.feature_names[feature]
        for feature, present, n_distinct in _find_distinct(
            dataset, _find_undeclared(config, dataset)
        )
        if _is_id(dataset, feature, present, n_distinct)
    ]


def _find_undeclared(config: DatasetConfig, dataset: Dataset) -> list[int]:
    """Return the features that no setting gives by their own name."""
    declared: set[str] = set()
    if isinstance(config, TableConfig):
        declared = {*(config.features or ()), *config.categorical, *config.numeric}
    names = dataset.feature_names
    return [feature for feature, name in enumerate(names) if name not in declared]


def _find_siblings(
    config: TableConfig | ArffConfig | OpenmlConfig, dataset: Dataset, candidates: list[int]
) -> Iterator[str]:
    """Yield warnings of 0/1 features with names like those of labels, one for each pattern."""
    if isinstance(config, TableConfig) and config.label_list_column:
        return
    families = _families(dataset, candidates)
    if not families:
        return
    siblings = list(dict.fromkeys(name for _, names in families for name in names))
    patterns = [pattern for pattern, _ in families]
    rest = [
        name
        for name in dataset.label_names
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    selection = [*patterns, *rest]
    shown = ", ".join(map(repr, siblings[:MAX_SHOWN]))
    more = f" and {len(siblings) - MAX_SHOWN} more" if len(siblings) > MAX_SHOWN else ""
    typed = ",".join(map(_quote, selection[:20]))
    plural = "features have names" if len(siblings) > 1 else "feature has a name"
    if len(selection) > 20:
        typed += ",..."
    setting = _setting(f"dataset.labels=[{typed}]")
    yield (
        f"{len(siblings)} {plural} like labels and values 0 and 1: {shown}{more}. As features they "
        f"may give the answer away. If they are labels, give {setting}"
        ", else leave them out by dataset.drop, or ignore this"
    )


def _families(dataset: Dataset, candidates: list[int]) -> list[tuple[str, list[str]]]:
    """Return patterns of labels that also select features of 0 and 1, and these features.

    A pattern that selects all features, or mostly others than those of 0 and 1, is no pattern of
    labels but of all columns.
    """
    families: list[tuple[str, list[str]]] = []
    uncovered = list(dataset.label_names)
    matches: dict[str, list[str]] = {}
    while uncovered and len(families) < _MAX_FAMILIES:
        sampled = uncovered[:: -(-len(uncovered) // _MAX_LABELS)]
        best: tuple[int, int, str] = (0, 0, "")
        for pattern in dict.fromkeys(it for name in sampled for it in _patterns(name)):
            if pattern not in matches:
                matches[pattern] = _binary_features(dataset, candidates, pattern)
            if not matches[pattern]:
                continue
            n_labels = sum(fnmatchcase(name, pattern) for name in uncovered)
            is_generic = re.split(r"[^a-z]", pattern.lower().lstrip("*"))[0] in _GENERIC
            if n_labels > 1 or not is_generic:
                best = max(best, (n_labels, len(matches[pattern]), pattern))
        if not best[0]:
            break
        families.append((best[2], matches[best[2]]))
        uncovered = [name for name in uncovered if not fnmatchcase(name, best[2])]
    return families


def _binary_features(dataset: Dataset, candidates: list[int], pattern: str) -> list[str]:
    names = dataset.feature_names
    selected = [i for i in candidates if fnmatchcase(names[i], pattern)]
    if not selected or len(selected) == len(names):
        return []
    binary = [i for i in selected if _is_binary(dataset, i)]
    return [names[i] for i in binary] if 2 * len(binary) > len(selected) else []


def _patterns(name: str) -> Iterator[str]:
    """Yield the patterns that a name suggests: tag_*, tag[A-Z]*, label[0-9]*, *_label."""
    for match in re.finditer(r"[_\-.:/ ]+", name):
        if match.start() and match.end() < len(name):
            yield f"{_escape(name[: match.end()])}*"
            yield f"*{_escape(name[match.start() :])}"
    digits = re.search(r"^(.*?[^\d])\d+$", name)
    if digits:
        yield f"{_escape(digits[1])}[0-9]*"
    camel = re.search(r"^(.*?[a-z])[A-Z][^A-Z]*$", name)
    if camel:
        yield f"{_escape(camel[1])}[A-Z]*"
    leading = re.search(r"^[A-Z]?[a-z]+([A-Z][a-z]+)$", name)
    if leading:
        yield f"*{_escape(leading[1])}"


def _escape(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _quote(pattern: str) -> str:
    if re.fullmatch(r"[a-zA-Z_*][\w*?.-]*", pattern, re.A):
        return pattern
    escaped = pattern.replace("'", "\\'")
    return f"'{escaped}'"


def _setting(text: str) -> str:
    """Return a setting as a shell takes it."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _is_binary(dataset: Dataset, feature: int) -> bool:
    """Return whether all values of a feature mean no and yes."""
    column, values = dataset.schema.columns[feature], dataset.X[:, feature]
    if column.kind == "category":
        return {text.strip().lower() for text in column.categories[:3]} in _BINARY_TEXTS
    values = values + np.float32(column.offset)
    return column.kind == "number" and bool(
        ((values == 0) | (values == 1) | (values != values)).all()
    )


def _find_groups(
    config: TableConfig | ArffConfig | OpenmlConfig, dataset: Dataset, candidates: list[int]
) -> Iterator[str]:
    """Yield warnings of features that are named like ids and repeat."""
    for feature, present, n_distinct in _find_distinct(dataset, candidates):
        name = dataset.feature_names[feature]
        kind = dataset.schema.columns[feature].kind
        if not is_named_like_id(name) or _is_id(dataset, feature, present, n_distinct):
            continue
        if _names_groups(kind, present, n_distinct):
            way = "leave it out: " + _setting(f"dataset.drop=[{_quote(name)}]")
            if isinstance(config, TableConfig) and config.group_column is None:
                group = _setting(f"dataset.group_column={_quote(name)}")
                way = f"name it: {group} with cv=group_kfold, or {way}"
            yield (
                f"feature {name!r} looks like an id of groups of rows, with {n_distinct} "
                f"different values in {dataset.n_samples} rows: {way}"
            )


def _find_distinct(
    dataset: Dataset, candidates: list[int]
) -> Iterator[tuple[int, NDArray[np.float64], int]]:
    """Yield features that may be ids, each with its values and the number of different ones."""
    ranges = np.fmax.reduce(dataset.X) - np.fmin.reduce(dataset.X)
    for feature in candidates:
        column = dataset.schema.columns[feature]
        named = is_named_like_id(column.name)
        may_be_id = named or _may_be_id(dataset, column, ranges[feature])
        if column.kind in ("number", "category") and may_be_id:
            values = dataset.X[:, feature].astype(np.float64) + column.offset
            present = values[~np.isnan(values)]
            yield feature, present, len(np.unique(present))


def _find_dates(dataset: Dataset, candidates: list[int]) -> Iterator[str]:
    """Yield warnings of whole numbers such as 20261231 that are dates."""
    for feature in candidates:
        column = dataset.schema.columns[feature]
        if column.kind != "number" or column.format or not 19e6 < column.offset < 211e5:
            continue
        values = np.unique(dataset.X[:, feature].astype(np.float64)) + column.offset
        texts = [f"{value:.0f}" for value in values if value == value]
        if all(map(is_iso_date, (f"{it[:4]}-{it[4:6]}-{it[6:]}" for it in texts))):
            yield (
                f"feature {column.name!r} has dates as numbers, such as {texts[0]}, between which "
                "are other differences than days: write them as 2026-12-31"
            )


def is_named_like_id(name: str) -> bool:
    """Return whether a column has the name of an id, such as `row_id`, `customerId` or `uuid`."""
    lower = name.strip().lower()
    if lower in _ROW_NUMBERS or re.fullmatch(r"unnamed: ?\d+|level_\d+|", lower):
        return True
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    parts = [word for word in re.split(r"[\W_]+", spaced.lower()) if word]
    return any(word in _ID_NAMES for word in parts) or lower.endswith(("uuid", "guid", "rowid"))


def _may_be_id(dataset: Dataset, column: Column, range_of_values: np.float32) -> bool:
    """Return at once whether a column without such a name has to be looked at in full."""
    if dataset.n_samples < _MIN_ROWS:
        return False
    if column.kind == "category":
        return len(column.categories) >= dataset.n_samples * _DISTINCT
    return bool(range_of_values == dataset.n_samples - 1)


def _is_id(dataset: Dataset, feature: int, present: NDArray[np.floating], n_distinct: int) -> bool:
    column, n_samples = dataset.schema.columns[feature], dataset.n_samples
    named = is_named_like_id(column.name)
    if len(present) < _DISTINCT * n_samples or n_samples < 3:
        return False
    if column.kind == "category":
        texts = column.categories
        if all(_UUID.fullmatch(text.strip()) for text in texts[:100]):
            return n_distinct >= _DISTINCT * len(present)
        if not named:
            return n_distinct == len(present) == n_samples and not any(" " in it for it in texts)
        return n_distinct >= _DISTINCT * len(present)
    is_integer = bool((present == np.round(present)).all())
    if not named:  # the numbers of the rows, in any order
        return is_integer and n_distinct == n_samples
    return is_integer and n_distinct >= _DISTINCT * len(present)


def _names_groups(kind: str, present: NDArray[np.floating], n_distinct: int) -> bool:
    is_integer = kind == "category" or bool((present == np.round(present)).all())
    return is_integer and n_distinct >= max(_MIN_ROWS, _MIN_PER_GROUP * len(present))
