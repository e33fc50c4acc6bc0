"""UserError, and texts for error messages."""

import difflib
from collections.abc import Iterable
from traceback import extract_tb

MAX_SUGGESTIONS = 40
MAX_COMPARED = 100  # characters of a name; comparing two takes the square of their length


class UserError(ValueError):
    """An error that the user can correct; its message is shown without a traceback.

    The message says what was expected, what was received and what to type.
    """


def describe_exception(error: Exception) -> str:
    """Return the type, the message and the line of code of an exception."""
    frame = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


def locate(where: str, error: ValueError, hint: str = "") -> UserError:
    """Return an error that says where another one occurred, and what to do about it."""
    message = str(error)
    return UserError(f"{where}: {message[:1].lower()}{message[1:]}{hint and ' '}{hint}")


def suggest(name: str, available: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """Return a hint for an unknown name: the most similar one, and all available ones.

    Args:
        name: The unknown name.
        available: Names that exist.
        listed: Names to list, if one of them can stand for several available ones.
    """
    names = sorted(available)
    similar = difflib.get_close_matches(name, names, n=1) if len(name) <= MAX_COMPARED else []
    hint = f"Did you mean {similar[0]!r}? " if similar else ""
    shown = names if listed is None else sorted(listed)
    more = f" and {len(shown) - MAX_SUGGESTIONS} more" if len(shown) > MAX_SUGGESTIONS else ""
    return f"{hint}Available: {', '.join(shown[:MAX_SUGGESTIONS]) or '(none)'}{more}."


def shorten(name: str, length: int) -> str:
    """Return the name, with an ellipsis in its middle if it is longer than a length."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"
