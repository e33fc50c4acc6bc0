"""Find a previous run to reuse or continue."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import mlflow
from mlflow.entities import Run

from pipeline.evaluation import Fingerprint
from pipeline.tracking.heartbeat import PROCESS, RunActiveError, describe_process, is_active
from pipeline.tracking.store import SUPERSEDED
from pipeline.tracking.sweep_run import SweepJob, children, previous_job_runs

FAILURE = "failure"  # the tag that says why a run did not finish
N_LATEST = 100  # runs of the same, to find one that is in no sweep


@dataclass(frozen=True)
class PreviousRun:
    """What there is of a job from before.

    Attributes:
        run_id: The run that stands for it or goes on; None: there is none.
        finished: Whether nothing is left to do.
        metrics: What it logged.
        failed: A run of the same that failed; its finished folds are good.
        replaced: Runs in whose place that of the job is listed.
        n_fits_skipped: Fits that racing spared it; above 0 it was stopped after the first repeat.
    """

    run_id: str | None = None
    finished: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None
    replaced: tuple[str, ...] = ()
    n_fits_skipped: int = 0


def find_previous_run(
    experiment_id: str, fingerprint: Fingerprint, job: SweepJob | None
) -> PreviousRun:
    """Return what earlier runs of the same configuration, data, folds and code spare.

    Args:
        experiment_id: Where to look.
        fingerprint: What they must share.
        job: The job of a sweep, whose earlier runs are under the same parent; None: a single run.

    Raises:
        RunActiveError: If another process works on the latest of them.
    """
    same = " AND ".join(f"tags.{key} = '{value}'" for key, value in fingerprint.as_tags().items())
    others = list(previous_job_runs(job)) if job else []
    if job is None:
        runs = [run for run in _latest(experiment_id, same) if not _is_of_sweep(run)]
    elif job.sweep.plan.in_order:
        runs = list(children(job.sweep, f"tags.sweep_job = '{job.number}' AND {same}"))
    else:
        runs = list(children(job.sweep, same))
    if not runs:
        return PreviousRun(replaced=_ids(others))
    latest = runs[0]
    if is_active(latest):
        process = describe_process(latest.data.tags[PROCESS])
        raise RunActiveError(
            f"resume: expected what no other process works on. Received: run {latest.info.run_id}, "
            f"on which {process} works. Wait for it, or end it."
        )
    if latest.info.status == "FAILED":
        return PreviousRun(failed=latest.info.run_id, replaced=_ids(others))
    for tag in {SUPERSEDED, FAILURE} & set(latest.data.tags):  # it counts again
        mlflow.MlflowClient().delete_tag(latest.info.run_id, tag)
    return PreviousRun(
        run_id=latest.info.run_id,
        finished=latest.info.status == "FINISHED" and "seconds" in latest.data.metrics,
        metrics=latest.data.metrics,
        n_fits_skipped=int(latest.data.metrics.get("fits_saved", 0)),
        replaced=_ids(run for run in others if run.info.run_id != latest.info.run_id),
    )


def _latest(experiment_id: str, same: str) -> list[Run]:
    order = ["attributes.start_time DESC"]
    client = mlflow.MlflowClient()
    return list(client.search_runs([experiment_id], same, max_results=N_LATEST, order_by=order))


def _is_of_sweep(run: Run) -> bool:
    return "mlflow.parentRunId" in run.data.tags


def _ids(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(str(run.info.run_id) for run in runs)
