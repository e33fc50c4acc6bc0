"""What earlier runs spare a job: looked for, shown, and taken up."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pipeline import console
from pipeline.config import Config, SklearnModelConfig, load, load_tracking
from pipeline.errors import UserError
from pipeline.evaluation import (
    EvaluationInputs,
    Race,
    describe_decision,
    make_race,
    raced_metric,
    read,
)
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.runtime import heavy_imports, import_tensorflow, is_shared
from pipeline.scoring import MetricSummary, check_metrics, short_name

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.evaluation.checkpoint import Checkpoint
    from pipeline.evaluation.evaluator import Evaluation, Evaluator, FoldResult
    from pipeline.tracking import PreviousRun, Store, SweepJob
    from pipeline.tracking.run import TrackedRun


def look_up_previous_run(
    config: Config, inputs: EvaluationInputs, job: "SweepJob | None"
) -> "PreviousRun":
    """Return what there is of a configuration from before.

    Raises:
        UserError: If the store cannot be used, or another process works on the same.
    """
    with console.waiting("looking for earlier runs"), heavy_imports():
        from pipeline.evaluation import compute_fingerprint
        from pipeline.tracking import check_store, find_previous_run, locate, open_store

        store = locate(config.tracking)
        check_store(store)
        experiment_id = open_store(store, config.tracking.experiment_name)
        fingerprint = compute_fingerprint(config, inputs.dataset, inputs.splits)
        return find_previous_run(experiment_id, fingerprint, job)


def reuse(
    config: Config, previous: "PreviousRun", job: "SweepJob | None"
) -> dict[str, MetricSummary]:
    """Show and return the metrics of a run that is finished, the headline first."""
    from pipeline.tracking import locate, supersede

    assert previous.run_id
    store = locate(config.tracking)
    supersede(previous.replaced, previous.run_id)
    Checkpoint(store.checkpoints / previous.run_id).remove()  # had it been killed at the very end
    metrics = map(short_name, config.scoring.metrics)
    part = "first_repeat/" if previous.n_fits_skipped else ""
    summary = {metric: _summary(f"{part}{metric}", previous.metrics) for metric in metrics}
    if job:
        console.show_job_result(job.count, summary, f"finished before as run {previous.run_id}")
    else:
        console.show_reused(previous.run_id)
        console.show_result(summary)
        name = config.tracking.experiment_name
        console.show_where(store.uri, store.database, name, previous.run_id)
    return summary


def load_finished_folds(
    checkpoint: Checkpoint,
    previous: "PreviousRun",
    inputs: EvaluationInputs,
    run: "TrackedRun",
    job: "SweepJob | None",
) -> "list[FoldResult]":
    """Return the folds that an earlier attempt finished, and say so.

    Args:
        checkpoint: Of the run.
        previous: What there is from before.
        inputs: What the job works on.
        run: The run that goes on, or that is in the place of one that failed.
        job: Of a sweep, or None.
    """
    if previous.failed:
        checkpoint.take_over(previous.failed)
    finished = checkpoint.load(inputs.splits)
    run.seconds_before = checkpoint.elapsed
    if previous.run_id or finished:
        continued_run = previous.run_id or previous.failed or ""
        console.show_continued(
            job.count if job else "", continued_run, len(finished), len(inputs.splits)
        )
    return finished


def _summary(metric: str, logged: Mapping[str, float]) -> MetricSummary:
    """Return what was logged of a metric."""
    mean, std, low, high = (
        logged.get(f"{metric}_{of}", math.nan) for of in ("mean", "std", "ci_low", "ci_high")
    )
    return MetricSummary(
        mean, std, None if math.isnan(low) else (low, high), int(math.isfinite(mean))
    )


_described: set[str] = set()  # digests of the data that this process has shown


@dataclass(frozen=True)
class Result:
    """What a job found; plain values, so that it travels between processes.

    Attributes:
        run_id: Of its MLflow run.
        summary: Each metric over the folds that were trained, the headline first.
        n_fits: Fits that it takes to evaluate a configuration whole, the final one included.
        n_fits_skipped: Those that racing saved; above 0, the summary is of the first repeat alone.
    """

    run_id: str
    summary: dict[str, MetricSummary]
    n_fits: int
    n_fits_skipped: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        exit_code: 0, 1 after a failure, 2 after a refused configuration or refused data.
        result: What it found, or None.
        failure: Why it found nothing, or None.
    """

    exit_code: int
    result: Result | None = None
    failure: str | None = None

    @property
    def objective(self) -> float | None:
        """Mean of the headline metric over all folds, or None."""
        if self.result is None or self.result.n_fits_skipped:
            return None
        headline = next(iter(self.result.summary.values()))
        return headline.mean if headline.n_folds else None


