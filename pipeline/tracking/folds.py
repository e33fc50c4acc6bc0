"""The fold scores of a run, read back."""

import math
from collections.abc import Sequence

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.cv import Split
from pipeline.cv import digest as split_digest
from pipeline.dataset import Dataset
from pipeline.errors import UserError


def paired_scores(
    run_id: str, metric: str, dataset: Dataset, splits: Sequence[Split]
) -> list[float] | None:
    """Return a run's score on each fold, in their order; None if its folds or data are others.

    Args:
        run_id: Of a run in the store that is open.
        metric: By name.
        dataset: What its folds must be of.
        splits: What its folds must be.

    Returns:
        One number per split; NaN where the run has none.

    Raises:
        UserError: If there is no such run.
    """
    client = mlflow.MlflowClient()
    try:
        tags = client.get_run(run_id).data.tags
    except MlflowException as error:
        raise UserError(
            f"racing.incumbent: expected the id of a run in {mlflow.get_tracking_uri()}. "
            f"Received: {run_id!r}"
        ) from error
    mine = {"data_digest": dataset.digest, "split_digest": split_digest(splits)}
    if any(tags.get(key) != value for key, value in mine.items()):
        return None
    scores = [math.nan] * len(splits)
    for score in client.get_metric_history(run_id, f"fold/{metric}"):
        scores[score.step] = score.value
    return scores
