"""Open the model that a command names: of the store, or a folder, which needs no MLflow."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.prediction import (
    ModelFolder,
    find_model_files,
    open_model,
    parse_thresholds,
    tune_again,
    tuning_kind,
)
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.tracking.model_reader import StoredModel


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A model that is loaded, with the thresholds to use.

    Attributes:
        folder: The model, and what it carries about its training rows.
        thresholds: Threshold of each label, of shape (n_labels,).
    """

    folder: ModelFolder
    thresholds: NDArray[np.float64]


@contextmanager
def open_named_model(
    arguments: argparse.Namespace, tracking: TrackingConfig
) -> Iterator[NamedModel]:
    """Load the model that the arguments of `add_model_arguments` name.

    Raises:
        UserError: If there is no such model, it needs code that is not trusted, or a threshold is
            invalid.
    """
    name, path = arguments.model, Path(arguments.model).expanduser()
    if find_model_files(path) or (path.is_dir() and "/" in name):
        if arguments.threshold_metric:
            raise UserError(
                "--threshold-metric: expected a model of the store, whose run has the held-out "
                f"predictions. Received: the folder {name}. Give --threshold instead."
            )
        folder = open_model(path, name, trust_code=arguments.trust_code)
        yield NamedModel(folder, _parse(folder, arguments))
        return
    with _open_stored(name, tracking) as stored:
        folder = open_model(stored.folder, name, trust_code=arguments.trust_code)
        thresholds = _parse(folder, arguments)
        if arguments.threshold_metric:
            thresholds = _tune(arguments.threshold_metric, stored, folder)
        yield NamedModel(folder, thresholds)


def _parse(folder: ModelFolder, arguments: argparse.Namespace) -> NDArray[np.float64]:
    model = folder.model
    return parse_thresholds(model.label_names, model.rule.threshold, arguments.threshold)


@contextmanager
def _open_stored(name: str, tracking: TrackingConfig) -> "Iterator[StoredModel]":
    with heavy_imports():
        from pipeline.tracking import locate
        from pipeline.tracking.model_reader import open_stored_model
    with open_stored_model(locate(tracking), name) as stored:
        yield stored


def _tune(metric: str, stored: "StoredModel", folder: ModelFolder) -> NDArray[np.float64]:
    """Tune the thresholds for a metric on the held-out predictions of the model's run."""
    scoring = folder.scoring
    if stored.run is None or scoring is None:
        raise UserError(
            "--threshold-metric: expected a model whose run is known and which carries its "
            "metrics. Received: one of an earlier version, or of another program."
        )
    kind = tuning_kind(stored.run.params)
    return tune_again(stored.read_held_out(), metric, scoring, kind)
