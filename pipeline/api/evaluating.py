"""Evaluate a model, load data and compose configurations, from Python."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline import console
from pipeline.api.messages import python_messages
from pipeline.api.result import Evaluation
from pipeline.config import Config, PythonDatasetConfig, parse_config
from pipeline.config.python_settings import compose_settings
from pipeline.dataset import Dataset, load
from pipeline.dataset.in_memory import make_dataset
from pipeline.errors import UserError
from pipeline.evaluation import load_inputs
from pipeline.evaluation.evaluator import Evaluator
from pipeline.keras_backend import without_log_lines
from pipeline.model.given_model import GivenModel, convert_model
from pipeline.runtime import handle_signals, heavy_imports
from pipeline.user_code import LENT, lend

if TYPE_CHECKING:
    from omegaconf import DictConfig

Group = str | Mapping[str, Any] | None  # name of an option, or keys and values


def evaluate(
    X: Any,
    y: Any = None,
    *,
    model: Any = None,
    cv: Group = None,
    preprocessing: Group = None,
    training: Group = None,
    scoring: Group = None,
    decision: Group = None,
    report: Group = None,
    seed: int | None = None,
    groups: Any = None,
    folds: Any = None,
    ids: Any = None,
    times: Any = None,
    sample_weight: Any = None,
    missing_labels: Literal["refuse", "mask"] | None = None,
    text_columns: Sequence[str] | None = None,
    name: str = "data",
    settings: Sequence[str] = (),
    track: bool = False,
    tracking: Group = None,
    progress: bool | None = None,
) -> Evaluation:
    """Cross-validate a model on multi-label data and fit the final model on all rows.

    Each of `model`, `cv`, `preprocessing`, `training`, `scoring`, `decision` and `report` is a
    group of the configuration: the name of one of its options (`cv="multilabel_stratified"`), or a
    dict of keys (`cv={"n_splits": 5}`). Defaults are those of the command line.

    Args:
        X: Features of shape (n_samples, n_features): an array, a data frame (texts and categorical
            columns are categories, dates are numbers, missing values are imputed) or a sparse
            matrix; or a `Dataset`.
        y: Labels of shape (n_samples, n_labels), yes and no in any spelling: an array, or a data
            frame whose columns name the labels. None if X is a `Dataset`.
        model: A group; or a scikit-learn estimator, cloned for each fit; or a Keras model, which
            gets new initial weights for each fit, so that its own are not used; or a function that
            returns one of them, called with `n_features` and `n_labels` if it takes them. Optimizer
            and loss are those of `training`, also if a Keras model was compiled with others.
        cv: Folds. The default is `predefined` with `folds`, `time_series` with `times`,
            `group_kfold` with `groups`, and `repeated_kfold` otherwise.
        preprocessing: Scaling, imputation and encoding, learnt in each fold.
        training: Training of networks.
        scoring: Metrics, the headline first: names, or functions of y_true, y_score and y_pred.
        decision: Thresholds and calibration.
        report: Importance of features: `{"importance": True}`; figures with `track=True`.
        seed: Seed of initial weights, batch order and dropout.
        groups: Group of each row, of shape (n_samples,); rows of a group stay together.
        folds: Number of the fold that tests each row, -1 if it always trains, of shape
            (n_samples,); or the words train and test.
        ids: Unique id of each row, of shape (n_samples,), for the predictions.
        times: Date, duration or number that orders the rows, of shape (n_samples,).
        sample_weight: Weight of each row in training, at least 0, of shape (n_samples,).
        missing_labels: `mask` if a blank, ?, None or NaN in `y` means that the label is not known;
            else it is an error.
        text_columns: Names of the columns of the data frame `X` that are free text, such as
            `["body"]`; each becomes TF-IDF: `preprocessing={"text": {"max_features": 500}}`.
        name: Name of the data set, for titles and runs.
        settings: Further settings as on the command line, such as `["experiment=yeast"]`.
        track: Log the evaluation to MLflow, like the command line.
        tracking: Store, experiment and run name, for `track=True`: `{"uri": "sqlite:///..."}`.
        progress: Show the progress; None for in a notebook only.

    Returns:
        Scores, predictions, summary and final model.

    Raises:
        UserError: If the data or the settings are invalid; it is a ValueError.
    """
    with python_messages():
        row_columns = (groups, folds, ids, times, sample_weight)
        dataset = _to_dataset(name, X, y, *row_columns, missing_labels, text_columns)
        if cv is None or (isinstance(cv, Mapping) and "kind" not in cv):
            settings = [*_default_cv(dataset), *settings]
        given = GivenModel([], {})
        if not (model is None or isinstance(model, str | Mapping)):
            given, model = convert_model(model, dataset.n_features, dataset.n_labels), None
        loader = f"memory.load{LENT}{dataset.digest[:8]}"
        callables: dict[str, Callable[..., Any]] = {loader: lambda: dataset, **given.callables}
        composed = compose_settings(
            ["dataset=python", *given.settings, *settings],
            {
                "dataset": {
                    "loader": loader,
                    "name": dataset.name,
                    "missing_labels": "refuse" if dataset.label_mask is None else "mask",
                },
                "model": given.values or model,
                "cv": cv,
                "preprocessing": preprocessing,
                "training": training,
                "scoring": _name_metrics(scoring, callables),
                "decision": decision,
                "report": report,
                "seed": seed,
                "tracking": tracking,
            },
        )
        of_files = composed.dataset.keys() - {each.name for each in fields(PythonDatasetConfig)}
        for key in of_files:  # of an experiment
            del composed.dataset[key]
        shows = console.is_notebook() if progress is None else progress
        with (
            lend(callables),
            _kept_random_state(),
            without_log_lines(),
            console.silence(progress=shows),
        ):
            return _track(composed, given) if track else _evaluate(composed)


def load_dataset(option: str, **keys: Any) -> Dataset:
    """Load a data set like the command line: `load_dataset("table", path="data.csv", ...)`.

    Args:
        option: Name of an option of the group `dataset`: table, arff, openml, npz, ...
        keys: Its keys, such as `path` and `labels`.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
    with python_messages(of_dataset=True):
        composed = compose_settings([f"dataset={option}"], {"dataset": keys})
        return load(parse_config(composed).dataset)


