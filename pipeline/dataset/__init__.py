"""Multi-label tables from any source, validated: one file per source, each a function."""

from dataclasses import replace

from pipeline.config import (
    ArffConfig,
    DatasetConfig,
    NpzConfig,
    OpenmlConfig,
    PythonDatasetConfig,
    SvmlightConfig,
    SyntheticConfig,
    TableConfig,
)
from pipeline.dataset.folds import join
from pipeline.dataset.record import Dataset
from pipeline.dataset.summary import DataSummary, short, summarise
from pipeline.errors import UserError

__all__ = ["DataSummary", "Dataset", "load", "short", "summarise"]


def load(config: DatasetConfig) -> Dataset:
    """Return the data set that the configuration describes.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
    if isinstance(config, TableConfig | ArffConfig) and config.test_path:
        return _pair(config, config.test_path)
    return _read(config)


def _pair(config: TableConfig | ArffConfig, test_path: str) -> Dataset:
    if isinstance(config, TableConfig) and (config.fold or config.group):
        raise UserError(
            "dataset.test_path: expected neither dataset.fold nor dataset.group beside it, as the "
            f"files say which rows test. Received: {config.fold or config.group!r}."
        )
    train = _read(replace(config, test_path=None))
    test = _read(replace(config, path=test_path, test_path=None))
    return join(train, test, all_labels=isinstance(config, TableConfig) and bool(config.label_list))


def _read(config: DatasetConfig) -> Dataset:
    match config:  # each source brings its own heavy imports
        case SyntheticConfig():
            from pipeline.dataset.synthetic import synthetic

            return synthetic(config)
        case TableConfig():
            from pipeline.dataset.table import read_table

            return read_table(config)
        case ArffConfig():
            from pipeline.dataset.arff import read_arff

            return read_arff(config)
        case OpenmlConfig():
            from pipeline.dataset.openml import fetch

            return fetch(config)
        case SvmlightConfig():
            from pipeline.dataset.svmlight import read_svmlight

            return read_svmlight(config)
        case NpzConfig():
            from pipeline.dataset.npz import read_npz

            return read_npz(config)
        case PythonDatasetConfig():
            from pipeline.dataset.python import call

            return call(config)
