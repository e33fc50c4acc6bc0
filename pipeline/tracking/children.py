"""The runs of a sweep's jobs: read in bulk, and marked where their process is gone."""

import time
from collections.abc import Iterable, Iterator
from typing import get_args

import mlflow
from mlflow.entities import Run

from pipeline.leaderboard import Entry, Leaderboard, Status
from pipeline.process import lives, this_process
from pipeline.tracking.alive import PROCESS, is_under_way
from pipeline.tracking.sweep import VARIED, Sweep, SweepJob
from pipeline.tracking.tags import SUPERSEDED

PAGE = 1000  # runs read at once
SECONDS_TO_END = 8.0  # for processes that were told to


def read_leaderboard(sweep: Sweep) -> Leaderboard:
    """Return how the jobs of a sweep did."""
    entries = [_entry(run) for run in children(sweep) if SUPERSEDED not in run.data.tags]
    return Leaderboard(entries, sweep.plan.n_jobs, sweep.plan.criterion)


def mark_lost(sweep: Sweep) -> None:
    """End the runs that no process works on any more, when no job is to be under way.

    Processes of this host that live get a little time to end by themselves.
    """
    client, until = mlflow.MlflowClient(), time.monotonic() + SECONDS_TO_END
    while True:
        ending = False
        for run in children(sweep, "attributes.status = 'RUNNING'"):
            process = run.data.tags.get(PROCESS, "")
            if process == this_process():
                failure = "Its end could not be written; the error is on the screen of the sweep."
                client.set_tag(run.info.run_id, "failure", failure)
                client.set_terminated(run.info.run_id, "FAILED")
            elif not is_under_way(run):
                client.set_terminated(run.info.run_id, "KILLED")
            else:
                ending |= bool(process and lives(process))
        if not ending or time.monotonic() > until:
            return
        time.sleep(0.2)


def children(sweep: Sweep, also: str = "") -> Iterator[Run]:
    """Yield the runs of a sweep's jobs, the latest first.

    Args:
        sweep: Which sweep.
        also: More that a run must fulfil, in MLflow's words.
    """
    mine = f"tags.`mlflow.parentRunId` = '{sweep.run_id}'"
    token = None
    while True:
        page = mlflow.MlflowClient().search_runs(
            [sweep.experiment_id],
            f"{mine} AND {also}" if also else mine,
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def supersede(old: Iterable[str], new: str) -> None:
    """List a run in the place of others."""
    for run_id in old:
        mlflow.MlflowClient().set_tag(run_id, SUPERSEDED, new)


def of_earlier_attempts(job: SweepJob) -> Iterator[Run]:
    """Yield the runs that earlier attempts at a sweep made for a job.

    Its number tells them, or, where jobs have no order, what sets it apart; what is finished then
    stays, for it may be drawn again.
    """
    if job.sweep.plan.in_order:
        yield from children(job.sweep, f"tags.sweep_job = '{job.number}'")
        return
    for run in children(job.sweep, "attributes.status != 'FINISHED'"):
        if run.data.tags.get("overrides") == job.tags["overrides"]:
            yield run


def _entry(run: Run) -> Entry:
    tags, info = run.data.tags, run.info
    in_order = tags.get("overrides", "")
    keys = [key.removeprefix(VARIED) for key in tags if key.startswith(VARIED)]
    keys.sort(key=lambda key: in_order.find(f"{key}="))
    number, ended = tags.get("sweep_job"), info.end_time
    took = (ended - info.start_time) / 1000 if ended else None
    status: Status = info.status if info.status in get_args(Status) else "RUNNING"
    return Entry(
        run_id=info.run_id,
        number=int(number) if number else None,
        varied={key: tags[f"{VARIED}{key}"] for key in keys},
        status=status,
        headline=tags.get("headline", ""),
        metrics=run.data.metrics,
        seconds=run.data.metrics.get("seconds", took),
        reason=tags.get("failure") or tags.get("stopped_because", ""),
        tried_on=(tags.get("data_digest", ""), tags.get("split_digest", "")),
    )
