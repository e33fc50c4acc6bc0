"""Warnings about splits, such as labels without positives in a test fold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CvConfig, PredefinedConfig, ShuffleSplitConfig
from pipeline.cv.splitters import Split
from pipeline.dataset import Dataset
from pipeline.errors import shorten

MAX_NAMED = 5  # labels named with a trouble
MAX_NAME = 30  # characters of a label's name
_GROUPED = ("group_kfold", "stratified_group_kfold")
_STRATIFIED = ("multilabel_stratified", "stratified_group_kfold")


@dataclass(frozen=True)
class SplitWarning:
    """One kind of trouble with the folds.

    Attributes:
        what: What is wrong.
        labels: Each label that it concerns and in how many folds, most folds first; empty if it
            is not about labels.
        n_folds: Folds that it concerns.
        n_splits: Folds in all.
        hint: What would help.
    """

    what: str
    labels: tuple[tuple[str, int], ...]
    n_folds: int
    n_splits: int
    hint: str

    def __str__(self) -> str:
        """Return what is wrong, where, and what would help."""
        if not self.labels:
            return f"{self.what} in {self.n_folds} of {self.n_splits} folds: {self.hint}"
        first, *others = [
            f"{shorten(name, MAX_NAME)} in {n}" for name, n in self.labels[:MAX_NAMED]
        ]
        named = [f"{first} of {self.n_splits} folds", *others]
        n_more = len(self.labels) - len(named)
        more = f" and {n_more} more labels" if n_more else ""
        return f"{self.what} {', '.join(named)}{more}: {self.hint}"


def check_splits(config: CvConfig, dataset: Dataset, splits: list[Split]) -> list[SplitWarning]:
    """Return what makes scores undefined, too good or too sure, as far as the folds show it.

    A label without a positive among the training rows cannot be learnt; one without a positive
    among the test rows has no recall, no F1 and no ROC curve there.
    """
    n_train = np.stack([_n_train(dataset.y, split) for split in splits])
    n_test = np.stack([dataset.y[split.test].sum(axis=0, dtype=int) for split in splits])
    nowhere = dataset.y.sum(axis=0, dtype=int) == 0
    n_folds = 2 if isinstance(config, ShuffleSplitConfig | PredefinedConfig) else config.n_splits
    absent = [
        ("No training row has", (n_train == 0) & ~nowhere, 2),
        ("No test row has", (n_test == 0) & ~nowhere, n_folds),
    ]
    split_warnings = [
        SplitWarning(
            what,
            _most_first(dataset.label_names, missing.sum(axis=0)),
            int(missing.any(axis=1).sum()),
            len(splits),
            _hint(config, dataset, missing.any(axis=0), needed),
        )
        for what, missing, needed in absent
        if missing.any()
    ]
    return split_warnings + _torn_groups(config, dataset, splits) + _same_repeats(splits)


def _n_train(y: NDArray[np.int8], split: Split) -> NDArray[np.int64]:
    """Return the training rows of each label, counted by the others, which are fewer."""
    others = np.ones(len(y), dtype=bool)
    others[split.train] = False
    held_out = y[others].sum(axis=0, dtype=np.int64)
    counts: NDArray[np.int64] = y.sum(axis=0, dtype=np.int64) - held_out
    return counts


def _most_first(names: tuple[str, ...], n_folds: NDArray[np.int64]) -> tuple[tuple[str, int], ...]:
    order = np.argsort(-n_folds, kind="stable")
    return tuple((names[label], int(n_folds[label])) for label in order if n_folds[label])


def _hint(config: CvConfig, dataset: Dataset, labels: NDArray[np.bool_], needed: int) -> str:
    """Return what would bring the labels into all folds, if anything would.

    Args:
        config: The splitter that was chosen.
        dataset: The data.
        labels: Which labels are absent somewhere, of shape (n_labels,).
        needed: Rows, or groups, that a label must have for any splitter to spread it.
    """
    unit, counts = _places(config, dataset)
    fewest = int(counts[labels].min())
    hint = []
    if (counts[labels] >= needed).any():
        better = "stratified_group_kfold" if unit == "groups" else "multilabel_stratified"
        hint.append(
            "try another cv.random_state" if config.kind in _STRATIFIED else f"try cv={better}"
        )
    if fewest < needed:
        fewer = f"cv.n_splits={fewest}" if fewest > 1 else "leaving the rarest out"
        hint.append(
            f"a label of fewer than {needed} {unit} cannot be in all folds; {fewer} would help"
        )
    return "; ".join(hint) + "."


def _places(config: CvConfig, dataset: Dataset) -> tuple[str, NDArray[np.int64]]:
    """Return how many rows, or groups where those stay whole, have each label."""
    if dataset.groups is None or config.kind not in _GROUPED:
        return "rows", dataset.y.sum(axis=0, dtype=np.int64)
    _, group = np.unique(dataset.groups, return_inverse=True)
    held = np.zeros((group.max() + 1, dataset.n_labels), dtype=np.int64)
    np.add.at(held, group, dataset.y)
    return "groups", (held > 0).sum(axis=0)


def _torn_groups(config: CvConfig, dataset: Dataset, splits: list[Split]) -> list[SplitWarning]:
    if dataset.groups is None or config.kind in _GROUPED:
        return []
    groups = dataset.groups
    torn = sum(bool(np.isin(groups[split.test], groups[split.train]).any()) for split in splits)
    if not torn:
        return []
    what = "Rows of one group both train and test"
    hint = "scores will be too good where groups are alike; try cv=stratified_group_kfold."
    return [SplitWarning(what, (), torn, len(splits), hint)]


def _same_repeats(splits: list[Split]) -> list[SplitWarning]:
    repeats: dict[int, set[bytes]] = {}
    for split in splits:
        repeats.setdefault(split.repeat, set()).add(np.sort(split.test).tobytes())
    distinct = {frozenset(folds) for folds in repeats.values()}
    if len(distinct) == len(repeats):
        return []
    n_folds = sum(map(len, repeats.values())) - sum(map(len, distinct))
    what = "Repeats divide the rows as an earlier one"
    hint = f"they tell little more; try cv.n_repeats={len(distinct)}."
    return [SplitWarning(what, (), n_folds, len(splits), hint)]
