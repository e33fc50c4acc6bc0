"""Parse texts of dates in a format that is given by an example, and in ISO 8601.

Logged models carry this file, so it imports nothing of Manyfold.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "31/12/2026", "12/31/2026", "2026/12/31"
NAMED_MONTH, MONTH, QUARTER = "31 Dec 2026", "2026-12", "Q4 2026"
DATE_FORMATS = (DAY_FIRST, MONTH_FIRST, YEAR_FIRST, NAMED_MONTH, MONTH, QUARTER)
_ORDERS = {DAY_FIRST: (3, 2, 1), MONTH_FIRST: (3, 1, 2), YEAR_FIRST: (1, 2, 3)}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = (
    r"([Jj]an|[Ff]eb|[Mm]ar|[Aa]pr|[Mm]ay|[Jj]un|[Jj]ul|[Aa]ug|[Ss]ep|[Oo]ct|[Nn]ov|[Dd]ec"
    r"|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(?:(?i:uary|ruary|ch|il|e|y|ust|t|tember"
    r"|ober|ember))?\.?"
)
_DAY, _YEAR = r"(\d{1,2})(?:st|nd|rd|th)?\.?", r"(\d{4}|'?\d{2})"
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})([.,]\d{1,9})?)?(?: ?([AaPp])\.?[Mm]\.?)?"
_TIME = rf"(?:[T ,:]+{_CLOCK}(?: ?(Z|UTC|GMT|[+-]\d{{2}}:?\d{{2}}))?)?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:day|sday|nesday|rsday|urday)?\.?,? )?"
_DATE = re.compile(rf"{_WEEKDAY}(\d{{1,4}})([/.-])(\d{{1,2}})\2(\d{{4}}|\d{{1,2}}){_TIME}")
_NAMED = [  # patterns, and the groups of year, month, day and time
    (re.compile(rf"{_WEEKDAY}{pattern}", re.A), groups)
    for pattern, groups in (
        (rf"{_DAY}[ -]*(?:of )?{_NAME},?[ -]*{_YEAR}{_TIME}", (3, 2, 1, 4)),
        (rf"{_NAME}[ -]+{_DAY},?[ -]+{_YEAR}{_TIME}", (3, 1, 2, 4)),
        (rf"(\d{{4}})[ -]?{_NAME}[ -]?{_DAY}{_TIME}", (1, 2, 3, 4)),
        (rf"{_NAME} +{_DAY} {_CLOCK}()(?: [A-Z]{{3}})? (\d{{4}})", (9, 1, 2, 3)),
    )
]
_MONTH = re.compile(rf"(?P<year>\d{{4}})[-/.](?P<n>\d{{2}})|{_NAME},?[ -]*(?P<last>\d{{4}})")
_QUARTER = re.compile(r"Q([1-4])[ /-]?(\d{4})|(\d{4})[ /-]?Q([1-4])", re.I)
_ISO = re.compile(r"\d{4}-(?:\d{2}-\d{2}|W\d{2}(?:-\d)?)(?:[T ].*)?")
_UNREADABLE = re.compile(  # a month in another language or of another year's form
    rf"{_NAME}[ -]'?\d{{2}}|{_DAY} ?(?:de |-|/)?[^\W\d_]{{3,10}}\.?(?: de|-|/)? ?\d{{4}}"
    r"|\d{4}年.*|\d{4}-\d{1,2}-\d{1,2}.*"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_date(example: str, text: str) -> float | None:
    """Return the seconds since 1970 of a date in a format, or in ISO 8601; else None."""
    iso = parse_iso_date(text) if "-" in text[4:5] else None
    if iso is not None:
        return iso
    if example == NAMED_MONTH:
        return _parse_named_date(text)
    if example == MONTH:
        return _parse_month(text)
    if example == QUARTER:
        match = _QUARTER.fullmatch(text)
        quarter = match and int(match[1] or match[4])
        return _build(match[2] or match[3], 3 * quarter - 2, "1") if match and quarter else None
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (match.groups()[it - (it == 1)] for it in _ORDERS[example])
    if len(day) > 2 or len(year) not in ((4,) if example == YEAR_FIRST else (2, 4)):
        return None
    return _build(year, int(month), day, match.groups()[4:])


def parse_iso_date(text: str) -> float | None:
    """Return the seconds since 1970 of a date in ISO 8601, else None; UTC if no zone is given."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _to_seconds(value)


def is_iso_date(text: str) -> bool:
    """Return whether a text is a date with its marks in ISO 8601."""
    return _ISO.fullmatch(text) is not None and parse_iso_date(text) is not None


def date_formats(text: str) -> Iterator[str]:
    """Yield the formats of dates in which a text can be read."""
    return (it for it in DATE_FORMATS if parse_date(it, text) is not None)


def is_date(text: str) -> bool:
    """Return whether a text looks like a date, valid or not."""
    if len(text) > 60 or not any(it.isdigit() for it in text):
        return False
    patterns = (_DATE, _ISO, _MONTH, _QUARTER, _UNREADABLE, *(it for it, _ in _NAMED))
    match = next((it for pattern in patterns if (it := pattern.fullmatch(text))), None)
    return match is not None and (match.re is not _MONTH or _parse_month(text) is not None)


def has_short_year_first(texts: Sequence[str]) -> bool:
    """Return whether all dates may as well start with a year of two digits: 26/12/31.

    The year is the part that has fewer different values.
    """
    matches = [_DATE.fullmatch(text) for text in texts]
    parts = [(it[1], it[3], it[4]) for it in matches if it and len(it[1]) == len(it[4]) == 2]
    if len(parts) < len(texts) or any(int(it[1]) > 12 or int(it[2]) > 31 for it in parts):
        return False
    return len({it[0] for it in parts}) <= len({it[2] for it in parts})


def _parse_named_date(text: str) -> float | None:
    for pattern, groups in _NAMED:
        match = pattern.fullmatch(text)
        if match:
            year, month, day, time = groups
            number = _MONTHS.index(match[month].lower()) + 1
            return _build(match[year], number, match[day], match.groups()[time - 1 : time + 5])
    return None


def _parse_month(text: str) -> float | None:
    match = _MONTH.fullmatch(text)
    if match is None or not 1900 <= int(match["year"] or match["last"]) <= 2100:
        return None
    number = int(match["n"]) if match["n"] else _MONTHS.index(match[3].lower()) + 1
    return _build(match["year"] or match["last"], number, "1")


def _build(year: str, month: int, day: str, time: tuple[str | None, ...] = ()) -> float | None:
    hour, minute, second, fraction, half, zone = (*time, *[None] * 6)[:6]
    number, hours = int(year.lstrip("'")), int(hour or 0)
    if len(year.lstrip("'")) == 2:
        number += 2000 if number < 69 else 1900  # as strptime
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half in "pP" else 0)
    microsecond = int((fraction or ".")[1:7].ljust(6, "0"))
    try:
        value = datetime(number, month, int(day), hours, int(minute or 0), int(second or 0))
        return _to_seconds(value.replace(microsecond=microsecond, tzinfo=_zone(zone)))
    except ValueError:
        return None


def _zone(text: str | None) -> timezone:
    if not text or text in ("Z", "UTC", "GMT"):
        return UTC
    minutes = 60 * int(text[1:3]) + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _to_seconds(value: datetime) -> float:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()
