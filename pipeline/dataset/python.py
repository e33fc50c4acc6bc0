"""Data from a user's own callable."""

import traceback
from typing import Any

from pipeline.config import PythonDatasetConfig
from pipeline.dataset.builder import dataset_of_parts
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError
from pipeline.runtime import import_callable


def call(config: PythonDatasetConfig) -> Dataset:
    """Return the data set that a callable makes: what it returns is X and y, or a `Dataset`.

    Raises:
        UserError: If it cannot be imported, raises, or returns anything else.
    """
    try:
        found = import_callable("dataset.callable", config.callable)(**config.params)
    except UserError:
        raise
    except Exception as error:  # the user's code, so the user's to mend
        raise _format_error(config.callable, error) from error
    if isinstance(found, Dataset):
        return found
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise UserError(
            f"dataset.callable: expected {config.callable} to return X and y. Received: "
            f"{_described(found)}."
        )
    name = config.name or config.callable.rpartition(".")[2]
    return dataset_of_parts(name, config.callable, *found)


def _format_error(path: str, error: Exception) -> UserError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return UserError(
        f"dataset.callable: expected {path} to return X and y. Received: "
        f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
    )


def _described(found: Any) -> str:
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found)}"
    return f"a {type(found).__name__}"
