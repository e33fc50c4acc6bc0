"""Multi-label tables from any source, validated: one file per source, each a function."""

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
from pipeline.dataset.record import Dataset
from pipeline.dataset.summary import DataSummary, short, summarise

__all__ = ["DataSummary", "Dataset", "load", "short", "summarise"]


def load(config: DatasetConfig) -> Dataset:
    """Return the data set that the configuration describes.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
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
