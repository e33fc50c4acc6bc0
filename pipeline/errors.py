"""UserError, texts for error messages, and the masking of passwords in URIs."""

import difflib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from traceback import extract_tb

VARIABLE = "MANYFOLD_URIS"  # environment variable: URIs with passwords, separated by spaces
TRACKING_URI = "MLFLOW_TRACKING_URI"  # environment variable of MLflow
PACKAGES = {
    "psycopg2": "psycopg[binary]",
    "psycopg": "psycopg[binary]",
    "MySQLdb": "pymysql",
    "google.cloud": "google-cloud-storage",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob",
}
"""Names that `pip` knows of modules that are called otherwise."""
DRIVERS = {"psycopg2": "postgresql+psycopg://...", "MySQLdb": "mysql+pymysql://..."}
MAX_SUGGESTIONS = 40
MAX_COMPARED = 100  # characters of a name; comparing two takes the square of their length
MASK = "***"  # of user and password, and of tokens
_PASSWORD = (  # with its user; digits after the colon may be a port, unless an @ follows later
    r"[^\s/?#@:'\"]*:(?!\d+(?:[/?#][^\s'\"@]*)?(?:[,\s'\"]|$))(?:[^\s'\"@]*@)+?"
    r"(?=[^\s/?#@,'\"]*(?:[/?#,\s'\"\]}]|$))"  # followed by a host
)
_TOKEN = r"(?:(?<=http://)|(?<=https://))[^\s/?#@:'\",]+@"
URI = re.compile(rf"\b([a-zA-Z][\w+.-]*://)({_PASSWORD}|{_TOKEN})?([^\s'\",\[\]{{}}]*)")
_QUERY = re.compile(
    r"([?&;](?=[\w.-]*(?:token|passw|pwd|secret|key|sig|credential|auth))[\w.-]*+=)[^&;#]+", re.I
)


def mask(text: str) -> str:
    """Mask user and password, and tokens in the query, of each URI in a text."""
    return URI.sub(_mask_uri, text) if "://" in text else text


def _mask_uri(uri: re.Match[str]) -> str:
    credentials = f"{MASK}@" if uri[2] else ""
    rest = _QUERY.sub(rf"\1{MASK}", uri[3])
    return f"{uri[1]}{credentials}{rest}"


class UserError(ValueError):
    """An error that the user can correct; its message is shown without a traceback.

    The message says what was expected, what was received and what to type.
    """

    def __init__(self, message: str) -> None:
        """Mask passwords and tokens in the message."""
        super().__init__(mask(message))


def describe_exception(error: Exception) -> str:
    """Return the type, the message and the line of code of an exception."""
    frame = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


def locate(where: str, error: ValueError, hint: str = "") -> UserError:
    """Return an error that says where another one occurred, and what to do about it."""
    message = str(error)
    return UserError(f"{where}: {message[:1].lower()}{message[1:]}{hint and ' '}{hint}")


def describe_unwritable(error: OSError) -> str:
    """Return a sentence about a file or folder that cannot be written."""
    reason = error.strerror or type(error).__name__
    return (
        f"expected a file that can be written. Received: {error.filename} ({reason}). Write "
        "elsewhere: tracking.uri=sqlite:///FOLDER/mlflow.db hydra.run.dir=FOLDER "
        "hydra.sweep.dir=FOLDER"
    )


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor can the package above it
        return False


def explain_missing_package(module: str) -> str:
    """Return a sentence that says how to install a missing module."""
    package = PACKAGES.get(module) or module.replace(".", "-")
    if module in DRIVERS and is_installed(re.split(r"\W", package)[0]):
        return f"{module} is not installed. Write {DRIVERS[module]}"
    name = f"'{package}'" if "[" in package else package
    uri = f" and write {DRIVERS[module]}" if module in DRIVERS else ""
    return f"{module} is not installed. Install it: pip install {name}{uri}"


MIN_CONTAINED = 4  # characters of a name that is part of the one meant, as in random_forest


def suggest(name: str, available: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """Return a hint for an unknown name: the most similar one, and all available ones.

    Args:
        name: The unknown name.
        available: Names that exist.
        listed: Names to list, if one of them can stand for several available ones.
    """
    names = sorted(available)
    similar = [other for other in names if len(name) >= MIN_CONTAINED and name in other]
    if len(similar) != 1:
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


def hide(text: str) -> str:
    """Mask the URIs of a setting, and keep them for this process and those that it starts."""
    uris = {mask(match[0]): match[0] for match in URI.finditer(text)}
    secret = {masked: uri for masked, uri in uris.items() if uri != masked}
    if secret:
        os.environ[VARIABLE] = " ".join((_uris_by_mask() | secret).values())
    return mask(text)


def hide_all(arguments: Sequence[str]) -> list[str]:
    """Mask the URIs of a command line, and keep them.

    Raises:
        UserError: If two URIs differ in what is masked only.
    """
    uris = {match[0] for argument in arguments for match in URI.finditer(argument)}
    for masked, n in Counter(map(mask, uris)).items():
        if n > 1:
            raise UserError(
                f"Expected URIs that differ in more than passwords and tokens. Received: {masked} "
                f"with {n} different ones."
            )
    return [hide(argument) for argument in arguments]


def reveal(text: str) -> str:
    """Return a setting with its masked URIs as they were before.

    Raises:
        UserError: If a URI is unknown, as in settings that were copied from a run.
    """
    if MASK not in text:
        return text
    uris = _uris_by_mask()
    for match in URI.finditer(text):
        if MASK in match[0] and match[0] not in uris:
            raise UserError(
                f"Expected a URI with its user, password and tokens. Received: {match[0]}, where "
                f"they are masked. Give it anew: as tracking.uri=... or in {TRACKING_URI} if it is "
                f"that of the MLflow store, else in {VARIABLE}."
            )
    return URI.sub(lambda match: uris.get(match[0], match[0]), text)


def credential_variables() -> dict[str, str]:
    """Return the environment variables that jobs on other machines need to reach the store."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("MLFLOW_TRACKING_") or name == VARIABLE
    }


@cache
def mask_logs() -> None:
    """Mask the URIs in all messages and tracebacks that libraries log."""
    make_record = logging.getLogRecordFactory()

    def make_masked_record(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        if "://" in str(record.args) + str(record.msg):
            record.msg, record.args = mask(record.getMessage()), ()
        if record.exc_info and record.exc_info[0]:
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
        return record

    logging.setLogRecordFactory(make_masked_record)


def _uris_by_mask() -> dict[str, str]:
    """Return the URIs in the environment by their masked form."""
    uris = [os.environ.get(TRACKING_URI, ""), *os.environ.get(VARIABLE, "").split()]
    return {mask(uri): uri for uri in uris if uri != mask(uri)}
