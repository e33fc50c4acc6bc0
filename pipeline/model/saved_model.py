"""Write the folder of a trained model: its files, its code and its requirements.

model/schema.json                 columns of raw rows, labels, thresholds
model/training.json               ranges and category counts of the training rows, where known
model/model.keras | model.skops   preprocessing and model
model/trees_*                     trees of XGBoost, LightGBM or CatBoost, beside model.skops
code/                             the modules of Manyfold and of the user that loading needs
requirements.txt
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
from numpy.typing import NDArray

from pipeline.config import BoostingConfig, EstimatorConfig, ModelConfig, SklearnModelConfig
from pipeline.decision import DecisionRule
from pipeline.errors import UserError
from pipeline.model.boosted_trees import write_boosters
from pipeline.model.loaded_model import TRUSTED_PACKAGES, is_trusted
from pipeline.model.multilabel import MultilabelEnsemble
from pipeline.preprocessing import TableSchema
from pipeline.preprocessing.column_values import UNITS
from pipeline.user_code import find_user_code

PACKAGE = Path(__file__).parents[1]
CODE = (
    "keras_backend.py",
    "preprocessing/column_values.py",
    "preprocessing/date_formats.py",
    "preprocessing/value_formats.py",
    "preprocessing/column.py",
    "preprocessing/text_columns.py",
    "preprocessing/derived_columns.py",
    "preprocessing/table_schema.py",
    "preprocessing/preprocessor.py",
    "preprocessing/layer.py",
    "decision/rule.py",
    "model/category_embeddings.py",
    "model/multilabel.py",
    "model/boosted_trees.py",
    "model/tabm_layers.py",
    "model/loaded_model.py",
)
"""Modules that logged models carry; they import each other and libraries, nothing else."""

MODEL_CARD = "MODEL_CARD.md"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "scikit-learn")
KERAS_REQUIREMENTS = ("keras", "tensorflow")
SKLEARN_REQUIREMENTS = ("skops",)
_version = cache(version)


@dataclass(frozen=True, eq=False)
class FinalModel:
    """The model that is logged.

    Attributes:
        model: Keras model or scikit-learn pipeline; takes encoded rows.
        rule: Calibration and thresholds, learnt from its training rows.
        schema: Columns of raw rows.
        label_names: Names of the labels.
        requires_complete_rows: Whether missing numbers are refused, as nothing imputes them.
        n_train: Number of training rows.
        n_samples: Number of rows of the data set.
        is_predefined: Whether the test rows are published ones.
    """

    model: Any
    rule: DecisionRule
    schema: TableSchema
    label_names: Sequence[str]
    requires_complete_rows: bool
    n_train: int
    n_samples: int
    is_predefined: bool

    def describe_fit(self) -> str:
        """Say in a sentence on which rows the model is trained."""
        if self.n_train < self.n_samples:
            return (
                f"Final model: trained on the {self.n_train:,} training rows, without the "
                f"{self.n_samples - self.n_train:,} test rows (training.final_fit=train)."
            )
        tested = ", also on the test rows of cv=predefined" if self.is_predefined else ""
        return (
            f"Final model: trained on all {self.n_samples:,} rows{tested} (training.final_fit=all)."
        )

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated probabilities of encoded rows, of shape (n, n_labels)."""
        if hasattr(self.model, "predict_proba"):
            return self.rule.calibrate(self.model.predict_proba(X))
        return self.rule.calibrate(np.asarray(self.model(X, training=False)))


def write_model(
    folder: Path,
    final: FinalModel,
    config: ModelConfig,
    training: Mapping[str, Any] | None = None,
) -> bool:
    """Write a model into an empty folder, as described above.

    Args:
        folder: The folder.
        final: The model.
        config: Its configuration.
        training: As of `describe_training`.

    Returns:
        Whether code of the user is part of it.
    """
    files = folder / "model"
    files.mkdir()
    own = config.code_path
    code = find_user_code([own] if own else [])
    serving: dict[str, Any] = {
        **final.schema.as_dict(),
        "label_names": list(final.label_names),
        "temperature": final.rule.temperature.tolist(),
        "threshold": final.rule.threshold.tolist(),
        "requires_complete_rows": final.requires_complete_rows,
        "units": {it.name: UNITS[it.kind] for it in final.schema.columns if it.kind in UNITS},
        "modules": [own.rpartition(".")[0]] if own else [],
    }
    requirements = {*REQUIREMENTS, *code.packages}
    if isinstance(config, EstimatorConfig):
        requirements |= {*SKLEARN_REQUIREMENTS}
        path, pipeline = files / "model.skops", final.model
        if isinstance(config, BoostingConfig):
            serving["modules"] = []
            pipeline, serving["trees"] = write_boosters(pipeline, files)
        serving["trusted"] = save_sklearn(pipeline, path, own_packages(config))
        with path.open("rb") as file:
            serving["digest"] = file_digest(file, "sha256").hexdigest()
    else:
        requirements |= {*KERAS_REQUIREMENTS}
        final.model.save(files / "model.keras")
    (files / "schema.json").write_text(json.dumps(serving), encoding="utf-8")
    if training:
        (files / "training.json").write_text(json.dumps(training), encoding="utf-8")
    lines = [f"{package}=={_version(package)}\n" for package in sorted(requirements)]
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")
    write_code(folder / "code", code.modules)
    return bool(code.modules)


