"""Find the feature, label, group, fold, id, time and weight columns of a table."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pyarrow as pa

from pipeline.config import ArffConfig, OpenmlConfig, TableConfig
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError, suggest

_SINGLE = (
    *("label_list_column", "group_column", "fold_column"),
    *("id_column", "time_column", "weight_column"),
)
_INDEX_NAMES = {"", "Unnamed: 0", "__index_level_0__"}  # of row numbers that pandas wrote


@dataclass(frozen=True)
class ColumnRoles:
    """Roles of a table's columns; no column has two.

    Attributes:
        features: Names of the feature columns, in the order of the table.
        labels: Names of the label columns, in the configured order; empty if one column lists the
            labels.
        label_list_column: The column that lists labels, or None.
        label_separator: Text between two listed labels, `json`, `<>`, or None to recognise it.
        categorical: Features that are categories even if they look like numbers.
        numeric: Features that must be numbers.
        text: Features that are free text.
        group_column: The column of groups, or None.
        fold_column: The column of folds, or None.
        id_column: The column of row ids, or None.
        time_column: The column of times, or None.
        weight_column: The column of row weights, or None.
        typed: Whether the source has typed columns. If not (CSV), a column in which most texts are
            numbers is an error, because one wrong cell makes Arrow read all of it as texts.
        na_values: Texts that mean a missing value.
        decimal: Decimal mark of numbers in texts.
        label_values: Values of labels that mean yes and no.
        decimal_is_given: Whether the decimal mark is configured or was read from the table.
        thousands: Configured separator of thousands, or None.
        dayfirst: Whether 01/02/2026 is the first of February, None if not configured.
        formats: Formats of columns that are given, as those of the training rows are to test rows.
        dropped_labels: Listed labels to leave out, by name or pattern.
        may_lack_labels: Whether no row may have one of these, as among test rows.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    label_list_column: str | None = None
    label_separator: str | None = None
    categorical: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    group_column: str | None = None
    fold_column: str | None = None
    id_column: str | None = None
    time_column: str | None = None
    weight_column: str | None = None
    typed: bool = False
    na_values: tuple[str, ...] = ()
    decimal: str = "."
    label_values: LabelValues = field(default_factory=LabelValues)
    decimal_is_given: bool = False
    thousands: str | None = None
    dayfirst: bool | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    dropped_labels: tuple[str, ...] = ()
    may_lack_labels: bool = False

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that have a role."""
        single = [getattr(self, role) for role in _SINGLE]
        return (*self.features, *self.labels, *(name for name in single if name is not None))


def assign_roles(config: TableConfig, names: list[str]) -> ColumnRoles:
    """Return the roles of a table's columns; features are the configured ones, or the rest.

    Args:
        config: Names or patterns of the columns of each role.
        names: All columns of the table.

    Raises:
        UserError: If a column does not exist, is named twice or has two roles.
    """
    source = config.path
    check_unique_columns(source, names)
    single = {key: getattr(config, key) for key in _SINGLE}
    columns: dict[str, tuple[str, ...]] = {
        key: (name,) for key, name in single.items() if name is not None
    }
    for key, (name,) in columns.items():
        check_column_exists(source, key, name, names)
    lists_labels = config.label_list_column is not None  # whose labels may be dropped, too
    drop = [
        pattern
        for pattern in config.drop
        if not lists_labels or any(it == pattern or fnmatchcase(it, pattern) for it in names)
    ]
    columns["drop"] = select_columns(source, "drop", drop, names)
    columns["labels"] = _labels(config, names, {name for used in columns.values() for name in used})
    if config.labels is not None:
        columns["labels"] = without_dropped(columns["labels"], config.labels, columns["drop"])
    check_disjoint_roles(source, columns)
    features = _features(config, names, columns)
    declared = {
        key: select_columns(source, key, getattr(config, key), names)
        for key in ("categorical", "numeric", "text_columns")
    }
    check_disjoint_roles(source, declared)
    return ColumnRoles(
        features=features,
        labels=columns["labels"],
        label_separator=config.label_separator,
        categorical=frozenset(declared["categorical"]),
        numeric=frozenset(declared["numeric"]),
        text=frozenset(declared["text_columns"]),
        na_values=config.na_values,
        decimal=config.decimal or ".",
        decimal_is_given=config.decimal is not None,
        thousands=config.thousands,
        dayfirst=config.dayfirst,
        dropped_labels=tuple(sorted({*config.drop} - {*drop})),
        label_values=LabelValues.of(config),
        **single,
    )


def select_columns(
    source: str, key: str, patterns: Iterable[str], names: Sequence[str]
) -> tuple[str, ...]:
    """Return the columns that names or shell patterns such as `tag_*` select.

    The name of a column is never read as a pattern. `source` and `key` are for the message.

    Raises:
        UserError: If a pattern selects no column.
    """
    existing = set(names)
    selected: dict[str, None] = {}
    for pattern in patterns:
        matches = (
            [pattern]
            if pattern in existing
            else [name for name in names if fnmatchcase(name, pattern)]
        )
        if not matches:
            check_column_exists(source, key, pattern, names)
        selected.update(dict.fromkeys(matches))
    return tuple(selected)


def without_dropped(
    labels: Iterable[str], patterns: Iterable[str], drop: Iterable[str]
) -> tuple[str, ...]:
    """Return the labels but those that are dropped, unless their names themselves are given."""
    dropped = set(drop) - set(patterns)
    return tuple(name for name in labels if name not in dropped)


def check_column_exists(source: str, key: str, name: str, names: Sequence[str]) -> None:
    """Raise UserError if a configured column does not exist."""
    if name not in names:
        raise UserError(
            f"{source}: expected columns that exist in dataset.{key}. Received: {name!r}. "
            f"{suggest(name, names)}"
        )


def single_roles(
    source: str, config: ArffConfig | OpenmlConfig, names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the columns of times and of weights by key, of one name or none.

    Raises:
        UserError: If a configured column does not exist.
    """
    keys = ("time_column", "weight_column")
    chosen = {key: getattr(config, key) for key in keys}
    for key, name in chosen.items():
        if name is not None:
            check_column_exists(source, key, name, names)
    return {key: () if name is None else (name,) for key, name in chosen.items()}


