"""What a run that goes on holds already."""

from dataclasses import dataclass

import mlflow


@dataclass(frozen=True)
class Logged:
    """What a run holds already.

    MLflow takes no other value for a parameter and keeps all values of a metric, so that neither is
    sent twice.
    """

    params: frozenset[str] = frozenset()
    steps: frozenset[tuple[str, int]] = frozenset()


def what_is_there(client: mlflow.MlflowClient, run_id: str) -> Logged:
    """Return what an earlier attempt logged, and remove the models that it may have left."""
    run = client.get_run(run_id)
    steps = {
        (key, metric.step)
        for key in run.data.metrics
        for metric in client.get_metric_history(run_id, key)
    }
    of_run = f"source_run_id = '{run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], filter_string=of_run):
        client.delete_logged_model(model.model_id)
    return Logged(frozenset(run.data.params), frozenset(steps))
