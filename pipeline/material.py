"""What a job works on: data, their summary and folds, read once for all jobs of a process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pipeline.config import Config
from pipeline.cv import Split, Trouble, find_troubles, make_splits
from pipeline.dataset import Dataset, DataSummary, load, summarise

LARGEST = 2**28  # bytes kept while something else is read
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What a job works on.

    Attributes:
        dataset: The table.
        summary: The table in numbers.
        splits: Which rows train and which rows test.
        troubles: What the folds will lack.
    """

    dataset: Dataset
    summary: DataSummary
    splits: Sequence[Split]
    troubles: Sequence[Trouble]


class Recent(Generic[T]):
    """The last things that were made, by what they were made from."""

    def __init__(self, size: Callable[[T], int]) -> None:
        """Keep nothing yet.

        Args:
            size: Returns the bytes of a thing.
        """
        self._size = size
        self._kept: dict[Any, T] = {}

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return what is kept under a key, or make and keep it.

        Before anything is made, the oldest are dropped until the rest is small: a large table never
        stays while another is read.
        """
        if key not in self._kept:
            while sum(map(self._size, self._kept.values())) > LARGEST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = make()
        return self._kept[key]


_datasets = Recent[tuple[Dataset, DataSummary]](lambda kept: kept[0].X.nbytes + kept[0].y.nbytes)
_splits = Recent[tuple[Sequence[Split], Sequence[Trouble]]](
    lambda kept: sum(split.train.nbytes + split.test.nbytes for split in kept[0])
)


def read(config: Config) -> Material:
    """Return what the configuration describes; what this process has read is not read again.

    Raises:
        UserError: If the data cannot be read, worked with or divided as configured.
    """

    def read_dataset() -> tuple[Dataset, DataSummary]:
        dataset = load(config.dataset)
        return dataset, summarise(dataset)

    def divide() -> tuple[Sequence[Split], Sequence[Trouble]]:
        splits = make_splits(config.cv, dataset)
        return splits, find_troubles(config.cv, dataset, splits)

    source = repr(replace(config.dataset, new_rows=()))
    dataset, summary = _datasets.get(source, read_dataset)
    dataset.refuse_extreme()
    if config.preparation.impute == "none":
        dataset.refuse_missing()
    splits, troubles = _splits.get((repr(config.cv), dataset.digest), divide)
    return Material(dataset, summary, splits, troubles)
