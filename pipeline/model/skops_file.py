"""Save scikit-learn models with skops, a file format that contains no code."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
from numpy.typing import NDArray

from pipeline.config import SklearnModelConfig
from pipeline.errors import UserError
from pipeline.model.multilabel import MultilabelEnsemble, fit_labels
from pipeline.model.sklearn_models import build_estimator

TRUSTED_PACKAGES = ("numpy", "scipy", "sklearn")


def own_packages(config: SklearnModelConfig) -> list[str]:
    """Return the packages of the user's own estimator, other than scikit-learn."""
    module = type(build_estimator(config)).__module__
    packages = {path.partition(".")[0] for path in (config.estimator, module)}
    return sorted(packages - set(TRUSTED_PACKAGES))


def save(model: MultilabelEnsemble, path: Path, user_packages: Sequence[str] = ()) -> list[str]:
    """Save a model; return the types that a reader must trust beyond those that skops trusts.

    The file is a list with a dict per classifier of the ensemble: `frequencies`, the frequency of
    each label, and `estimators`, the `labels` and the `estimator` of each fitted estimator.

    Args:
        model: The model.
        path: File to write.
        user_packages: Packages of the user's estimator, whose types are trusted too.

    Raises:
        UserError: If loading the file would require trust in other packages.
    """
    classifiers = [
        {
            "frequencies": classifier.frequencies.tolist(),
            "estimators": [
                {"labels": list(fitted.labels), "estimator": fitted.estimator}
                for fitted in classifier.estimators
            ],
        }
        for classifier in model.classifiers
    ]
    try:
        _skops().dump(classifiers, path, compression=ZIP_DEFLATED, compresslevel=1)
        untrusted: list[str] = _skops().get_untrusted_types(file=path)
    except Exception as error:
        raise UserError(
            "model.estimator: expected one that skops can save without pickle. Received: "
            f"{_format_error(error)}"
        ) from error
    foreign = [name for name in untrusted if not _is_trusted(name, user_packages)]
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
        model = fit_labels(config, X, y, seed=0)
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
        trusted = save(MultilabelEnsemble((model,)), path, user_packages)
        try:
            _skops().load(path, trusted=trusted)
        except Exception as error:
            raise UserError(
                f"{expected} be one that skops can load. Received: {_format_error(error)}"
            ) from error


def _skops() -> Any:
    """Import skops, and with it all of scikit-learn, when a model is saved."""
    import skops.io

    return skops.io


def _format_error(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def _is_trusted(name: str, user_packages: Sequence[str]) -> bool:
    """Return whether a name is a class of a trusted package, or anything of the user's."""
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package in user_packages:
        return True
    return package in TRUSTED_PACKAGES and isinstance(
        getattr(import_module(module), attribute, None), type
    )
