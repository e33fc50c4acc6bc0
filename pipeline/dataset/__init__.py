"""Multi-label tables from any source, validated: one file per source, each a function."""

from pipeline.config import ArffConfig, DatasetConfig, SyntheticConfig
from pipeline.dataset.record import Dataset
from pipeline.dataset.summary import DataSummary, short, summarise

__all__ = ["DataSummary", "Dataset", "load", "short", "summarise"]


def load(config: DatasetConfig) -> Dataset:
    """Return the data set that the configuration describes.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
    match config:
        case SyntheticConfig():
            from pipeline.dataset.synthetic import synthetic

            return synthetic(config)
        case ArffConfig():
            from pipeline.dataset.arff import read_arff

            return read_arff(config)
