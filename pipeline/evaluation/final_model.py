"""Write the final model to files that MLflow can log."""

import json
import sys
from collections.abc import Sequence
from hashlib import file_digest
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import ModelConfig, SklearnModelConfig
from pipeline.evaluation.evaluator import Evaluation, FinalModel
from pipeline.preprocessing import NO_COLUMN
from pipeline.tracking.logged_model import ModelFiles
from pipeline.tracking.pyfunc_model import canonical

REQUIREMENTS = ("mlflow", "numpy", "pandas")
KERAS_REQUIREMENTS = ("keras", "tensorflow")
SKLEARN_REQUIREMENTS = ("scikit-learn", "skops")


def write_final_model(evaluation: Evaluation, folder: Path) -> ModelFiles:
    """Write the final model of an evaluation into a folder.

    Raises:
        ValueError: If the evaluation has no final model.
    """
    dataset, config, final = evaluation.dataset, evaluation.config.model, evaluation.final
    if final is None:
        raise ValueError("Expected a final model. Received: an evaluation of some folds only.")
    code_paths = _own_code(config)
    is_sklearn = isinstance(config, SklearnModelConfig)
    path = folder / ("model.skops" if is_sklearn else "model.keras")
    serving = _serving_data(evaluation, final)
    requirements = [*REQUIREMENTS, *(SKLEARN_REQUIREMENTS if is_sklearn else KERAS_REQUIREMENTS)]
    if isinstance(config, SklearnModelConfig):
        from pipeline.model.skops_file import own_packages, save

        own = own_packages(config)
        serving["trusted"] = save(final.model, path, own)
        with path.open("rb") as file:
            serving["digest"] = file_digest(file, "sha256").hexdigest()
        if own and code_paths is None:  # an installed package is required, not copied
            distributions = packages_distributions()
            requirements += [name for package in own for name in distributions.get(package, [])[:1]]
        requirements.sort()
    else:
        final.model.save(path)
    serving_path = folder / "preparation.json"
    serving_path.write_text(json.dumps(serving), encoding="utf-8")
    return ModelFiles(
        dataset.feature_names,
        dataset.label_names,
        {"model": str(path), "preparation": str(serving_path)},
        code_paths,
        [f"{package}=={version(package)}" for package in requirements],
    )


def _own_code(config: ModelConfig) -> list[str] | None:
    """Return the file or package that defines the user's own model, or None."""
    own = config.code_path
    if own is None:
        return None
    package = own.partition(".")[0]
    file = sys.modules[package].__file__ if package in sys.modules else None
    if file is None or "site-packages" in file:
        return None
    path = Path(file)
    return [str(path.parent if path.name == "__init__.py" else path)]


def _serving_data(evaluation: Evaluation, final: FinalModel) -> dict[str, Any]:
    """Return the plain values that `pyfunc_model.py` needs to prepare rows and to decide."""
    dataset, preprocessor = evaluation.dataset, final.preprocessor
    names = np.array(dataset.feature_names, dtype=object)
    categories = {
        names[feature]: {
            text: int(column)
            for category, column in zip(dataset.categories[feature] or (), columns, strict=True)
            for text in _spellings(category, dataset.categories[feature] or ())
            if column != NO_COLUMN
        }
        for feature, columns in zip(preprocessor.categorical, preprocessor.columns, strict=True)
    }
    own = evaluation.config.model.code_path
    return {
        "label_names": list(dataset.label_names),
        "temperature": final.rule.temperature.tolist(),
        "threshold": final.rule.threshold.tolist(),
        "numeric": {
            "names": names[preprocessor.numeric].tolist(),
            "fill": preprocessor.fill.tolist(),
            "center": preprocessor.center.tolist(),
            "scale": preprocessor.scale.tolist(),
            "indicators": preprocessor.indicators.tolist(),
        },
        "categories": categories,
        "n_category_columns": preprocessor.n_category_columns,
        "modules": [own.rpartition(".")[0]] if own else [],
    }


def _spellings(category: str, categories: Sequence[str]) -> set[str]:
    """Return a category's text and, where it is unambiguous, its canonical spelling."""
    spelling = canonical(category)
    is_unique = sum(canonical(other) == spelling for other in categories) == 1
    return {category, spelling} if is_unique else {category}
