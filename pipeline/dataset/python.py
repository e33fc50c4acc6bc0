"""Load data with the user's own callable."""

import traceback
from typing import Any

from pipeline.config import PythonDatasetConfig
from pipeline.dataset.builder import dataset_from_features_and_labels
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError
from pipeline.runtime import import_callable


def read_python(config: PythonDatasetConfig) -> Dataset:
    """Call the configured callable, which returns X and y, or a `Dataset`.

    Raises:
        UserError: If it cannot be imported, raises, or returns anything else.
    """
    try:
        result = import_callable("dataset.loader", config.loader)(**config.params)
    except UserError:
        raise
    except Exception as error:  # any error of the user's code
        raise _format_error(config.loader, error) from error
    if isinstance(result, Dataset):
        return result
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise UserError(
            f"dataset.loader: expected {config.loader} to return X and y. Received: "
            f"{_describe(result)}."
        )
    name = config.name or config.loader.rpartition(".")[2]
    return dataset_from_features_and_labels(name, config.loader, *result)


def _format_error(path: str, error: Exception) -> UserError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return UserError(
        f"dataset.loader: expected {path} to return X and y. Received: "
        f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
    )


def _describe(result: Any) -> str:
    if isinstance(result, tuple | list):
        return f"a {type(result).__name__} of {len(result)}"
    return f"a {type(result).__name__}"
