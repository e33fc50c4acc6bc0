"""Replace a pattern in the path of the data set by the files that match, for sweeps over them."""

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.config.quoting import FUNCTION, quote_path, split_values
from pipeline.errors import UserError
from pipeline.runtime import expand_user

_ARGUMENT = re.compile(r"(\+{0,2}dataset\.path=)(.*)", re.DOTALL)
_WILDCARDS = re.compile(r"[*?]")


def expand_patterns(arguments: Sequence[str]) -> list[str]:
    """Replace `dataset.path=DATA/*.arff` by the paths of the matching files, sorted.

    Raises:
        UserError: If no file matches.
    """
    return [_expand_argument(argument) for argument in arguments]


def _expand_argument(argument: str) -> str:
    match = _ARGUMENT.fullmatch(argument)
    if match is None or not _WILDCARDS.search(match[2]) or FUNCTION.fullmatch(match[2]):
        return argument
    paths = [path for element in split_values(match[2]) for path in _expand(element)]
    return f"{match[1]}{','.join(paths)}"


def _expand(element: str) -> Iterator[str]:
    """Yield the quoted paths of the files that match a pattern; other elements as they are."""
    pattern = str(expand_user(element.strip()))
    if not _WILDCARDS.search(element) or Path(pattern).exists() or element[:1] in "\"'":
        yield element
        return
    paths = [path for path in sorted(glob.glob(pattern)) if Path(path).is_file()]
    if not paths:
        raise UserError(
            f"dataset.path: expected a pattern that matches a file. Received: {element}, which "
            "matches none."
        )
    yield from map(quote_path, paths)
