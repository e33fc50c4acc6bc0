"""The error that is the user's to mend."""

import difflib
from collections.abc import Iterable

MAX_SUGGESTIONS = 40


class UserError(Exception):
    """What was expected, what came and what to do, for the screen; shown without a traceback."""


def suggest(name: str, available: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """Return the counsel for an unknown name: the nearest one that exists, and all that exist.

    Args:
        name: What was asked for.
        available: What exists.
        listed: What to list instead, where one entry can stand for several names.
    """
    known = sorted(available)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    shown = known if listed is None else sorted(listed)
    more = f" and {len(shown) - MAX_SUGGESTIONS} more" if len(shown) > MAX_SUGGESTIONS else ""
    return f"{hint}Available: {', '.join(shown[:MAX_SUGGESTIONS]) or '(none)'}{more}."


def shorten(name: str, length: int) -> str:
    """Return the name, or where it is longer its beginning and end: what tells many apart."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"
