"""Trained estimators in a file that holds no code: skops, and the types that it may make."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED

import numpy as np
from numpy.typing import NDArray

from pipeline.config import SklearnModelConfig
from pipeline.errors import UserError
from pipeline.model.multilabel import MultilabelEnsemble, fit_labels
from pipeline.model.sklearn_models import build_estimator

KNOWN = ("numpy", "scipy", "sklearn")


def own_packages(config: SklearnModelConfig) -> list[str]:
    """Return the packages outside of scikit-learn that the user's estimator comes from."""
    kind = type(build_estimator(config)).__module__
    return sorted({path.partition(".")[0] for path in (config.estimator, kind)} - set(KNOWN))


def save(model: MultilabelEnsemble, path: Path, own: Sequence[str] = ()) -> list[str]:
    """Write a model and return the types that a reader has to trust, beyond skops's own list.

    The file holds, for each member, its `shares` and the `labels` and `estimator` of each part.

    Args:
        model: What to write.
        path: Where.
        own: Packages that the user named, whose types may be among them.

    Raises:
        UserError: If the file could not be read again without trusting other packages.
    """
    import skops.io  # imports all of scikit-learn, which training need not wait for

    members = [
        {
            "shares": member.shares.tolist(),
            "parts": [
                {"labels": list(part.labels), "estimator": part.estimator} for part in member.parts
            ],
        }
        for member in model.members
    ]
    try:
        skops.io.dump(members, path, compression=ZIP_DEFLATED, compresslevel=1)
        needed: list[str] = skops.io.get_untrusted_types(file=path)
    except Exception as error:
        raise UserError(
            f"model.estimator: expected one that skops can store without pickle. Received: "
            f"{_format_types(error)}"
        ) from error
    foreign = [name for name in needed if not _may_be_trusted(name, own)]
    if foreign:
        raise UserError(
            f"model.estimator: expected one made of classes of {', '.join([*KNOWN, *own])}, which "
            f"a stored model may be loaded with. Received: also {', '.join(foreign)}."
        )
    return needed


def check_savable(config: SklearnModelConfig, X: NDArray[np.floating], y: NDArray[np.int8]) -> None:
    """Raise UserError if a model of the user's own could not be kept; tried on a few rows.

    Args:
        config: Names the estimator.
        X: A few prepared rows, of shape (n, n_columns).
        y: Their labels, of shape (n, n_labels).
    """
    own = own_packages(config)
    if not own:
        return
    import skops.io

    try:
        model = fit_labels(config, X, y, seed=0)
    except Exception:
        return  # perhaps for so few rows; the training will show whether it is for them
    expected = f"model.estimator: expected {config.estimator} to"
    try:
        y_score = model(X)
    except Exception as error:
        raise UserError(
            f"{expected} answer for the rows it was trained on. Received: {_format_types(error)}"
        ) from error
    if not ((y_score >= 0) & (y_score <= 1)).all():
        raise UserError(
            f"{expected} answer with probabilities in [0, 1]. Received: from {y_score.min():.3g} "
            f"to {y_score.max():.3g}."
        )
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.skops")
        trusted = save(MultilabelEnsemble((model,)), path, own)
        try:
            skops.io.load(path, trusted=trusted)
        except Exception as error:
            raise UserError(
                f"{expected} be one that skops can load. Received: {_format_types(error)}"
            ) from error


def _format_types(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def _may_be_trusted(name: str, own: Sequence[str]) -> bool:
    """Return whether a name is a class of scikit-learn, NumPy or SciPy, or the user's."""
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package in own:
        return True
    return package in KNOWN and isinstance(getattr(import_module(module), attribute, None), type)
