"""Permutation importance of features on the held-out rows of a fold.

The importance of a column is the decrease of a score when its values are permuted among the test
rows, for a model that was trained on the values as they are. Correlated columns stand in for each
other, so that each looks unimportant; permuted together, they do not.

References:
    Breiman, Random Forests, Machine Learning 45, 2001.
"""

import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata

from pipeline.config import IMPORTANCE, Config, flatten
from pipeline.cv import Split
from pipeline.dataset import Dataset
from pipeline.decision import DecisionRule
from pipeline.evaluation.fold_results import targets
from pipeline.matrix_blocks import row_blocks
from pipeline.scoring import find_metric, lower_is_better
from pipeline.scoring.classification_metrics import Labels, Mask, Scores, Weights, log_loss
from pipeline.scoring.label_ranking import label_average_precision, label_roc_auc

MAX_VALUES = 2**21  # features, or probabilities, of the permuted tables at once, to bound memory
MAX_RANKED_ROWS = 20_000  # for the correlation of columns
COLUMNS_AT_ONCE = 1_000  # whose correlation with all others is in memory

Floats = NDArray[np.float64]
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Probabilities of shape (n, n_labels) for encoded rows of shape (n, n_features)."""


def _label_log_loss(y_true: Labels, y_score: Scores, mask: Mask, weights: Weights) -> Floats:
    """Return the log loss of each label, NaN for those that are not known in any row."""
    by_cell = inspect.unwrap(log_loss)(y_true, y_score, y_true, mask)
    return np.ma.filled(np.ma.average(by_cell, axis=0, weights=weights), np.nan)


LABEL_METRICS: dict[str, tuple[Callable[..., Floats], int]] = {
    "average_precision": (label_average_precision, 1),
    "roc_auc": (label_roc_auc, 1),
    "log_loss": (_label_log_loss, -1),
}
"""Metric of each label by name, and the sign of an improvement."""


class PermutationImportance:
    """Permutes columns, or groups of correlated columns, of one data set.

    Attributes:
        groups: Columns that are permuted together, each in one group, by their first column.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        """Find the groups of columns and the metrics.

        Args:
            config: The configuration.
            dataset: The data set as models see it: behind the columns of its table, the matrix has
                those that are derived from them, which are permuted with them.
        """
        scoring, report = config.scoring, config.report
        headline = scoring.metrics[0]
        names = dataset.feature_names
        self.groups = group_columns(dataset.X[:, : len(names)], report.importance_groups)
        derived = dataset.schema.derived
        sources = [names.index(it.source) for it in derived for _ in range(it.n_columns)]
        owners = np.array([*range(len(names)), *sources])
        self._encoded = [np.flatnonzero(np.isin(owners, group)) for group in self.groups]
        self._config, self._dataset = config, dataset
        self._n_repeats = report.importance_repeats
        self._headline = find_metric(headline, scoring.zero_division)
        self._label_metric, sign = LABEL_METRICS[report.importance_metric]
        is_loss = lower_is_better(headline, scoring.greater_is_better)
        self._signs = np.array([-1 if is_loss else 1] + [sign] * dataset.n_labels)

    def measure(self, split: Split, seed: int, predict: Predict, rule: DecisionRule) -> Floats:
        """Return the importance of each group for a fold, the mean over permutations.

        All groups and labels have the same permutations: those of scikit-learn's
        `permutation_importance` with `random_state=seed`.

        Args:
            split: Training and test rows of the fold.
            seed: Seed of the permutations.
            predict: The model of the fold.
            rule: Its calibration and thresholds.

        Returns:
            Decrease of the headline metric, then of the metric of each label, of shape
            (n_groups, 1 + n_labels); NaN where the metric is undefined.
        """
        X, rows = self._dataset.X, split.test
        y, mask, weights = targets(self._config, self._dataset, split.test, split.train)
        orders = permutations(len(rows), self._n_repeats, seed)
        permuted = [(columns, order) for columns in self._encoded for order in orders]
        permuted.insert(0, (np.arange(0), orders[0]))  # no column: the table as it is
        n_at_once = max(1, MAX_VALUES // (len(rows) * max(X.shape[1], y.shape[1])))
        scores = []
        for start in range(0, len(permuted), n_at_once):
            part = permuted[start : start + n_at_once]
            y_score = [
                predict(_permute(X, rows, block, part)).reshape(len(part), -1, y.shape[1])
                for block in row_blocks(len(rows), X.shape[1])
            ]
            scores.append(self._score(y, mask, weights, rule, np.concatenate(y_score, axis=1)))
        before, *after = np.concatenate(scores)
        decrease = (before - np.array(after)) * self._signs
        shape = len(self.groups), self._n_repeats, len(self._signs)
        return np.asarray(decrease.reshape(shape).mean(axis=1))

    def _score(
        self, y: Labels, mask: Mask, weights: Weights, rule: DecisionRule, y_score: Scores
    ) -> Floats:
        """Score several tables at once, whose labels the metric takes for labels of one table."""
        y_score = rule.calibrate(y_score)
        y_pred = rule.decide(y_score)
        pairs = zip(y_score, y_pred, strict=True)
        overall = [self._headline(y, score, decided, mask, weights) for score, decided in pairs]
        n_tables, n_rows, n_labels = y_score.shape
        side_by_side = y_score.transpose(1, 0, 2).reshape(n_rows, -1)
        masks = None if mask is None else np.tile(mask, n_tables)
        by_label = self._label_metric(np.tile(y, n_tables), side_by_side, masks, weights)
        return np.column_stack([overall, by_label.reshape(n_tables, n_labels)])


def _permute(
    X: NDArray[np.float32],
    rows: NDArray[np.integer],
    block: slice,
    permuted: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> NDArray[np.float32]:
    """Return some of the rows once for each permutation, with its columns from other rows."""
    tables = np.repeat(X[rows[block]][None], len(permuted), axis=0)
    for table, (columns, order) in zip(tables, permuted, strict=True):
        table[:, columns] = X[np.ix_(rows[order[block]], columns)]
    return tables.reshape(-1, X.shape[1])


def permutations(n: int, n_repeats: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the permutations of scikit-learn, which permutes a permuted column again."""
    generator = np.random.RandomState(seed)
    generator = np.random.RandomState(generator.randint(np.iinfo(np.int32).max + 1))
    step, order = np.arange(n), np.arange(n)
    orders = []
    for _ in range(n_repeats):
        generator.shuffle(step)
        order = order[step]
        orders.append(order)
    return orders


def group_columns(X: NDArray[np.float32], threshold: float | None) -> tuple[tuple[int, ...], ...]:
    """Return groups of columns, such that columns of different groups are less correlated.

    This is hierarchical clustering with single linkage, by the absolute value of Spearman's
    coefficient; categories are ranked by their codes, and missing values have the mean rank.

    Args:
        X: Encoded features of shape (n_samples, n_features).
        threshold: Correlation from which on two columns are in one group; None for no groups.
    """
    if threshold is None:
        return tuple((column,) for column in range(X.shape[1]))
    ranks = rankdata(X[:: -(-len(X) // MAX_RANKED_ROWS)], axis=0, nan_policy="omit")
    ranks -= np.ma.masked_invalid(ranks).mean(axis=0).filled(0)
    ranks = np.nan_to_num(ranks).astype(np.float32)
    lengths = np.linalg.norm(ranks, axis=0)
    ranks /= np.where(lengths == 0, 1, lengths)  # constant columns correlate with none
    are_correlated = [
        csr_array(np.abs(ranks[:, start : start + COLUMNS_AT_ONCE].T @ ranks) >= threshold)
        for start in range(0, X.shape[1], COLUMNS_AT_ONCE)
    ]
    n_groups, numbers = connected_components(vstack(are_correlated), directed=False)
    groups = [np.flatnonzero(numbers == number).tolist() for number in range(n_groups)]
    return tuple(sorted(map(tuple, groups)))


def importance_settings(config: Config) -> dict[str, str]:
    """Return the settings that determine the importance as logged; none if it is not configured."""
    return {key: value for key, value in flatten(config).items() if key.startswith(IMPORTANCE)}