def make_config(*settings: str, **groups: Any) -> Config:
    """Compose a configuration: `make_config("experiment=yeast", training={"epochs": 5})`.

    Args:
        settings: Settings as on the command line.
        groups: Of each group the name of an option or a dict of keys; of `seed` its value.

    Raises:
        UserError: If keys are unknown or missing or values are invalid; the message names all.
    """
    with python_messages():
        return parse_config(compose_settings(settings, groups))


def _to_dataset(name: str, X: Any, y: Any, *columns: Any) -> Dataset:
    """Return the data set of arrays; `columns` are the arguments of `make_dataset`."""
    keys = ("groups", "folds", "ids", "times", "sample_weight", "missing_labels", "text_columns")
    given = dict(zip(keys, columns, strict=True))
    if not isinstance(X, Dataset):
        if y is None:
            raise UserError("y: missing. Give the labels, or a data set of load_dataset as X.")
        return make_dataset(name, X, y, **given)
    if unexpected := [key for key, it in {"y": y, **given}.items() if it is not None]:
        raise UserError(
            f"{', '.join(unexpected)}: expected none beside a Dataset, which has its own."
        )
    return X


def _default_cv(dataset: Dataset) -> list[str]:
    """Return the option that respects folds, times or groups, if the data set has them."""
    if dataset.fold is not None:
        return ["cv=predefined"]
    if dataset.times is not None:
        return ["cv=time_series"]
    return [] if dataset.groups is None else ["cv=group_kfold"]


def _name_metrics(scoring: Group, callables: dict[str, Callable[..., Any]]) -> Group:
    """Replace functions among the metrics by their paths, and add them to the callables."""
    if not isinstance(scoring, Mapping) or isinstance(scoring.get("metrics"), str | None):
        return scoring
    names = []
    for metric in scoring["metrics"]:
        names.append(metric)
        if callable(metric):
            names[-1] = f"{metric.__module__}.{metric.__name__}"
            callables[names[-1]] = metric
    return {**scoring, "metrics": names}


def _evaluate(composed: "DictConfig") -> Evaluation:
    config = parse_config(composed)
    if config.racing is not None or config.resume:
        raise UserError("racing, resume: expected neither without track=True.")
    inputs = load_inputs(config)
    evaluator = Evaluator(config, inputs.dataset, list(inputs.splits), inputs.nested_splits)
    with (
        console.progress_bar(evaluator.total, evaluator.unit) as advance,
        closing(evaluator.folds(advance)) as folds,
    ):
        for _ in folds:
            pass
    return Evaluation.of(evaluator.evaluation())


def _track(composed: "DictConfig", given: GivenModel) -> Evaluation:
    """Run a job as the command line does."""
    if "__main__" in given.modules:
        raise UserError(
            "model: expected classes of a module that other programs can import, because the final "
            "model is logged. Received: one that is defined in this program or notebook. Move it "
            "to a file, or leave out track=True."
        )
    with heavy_imports():
        from pipeline.job import evaluate_job

    config = parse_config(composed)
    if config.resume:
        raise UserError("resume: expected false, because a finished run has no evaluation to show.")
    with handle_signals():
        result, evaluation = evaluate_job(composed)
    assert evaluation
    return Evaluation.of(evaluation, result.run_id)


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Restore the states of Python's and NumPy's global generators, which Keras seeds."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
