"""Log the final model of an evaluation, checked as another process will load it."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.cv import Split
from pipeline.evaluation.evaluator import N_CHECKED_ROWS
from pipeline.evaluation.fold_results import Evaluation
from pipeline.evaluation.inputs import final_rows
from pipeline.model.saved_model import MODEL_CARD, FinalModel, write_model
from pipeline.model.training_profile import describe_training
from pipeline.tracking import FINAL_FIT
from pipeline.tracking.logged_model import LoggedModel, check_code, check_model, log_model
from pipeline.tracking.pyfunc_model import ServedModel

N_EXAMPLE_ROWS = 3  # of the input that MLflow shows with the model


def log_final_model(
    model: LoggedModel,
    splits: Sequence[Split],
    evaluation: Evaluation,
    final: FinalModel,
    card: str,
) -> ServedModel:
    """Write the final model, load it again, check that it predicts the same, and log it.

    Args:
        model: A model of the active run, from `begin_model`.
        splits: Folds of the evaluation.
        evaluation: The evaluation.
        final: Its final model.
        card: Text of its model card.

    Returns:
        The loaded model.
    """
    config, dataset = evaluation.config, evaluation.dataset
    rows = final_rows(config, dataset, splits)
    y_pred = np.concatenate([fold.y_pred for fold in evaluation.folds])
    held_out = np.concatenate([fold.split.test for fold in evaluation.folds])
    n_held_out = int(np.count_nonzero(np.bincount(held_out)))  # np.unique would sort
    training = describe_training(dataset, rows, y_pred, n_held_out, config.dataset, config.scoring)
    X = dataset.X[:N_CHECKED_ROWS].copy()
    may_miss = ~final.schema.is_numeric | (not final.requires_complete_rows)
    every_third = np.add.outer(np.arange(len(X)), np.arange(X.shape[1])) % 3 == 0
    X[every_third & may_miss] = np.nan
    example = final.schema.decode(X, {it: values[: len(X)] for it, values in dataset.exact.items()})
    with TemporaryDirectory() as name:
        folder = Path(name)
        has_user_code = write_model(folder, final, config.model, training)
        (folder / "model" / MODEL_CARD).write_text(card, encoding="utf-8")
        served = check_model(folder, example, final.predict_proba(final.schema.encode(example)))
        if has_user_code:
            check_code(folder)
        metadata = {FINAL_FIT: final.describe_fit()}
        log_model(model, folder, metadata, example[:N_EXAMPLE_ROWS])
    return served
