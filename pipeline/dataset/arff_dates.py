"""Read dates by the patterns of Java's `SimpleDateFormat`, which ARFF files declare.

References:
    https://docs.oracle.com/javase/8/docs/api/java/text/SimpleDateFormat.html
"""

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone

DEFAULT = "yyyy-MM-dd'T'HH:mm:ss"  # of WEKA, ISO 8601
_FIELD = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+")
_NUMBERS = "yuMLdHkKhmsS"
_TIME_ZONES = {
    "Z": r"[+-]\d{4}",
    "X": r"Z|[+-]\d\d(?::?\d\d)?",
    "z": r"GMT[+-]\d\d?:\d\d|[+-]\d{4}|GMT|UTC|UT",
}
_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name[:3]: i for name, i in _MONTHS.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DateFormat:
    """A pattern of dates.

    Texts without a time zone are UTC, so that a file means the same on every machine; years of two
    digits lie between 1969 and 2068, as in POSIX.
    """

    def __init__(self, pattern: str) -> None:
        """Compile a pattern such as `yyyy-MM-dd HH:mm:ss`.

        Raises:
            ValueError: If it has letters without a meaning here, or gives no year.
        """
        self.pattern = pattern
        fields = [match[0] for match in _FIELD.finditer(pattern)]
        if "".join(fields) != pattern:
            raise ValueError("a quote that is not closed")
        self._letters: list[str] = []
        regex = ""
        for field, following in zip(fields, [*fields[1:], ""], strict=True):
            regex += self._regex(field, is_followed=following[:1] in tuple(_NUMBERS))
        if not {"y", "u"} & set(self._letters):
            raise ValueError("no year")
        self._regex_of_text = re.compile(rf"\s*{regex}\s*", re.I)

    def parse(self, text: str) -> float | None:
        """Return the seconds since 1970 of a text, None if it is no date of this format."""
        match = self._regex_of_text.fullmatch(text)
        if not match:
            return None
        values = dict(zip(self._letters, match.groups(), strict=True))
        year = next(values[letter] for letter in "yu" if letter in values)
        month = next((values[letter] for letter in "ML" if letter in values), "1")
        try:
            moment = datetime(
                int(year) + (0 if len(year) > 2 or not self._has_short_year else _century(year)),
                int(month) if month.isdecimal() else _MONTHS[month.lower().rstrip(".")],
                int(values.get("d", 1)),
                _hour(values),
                int(values.get("m", 0)),
                int(values.get("s", 0)),
                int(values.get("S", 0)) * 1000,
                tzinfo=_time_zone(values),
            )
        except (ValueError, KeyError):
            return None
        return (moment - _EPOCH).total_seconds()

    @property
    def _has_short_year(self) -> bool:
        return not re.search(r"y{3}|u{3}", self.pattern)

    def _regex(self, field: str, *, is_followed: bool) -> str:
        letter, n = field[0], len(field)
        if letter == "'":
            return re.escape("'" if field == "''" else field[1:-1].replace("''", "'"))
        if not letter.isalpha():
            return re.sub(r"(\\ )+", r"\\s+", re.escape(field))
        if letter in "EG":  # the day of the week follows from the date; years are of our era
            return r"[^\W\d]+\.?"
        if letter in self._letters or letter not in f"{_NUMBERS}a{''.join(_TIME_ZONES)}":
            raise ValueError(f"the letters {field!r}")
        self._letters.append(letter)
        if letter in _TIME_ZONES:
            return f"({_TIME_ZONES[letter]})"
        if letter == "a":
            return r"([AP]M)"
        if letter in "ML" and n > 2:
            return r"([^\W\d]+\.?)"
        return rf"(\d{{{n}}})" if is_followed else r"(\d{1,9})"


def _century(year: str) -> int:
    return 1900 if int(year) >= 69 else 2000


def _hour(values: dict[str, str]) -> int:
    """Return the hour of the day: H from 0, k from 1 to 24, K from 0 and h from 1 to 12."""
    hour = int(next((values[letter] for letter in "HkKh" if letter in values), 0))
    if "k" in values:
        return hour % 24 if 1 <= hour <= 24 else -1
    if "K" in values or "h" in values:
        if hour > 12:
            return -1
        hour = hour % 12 + 12 * (values.get("a", "").lower() == "pm")
    return hour


def _time_zone(values: dict[str, str]) -> timezone:
    text = next((values[letter] for letter in _TIME_ZONES if letter in values), "")
    match = re.search(r"([+-])(\d\d?):?(\d\d)?$", text)
    if not match:
        return UTC
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return timezone(offset if match[1] == "+" else -offset)
