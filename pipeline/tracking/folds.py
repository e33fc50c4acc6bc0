"""The fold scores of a run, read back."""

import math
from collections.abc import Sequence

from mlflow import MlflowClient

from pipeline.cv import Split
from pipeline.cv import digest as split_digest
from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.tracking.evidence import Archive
from pipeline.tracking.store import Store


def paired_scores(
    store: Store, asked: str, metric: str, dataset: Dataset, splits: Sequence[Split]
) -> list[float] | None:
    """Return a run's score on each fold, in their order; None if its folds or data are others.

    Args:
        store: Where the run is.
        asked: Its name, its id, or the start of its id.
        metric: By name.
        dataset: What its folds must be of.
        splits: What its folds must be.

    Returns:
        One number per split; NaN where the run has none.

    Raises:
        UserError: If there is no such run.
    """
    try:
        run = Archive(store).one(asked)
    except UserError as error:
        raise UserError(f"racing.incumbent: {error}") from error
    mine = {"data_digest": dataset.digest, "split_digest": split_digest(splits)}
    if any(run.data.tags.get(key) != value for key, value in mine.items()):
        return None
    scores = [math.nan] * len(splits)
    for score in MlflowClient().get_metric_history(run.info.run_id, f"fold/{metric}"):
        scores[score.step] = score.value
    return scores
