"""Fit gradient-boosted trees of XGBoost, LightGBM or CatBoost to several labels.

XGBoost and CatBoost learn all labels in one model, LightGBM one model per label, on one binned
table. Missing features are passed to the library. As in `sklearn_models`, the probability of a
label that all training rows have, or none, is its frequency.

References:
    Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016.
    Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017.
    Prokhorenkova et al., CatBoost: unbiased boosting with categorical features, NeurIPS 2018.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config import BoostingConfig, EarlyStoppingConfig
from pipeline.model.boosted_trees import BoostedTrees
from pipeline.model.boosting_checks import SEEDS
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier
from pipeline.model.sklearn_models import label_frequencies


class Rows(NamedTuple):
    """Preprocessed rows.

    Attributes:
        X: Features of shape (n, n_columns).
        y: Labels of shape (n, n_labels); of shape (n,) for a single one, as the libraries expect.
        label_mask: True where a label is known, of shape (n, n_labels); None if all are.
        weight: Weights of shape (n,); None for 1.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int8]
    label_mask: NDArray[np.bool_] | None = None
    weight: NDArray[np.float32] | None = None

    def without_zero_weights(self) -> "Rows":
        """Return the rows of positive weight."""
        if self.weight is None or self.weight.all():
            return self
        counted = self.weight > 0
        mask = None if self.label_mask is None else self.label_mask[counted]
        return Rows(self.X[counted], self.y[counted], mask, self.weight[counted])

    def of_labels(self, labels: NDArray[np.int64]) -> "Rows":
        """Return the rows that know these labels, with these labels alone."""
        rows = slice(None) if self.label_mask is None else self.label_mask[:, labels[0]]
        y = self.y[rows, labels[0]] if len(labels) == 1 else self.y[:, labels]
        weight = None if self.weight is None else self.weight[rows]
        return Rows(self.X[rows], y, None, weight)


def fit_boosting(
    config: BoostingConfig,
    train: Rows,
    valid: Rows | None,
    stopping: EarlyStoppingConfig,
    *,
    seed: int,
    class_weight: NDArray[np.float32] | None = None,
    on_failure: Callable[[Sequence[int], Exception], object],
) -> MultilabelClassifier:
    """Fit trees to all labels of some rows, on one thread.

    Args:
        config: The library, its parameters and the strategy for several labels.
        train: Training rows.
        valid: Rows that early stopping monitors; None without early stopping.
        stopping: When to stop.
        seed: Seed of the library, unless the parameters set it.
        class_weight: Weights of each label's absence and presence, of shape (2, n_labels), if each
            label has its own model; or None.
        on_failure: Called with labels and the error of the library that cannot learn them; the
            probability of these labels is their frequency.
    """
    train = train.without_zero_weights()
    valid = valid and valid.without_zero_weights()
    mask = np.ones_like(train.y, bool) if train.label_mask is None else train.label_mask
    is_present = (train.y > 0) & mask
    labels = np.flatnonzero(is_present.any(axis=0) & (is_present != mask).any(axis=0))
    groups = [labels] if config.strategy == "native" else np.split(labels, len(labels))
    params = {name: value for name, value in (config.params or {}).items() if value is not None}
    if not params.keys() & set(SEEDS):
        params["random_state"] = seed
    fit = _Fit(params, train, valid, stopping, class_weight)
    fit_group = {
        "xgboost": fit.fit_xgboost,
        "lightgbm": fit.fit_lightgbm,
        "catboost": fit.fit_catboost,
    }[config.library]
    estimators = []
    for group in groups:
        if not len(group):
            continue
        try:
            trees = BoostedTrees(config.library, fit_group(group))
        except Exception as error:  # any error of the library
            on_failure(group.tolist(), error)
        else:
            estimators.append(FittedEstimator(tuple(group.tolist()), trees))
    frequencies = label_frequencies(train.y, train.label_mask, train.weight)
    return MultilabelClassifier(tuple(estimators), frequencies)


