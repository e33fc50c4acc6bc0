"""A trained model that takes raw rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import UserError
from pipeline.model.loaded_model import check_no_missing
from pipeline.model.saved_model import FinalModel


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained model that takes raw rows, as the data set had them.

    Attributes:
        feature_names: Names of the columns that it needs.
        label_names: Names of the labels that it predicts.
        call: Takes rows, and whether to decide; returns one column per label.
    """

    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    call: Callable[[pd.DataFrame, bool], pd.DataFrame]

    def predict_proba(self, rows: Any) -> pd.DataFrame:
        """Return the probability of each label, one column per label.

        Args:
            rows: A data frame with the columns of the data set in any order, or an array or a
                sparse matrix with the columns in their order.

        Raises:
            UserError: If a column is missing or a value does not suit its column.
        """
        return self.call(self._to_frame(rows), False)

    def predict(self, rows: Any) -> pd.DataFrame:
        """Return 1 for each label whose probability exceeds its threshold, else 0.

        Args:
            rows: As of `predict_proba`.
        """
        return self.call(self._to_frame(rows), True).astype(np.int8)

    def _to_frame(self, rows: Any) -> pd.DataFrame:
        if isinstance(rows, pd.DataFrame):
            return rows.set_axis([str(name) for name in rows.columns], axis=1)
        values = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)
        if values.ndim != 2 or values.shape[1] != len(self.feature_names):
            raise UserError(
                f"Expected rows of {len(self.feature_names)} features, of shape (n_rows, "
                f"{len(self.feature_names)}). Received: an array of shape {values.shape}."
            )
        return pd.DataFrame(values, columns=list(self.feature_names))


def make_predictor(final: FinalModel) -> Predictor:
    """Return the predictor of a final model in memory."""
    labels = list(final.label_names)

    def call(rows: pd.DataFrame, decide: bool) -> pd.DataFrame:
        try:
            X = final.schema.encode(rows)
            if final.requires_complete_rows:
                check_no_missing(final.schema, X)
        except ValueError as error:
            raise UserError(str(error)) from error
        y_score = final.predict_proba(X)
        values = final.rule.decide(y_score) if decide else y_score
        return pd.DataFrame(values, columns=labels, index=rows.index)

    return Predictor(final.schema.names, tuple(labels), call)
