"""Load the folder of a final model, and predict raw rows with it.

Logged models carry this file, so it imports nothing of Manyfold but what they carry.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decision.rule import DecisionRule
from pipeline.keras_backend import import_keras
from pipeline.model.boosted_trees import read_boosters
from pipeline.preprocessing.table_schema import Rows, TableSchema

PARAMS = ("decide", "threshold", "thresholds")  # of `LoadedModel.predict`
TRUSTED_PACKAGES = ("numpy", "scipy", "sklearn")
OWN_TYPES = (
    "pipeline.model.boosted_trees.BoostedTrees",
    "pipeline.model.multilabel.FittedEstimator",
    "pipeline.model.multilabel.MultilabelClassifier",
    "pipeline.model.multilabel.MultilabelEnsemble",
    "pipeline.preprocessing.preprocessor.Preprocessor",
)
MAX_ROWS = 65_536  # that a network predicts at once; less is slower, more is no faster
MIN_ROWS = 256
MAX_CELLS = 2**24  # of the widest layer's output, to bound memory
SKLEARN_ROWS = 8192


class LoadedModel:
    """A final model that takes raw rows.

    Attributes:
        schema: Columns of raw rows.
        model: Keras model or scikit-learn pipeline; takes encoded rows.
        serving: Content of `schema.json`.
        label_names: Names of the labels.
        rule: Temperatures and thresholds.
    """

    def __init__(self, folder: Path, *, trust_code: bool = False, is_compiled: bool = True) -> None:
        """Load the model from its folder.

        Args:
            folder: Folder with `schema.json` and the model's file.
            trust_code: Whether the model may import its user's own modules.
            is_compiled: Whether a network is compiled at the first prediction, which takes some
                0.2 s and saves milliseconds each time.

        Raises:
            ValueError: If another version of Manyfold wrote it in another format, a file was
                changed since, or it needs modules that are not trusted.
        """
        self.serving: dict[str, Any] = json.loads(
            (folder / "schema.json").read_text(encoding="utf-8")
        )
        self.schema = TableSchema.from_dict(self.serving)
        self.label_names: tuple[str, ...] = tuple(self.serving["label_names"])
        self.rule = DecisionRule(
            np.array(self.serving["temperature"]), np.array(self.serving["threshold"])
        )
        if "trusted" in self.serving:
            model = _load_sklearn(folder / "model.skops", self.serving, trust_code)
            self._call, self._max_rows = model.predict_proba, SKLEARN_ROWS
        else:
            model = _load_keras(folder / "model.keras", self.serving, trust_code)
            widest = max((size for weight in model.weights for size in weight.shape), default=1)
            self._max_rows = min(MAX_ROWS, max(MIN_ROWS, MAX_CELLS // widest))
            call = _compile(model, self.schema.n_encoded) if is_compiled else model
            self._call = lambda X: call(X, training=False)
        self.model: Any = model

    def encode(self, rows: Rows, *, may_miss: bool = False) -> NDArray[np.float32]:
        """Return raw rows as `TableSchema.encode` does, of shape (n_rows, n_features).

        Args:
            rows: Raw rows.
            may_miss: Whether to take missing numbers that nothing imputes.

        Raises:
            ValueError: If a column is missing, a value does not suit its column, or a number is
                missing that nothing imputes; the message names column and row.
        """
        try:
            X = self.schema.encode(rows)
        except pa.ArrowException as error:  # lists, for example
            raise ValueError(f"Expected numbers, texts and dates. Received: {error}") from error
        if self.serving["requires_complete_rows"] and not may_miss:
            check_no_missing(self.schema, X)
        return X

    def is_predictable(self, X: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which encoded rows miss no number that nothing imputes, of shape (n_rows,)."""
        if not self.serving["requires_complete_rows"]:
            return np.ones(len(X), dtype=bool)
        missing = np.isnan(X[:, np.flatnonzero(self.schema.is_numeric)]).any(axis=1)
        complete: NDArray[np.bool_] = np.logical_not(missing)
        return complete

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated probabilities of encoded rows, of shape (n_rows, n_labels)."""
        if not len(X):
            return np.empty((0, len(self.label_names)), np.float32)
        parts = [
            np.asarray(self._call(X[start : start + self._max_rows]))
            for start in range(0, len(X), self._max_rows)
        ]
        return self.rule.calibrate(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def thresholds(
        self, threshold: float | None = None, by_label: Mapping[str, float] | None = None
    ) -> NDArray[np.float64]:
        """Return the threshold of each label, of shape (n_labels,).

        Args:
            threshold: One for all labels; None for those of the model.
            by_label: Thresholds of some labels by name.

        Raises:
            ValueError: If one is outside [0, 1], or there is no such label.
        """
        return choose_thresholds(self.label_names, self.rule.threshold, threshold, by_label)

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return one column per label: probabilities, or 0/1 predictions.

        Args:
            rows: Raw features in named columns, in any order.
            params: `decide` for 0/1 predictions; `threshold` for those with one threshold for all
                labels, `thresholds` with those of some labels by name.

        Raises:
            ValueError: If a column is missing, or a value or a param is invalid.
        """
        params = params or {}
        threshold, by_label = params.get("threshold"), params.get("thresholds")
        y_score = self.predict_proba(self.encode(rows))
        if params.get("decide") or threshold is not None or by_label:
            y_score = (y_score > self.thresholds(threshold, by_label)).astype(np.float64)
        return pd.DataFrame(y_score, columns=list(self.label_names), index=rows.index)


