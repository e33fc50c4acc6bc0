"""Which column of a table plays which part."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.errors import UserError, choices


@dataclass(frozen=True)
class Columns:
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
            refuse_unknown(source, key, pattern, names)
        found.update(dict.fromkeys(matches))
    return tuple(found)


def refuse_unknown(source: str, key: str, name: str, names: Sequence[str]) -> None:
    """Raise UserError if a column that a configuration key asks for does not exist."""
    if name not in names:
        raise UserError(
            f"{source}: expected columns that exist in dataset.{key}. Received: {name!r}. "
            f"{choices(name, names)}"
        )


def refuse_doubles(source: str, names: Sequence[str]) -> None:
    """Raise UserError if two columns have one name."""
    doubles = [name for name, n in Counter(names).items() if n > 1]
    if doubles:
        places = [i for i, name in enumerate(names) if name == doubles[0]]
        raise UserError(
            f"{source}: expected columns with different names. Received: {doubles[0]!r} as the "
            f"name of columns {', '.join(map(str, places))} (the first is 0)."
        )


def refuse_overlap(source: str, parts: Mapping[str, Iterable[str]]) -> None:
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