def check_unique_names(source: str, kind: str, names: Sequence[str]) -> None:
    """Raise UserError if two labels or attributes, as `kind` says, have the same name."""
    duplicate = next((name for name, n in Counter(names).items() if n > 1), None)
    if duplicate is not None:
        raise UserError(
            f"{source}: expected {kind} with different names. Received: {duplicate!r} twice."
        )


def check_unique_columns(source: str, names: Sequence[str]) -> None:
    """Raise UserError if two columns have the same name."""
    duplicates = [name for name, n in Counter(names).items() if n > 1]
    if duplicates:
        indices = [str(j) for j, name in enumerate(names) if name == duplicates[0]]
        raise UserError(
            f"{source}: expected columns with different names. Received: {duplicates[0]!r} as the "
            f"name of columns {', '.join(indices)} (the first is 0). Rename one; if the first line "
            "of a file has no names, give dataset.header=false"
        )


def check_disjoint_roles(source: str, columns: Mapping[str, Iterable[str]]) -> None:
    """Raise UserError if a column has two roles; `columns` has names by configuration key."""
    key_of_column: dict[str, str] = {}
    for key, names in columns.items():
        for name in names:
            if name in key_of_column:
                raise UserError(
                    f"{source}: expected one role for each column. Received: {name!r} in both "
                    f"dataset.{key_of_column[name]} and dataset.{key}."
                )
            key_of_column[name] = key


def check_not_nested(source: str, roles: ColumnRoles, schema: pa.Schema) -> None:
    """Raise UserError if a cell of a column with another role than feature can be nested."""
    for name in {*roles.used} - {*roles.features, roles.label_list_column}:
        if pa.types.is_nested(schema.field(name).type):
            raise UserError(
                f"{source}: expected one value in each cell. Received: {schema.field(name).type} "
                f"in column {name!r}, from row 0 on."
            )


def _features(
    config: TableConfig, names: list[str], columns: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    candidates: tuple[str, ...] = tuple(names)
    if config.features is not None:
        candidates = select_columns(config.path, "features", config.features, names)
        others = {key: used for key, used in columns.items() if key != "drop"}
        check_disjoint_roles(config.path, {**others, "features": set(config.features) & set(names)})
    used = {name for used in columns.values() for name in used}
    features = tuple(name for name in candidates if name not in used)
    for name in _INDEX_NAMES & set(features):
        if config.features is None or name not in config.features:
            raise UserError(
                f"{config.path}: expected a name for each column. Received: {name!r} for column "
                f"{names.index(name)} (the first is 0); a row number that pandas wrote? Leave it "
                f"out: 'dataset.drop=[\"{name}\"]'"
            )
    if not features:
        raise UserError(
            f"{config.path}: expected at least one feature. Received: no column beside labels, "
            f"group, id, time, weight and drop. {suggest('', names)}"
        )
    return features


def _labels(config: TableConfig, names: list[str], used: set[str]) -> tuple[str, ...]:
    options = {
        "dataset.labels": config.labels,
        "dataset.last_labels": config.last_labels,
        "dataset.label_list_column": config.label_list_column,
    }
    given = [key for key, value in options.items() if value is not None]
    if len(given) != 1:
        raise UserError(
            f"{config.path}: expected one of {', '.join(options)}. Received: "
            f"{' and '.join(given) or 'none of them'}. "
            f"{suggest('', names) if not given else 'Leave the others null.'}"
        )
    if config.labels is not None:
        return select_columns(config.path, "labels", config.labels, names)
    if config.last_labels is None:
        return ()
    rest = [name for name in names if name not in used]
    if config.last_labels >= len(rest):
        raise UserError(
            f"{config.path}: expected dataset.last_labels below the number of columns, {len(rest)}."
            f" Received: {config.last_labels}."
        )
    return tuple(rest[-config.last_labels :])
