"""The values of a label that mean yes and no."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from pipeline.config import DatasetConfig, format_setting
from pipeline.errors import UserError

INVALID, UNKNOWN = -1, -2
MAX_SHOWN = 8
_MISSING = ("", "?", "nan")  # beside None and NaN
_SPELLINGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y"), 1),
    **dict.fromkeys(("0", "false", "f", "no", "n"), 0),
}
_NO = {  # suggested, never assumed
    "", "-1", "\N{MINUS SIGN}1", "-", "neg", "negative", "absent", "off", "ko", "non", "nein",
    "nee", "nej", "não", "nao", "нет", "否", "ne", "nie", "ei", "いいえ", "아니요", "none", "null",
    "disabled", "inactive", "unchecked", "low", "☐", "✘", "✗", "❌", ".f.", ".false.",
}  # fmt: skip
_COMPARISON = re.compile(r"([<>]=?)\s*([-+.\deE]+)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class LabelValues:
    """Values that mean yes and no, beside 1/0, true/false, t/f, yes/no and y/n.

    Attributes:
        true: Values of dataset.true_values; `>0` stands for all numbers above 0, likewise `<=0.5`.
        false: Values of dataset.false_values; an empty text stands for a missing value.
        na: Values of dataset.label_na_values, which mean that the label is not known.
        is_masked: True if dataset.missing_labels=mask, so that missing values are such values.
        na_texts: Texts that mean a missing value in any column of the table.
    """

    true: tuple[object, ...] = ()
    false: tuple[object, ...] = ()
    na: tuple[object, ...] = ()
    is_masked: bool = False
    na_texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise UserError if a value has two meanings, or one of no effect."""
        given = {"true_values": self.true, "false_values": self.false, "label_na_values": self.na}
        for (one, first), (other, second) in combinations(given.items(), 2):
            both = set(map(_spell, first)) & set(map(_spell, second))
            if both:
                raise UserError(
                    f"dataset.{one}: expected values that are not in dataset.{other} as well. "
                    f"Received: {min(both)!r} in both."
                )
        if self.na and not self.is_masked:
            raise UserError(
                "dataset.label_na_values: expected none with dataset.missing_labels=refuse. "
                f"Received: {list(self.na)}. Give dataset.missing_labels=mask"
            )

    @classmethod
    def of(cls, config: DatasetConfig) -> "LabelValues":
        """Return the values to which the settings of a data set give a meaning."""
        true, false, na, na_texts = (
            getattr(config, key, ())
            for key in ("true_values", "false_values", "label_na_values", "na_values")
        )
        return cls(true, false, na, config.missing_labels == "mask", na_texts)

    def parse(self, value: object) -> int:
        """Return 1 for yes, 0 for no, -2 for not known and -1 for any other value."""
        text = _spell(value)
        if text in self._by_spelling:
            return self._by_spelling[text]
        number = _to_number(text)
        for y, compare, bound in self._comparisons:
            if number is not None and compare(number, bound):
                return y
        return UNKNOWN if text in self._missing else INVALID

    @property
    def reads_blanks(self) -> bool:
        """True if a blank cell means yes or no."""
        return "" in map(_spell, (*self.true, *self.false))

    def error(
        self, source: str, name: str, value: object, row: int, values: Iterable[object]
    ) -> UserError:
        """Return the error for a value that is neither yes nor no.

        Args:
            source: Origin of the label, for the message.
            name: Name of the label.
            value: The value.
            row: Its row.
            values: All values of the label.
        """
        is_missing = value is None or value != value
        received = "a missing value" if is_missing else repr(str(value)[:60])
        occurring = sorted({_spell(it) for it in values})
        shown = ", ".join(map(_show, occurring[:MAX_SHOWN]))
        more = f" and {len(occurring) - MAX_SHOWN} more" if len(occurring) > MAX_SHOWN else ""
        way_out = ""
        if any(text in _MISSING and self.parse(text) == INVALID for text in occurring):
            way_out = "If a missing value means not known, give dataset.missing_labels=mask. "
        return UserError(
            f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: "
            f"{received} in label {name!r}, row {row} (the first is 0). {self._suggest(occurring)} "
            f"{way_out}The values of this label: {shown}{more}."
        )

    def _suggest(self, occurring: Sequence[str]) -> str:
        """Return the settings to type for the values of a label."""
        unset = [text for text in occurring if self.parse(text) == INVALID]
        numbers = [_to_number(text) for text in occurring]
        counts = [number for number in numbers if number and number > 0 and number.is_integer()]
        if "0" in occurring and len(counts) == len(occurring) - 1:
            return f"If every number above 0 means yes, give {_type((), ['>0'])}."
        if unset == [""] and (len(occurring) != 2 or self.parse(occurring[1]) == 0):
            return (
                "Fill in the missing values, drop the rows, or, if a blank means no, give "
                f"{_type([''], ())}."
            )
        if None not in numbers and any(number and not number.is_integer() for number in numbers):
            typed = _type(["<=0.5"], [">0.5"])
            return f"If numbers above 0.5, or another bound, mean yes, give {typed}."
        if len(occurring) == 2:
            is_no = [text in _NO or self.parse(text) == 0 for text in occurring]
            is_yes = [self.parse(text) == 1 for text in occurring]
            no, yes = occurring[::-1] if is_no[1] > is_no[0] or is_yes[0] > is_yes[1] else occurring
            order = "" if is_no[0] != is_no[1] else ", or the other way round"
            typed = f"{_type([no], [yes])}{order}"
            return f"If {_show(yes)} means yes and {_show(no)} no, give {typed}."
        values = unset or list(occurring)
        return (
            f"Give {_type((), values[:MAX_SHOWN])} with those that mean yes, and "
            f"{_type(values[:MAX_SHOWN], ())} with those that mean no."
        )

    @cached_property
    def _by_spelling(self) -> dict[str, int]:
        meanings = {0: self.false, 1: self.true, UNKNOWN: self.na}
        return _SPELLINGS | {_spell(it): y for y, them in meanings.items() for it in them}

    @cached_property
    def _missing(self) -> frozenset[str]:
        """Spellings of a missing value, if these mean not known."""
        return frozenset(map(_spell, (*_MISSING, *self.na_texts)) if self.is_masked else ())

    @cached_property
    def _comparisons(self) -> list[tuple[int, Callable[[float, float], bool], float]]:
        """Meaning, comparison and bound of each text such as `>0`."""
        comparisons = []
        for y, values in enumerate((self.false, self.true)):
            for match in map(_COMPARISON.fullmatch, map(_spell, values)):
                number = _to_number(match[2]) if match else None
                if match and number is not None:
                    comparisons.append((y, _COMPARE[match[1]], number))
        return comparisons


def _show(text: str) -> str:
    return repr(text[:20]) if text else "blank"


def _type(false: Sequence[str], true: Sequence[str]) -> str:
    """Return the settings for values that mean no and yes."""
    given = {"dataset.true_values": true, "dataset.false_values": false}
    return " ".join(format_setting(key, list(texts)) for key, texts in given.items() if texts)


def _spell(value: object) -> str:
    """Return one text for all spellings of a value: 1 and 1.0, Yes and yes; blank if missing."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return ""
    text = str(value).strip().lower()
    number = _to_number(text) if text.endswith(".0") or isinstance(value, float) else None
    return f"{number:.15g}" if number is not None else text


def _to_number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


DEFAULTS = LabelValues()
MASKED = LabelValues(is_masked=True)
