"""The error that is the user's to mend."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was expected, what came and what to do, for the screen; shown without a traceback."""


def choices(name: str, available: Iterable[str]) -> str:
    """Return the counsel for an unknown name: the nearest one that exists, and all that exist."""
    known = sorted(available)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Available: {', '.join(known) or '(none)'}."
