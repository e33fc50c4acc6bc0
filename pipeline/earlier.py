"""What earlier runs spare a job: looked for, shown, and taken up."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline import console
from pipeline.checkpoint import Checkpoint
from pipeline.config import Config
from pipeline.imports import uncollected
from pipeline.material import Material
from pipeline.scoring import Summary, short_name

if TYPE_CHECKING:
    from pipeline.runner import FoldResult
    from pipeline.tracking import Earlier, SweepJob, TrackedRun


def look_for_earlier(config: Config, material: Material, job: "SweepJob | None") -> "Earlier":
    """Return what there is of a configuration from before.

    Raises:
        UserError: If the store cannot be used, or another process works on the same.
    """
    with console.waiting("looking for earlier runs"), uncollected():
        from pipeline.tracking import find_earlier, identify, locate, open_store, refuse_unreachable

        store = locate(config.tracking)
        refuse_unreachable(store)
        experiment_id = open_store(store, config.tracking.experiment_name)
        identity = identify(config, material.dataset, material.splits)
        return find_earlier(experiment_id, identity, job)


def reuse(config: Config, earlier: "Earlier", job: "SweepJob | None") -> dict[str, Summary]:
    """Show and return the metrics of a run that is finished, the headline first."""
    from pipeline.tracking import locate, supersede

    assert earlier.run_id
    store = locate(config.tracking)
    supersede(earlier.replaced, earlier.run_id)
    Checkpoint(store.checkpoints / earlier.run_id).remove()  # had it been killed at the very end
    metrics = map(short_name, config.scoring.metrics)
    part = "first_repeat/" if earlier.n_saved else ""
    summary = {metric: _summary(f"{part}{metric}", earlier.metrics) for metric in metrics}
    if job:
        console.show_job_result(job.count, summary, f"finished before as run {earlier.run_id}")
    else:
        console.show_reused(earlier.run_id)
        console.show_result(summary)
        name = config.tracking.experiment_name
        console.show_where(store.uri, store.database, name, earlier.run_id)
    return summary


def take_up(
    checkpoint: Checkpoint,
    earlier: "Earlier",
    material: Material,
    run: "TrackedRun",
    job: "SweepJob | None",
) -> "list[FoldResult]":
    """Return the folds that an earlier attempt finished, and say so.

    Args:
        checkpoint: Of the run.
        earlier: What there is from before.
        material: What the job works on.
        run: The run that goes on, or that is in the place of one that failed.
        job: Of a sweep, or None.
    """
    if earlier.failed:
        checkpoint.take_over(earlier.failed)
    finished = checkpoint.load(material.splits)
    run.seconds_before = checkpoint.elapsed
    if earlier.run_id or finished:
        taken_up = earlier.run_id or earlier.failed or ""
        console.show_continued(
            job.count if job else "", taken_up, len(finished), len(material.splits)
        )
    return finished


def _summary(metric: str, logged: Mapping[str, float]) -> Summary:
    """Return what was logged of a metric."""
    mean, std, low, high = (
        logged.get(f"{metric}_{of}", math.nan) for of in ("mean", "std", "ci_low", "ci_high")
    )
    return Summary(mean, std, None if math.isnan(low) else (low, high), int(math.isfinite(mean)))
