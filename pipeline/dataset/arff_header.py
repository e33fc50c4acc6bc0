"""Parse the header of ARFF text: the name of the relation and the attributes.

References:
    https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.dataset.arff_dates import DEFAULT, DateFormat
from pipeline.dataset.arff_tokens import TokenError, split_categories, strip_name
from pipeline.errors import UserError

_NUMERIC = {"numeric", "real", "integer"}


@dataclass(frozen=True)
class Attribute:
    """A column of an ARFF file.

    Attributes:
        name: Name without quotes.
        kind: `numeric`, `nominal`, `date`, or another type in the file, which cannot be used.
        categories: Declared categories of a nominal attribute, in the order of the file.
        by_commas: The same with blanks as parts of categories, as some files without quotes mean
            them; empty if there is no such reading.
        date_format: Format of a date.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    by_commas: tuple[str, ...] = ()
    date_format: DateFormat | None = None


def parse_header(
    source: str, lines: Iterator[tuple[int, str]]
) -> tuple[str, tuple[Attribute, ...]]:
    """Return the name of the relation and the attributes, and leave the rows in `lines`.

    Args:
        source: Origin of the text, for messages.
        lines: Line numbers and lines without blanks around them.

    Raises:
        UserError: If a line is no part of a header.
    """
    relation = ""
    attributes: list[Attribute] = []
    for line_number, line in lines:
        match = re.match(r"(@[a-z]+)(?![^\s%'\"])(.*)", line, re.I | re.S)
        keyword, rest = (match[1].lower(), match[2]) if match else ("", "")
        match keyword:
            case "@relation":
                relation = _parse_relation(rest)
            case "@attribute":
                attributes.append(_parse_attribute(source, line_number, rest))
                if attributes[-1].kind == "relational":
                    _skip_relational(lines)
            case "@data":
                return relation, tuple(attributes)
            case _:
                raise UserError(
                    f"{source}: expected @relation, @attribute or @data. Received: {line[:60]!r} "
                    f"in line {line_number}."
                )
    raise UserError(f"{source}: expected a line @data and rows behind it. Received: no such line.")


def _skip_relational(lines: Iterable[tuple[int, str]]) -> None:
    """Skip the attributes within a relational attribute."""
    for _, line in lines:
        if line.lower().startswith("@end"):
            return


def _parse_relation(rest: str) -> str:
    """Return the name of the relation; one without quotes may have blanks."""
    name, behind = strip_name(rest)
    if rest.strip()[:1] in ("'", '"') and behind.strip()[:1] in ("", "%"):
        return name
    return rest.partition("%")[0].strip()


def _parse_attribute(source: str, line_number: int, rest: str) -> Attribute:
    name, kind = strip_name(rest)
    kind = kind.strip()
    if not name or kind[:1] in ("", "%"):
        raise UserError(
            f"{source}: expected @attribute, a name and a type. Received: {rest.strip()[:60]!r} in "
            f"line {line_number}. A % outside of quotes starts a comment."
        )
    if kind.startswith("{"):
        return _parse_nominal(source, line_number, name, kind)
    keyword, behind = strip_name(kind)
    keyword = keyword.lower()
    if keyword != "date":
        return Attribute(name, "numeric" if keyword in _NUMERIC else keyword)
    pattern = strip_name(behind)[0] or DEFAULT
    try:
        return Attribute(name, keyword, date_format=DateFormat(pattern))
    except ValueError as error:
        raise UserError(
            f"{source}: expected a date format such as {DEFAULT!r}. Received: {error} in "
            f"{pattern!r}, attribute {name!r}, line {line_number}."
        ) from error


def _parse_nominal(source: str, line_number: int, name: str, text: str) -> Attribute:
    where = f"Received: {text[:60]!r} of attribute {name!r} in line {line_number}."
    try:
        row = split_categories(text)
    except TokenError as error:
        raise UserError(
            f"{source}: expected categories between braces. {where} A % outside of quotes starts a "
            "comment."
        ) from error
    categories = tuple(map(str, row.values))
    by_commas = tuple(map(str, row.by_commas or ()))
    if len(set(by_commas)) < len(by_commas) or by_commas == categories or None in by_commas:
        by_commas = ()
    if len(set(categories)) < len(categories):
        categories, by_commas = by_commas, ()
    if not categories:
        raise UserError(f"{source}: expected different categories. {where}")
    return Attribute(name, "nominal", categories, by_commas)
