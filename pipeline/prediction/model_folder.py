"""Open the folder of a final model; its own code runs only if the user trusts it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ScoringConfig
from pipeline.errors import UserError, locate
from pipeline.model.loaded_model import LoadedModel

SUBFOLDERS = ("", "model", "artifacts/model")  # of schema.json in a folder, and in one of MLflow's


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """A final model and what it carries about its training rows.

    Attributes:
        model: The model.
        training: As of `describe_training`; empty for models that were logged before it existed.
        path: Folder of `schema.json` and the model's file.
    """

    model: LoadedModel
    training: dict[str, Any]
    path: Path

    @property
    def reading(self) -> dict[str, Any]:
        """Settings that reading another file like the training file needs."""
        return dict(self.training.get("reading", {}))

    @property
    def scoring(self) -> ScoringConfig | None:
        """Metrics of the run; None for models that were logged before they carried them."""
        return to_scoring(self.training)


def to_scoring(training: Mapping[str, Any]) -> ScoringConfig | None:
    """Return the metrics of a run from `training.json`; None if it lacks them."""
    values = training.get("scoring")
    if not values:
        return None
    return ScoringConfig(**{"weighted": False, **values, "metrics": tuple(values["metrics"])})


def find_model_files(folder: Path) -> Path | None:
    """Return the folder of `schema.json` at or below a folder, or None."""
    return next(
        (
            folder / subfolder
            for subfolder in SUBFOLDERS
            if (folder / subfolder / "schema.json").is_file()
        ),
        None,
    )


def open_model(folder: Path, name: str, *, trust_code: bool = False) -> ModelFolder:
    """Load a model from its folder, or from the folder that MLflow made of it.

    Args:
        folder: The folder.
        name: Name of the model, for messages.
        trust_code: Whether the Python modules that the model carries may run.

    Raises:
        UserError: If it is no model of Manyfold, or needs code that is not trusted.
    """
    files = find_model_files(folder)
    if files is None:
        raise UserError(
            f"{name}: expected a model of Manyfold, a folder with schema.json. Received: none in "
            f"{', '.join(str(folder / subfolder) for subfolder in SUBFOLDERS)}."
        )
    if trust_code:
        code = (files.parent / "code", files.parent.parent / "code")
        sys.path[:0] = [str(path) for path in code if path.is_dir()]
    try:
        model = LoadedModel(files, trust_code=trust_code)
        training = read_training(files)
    except (ValueError, OSError, ImportError) as error:
        raise locate(name, ValueError(str(error))) from error
    return ModelFolder(model, training, files.resolve())


def read_training(files: Path) -> dict[str, Any]:
    """Return the content of `training.json` in a model's folder; empty without the file."""
    path = files / "training.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content
