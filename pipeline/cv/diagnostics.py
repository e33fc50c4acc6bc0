"""Warnings about splits, such as labels without positives in a test fold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import CvConfig, PredefinedConfig, ShuffleSplitConfig, format_setting
from pipeline.cv.splitters import Split
from pipeline.dataset import Dataset
from pipeline.errors import shorten

MAX_NAMED = 5  # labels named in a warning
MAX_NAME = 30  # characters of a label name
_GROUPED = ("group_kfold", "stratified_group_kfold")
_STRATIFIED = ("multilabel_stratified", "stratified_group_kfold")


@dataclass(frozen=True)
class SplitWarning:
    """A problem of one or more folds.

    Attributes:
        problem: Start of a sentence about the problem.
        labels: Each affected label and its number of affected folds, in descending order; empty if
            the problem does not concern labels.
        n_folds: Number of affected folds.
        n_splits: Number of all folds.
        hint: Settings that may help.
    """

    problem: str
    labels: tuple[tuple[str, int], ...]
    n_folds: int
    n_splits: int
    hint: str

    def __str__(self) -> str:
        """Return the problem, the affected labels and folds, and the hint."""
        if not self.labels:
            return f"{self.problem} in {self.n_folds} of {self.n_splits} folds: {self.hint}"
        first, *others = [
            f"{shorten(name, MAX_NAME)} in {n}" for name, n in self.labels[:MAX_NAMED]
        ]
        named = [f"{first} of {self.n_splits} folds", *others]
        n_more = len(self.labels) - len(named)
        more = f" and {n_more} more labels" if n_more else ""
        return f"{self.problem} {', '.join(named)}{more}: {self.hint}"


def check_splits(
    config: CvConfig, dataset: Dataset, splits: list[Split], *, can_drop: bool = True
) -> list[SplitWarning]:
    """Find problems of the splits that make scores undefined or too optimistic.

    A label that no training row knows, or that is negative in all of them, cannot be learnt; a
    label without a positive among the test rows has no recall, F1 or ROC curve in that fold.

    Args:
        config: The splitter.
        dataset: The data.
        splits: The splits.
        can_drop: Whether dataset.drop can leave labels out.
    """
    n_train = np.stack([_n_train(dataset.y, split) for split in splits])
    n_test = np.stack([dataset.y[split.test].sum(axis=0, dtype=int) for split in splits])
    never_positive = dataset.y.sum(axis=0, dtype=int) == 0
    n_folds = 2 if isinstance(config, ShuffleSplitConfig | PredefinedConfig) else config.n_splits
    unknown = untested = np.zeros_like(n_train, dtype=bool)
    if (mask := dataset.label_mask) is not None:
        unknown = np.stack([_n_train(mask, split) == 0 for split in splits])
        untested = np.stack([~mask[split.test].any(axis=0) for split in splits])
    absent = [
        ("No training row knows", unknown, 2, mask),
        ("No training row has", (n_train == 0) & ~never_positive & ~unknown, 2, dataset.y),
        ("No test row knows", untested, n_folds, mask),
        ("No test row has", (n_test == 0) & ~never_positive & ~untested, n_folds, dataset.y),
    ]
    split_warnings = [
        SplitWarning(
            problem,
            _count_folds(dataset.label_names, missing.sum(axis=0)),
            int(missing.any(axis=1).sum()),
            len(splits),
            _hint(config, dataset, cells, missing.any(axis=0), n_needed, can_drop),
        )
        for problem, missing, n_needed, cells in absent
        if cells is not None and missing.any()
    ]
    return split_warnings + _check_groups(config, dataset, splits) + _check_repeats(splits)


def _n_train(y: NDArray[np.int8 | np.bool_], split: Split) -> NDArray[np.int64]:
    """Count the training rows of each label, by way of the other rows, which are fewer."""
    others = np.ones(len(y), dtype=bool)
    others[split.train] = False
    held_out = y[others].sum(axis=0, dtype=np.int64)
    counts: NDArray[np.int64] = y.sum(axis=0, dtype=np.int64) - held_out
    return counts


def _count_folds(
    label_names: tuple[str, ...], n_folds: NDArray[np.int64]
) -> tuple[tuple[str, int], ...]:
    most_first = np.argsort(-n_folds, kind="stable")
    return tuple((label_names[j], int(n_folds[j])) for j in most_first if n_folds[j])


def _hint(
    config: CvConfig,
    dataset: Dataset,
    cells: NDArray[np.int8 | np.bool_],
    labels: NDArray[np.bool_],
    n_needed: int,
    can_drop: bool,
) -> str:
    """Return settings that would bring the labels that some fold lacks into all folds.

    A label must have `n_needed` rows or groups where `cells`, the labels or what is known of
    them, is true to be in all folds.
    """
    unit, counts = _count_units(config, dataset, cells)
    fewest = int(counts[labels].min())
    hint = []
    if (counts[labels] >= n_needed).any():
        better = "stratified_group_kfold" if unit == "groups" else "multilabel_stratified"
        if config.kind in _STRATIFIED:
            better = "another cv.random_state"
        elif config.kind == "time_series":
            better = "fewer or larger windows, cv.n_splits or cv.test_size"
        else:
            better = f"cv={better}"
        hint.append(f"try {better}")
    if fewest < n_needed:
        rare = [dataset.label_names[j] for j in np.flatnonzero(labels & (counts < n_needed))]
        dropped = format_setting("dataset.drop", rare) if can_drop else "other data without it"
        remedy = f"cv.n_splits={fewest}" if fewest > 1 else dropped
        hint.append(
            f"a label of fewer than {n_needed} {unit} cannot be in all folds; {remedy} would help"
        )
    return "; ".join(hint) + "."


def _count_units(
    config: CvConfig, dataset: Dataset, cells: NDArray[np.int8 | np.bool_]
) -> tuple[str, NDArray[np.int64]]:
    """Count the true cells of each label, or its groups if the splitter never divides a group."""
    if dataset.groups is None or config.kind not in _GROUPED:
        return "rows", cells.sum(axis=0, dtype=np.int64)
    _, group = np.unique(dataset.groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, dataset.n_labels), dtype=np.int64)
    np.add.at(counts, group, cells)
    return "groups", (counts > 0).sum(axis=0)


def _check_groups(config: CvConfig, dataset: Dataset, splits: list[Split]) -> list[SplitWarning]:
    if dataset.groups is None or config.kind in _GROUPED:
        return []
    groups = dataset.groups
    n_folds = sum(bool(np.isin(groups[split.test], groups[split.train]).any()) for split in splits)
    if not n_folds:
        return []
    problem = "Rows of one group both train and test"
    hint = (
        "scores are too optimistic if rows of a group are similar; try cv=stratified_group_kfold."
    )
    return [SplitWarning(problem, (), n_folds, len(splits), hint)]


def _check_repeats(splits: list[Split]) -> list[SplitWarning]:
    repeats: dict[int, set[bytes]] = {}
    for split in splits:
        repeats.setdefault(split.repeat, set()).add(np.sort(split.test).tobytes())
    distinct = {frozenset(folds) for folds in repeats.values()}
    if len(distinct) == len(repeats):
        return []
    n_folds = sum(map(len, repeats.values())) - sum(map(len, distinct))
    problem = "A repeat has the same folds as a previous one"
    hint = f"it adds little information; try cv.n_repeats={len(distinct)}."
    return [SplitWarning(problem, (), n_folds, len(splits), hint)]