@dataclass(frozen=True, eq=False)
class _Fit:
    """One fit; its methods train a model for a group of labels and return it.

    Attributes:
        params: Parameters of the library.
        train: Training rows.
        valid: Rows that early stopping monitors, or None.
        stopping: Early stopping.
        class_weight: As of `fit_boosting`.
    """

    params: dict[str, Any]
    train: Rows
    valid: Rows | None
    stopping: EarlyStoppingConfig
    class_weight: NDArray[np.float32] | None

    def fit_xgboost(self, labels: NDArray[np.int64]) -> Any:
        xgboost = import_module("xgboost")
        train, valid = self.train.of_labels(labels), self._valid(labels)
        stopping = xgboost.callback.EarlyStopping(
            rounds=self._patience,
            min_delta=self.stopping.min_delta,
            save_best=self.stopping.restore_best_weights,
        )
        model = xgboost.XGBClassifier(
            **self.params,
            n_jobs=1,
            eval_metric="logloss",
            callbacks=[stopping] if valid else None,
        )
        model.fit(
            train.X,
            train.y,
            sample_weight=self._weight(train, labels),
            eval_set=[(valid.X, valid.y)] if valid else None,
            sample_weight_eval_set=[valid.weight] if valid and valid.weight is not None else None,
            verbose=False,
        )
        return model.get_booster()

    def fit_lightgbm(self, labels: NDArray[np.int64]) -> Any:
        lightgbm = import_module("lightgbm")
        train, valid = self.train.of_labels(labels), self._valid(labels)
        table, valid_table = (
            self._lightgbm_tables
            if self.train.label_mask is None
            else self._make_lightgbm_tables(train, valid)
        )
        table.set_label(train.y).set_weight(self._weight(train, labels))
        if valid:
            valid_table.set_label(valid.y).set_weight(valid.weight)
        stopping = lightgbm.early_stopping(
            self._patience, min_delta=self.stopping.min_delta, verbose=False
        )
        params = {"verbosity": -1, **self.params, "objective": "binary", "num_threads": 1}
        booster = lightgbm.train(
            params,
            table,
            valid_sets=[valid_table] if valid else None,
            callbacks=[stopping] if valid else None,
            keep_training_booster=True,  # else the trees after the best round are dropped
        )
        is_best = valid is not None and self.stopping.restore_best_weights
        n_trees = booster.best_iteration if is_best else -1
        text = booster.model_to_string(num_iteration=n_trees)  # free of the tables
        return lightgbm.Booster(model_str=text)

    @cached_property
    def _lightgbm_tables(self) -> tuple[Any, Any]:
        """Binned features of both sets of rows, which all labels have in common."""
        return self._make_lightgbm_tables(self.train, self.valid)

    def _make_lightgbm_tables(self, train: Rows, valid: Rows | None) -> tuple[Any, Any]:
        lightgbm = import_module("lightgbm")
        params = {"verbosity": -1, **self.params, "num_threads": 1}
        table = lightgbm.Dataset(train.X, params=params, free_raw_data=False)
        valid_table = valid and lightgbm.Dataset(valid.X, reference=table, free_raw_data=False)
        return table, valid_table

    def fit_catboost(self, labels: NDArray[np.int64]) -> Any:
        catboost = import_module("catboost")
        train, valid = self.train.of_labels(labels), self._valid(labels)
        stopping: dict[str, Any] = {}
        if valid:
            stopping = {
                "early_stopping_rounds": self._patience,
                "use_best_model": self.stopping.restore_best_weights,
            }
        model = catboost.CatBoostClassifier(
            **{"logging_level": "Silent", **self.params},
            **stopping,
            loss_function="MultiLogloss" if len(labels) > 1 else "Logloss",
            thread_count=1,
            allow_writing_files=False,
        )
        return model.fit(
            catboost.Pool(train.X, train.y, weight=self._weight(train, labels)),
            eval_set=valid and catboost.Pool(valid.X, valid.y, weight=valid.weight),
        )

    def _valid(self, labels: NDArray[np.int64]) -> Rows | None:
        """Return the rows that early stopping monitors; None without any that know the label."""
        valid = self.valid and self.valid.of_labels(labels)
        return valid if valid and len(valid.X) else None

    @property
    def _patience(self) -> int:
        """Rounds without improvement; the libraries need one at least, which is Keras's 0, too."""
        return max(1, self.stopping.patience or 0)

    def _weight(self, train: Rows, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the weight of each row that knows the labels; None if all are 1."""
        if self.class_weight is None:
            return train.weight
        weight: NDArray[np.float32] = self.class_weight[train.y, labels[0]]
        return weight if train.weight is None else weight * train.weight
