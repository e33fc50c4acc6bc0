"""Labels in any usual spelling of yes and no become 1 and 0; nothing else does."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

_SPELLINGS = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y"), 1),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), 0),
}
_OTHER = -1


def indicator(source: str, name: str, values: NDArray[Any], first_row: int = 0) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, of shape (n_samples,).

    Args:
        source: Where the values came from, for the message.
        name: Name of the label.
        values: Numbers, booleans, texts or bytes, of shape (n_samples,).
        first_row: Row number of the first value, for the message.

    Raises:
        UserError: If a value is neither a yes nor a no.
    """
    if values.dtype.kind in "biuf":
        y = np.where(values == 1, 1, np.where(values == 0, 0, _OTHER)).astype(np.int8)
    else:
        known: dict[object, int] = {}
        y = np.fromiter(
            (known[v] if v in known else known.setdefault(v, _spelt(v)) for v in values.tolist()),
            dtype=np.int8,
            count=len(values),
        )
    _refuse_others(source, name, y, values, first_row)
    return y


def indicator_of_codes(
    source: str, name: str, codes: NDArray[np.int64], texts: Sequence[object], first_row: int = 0
) -> NDArray[np.int8]:
    """Return a label's values as 0 and 1, where each is given as its place in `texts`.

    Args:
        source: Where the values came from, for the message.
        name: Name of the label.
        codes: Place of each row's value in `texts`, of shape (n_samples,); negative if missing.
        texts: The values that occur.
        first_row: Row number of the first value, for the message.

    Raises:
        UserError: If a value that occurs is neither a yes nor a no.
    """
    spelt = np.array([*map(_spelt, texts), _OTHER], dtype=np.int8)
    y = spelt[np.where(codes < 0, len(texts), codes)]
    if (y == _OTHER).any():
        values = np.array([*texts, None], dtype=object)[np.where(codes < 0, -1, codes)]
        _refuse_others(source, name, y, values, first_row)
    return y


def refuse_missing_label(source: str, name: str, row: int) -> None:
    """Raise UserError for a label without a value."""
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: a missing "
        f"value in label {name!r}, row {row} (the first is 0)."
    )


def listed(source: str, name: str, text: str, separator: str, row: int) -> tuple[str, ...]:
    """Return the labels that one cell lists; none if it is blank.

    Args:
        source: Where the cell came from, for the message.
        name: Name of the column.
        text: The cell: labels between separators, or a JSON list.
        separator: What stands between labels, or `json`.
        row: Row number, for the message.
    """
    if separator != "json":
        return tuple(filter(None, map(str.strip, text.split(separator))))
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(f, str | int) and f != "" for f in found):
        raise UserError(
            f"{source}: expected a JSON list of labels. Received: {text[:60]!r} in column "
            f"{name!r}, row {row} (the first is 0)."
        )
    return tuple(map(str, found))


def _spelt(value: object) -> int:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _SPELLINGS.get(value.strip().lower(), _OTHER)
    if isinstance(value, bool | int | float | np.generic) and value in (0, 1):
        return int(value)
    return _OTHER


def _refuse_others(
    source: str, name: str, y: NDArray[np.int8], values: NDArray[Any], first_row: int
) -> None:
    if not (y == _OTHER).any():
        return
    row = int((y == _OTHER).argmax())
    value = values[row].item() if isinstance(values[row], np.generic) else values[row]
    if value is None or value != value:
        refuse_missing_label(source, name, first_row + row)
    raise UserError(
        f"{source}: expected labels of value 0 or 1 (or true/false, yes/no). Received: "
        f"{str(value)[:60]!r} in label {name!r}, row {first_row + row} (the first is 0)."
    )