def change_thresholds(
    files: Path,
    thresholds: NDArray[np.float64],
    predicted_label_rates: Mapping[str, float] | None,
    note: str,
) -> None:
    """Change the thresholds of a model that was written before.

    Args:
        files: Folder of `schema.json`.
        thresholds: Threshold of each label, of shape (n_labels,).
        predicted_label_rates: As in `training.json`, at these thresholds; None if unknown.
        note: Text for the model card.
    """
    _update(files / "schema.json", {"threshold": thresholds.tolist()})
    if (path := files / "training.json").is_file():
        rates = predicted_label_rates
        _update(path, {"predicted_label_rates": rates} if rates else {"n_held_out": None})
    if (path := files / MODEL_CARD).is_file():
        section = f"\n## Thresholds of this version\n\n{note}\n"
        path.write_text(path.read_text("utf-8") + section, encoding="utf-8")


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")


def write_code(folder: Path, user_modules: Mapping[str, Path]) -> None:
    """Copy the modules that loading needs, at their places below a folder."""
    for name in CODE:
        path = folder / PACKAGE.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((PACKAGE / name).read_bytes())
        for package in (path.parent, folder / PACKAGE.name):
            (package / "__init__.py").touch()
    for module, source in user_modules.items():
        is_package = source.name == "__init__.py"
        path = folder.joinpath(*module.split("."), *(["__init__"] if is_package else []))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_bytes(source.read_bytes())


def own_packages(config: EstimatorConfig) -> list[str]:
    """Return the packages of the user's own estimator, other than scikit-learn."""
    if isinstance(config, BoostingConfig):
        return []
    module = type(_sklearn_models().build_estimator(config)).__module__
    packages = {path.partition(".")[0] for path in (config.estimator, module)}
    return sorted(packages - set(TRUSTED_PACKAGES))


def save_sklearn(model: Any, path: Path, user_packages: Sequence[str] = ()) -> list[str]:
    """Save a scikit-learn pipeline with skops, a file format that contains no code.

    Args:
        model: The pipeline.
        path: File to write.
        user_packages: Packages of the user's estimator, whose types are trusted too.

    Returns:
        The types that a reader must trust beyond those that skops trusts.

    Raises:
        UserError: If loading the file would require trust in other packages.
    """
    try:
        _skops().dump(model, path, compression=ZIP_DEFLATED, compresslevel=1)
        untrusted: list[str] = _skops().get_untrusted_types(file=path)
    except Exception as error:
        raise UserError(
            "model.estimator: expected one that skops can save without pickle. Received: "
            f"{_format_error(error)}"
        ) from error
    foreign = [name for name in untrusted if not is_trusted(name, user_packages)]
    if foreign:
        packages = ", ".join([*TRUSTED_PACKAGES, *user_packages])
        raise UserError(
            f"model.estimator: expected one made of classes of {packages} only, because a saved "
            f"model is loaded with these. Received: also {', '.join(foreign)}."
        )
    return untrusted


def check_savable(config: SklearnModelConfig, X: NDArray[np.floating], y: NDArray[np.int8]) -> None:
    """Raise UserError if the user's own estimator cannot predict or be saved and loaded.

    It is fitted to a few preprocessed rows X and their labels y.
    """
    user_packages = own_packages(config)
    if not user_packages:
        return
    try:
        model = _sklearn_models().fit_labels(config, X, y, seed=0)
    except Exception:
        return  # perhaps for lack of rows; the training will raise the error if there is one
    expected = f"model.estimator: expected {config.estimator} to"
    try:
        y_score = model(X)
    except Exception as error:
        raise UserError(
            f"{expected} predict the rows it was fitted to. Received: {_format_error(error)}"
        ) from error
    if not ((y_score >= 0) & (y_score <= 1)).all():
        raise UserError(
            f"{expected} return probabilities in [0, 1]. Received: from {y_score.min():.3g} to "
            f"{y_score.max():.3g}."
        )
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.skops")
        trusted = save_sklearn(MultilabelEnsemble([model]), path, user_packages)
        try:
            _skops().load(path, trusted=trusted)
        except Exception as error:
            raise UserError(
                f"{expected} be one that skops can load. Received: {_format_error(error)}"
            ) from error


def _sklearn_models() -> Any:
    """Import scikit-learn's meta-estimators, when a model of scikit-learn is used."""
    from pipeline.model import sklearn_models

    return sklearn_models


def _skops() -> Any:
    """Import skops, and with it all of scikit-learn, when a model is saved."""
    import skops.io

    return skops.io


def _format_error(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"
