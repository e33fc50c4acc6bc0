"""Weights of labels and of their two values in the loss, from the training rows of a fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.errors import UserError, suggest
from pipeline.training.base import FitSpec


def list_label_weights(config: TrainingConfig, label_names: Sequence[str]) -> TrainingConfig:
    """Return the settings with one number per label in place of a mapping by name.

    Raises:
        UserError: If a list has another length, or a mapping names no label.
    """
    weights = config.label_weights
    if isinstance(weights, dict):
        for name in weights:
            if name not in label_names:
                raise UserError(
                    "training.label_weights: expected names of labels. Received: "
                    f"{name!r}. {suggest(name, label_names)}"
                )
        weights = tuple(weights.get(name, 1.0) for name in label_names)
    elif weights is not None and len(weights) != len(label_names):
        raise UserError(
            f"training.label_weights: expected one number for each of {len(label_names)} labels, "
            "or a mapping by name such as training.label_weights={"
            f"{label_names[0]}: 2}}. Received: {len(weights)} numbers."
        )
    return replace(config, label_weights=weights)


def check_fits(
    fits: Sequence[FitSpec],
    label_mask: NDArray[np.bool_] | None,
    sample_weight: NDArray[np.float32] | None,
) -> None:
    """Raise UserError if a fit has nothing to learn from or to monitor for early stopping."""
    any_label = None if label_mask is None else np.asarray(label_mask.any(axis=1))
    if any_label is not None:
        _check_rows(fits, any_label, "a known label", "none")
    if sample_weight is not None:
        _check_rows(fits, sample_weight > 0, "a weight above 0", "only 0")
    if any_label is not None and sample_weight is not None:
        is_counted = any_label & (sample_weight > 0)
        _check_rows(fits, is_counted, "a known label in a row with a weight above 0", "none")


def _check_rows(
    fits: Sequence[FitSpec], is_counted: NDArray[np.bool_], expected: str, received: str
) -> None:
    for fit in fits:
        for rows, kind in ((fit.train, "training"), (fit.valid, "validation")):
            if len(rows) and not is_counted[rows].any():
                raise UserError(
                    f"cv: expected {expected} among the {kind} rows of each fold. Received: "
                    f"{received}, in {fit.name}. Choose fewer or other folds, such as "
                    "cv.random_state=2"
                    + (", or training.early_stopping.patience=null" * (kind == "validation"))
                )


def loss_weights(
    config: TrainingConfig,
    y: NDArray[np.int8],
    train: NDArray[np.integer],
    label_mask: NDArray[np.bool_] | None = None,
    sample_weight: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the weights of each label's absence and presence, of shape (2, n_labels).

    They are the class weights times the weights of the labels. Class weights leave the total weight
    of a label's rows as it is. A label that all training rows have, or none, has no class weights.

    Args:
        config: Names the class weights; has the weights of the labels as a list, or None.
        y: Labels of shape (n_samples, n_labels).
        train: Training rows; other rows have no influence.
        label_mask: True where the label is known; None if all are. Other cells do not count.
        sample_weight: Weights of rows, which then count as often; None for 1.
    """
    weights = np.ones((2, y.shape[1]))
    if config.class_weight is not None:
        rows: NDArray[np.number] = np.ones(len(train), dtype=np.int64)
        if sample_weight is not None:
            rows = sample_weight[train].astype(np.float64)
        present, given = rows @ y[train], rows.sum()
        if label_mask is not None:
            present, given = rows @ (y[train] & label_mask[train]), rows @ label_mask[train]
        counts = np.stack([given - present, present])
        both = (counts > 0).all(axis=0)
        weights[:, both] = _class_weights(config, counts[:, both])
    if config.label_weights is not None:
        weights *= np.asarray(config.label_weights)
    return weights.astype(np.float32)


def _class_weights(config: TrainingConfig, counts: NDArray[np.number]) -> NDArray[np.float64]:
    """Return class weights for counts above 0 of rows without and with each label.

    Balanced weights are scikit-learn's, n_rows / (2 * count), so that rows with and without a label
    have equal total weight. Weights by effective number are proportional to the inverse of
    (1 - beta^n) / (1 - beta): equal for beta = 0, balanced as beta approaches 1.

    References:
        Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.
    """
    n_rows = counts.sum(axis=0)
    inverse = 1 / counts
    if config.class_weight == "effective_number":
        with np.errstate(divide="ignore"):  # log(0) for beta = 0
            inverse = 1 / -np.expm1(counts * np.log(config.class_weight_beta))
    weights: NDArray[np.float64] = inverse * n_rows / (counts * inverse).sum(axis=0)
    return weights
