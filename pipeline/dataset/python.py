"""Load data with the user's own callable."""

from pipeline.config import PythonDatasetConfig
from pipeline.dataset.builder import dataset_from_features_and_labels
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError, describe_exception
from pipeline.user_code import import_callable


def load(config: PythonDatasetConfig) -> Dataset:
    """Call the configured callable, which returns X and y, or a `Dataset`.

    Raises:
        UserError: If it cannot be imported, raises, or returns anything else.
    """
    try:
        result = import_callable("dataset.loader", config.loader)(**config.params)
    except UserError:
        raise
    except Exception as error:  # any error of the user's code
        raise UserError(
            f"dataset.loader: expected {config.loader} to return X and y. Received: "
            f"{describe_exception(error)}"
        ) from error
    if isinstance(result, Dataset):
        return result
    if not isinstance(result, tuple | list) or len(result) != 2:
        length = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        raise UserError(
            f"dataset.loader: expected {config.loader} to return X and y. Received: a "
            f"{type(result).__name__}{length}."
        )
    name = config.name or config.loader.rpartition(".")[2]
    X, y = result
    return dataset_from_features_and_labels(name, config.loader, X, y, LabelValues.of(config))
