"""Error messages that say what to type in Python instead of in a shell."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import UserError

ARGUMENTS = {
    "dataset.group_column": "groups",
    "dataset.fold_column": "folds",
    "dataset.id_column": "ids",
    "dataset.time_column": "times",
    "dataset.weight_column": "sample_weight",
    "dataset.text_columns": "text_columns",
}
"""Arguments of `evaluate` that take the place of a configuration's keys."""
_SETTING = re.compile(
    r"""(['"]?)\b([a-z]\w*(?:\.\w+)+=(?:\[[^]]*\]|\{[^}]*\}|[^\s,;'"]*[^\s,;'".]))\1"""
)


@contextmanager
def python_messages(of_dataset: bool = False) -> Iterator[None]:
    """Say in error messages what to type in Python instead of in a shell."""
    try:
        yield
    except UserError as error:
        message = _to_python(str(error), of_dataset)
        if message == str(error):
            raise
        raise UserError(message) from error


def _to_python(message: str, of_dataset: bool) -> str:
    """Replace options and settings of the command line by arguments."""
    message = re.sub(r"(?<!\S)--(\w+)", r"\1", message)
    if of_dataset:
        return re.sub(r"\bdataset\.(\w)", r"\1", message)
    for key, argument in ARGUMENTS.items():
        message = message.replace(key, argument)
    return _SETTING.sub(lambda match: f'settings=["{match[2]}"]', message)
