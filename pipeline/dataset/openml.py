"""Data sets of OpenML, fetched once and kept in scikit-learn's cache."""

import warnings
from typing import Any
from urllib.error import URLError

from pipeline.config import OpenmlConfig
from pipeline.dataset.columns import select
from pipeline.dataset.frames import dataset_of_frame
from pipeline.dataset.record import Dataset
from pipeline.errors import UserError
from pipeline.project import mlruns


def fetch(config: OpenmlConfig) -> Dataset:
    """Return a data set of OpenML; its labels are the targets that OpenML names, or those given.

    Raises:
        UserError: If it does not exist, cannot be reached, has several versions and none was asked
            for, or its targets are not labels.

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
    bunch, odd = _fetch(config, source, "default-target")
    if config.labels is not None:
        names = [*bunch.feature_names, *bunch.target_names]
        labels = select(source, "labels", config.labels, names)
        bunch, odd = _fetch(config, source, list(labels))
    if not bunch.target_names:
        raise UserError(
            f"{source}: expected targets. Received: none that OpenML names. Name the labels: "
            '"dataset.labels=[tag_*]"'
        )
    frame = _frame(bunch)
    drop = select(source, "drop", config.drop, bunch.feature_names)
    name = config.name or str(bunch.details["name"])
    dataset = dataset_of_frame(name, source, frame.drop(columns=list(drop)), bunch.target_names)
    if odd:
        object.__setattr__(dataset, "warnings", (*odd, *dataset.warnings))
    return dataset


def _fetch(config: OpenmlConfig, source: str, target: str | list[str]) -> tuple[Any, list[str]]:
    """Return what scikit-learn fetches, and its warnings.

    Its default parser fails on targets of TRUE and FALSE under pandas 3, so the other one is named.
    """
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bunch = fetch_openml(
                config.data_name,
                version="active" if config.version is None else config.version,
                data_id=config.data_id,
                data_home=config.data_home or mlruns() / "cache" / "openml",
                target_column=target,
                parser="liac-arff",
            )
    except URLError as error:
        raise UserError(
            f"{source}: expected OpenML or a copy in its cache within reach. Received: "
            f"{getattr(error, 'reason', error)}."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"{source}: expected a data set of OpenML. Received: {error}") from error
    odd = [str(warning.message).partition("\n")[0] for warning in caught]
    several = [text for text in odd if text.startswith("Multiple active versions")]
    if several:
        raise UserError(
            f"{source}: expected one active version. Received: {several[0]} Give dataset.version."
        )
    return bunch, odd


def _frame(bunch: Any) -> Any:
    """Return features and targets as one data frame, also of a sparse data set."""
    import pandas as pd

    if bunch.frame is not None:
        return bunch.frame
    frame = pd.DataFrame(bunch.data.toarray(), columns=bunch.feature_names)
    for name, categories in (bunch.categories or {}).items():
        if name in frame.columns:
            frame[name] = pd.Categorical.from_codes(frame[name].astype(int), categories)
    target = bunch.target.reshape(len(frame), -1)
    for j, name in enumerate(bunch.target_names):
        frame[name] = target[:, j]
    return frame
