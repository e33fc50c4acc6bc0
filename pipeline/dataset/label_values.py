"""The values of a label that mean yes and no."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import UserError

INVALID = -1
MAX_SHOWN = 8
_SPELLINGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y"), 1),
    **dict.fromkeys(("0", "false", "f", "no", "n"), 0),
}
_PAIRS = {  # of no and yes; they are suggested, never assumed
    "-1": "1", "neg": "pos", "negative": "positive", "absent": "present", "off": "on",
    "": "1", "-": "+", "ko": "ok",
}  # fmt: skip


@dataclass(frozen=True)
class LabelValues:
    """Values that mean yes and no, beside 1/0, true/false, t/f, yes/no and y/n.

    Attributes:
        true: Values of dataset.true_values; `>0` stands for all numbers above 0.
        false: Values of dataset.false_values; an empty text stands for a missing value.
    """

    true: tuple[object, ...] = ()
    false: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        """Raise UserError if a value is in both."""
        both = set(map(_spell, self.true)) & set(map(_spell, self.false))
        if both:
            raise UserError(
                "dataset.true_values: expected values that are not in dataset.false_values as "
                f"well. Received: {min(both)!r} in both."
            )

    def parse(self, value: object) -> int:
        """Return 1 for yes, 0 for no and -1 for any other value."""
        text = _spell(value)
        if text in self._by_spelling:
            return self._by_spelling[text]
        number = _to_number(text)
        for y, bounds in enumerate(self._lower_bounds):
            if number is not None and any(number > bound for bound in bounds):
                return y
        return INVALID

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
        shown = ", ".join(repr(text[:20]) if text else "blank" for text in occurring[:MAX_SHOWN])
        more = f" and {len(occurring) - MAX_SHOWN} more" if len(occurring) > MAX_SHOWN else ""
        return UserError(
            f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: "
            f"{received} in label {name!r}, row {row} (the first is 0). {self._suggest(occurring)} "
            f"The values of this label: {shown}{more}."
        )

    def _suggest(self, occurring: Sequence[str]) -> str:
        unset = [text for text in occurring if self.parse(text) == INVALID]
        numbers = [_to_number(text) for text in occurring if text]
        if all(number is not None and number >= 0 for number in numbers) and "0" in occurring:
            if "" not in unset and all(number.is_integer() for number in numbers if number):
                return "If every number above 0 means yes, give \"dataset.true_values=['>0']\"."
        elif len(occurring) == 2:
            pairs = {no: yes for no, yes in _PAIRS.items() if no in occurring and yes in occurring}
            if "" in occurring:
                pairs[""] = max(occurring)
            if pairs:
                no, yes = next(iter(pairs.items()))
                return (
                    f"If {yes!r} means yes and {no or 'blank'!r} no, give "
                    f"\"dataset.true_values=['{yes}']\" \"dataset.false_values=['{no}']\"."
                )
        return (
            "Name those that mean yes in dataset.true_values and those that mean no in "
            f"dataset.false_values, such as \"dataset.true_values=['{(unset or occurring)[-1]}']\"."
        )

    @cached_property
    def _by_spelling(self) -> dict[str, int]:
        given = {_spell(it): y for y, them in enumerate((self.false, self.true)) for it in them}
        return _SPELLINGS | given

    @cached_property
    def _lower_bounds(self) -> tuple[list[float], list[float]]:
        """Bounds of the false and of the true numbers, of texts such as `>0`."""
        bounds: tuple[list[float], list[float]] = ([], [])
        for y, values in enumerate((self.false, self.true)):
            texts = [_spell(value) for value in values]
            numbers = [_to_number(text[1:]) for text in texts if text[:1] == ">"]
            bounds[y].extend(number for number in numbers if number is not None)
        return bounds


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