class SweepPosition(NamedTuple):
    """Where a job stands in a sweep: its number, from 0, and all overrides that are set for it."""

    number: int
    overrides: Sequence[str]


def run_job(composed: "DictConfig", place: SweepPosition | None = None) -> Outcome:
    """Run one configuration.

    Args:
        composed: What Hydra composed.
        place: Where it stands in a sweep, or None.
    """
    jobs: list[SweepJob | None] = []
    found = attempt(lambda: jobs.append(_find_job(composed, place) if place else None))
    if not jobs:
        return found
    (job,) = jobs
    return attempt(lambda: _run(composed, job), f"{job.count} " if job else "")


def attempt(task: Callable[[], Result | None], of_sweep: str = "") -> Outcome:
    """Do the work; failures are shown and returned, so that a sweep goes on.

    Args:
        task: Returns what it found.
        of_sweep: What to put before a failure; its traceback is left to the run in MLflow then.
    """
    try:
        return Outcome(0, task())
    except UserError as error:
        console.show_error(f"{of_sweep}{error}")
        return Outcome(2, failure=str(error))
    except Exception as error:
        if not of_sweep:
            console.show_error(traceback.format_exc())
        console.show_error(f"{of_sweep}The job failed: {type(error).__name__}: {error}")
        return Outcome(1, failure=f"{type(error).__name__}: {error}")


def _find_job(composed: "DictConfig", place: SweepPosition) -> "SweepJob | None":
    """Return the job in that place, and announce it; None if no callback began the sweep."""
    tracking = load_tracking(composed)
    if tracking.parent_run_id is None:
        return None
    with console.waiting("loading MLflow"), heavy_imports():
        from pipeline.tracking import find_sweep, locate, open_store

    open_store(locate(tracking), tracking.experiment_name)
    job = find_sweep(tracking.parent_run_id).job(*place)
    console.show_job(job.title)
    return job


def _run(composed: "DictConfig", job: "SweepJob | None") -> Result:
    if job:
        from pipeline.tracking import record_failures
    with record_failures(job) if job else nullcontext():
        config = load(composed)
        inputs = _read(config, job)
        previous = look_up_previous_run(config, inputs, job) if config.resume else None
        if previous and previous.finished and (config.racing or not previous.n_fits_skipped):
            assert previous.run_id
            known = reuse(config, previous, job)
            return Result(previous.run_id, known, n_fits=0, n_fits_skipped=previous.n_fits_skipped)
        with console.waiting("loading MLflow"), heavy_imports():
            from pipeline.tracking import check_store, locate
        check_store(locate(config.tracking))
        with console.waiting("loading what trains"), heavy_imports():
            if not isinstance(config.model, SklearnModelConfig):
                import_tensorflow()
            from pipeline.evaluation.evaluator import Evaluator
        with console.waiting("learning each fold's preparation"):
            evaluator = Evaluator(config, inputs.dataset, list(inputs.splits))
    return _train(config, inputs, evaluator, previous, job)


def _read(config: Config, job: "SweepJob | None") -> EvaluationInputs:
    """Read the data and refuse what cannot work, before anything heavy is loaded."""
    check_metrics(config.scoring)
    with console.waiting("reading the data"):
        inputs = read(config)
    dataset = inputs.dataset
    dataset.check_model(config.dataset.new_rows)
    of_others = is_shared() or dataset.digest in _described
    if job is None or job.number == 0 or not of_others:
        _described.add(dataset.digest)
        console.show_dataset(dataset, inputs.summary)
        console.show_split_warnings(inputs.split_warnings)
    return inputs


