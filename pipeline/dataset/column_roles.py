"""Select feature, label, group, fold and id columns."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.config import TableConfig
from pipeline.errors import UserError, suggest


@dataclass(frozen=True)
class ColumnRoles:
    """The parts that a table's columns play; no column plays two.

    Attributes:
        features: Names, in the order of the table.
        labels: Names, in the order asked for; empty if one column lists the labels.
        label_list: The column that lists labels, or None.
        label_separator: What stands between listed labels, or `json`.
        categorical: Features that are categories whatever they look like.
        numeric: Features that must be numbers.
        group: The column of groups, or None.
        fold: The column of folds, or None.
        id: The column that names the rows, or None.
        typed: Whether the source says what is text and what a number; where it does not, texts
            that are mostly numbers are refused, for one wrong cell makes them.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    label_list: str | None = None
    label_separator: str = "|"
    categorical: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()
    group: str | None = None
    fold: str | None = None
    id: str | None = None
    typed: bool = False

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that play a part."""
        single = (self.label_list, self.group, self.fold, self.id)
        return (*self.features, *self.labels, *(name for name in single if name is not None))


def select(source: str, key: str, patterns: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that are asked for, by name or by a shell pattern such as `tag_*`.

    Args:
        source: Where the table came from, for the message.
        key: The configuration key that asks, for the message.
        patterns: Names or patterns; a name that exists is taken as it is.
        names: All that the table has.

    Raises:
        UserError: If nothing answers to one of them.
    """
    known = set(names)
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = (
            [pattern]
            if pattern in known
            else [name for name in names if fnmatchcase(name, pattern)]
        )
        if not matches:
            check_column_exists(source, key, pattern, names)
        found.update(dict.fromkeys(matches))
    return tuple(found)


def check_column_exists(source: str, key: str, name: str, names: Sequence[str]) -> None:
    """Raise UserError if a column that a configuration key asks for does not exist."""
    if name not in names:
        raise UserError(
            f"{source}: expected columns that exist in dataset.{key}. Received: {name!r}. "
            f"{suggest(name, names)}"
        )


def check_unique_columns(source: str, names: Sequence[str]) -> None:
    """Raise UserError if two columns have one name."""
    doubles = [name for name, n in Counter(names).items() if n > 1]
    if doubles:
        places = [i for i, name in enumerate(names) if name == doubles[0]]
        raise UserError(
            f"{source}: expected columns with different names. Received: {doubles[0]!r} as the "
            f"name of columns {', '.join(map(str, places))} (the first is 0)."
        )


def check_disjoint_roles(source: str, parts: Mapping[str, Iterable[str]]) -> None:
    """Raise UserError if a column is asked for in two parts.

    Args:
        source: Where the table came from, for the message.
        parts: Column names by configuration key.
    """
    taken: dict[str, str] = {}
    for key, names in parts.items():
        for name in names:
            if name in taken:
                raise UserError(
                    f"{source}: expected one part for each column. Received: {name!r} in both "
                    f"dataset.{taken[name]} and dataset.{key}."
                )
            taken[name] = key


def column_roles(config: TableConfig, names: list[str]) -> ColumnRoles:
    """Return the part of each column; the features are those asked for, or the rest."""
    source = config.path
    check_unique_columns(source, names)
    single = {key: getattr(config, key) for key in ("label_list", "group", "fold", "id")}
    parts: dict[str, tuple[str, ...]] = {
        key: (name,) for key, name in single.items() if name is not None
    }
    for key, found in parts.items():
        check_column_exists(source, key, found[0], names)
    parts["drop"] = select(source, "drop", config.drop, names)
    parts["labels"] = _labels(config, names, {name for part in parts.values() for name in part})
    check_disjoint_roles(source, parts)
    features = _features(config, names, parts)
    declared = {
        key: select(source, key, getattr(config, key), names) for key in ("categorical", "numeric")
    }
    check_disjoint_roles(source, declared)
    return ColumnRoles(
        features=features,
        labels=parts["labels"],
        label_list=config.label_list,
        label_separator=config.label_separator,
        categorical=frozenset(declared["categorical"]),
        numeric=frozenset(declared["numeric"]),
        group=config.group,
        fold=config.fold,
        id=config.id,
    )


def _features(
    config: TableConfig, names: list[str], parts: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    taken = {name for part in parts.values() for name in part}
    asked: tuple[str, ...] = tuple(names)
    if config.features is not None:
        asked = select(config.path, "features", config.features, names)
        others = {key: part for key, part in parts.items() if key != "drop"}
        check_disjoint_roles(config.path, {**others, "features": set(config.features) & set(names)})
    features = tuple(name for name in asked if name not in taken)
    for index in {"", "Unnamed: 0", "__index_level_0__"} & set(features):
        if config.features is None or index not in config.features:
            raise UserError(
                f"{config.path}: expected a name for each column. Received: {index!r} for column "
                f"{names.index(index)} (the first is 0); a row number that pandas wrote? Leave it "
                f"out: 'dataset.drop=[\"{index}\"]'"
            )
    if not features:
        raise UserError(
            f"{config.path}: expected at least one feature. Received: no column beside labels, "
            f"group, id and drop. {suggest('', names)}"
        )
    return features


def _labels(config: TableConfig, names: list[str], taken: set[str]) -> tuple[str, ...]:
    ways = {
        "dataset.labels": config.labels,
        "dataset.last_labels": config.last_labels,
        "dataset.label_list": config.label_list,
    }
    given = [key for key, value in ways.items() if value is not None]
    if len(given) != 1:
        raise UserError(
            f"{config.path}: expected one of {', '.join(ways)}. Received: "
            f"{' and '.join(given) or 'none of them'}. "
            f"{suggest('', names) if not given else 'Leave the others null.'}"
        )
    if config.labels is not None:
        return select(config.path, "labels", config.labels, names)
    if config.last_labels is None:
        return ()
    left = [name for name in names if name not in taken]
    if config.last_labels >= len(left):
        raise UserError(
            f"{config.path}: expected dataset.last_labels below the number of columns, {len(left)}."
            f" Received: {config.last_labels}."
        )
    return tuple(left[-config.last_labels :])
