"""Fetch data sets from OpenML, cached by scikit-learn."""

import warnings
from typing import Any
from urllib.error import URLError

import pandas as pd
from sklearn.datasets import fetch_openml

from pipeline.config import OpenmlConfig
from pipeline.dataset.builder import dataset_from_frame
from pipeline.dataset.column_roles import (
    check_disjoint_roles,
    select_columns,
    single_roles,
    without_dropped,
)
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import check_fits_memory
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError
from pipeline.runtime import mlruns


def load(config: OpenmlConfig) -> Dataset:
    """Read a data set of OpenML; labels are the configured ones, or OpenML's default targets.

    Raises:
        UserError: If it does not exist, cannot be reached, has several active versions and none is
            configured, or its targets are not binary.

    References:
        `sklearn.datasets.fetch_openml`.
    """
    given = [key for key in ("data_id", "data_name") if getattr(config, key) is not None]
    if len(given) != 1:
        raise UserError(
            "dataset: expected either data_id or data_name of an OpenML data set. Received: "
            f"{' and '.join(given) or 'neither'}."
        )
    source = f"OpenML {config.data_id or config.data_name}"
    bunch, fetch_warnings = _fetch(config, source)
    frame = _frame(bunch, source)
    targets = config.labels or _targets(source, bunch.details)
    labels = select_columns(source, "labels", targets, bunch.feature_names)
    drop = select_columns(source, "drop", config.drop, bunch.feature_names)
    labels = without_dropped(labels, config.labels or (), drop)
    single = single_roles(source, config, bunch.feature_names)
    check_disjoint_roles(source, {"labels": labels, "drop": drop, **single})
    name = config.name or str(bunch.details["name"])
    frame = frame.drop(columns=list(drop))
    label_values = LabelValues.of(config)
    return dataset_from_frame(
        *(name, source, frame, labels, fetch_warnings, label_values),
        time_column=config.time_column,
        weight_column=config.weight_column,
    )


def _targets(source: str, details: dict[str, Any]) -> list[str]:
    """Return the targets that OpenML's description names."""
    targets = details.get("default_target_attribute")
    if not targets:
        raise UserError(
            f"{source}: expected default targets at OpenML. Received: none. Name the labels: "
            '"dataset.labels=[tag_*]"'
        )
    return [target.strip() for target in str(targets).split(",")]


def _fetch(config: OpenmlConfig, source: str) -> tuple[Any, tuple[str, ...]]:
    """Return the bunch that scikit-learn fetches, and its warnings.

    Its default parser fails on targets of TRUE and FALSE under pandas 3, so this uses liac-arff,
    which fails on targets that a sparse row omits, so they are fetched among the features.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bunch = fetch_openml(
                config.data_name,
                version="active" if config.version is None else config.version,
                data_id=config.data_id,
                data_home=config.data_home or mlruns() / "cache",
                target_column=None,
                parser="liac-arff",
            )
    except URLError as error:
        raise UserError(
            f"{source}: expected OpenML to be reachable, or a copy in its cache. Received: "
            f"{getattr(error, 'reason', error)}."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"{source}: expected a data set of OpenML. Received: {error}") from error
    texts = tuple(str(warning.message).partition("\n")[0].rstrip(".:") for warning in caught)
    several = [text for text in texts if text.startswith("Multiple active versions")]
    if several:
        raise UserError(
            f"{source}: expected one active version. Received: {several[0]}. Give dataset.version."
        )
    return bunch, texts


def _frame(bunch: Any, source: str) -> Any:
    """Return all columns as one data frame, also of a sparse data set."""
    if bunch.frame is not None:
        return bunch.frame
    check_fits_memory(source, bunch.data.shape, 20)  # an array, Arrow's columns and the matrix
    frame = pd.DataFrame(bunch.data.toarray(), columns=bunch.feature_names)
    for name, categories in (bunch.categories or {}).items():
        codes = frame[name].fillna(-1).astype(int)
        frame[name] = pd.Categorical.from_codes(codes, categories)
    return frame
