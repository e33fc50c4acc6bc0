"""Parse texts of numbers and dates in a format that is given by an example.

The example is a number that shows the thousands separator, the decimal mark and the currency or
unit, such as "$1,234.5" or "1234,5 kg"; or one of the dates of `date_formats`.

Logged models carry this file, so it imports nothing of Manyfold.
"""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from pipeline.preprocessing.date_formats import DATE_FORMATS, parse_date

_MARKS = ",.' _"  # between groups of thousands; blanks of other widths become this one
_SYMBOLS = "$£€¥₹₽₩₺₪₫₴₦₱฿₡₲₵₸₿¢"
_CURRENCIES = (
    "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|RMB|INR|BRL|MXN|RUB|SEK|NOK|DKK|PLN|CZK|HUF|TRY|ZAR|KRW|"
    r"SGD|HKD|ILS|THB|IDR|MYR|PHP|AED|SAR|VND|NGN|EGP|UAH|Rs\.?|kr\.?|Fr\.?"
)
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+]?) ?(?P<prefix>[A-Z]{{0,3}}[{_SYMBOLS}]|{_CURRENCIES})? ?"
    rf"(?P<inner>[-+]?)(?P<digits>\d+(?:[{_MARKS}]\d+)*|[.,]\d+)"
    r"(?:(?:[eE]| ?[x\u00d7*\u00b7] ?10\^?)(?P<exponent>[-+]?\d{1,3}))?"
    r"(?P<suffix> ?[^\d\s.,()+-](?:[^()]{0,30}[^\s()-])?)?(?P<trailing>-?)(?P<close>\))?",
)
_POWER = re.compile(
    "(?<=\\d)(?<![x\u00d7*\u00b7]10)(?<![x\u00d7*\u00b7] 10)[⁰¹²³⁴-⁹₀-₉]"
)  # 10² is not 102
_EXAMPLE = re.compile(
    r"(?P<prefix>.*?)1(?P<thousands>\D?)234(?P<decimal>[.,])5(?P<suffix>.*)", re.S
)


class NumberText(NamedTuple):
    """The parts of a text of a number.

    Attributes:
        sign: 1 or -1.
        digits: Digits, thousands separators and decimal mark.
        exponent: Power of ten.
        prefix: Currency before the digits.
        suffix: Currency or unit behind the digits, in the singular; a blank before it counts.
    """

    sign: int
    digits: str
    exponent: int
    prefix: str
    suffix: str


def normalise(text: str) -> str:
    """Return a text with one blank for those of all widths, one minus and one apostrophe."""
    if text.isascii() or _POWER.search(text):
        return text.strip()
    text = unicodedata.normalize("NFKC", text).strip()
    return re.sub("[\N{MINUS SIGN}\N{EN DASH}\N{HYPHEN}\N{FIGURE DASH}]", "-", text).replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )


def split_number(text: str) -> NumberText | None:
    """Return the parts of a text of a number, None if it is none.

    A minus sign may stand before or behind the number or be a pair of brackets.
    """
    match = _NUMBER.fullmatch(normalise(text))
    if match is None or (match["open"] is None) != (match["close"] is None):
        return None
    signs = [match[it] for it in ("sign", "inner", "trailing", "open") if match[it]]
    if len(signs) > 1:
        return None
    suffix = match["suffix"] or ""
    if len(suffix) > 3 and suffix.endswith("s"):
        suffix = suffix[:-1]
    return NumberText(
        sign=-1 if signs and signs[0] in "-(" else 1,
        digits=match["digits"],
        exponent=int(match["exponent"] or 0),
        prefix=match["prefix"] or "",
        suffix=suffix,
    )


def number_format(prefix: str, suffix: str, thousands: str, decimal: str) -> str:
    """Return the example of a format of numbers."""
    return f"{prefix}1{thousands}234{decimal}5{suffix}"


@cache
def _parts(example: str) -> tuple[str, str, str, str]:
    match = _EXAMPLE.fullmatch(example)
    if match is None:
        raise ValueError(f"Expected a format such as 1,234.5. Received: {example!r}.")
    return match["prefix"], match["suffix"], match["thousands"], match["decimal"]


@cache
def _digits_pattern(thousands: str, decimal: str) -> re.Pattern[str]:
    mark = re.escape(thousands)
    group = rf"{mark}\d{{2,3}}" if thousands == "," else rf"{mark}\d{{3}}"  # lakhs have pairs
    groups = rf"|[1-9]\d{{0,2}}(?:{group})*{mark}\d{{3}}" if thousands else ""
    return re.compile(rf"(?:\d+{groups})?(?:{re.escape(decimal)}\d*)?")


def has_digits_of(digits: str, thousands: str, decimal: str) -> bool:
    """Return whether digits follow a thousands separator, which may be empty, and decimal mark."""
    return _digits_pattern(thousands, decimal).fullmatch(digits) is not None


def parse_formatted(example: str, text: str) -> float | None:
    """Return the number, or the seconds since 1970, that a text spells in a format, else None.

    A date may also be in ISO 8601, as it is in JSON.
    """
    if example in DATE_FORMATS:
        return parse_date(example, normalise(text))
    return _parse_number(example, text)


def _parse_number(example: str, text: str) -> float | None:
    number, (prefix, suffix, thousands, decimal) = split_number(text), _parts(example)
    if number is None or (number.prefix, number.suffix.strip()) != (prefix, suffix.strip()):
        return None
    if not has_digits_of(number.digits, thousands, decimal):
        return None
    digits = number.digits.replace(thousands, "") if thousands else number.digits
    value = float(f"{digits.replace(decimal, '.')}e{number.exponent}")
    return number.sign * value
