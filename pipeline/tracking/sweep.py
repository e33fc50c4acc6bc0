"""The parent run of a sweep: begun before its jobs, known to each of them, ended after them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from pipeline.errors import UserError
from pipeline.leaderboard import Criterion, Leaderboard, by_column
from pipeline.process import in_words, this_process
from pipeline.tracking.alive import PROCESS, is_under_way
from pipeline.tracking.identity import code_version, versions
from pipeline.tracking.limits import MAX_NAME, MAX_TAG
from pipeline.tracking.store import Store, locked

DIGEST, PLAN, BEST = "sweep_digest", "sweep_plan", "best_run_id"
VARIED = "varied."  # before the key, in the names of tags
NOT_IN_TAGS = re.compile(r"[^\w./ -]")  # MLflow refuses other characters in their names
TABLE = "leaderboard.json"


@dataclass(frozen=True)
class Plan:
    """What is known of a sweep before its jobs.

    Attributes:
        command: The command line, for people.
        digest: What commands share that ask for the same jobs.
        fixed: Keys that the command sets alike for all jobs.
        n_jobs: How many jobs there will be; None if only the sweeper knows.
        in_order: Whether the same command has the same jobs in the same order each time.
        criterion: What decides which is best; None: what the jobs put first.
    """

    command: str
    digest: str
    fixed: tuple[str, ...]
    n_jobs: int | None
    in_order: bool
    criterion: Criterion | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep under way: its parent run and its plan."""

    run_id: str
    experiment_id: str
    plan: Plan

    def job(self, number: int, overrides: Sequence[str]) -> "SweepJob":
        """Return the job of that number.

        Args:
            number: Its place in the sweep, from 0.
            overrides: All that Hydra set for it, `key=value` each.
        """
        pairs = [override.lstrip("+~").partition("=") for override in overrides]
        varied = {key: value for key, _, value in pairs if key not in self.plan.fixed}
        return SweepJob(self, number, varied)


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        sweep: Which sweep.
        number: Its place there, from 0.
        varied: What sets it apart, by key.
    """

    sweep: Sweep
    number: int
    varied: dict[str, str]

    @property
    def name(self) -> str:
        """What sets it apart, in one line; empty if nothing does."""
        return ", ".join(f"{key}={value}" for key, value in self.varied.items())[:MAX_NAME]

    @property
    def count(self) -> str:
        """Its number, from 1, and of how many."""
        total = f"/{self.sweep.plan.n_jobs}" if self.sweep.plan.n_jobs else ""
        return f"[{self.number + 1}{total}]"

    @property
    def title(self) -> str:
        """Its number and its name."""
        return f"{self.count} {self.name}".rstrip()

    @property
    def tags(self) -> dict[str, str]:
        """What its run is to be found by."""
        overrides = " ".join(f"{key}={value}" for key, value in self.varied.items())
        keys = {key: NOT_IN_TAGS.sub("_", key) for key in self.varied}
        varied = {f"{VARIED}{keys[key]}": it[:MAX_TAG] for key, it in self.varied.items()}
        return {"sweep_job": str(self.number), "overrides": overrides[:MAX_TAG], **varied}


def begin_sweep(
    store: Store, experiment_id: str, plan: Plan, name: str, resume: bool
) -> tuple[Sweep, bool]:
    """Return a sweep and whether it is an earlier one, taken up again.

    Args:
        store: Where it goes.
        experiment_id: Where it belongs.
        plan: What is asked for.
        name: Of the parent run.
        resume: Whether to take up the latest sweep of the same digest and code, if there is one.

    Raises:
        UserError: If another process is running that sweep.
    """
    client, code = mlflow.MlflowClient(), code_version()
    mine = {PROCESS: this_process(), PLAN: _as_json(plan)}
    with locked(store):
        earlier = _latest(client, experiment_id, plan.digest, code) if resume else None
        if earlier:
            if is_under_way(earlier):
                raise UserError(
                    f"resume: expected a sweep that has ended. Received: {earlier.info.run_id}, "
                    f"which {in_words(earlier.data.tags[PROCESS])} is running."
                )
            run_id = str(earlier.info.run_id)
            client.update_run(run_id, status="RUNNING")
            for key, value in mine.items():
                client.set_tag(run_id, key, value)
        else:
            known = {"is_sweep": "true", DIGEST: plan.digest, "code_version": code}
            tags = {**versions(), **known, **mine, "command": plan.command[:MAX_TAG]}
            run = client.create_run(experiment_id, run_name=name[:MAX_NAME], tags=tags)
            run_id = str(run.info.run_id)
    return Sweep(run_id, experiment_id, plan), earlier is not None


@cache
def find_sweep(run_id: str) -> Sweep:
    """Return the sweep of that parent run, as its jobs see it."""
    run = mlflow.MlflowClient().get_run(run_id)
    plan: dict[str, Any] = json.loads(run.data.tags[PLAN])
    command, digest = run.data.tags["command"], run.data.tags[DIGEST]
    known = Plan(command, digest, tuple(plan["fixed"]), plan["n_jobs"], plan["in_order"])
    return Sweep(run_id, run.info.experiment_id, known)


def log_leaderboard(sweep: Sweep, board: Leaderboard) -> None:
    """Put the leaderboard on the parent run: as a table, a figure, and the numbers of the best."""
    from pipeline.leaderboard.figure import leaderboard_figure

    client = mlflow.MlflowClient()
    client.log_dict(sweep.run_id, by_column(board.rows()), TABLE)
    shown = json.dumps([{"path": TABLE, "type": "table"}])
    client.set_tag(sweep.run_id, MLFLOW_LOGGED_ARTIFACTS, shown)
    client.log_metric(sweep.run_id, "n_finished", board.count("FINISHED"))
    client.log_metric(sweep.run_id, "n_failed", board.count("FAILED"))
    if not board.best:
        return
    client.log_figure(sweep.run_id, leaderboard_figure(board), "figures/leaderboard.png")
    client.set_tag(sweep.run_id, BEST, board.best.run_id)
    client.set_tag(sweep.run_id, "best", board.best.name[:MAX_TAG])
    for row in board.rows()[:1]:
        for name in (f"{board.metric}_{of}" for of in ("mean", "std", "ci_low", "ci_high")):
            if row[name] is not None:
                client.log_metric(sweep.run_id, f"best/{name}", row[name])


def end_sweep(sweep: Sweep, board: Leaderboard, interrupted: bool) -> None:
    """End the parent run: FINISHED if all jobs are, else KILLED or FAILED."""
    status = "KILLED" if interrupted else "FINISHED" if board.is_complete else "FAILED"
    mlflow.MlflowClient().set_terminated(sweep.run_id, status)


def forget_sweep(sweep: Sweep) -> None:
    """Remove the parent run of a sweep that came to nothing."""
    client = mlflow.MlflowClient()
    client.set_terminated(sweep.run_id, "FAILED")
    client.delete_run(sweep.run_id)


def _latest(client: mlflow.MlflowClient, experiment_id: str, digest: str, code: str) -> Run | None:
    same = f"tags.{DIGEST} = '{digest}' AND tags.code_version = '{code}'"
    found = client.search_runs(
        [experiment_id], same, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0] if found else None


def _as_json(plan: Plan) -> str:
    return json.dumps({"fixed": plan.fixed, "n_jobs": plan.n_jobs, "in_order": plan.in_order})