def _train(
    config: Config,
    inputs: EvaluationInputs,
    evaluator: "Evaluator",
    previous: "PreviousRun | None",
    job: "SweepJob | None",
) -> Result:
    from pipeline.evaluation import compute_fingerprint
    from pipeline.evaluation.checkpoint import Checkpoint
    from pipeline.tracking import locate, open_store, supersede
    from pipeline.tracking.run import track

    store = locate(config.tracking)
    tags = compute_fingerprint(config, inputs.dataset, inputs.splits).as_tags()
    tags["headline"] = short_name(config.scoring.metrics[0])
    name = (
        job.name if job else config.tracking.run_name
    ) or f"{inputs.dataset.name} {config.model.title}"
    continued = previous.run_id if previous else None
    with ThreadPoolExecutor(1) as executor:
        compiled = executor.submit(evaluator.compile)
        with console.waiting("compiling the training and opening the MLflow store"):
            experiment_id = open_store(store, config.tracking.experiment_name)
        parent = job.sweep.run_id if job else None
        tags |= job.tags if job else {}
        with track(experiment_id, name, tags, parent, continued) as run:
            checkpoint = Checkpoint(store.checkpoints / run.run_id)
            finished: list[FoldResult] = []
            if previous:
                supersede(previous.replaced, run.run_id)
                finished = load_finished_folds(checkpoint, previous, inputs, run, job)
            with console.waiting("compiling the training"):
                run.log_start(config, inputs.dataset, inputs.summary)
                compiled.result()
            race = _race(config, inputs, store)
            folds = partial(_folds, evaluator, run, race, finished)
            evaluation = _evaluate(evaluator, run, checkpoint, folds, quiet=job is not None)
            console.show_training_warnings(evaluator.warnings)
            _finish(evaluation, run, job)
    checkpoint.remove()
    if job is None:
        console.show_where(store.uri, store.database, config.tracking.experiment_name, run.run_id)
    return Result(run.run_id, evaluation.summary, evaluator.n_fits, evaluator.n_missing)


def _race(config: Config, inputs: EvaluationInputs, store: "Store") -> Race | None:
    """Return the race that the configuration is in, or None; the store is open."""
    from pipeline.tracking import paired_scores

    dataset, splits = inputs.dataset, inputs.splits
    racing, metric = config.racing, raced_metric(config, splits)
    if racing is None or racing.incumbent is None or metric is None:
        return None
    scores = paired_scores(store, racing.incumbent, metric, dataset, splits)
    if scores is None:
        console.show("Racing: the incumbent has other data or folds; all folds are trained.")
        return None
    return make_race(racing, metric, splits, scores)


def _evaluate(
    evaluator: "Evaluator",
    run: "TrackedRun",
    checkpoint: "Checkpoint",
    folds: "Callable[[Callable[[int], None]], Iterator[FoldResult]]",
    quiet: bool,
) -> "Evaluation":
    from pipeline.training import Stopped

    with console.progress_bar(evaluator.total, evaluator.unit, quiet) as advance:

        def progress(n: int) -> None:
            advance(n)
            if run.interrupted:
                evaluator.stop()

        try:
            for step, fold in enumerate(folds(progress)):
                if not quiet:
                    console.show_fold(next(iter(fold.scores.values())))
                run.log_fold(fold, step)
                if trouble := checkpoint.save(fold, run.seconds):
                    console.show_not_kept(trouble)
        except Stopped:
            run.raise_interrupt()
            raise
    return evaluator.evaluation()


def _folds(
    evaluator: "Evaluator",
    run: "TrackedRun",
    race: Race | None,
    finished: "Sequence[FoldResult]",
    progress: Callable[[int], None],
) -> Iterator["FoldResult"]:
    """Yield the folds as they are trained: all, or those of the first repeat of a lost race."""
    if race is None:
        yield from evaluator.folds(progress, finished)
        return
    scores = []
    for fold in evaluator.folds(progress, finished, repeats=(0,)):
        scores.append(fold.scores[race.metric])
        yield fold
    decision = race.decide(scores)
    if decision is not None:
        n_fits_skipped = evaluator.n_missing if decision.stop else 0
        run.log_race(race, decision, n_fits_skipped)
        if decision.stop:
            how = describe_decision(race, decision)
            console.show(f"Stopped after the first repeat: {how}. {n_fits_skipped} fits saved.")
            return
    yield from evaluator.folds(progress, repeats=range(1, race.n_repeats))


def _finish(evaluation: "Evaluation", run: "TrackedRun", job: "SweepJob | None") -> None:
    """Show the result, log the rest, and predict new rows with the model that was logged."""
    from pipeline.tracking.logged_model import log_model, predict_rows

    part = "" if evaluation.final else " of the first repeat"
    if job is None:
        console.show_result(evaluation.summary, part)
    with console.waiting("logging figures and the final model"):
        run.log_evaluation(evaluation)
        model_uri = log_model(evaluation) if evaluation.final else None
    if job:
        only = "" if evaluation.final else ", the first repeat only"
        console.show_job_result(job.count, evaluation.summary, f"{run.seconds:.1f} s{only}")
        return
    rows = evaluation.config.dataset.new_rows
    if rows and model_uri:
        for y_score in predict_rows(model_uri, evaluation.dataset.feature_names, rows):
            console.show_prediction(y_score)