def choose_thresholds(
    label_names: Sequence[str],
    values: NDArray[np.float64],
    threshold: float | None = None,
    by_label: Mapping[str, float] | None = None,
) -> NDArray[np.float64]:
    """Return thresholds with some of them changed, as `LoadedModel.thresholds` does.

    Args:
        label_names: Names of the labels.
        values: Threshold of each label, of shape (n_labels,).
        threshold: One for all labels; None to keep them.
        by_label: Thresholds of some labels by name.

    Raises:
        ValueError: If one is outside [0, 1], or there is no such label.
    """
    if not isinstance(by_label or {}, Mapping):
        raise ValueError(f"Expected thresholds by label. Received: {by_label!r}.")
    values = values.copy()
    named = {} if threshold is None else dict.fromkeys(label_names, threshold)
    for label, value in (named | dict(by_label or {})).items():
        if label not in label_names:
            raise ValueError(
                f"Expected thresholds of labels. Received: {label!r}. Available: "
                f"{', '.join(label_names)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"Expected a threshold from 0 to 1. Received: {value!r} for label {label!r}."
            )
        values[list(label_names).index(label)] = value
    return values


def check_no_missing(schema: TableSchema, X: NDArray[np.float32]) -> None:
    """Check that no number is missing, for a model that was trained without imputation.

    Raises:
        ValueError: If one is; the message names column and row.
    """
    missing = np.isnan(X[:, : len(schema.columns)]) & schema.is_numeric
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise ValueError(
            "Expected no missing number, as the model was trained without imputation. "
            f"Received: one in column {schema.names[column]!r}, row {row} (the first is "
            f"0), and {int(missing.sum()) - 1} more."
        )


def is_trusted(name: str, user_packages: Sequence[str] = ()) -> bool:
    """Return whether a name is a class of a trusted package, or anything of the user's."""
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package in user_packages:
        return True
    return name in OWN_TYPES or (
        package in TRUSTED_PACKAGES
        and isinstance(getattr(importlib.import_module(module), attribute, None), type)
    )


def _compile(model: Any, n_features: int) -> Any:
    """Return a network as a compiled function, with one program for any number of rows."""
    import tensorflow as tf

    signature = tf.TensorSpec((None, n_features), tf.float32)
    function = tf.function(lambda X: model(X, training=False), input_signature=[signature])
    program = function.get_concrete_function()  # a call of the function itself takes twice as long
    return lambda X, training: program(tf.constant(X))


def _load_keras(path: Path, serving: dict[str, Any], trust_code: bool) -> Any:
    """Load a Keras model; Keras's safe mode refuses code in the file."""
    import_keras()
    import keras

    for name in ("preprocessing.layer", "model.tabm_layers", "model.category_embeddings"):
        importlib.import_module(f"pipeline.{name}")  # registers the layers
    try:
        return keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError) as error:
        if not serving["modules"]:
            raise
        if not trust_code:
            raise _untrusted_error(serving["modules"]) from error
        for module in serving["modules"]:  # they define the user's own layers
            importlib.import_module(module)
        return keras.saving.load_model(path, compile=False)


def _load_sklearn(path: Path, serving: dict[str, Any], trust_code: bool) -> Any:
    """Load a scikit-learn pipeline; skops creates only the trusted types.

    The digest of the file is checked, as a changed tree could point outside its own arrays.
    """
    import skops.io

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != serving["digest"]:
        raise ValueError(f"Expected the model file that was logged. {path} was changed since.")
    foreign = [] if trust_code else [it for it in serving["trusted"] if not is_trusted(it)]
    if foreign:
        raise _untrusted_error(foreign)
    pipeline = skops.io.load(path, trusted=serving["trusted"])
    if "trees" in serving:
        read_boosters(pipeline, path.parent, serving["trees"])
    return pipeline


def _untrusted_error(names: Sequence[str]) -> ValueError:
    return ValueError(
        "Expected a model without code of its own. Received: one that needs "
        f"{', '.join(names)}. If you trust its author, give --trust-code to run that code."
    )
