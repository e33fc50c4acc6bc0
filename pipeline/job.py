"""Run one job: evaluate a configuration, log it to MLflow and print the result."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import console
from pipeline.config import Config, flatten, parse_config, parse_tracking
from pipeline.dataset import Dataset, DataSummary
from pipeline.errors import UserError
from pipeline.evaluation import (
    EvaluationInputs,
    Race,
    compute_fingerprint,
    describe_decision,
    load_inputs,
    make_race,
    raced_metric,
    versions,
)
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.evaluation.evaluator import (
    N_CHECKED_ROWS,
    Evaluation,
    Evaluator,
    FoldResult,
)
from pipeline.model.saved_model import FinalModel, write_model
from pipeline.outcome import JobResult, SweepPosition
from pipeline.report.artifacts import TABLES, write_inputs, write_result
from pipeline.report.page import RunInfo
from pipeline.runtime import is_interrupted, is_parallel_job, raise_interrupt
from pipeline.scoring import MetricSummary, short_name
from pipeline.tracking import (
    FINAL_FIT,
    DatasetInfo,
    PreviousRun,
    RunReader,
    Store,
    SweepJob,
    TrackedRun,
    check_store,
    claim_run,
    find_page,
    find_previous_run,
    find_sweep,
    list_again,
    locate,
    open_store,
    record_failures,
    supersede,
    track,
)
from pipeline.tracking.logged_model import check_code, check_model, log_model, predict_rows
from pipeline.training import Stopped

if TYPE_CHECKING:
    from omegaconf import DictConfig

_shown: set[str] = set()  # digests of the data sets that this process has printed


def find_sweep_job(composed: "DictConfig", position: SweepPosition) -> SweepJob | None:
    """Return a job of the sweep and announce it; None if the sweep has no parent run."""
    tracking = parse_tracking(composed)
    if tracking.parent_run_id is None:
        return None
    open_store(locate(tracking), tracking.experiment_name)
    sweep_job = find_sweep(tracking.parent_run_id).job(*position)
    console.show_job(sweep_job.title)
    return sweep_job


def run_job(composed: "DictConfig", sweep_job: SweepJob | None = None) -> JobResult:
    """Evaluate one configuration, of a single run or of the job of a sweep, and log it."""
    with record_failures(sweep_job):
        config = parse_config(composed)
        inputs = _load_inputs(config, sweep_job)
        store = locate(config.tracking)
        check_store(store)
        fingerprint = compute_fingerprint(config, inputs.dataset, inputs.splits)
        previous = _find_previous(config, store, fingerprint, sweep_job)
        if previous.is_finished and (config.racing or not previous.n_fits_skipped):
            return _reuse(config, store, previous, sweep_job)
        with console.waiting("loading the trainer and learning the preprocessing of each fold"):
            evaluator = Evaluator(config, inputs.dataset, list(inputs.splits))
    headline = {"headline": short_name(config.scoring.metrics[0])}
    tags = versions() | fingerprint | headline | (sweep_job.tags if sweep_job else {})
    with ThreadPoolExecutor(1) as executor:
        compiled = executor.submit(evaluator.compile)
        with console.waiting("compiling the training and opening the MLflow store"):
            experiment_id = open_store(store, config.tracking.experiment_name)
            if previous.run_id:
                claim_run(store, previous.run_id, previous.process)
        with track(
            experiment_id,
            _run_name(config, inputs.dataset, sweep_job),
            tags,
            parent=sweep_job.sweep.run_id if sweep_job else None,
            continued=previous.run_id,
        ) as run:
            supersede(previous.replaced, run.run_id)
            checkpoint = Checkpoint(store.checkpoints / run.run_id)
            finished = _load_finished_folds(checkpoint, previous, inputs, run, sweep_job)
            with console.waiting("compiling the training"):
                _log_inputs(run, config, inputs)
                compiled.result()
            race = _make_race(config, inputs, fingerprint, store)
            evaluation = _train(evaluator, run, checkpoint, finished, race, sweep_job)
            _log_result(run, evaluation, inputs.summary, sweep_job)
    checkpoint.remove()
    if sweep_job is None:
        _show_run(config, store, run.run_id)
    return JobResult(run.run_id, evaluation.summary, evaluation.n_fits, evaluation.n_fits_skipped)


def _load_inputs(config: Config, sweep_job: SweepJob | None) -> EvaluationInputs:
    """Load the data set and print it, unless an earlier job of the sweep has."""
    with console.waiting("reading the data"):
        inputs = load_inputs(config)
    dataset = inputs.dataset
    is_first = sweep_job is None or sweep_job.number == 0
    if is_first or not (is_parallel_job() or dataset.digest in _shown):
        _shown.add(dataset.digest)
        console.show_dataset(dataset, inputs.summary)
        console.show_split_warnings(inputs.split_warnings)
    return inputs


def _find_previous(
    config: Config, store: Store, fingerprint: dict[str, str], sweep_job: SweepJob | None
) -> PreviousRun:
    if not config.resume:
        return PreviousRun()
    with console.waiting("looking for a previous run"):
        experiment_id = open_store(store, config.tracking.experiment_name)
        return find_previous_run(experiment_id, fingerprint, sweep_job)


def _reuse(
    config: Config, store: Store, previous: PreviousRun, sweep_job: SweepJob | None
) -> JobResult:
    """Print the summary of a finished run instead of training again."""
    assert previous.run_id
    list_again(previous.run_id)
    supersede(previous.replaced, previous.run_id)
    Checkpoint(store.checkpoints / previous.run_id).remove()  # left if it was killed at its end
    prefix = "first_repeat/" if previous.n_fits_skipped else ""
    metrics = map(short_name, config.scoring.metrics)
    summary = {
        name: MetricSummary.from_metrics(f"{prefix}{name}", previous.metrics) for name in metrics
    }
    if sweep_job:
        how = f"reused finished run {previous.run_id}"
        console.show_job_result(sweep_job.position, summary, how)
    else:
        console.show_reused(previous.run_id)
        console.show_result(summary)
        _show_run(config, store, previous.run_id)
    return JobResult(previous.run_id, summary, n_fits=0, n_fits_skipped=previous.n_fits_skipped)


def _show_run(config: Config, store: Store, run_id: str) -> None:
    experiment = config.tracking.experiment_name
    page = find_page(store, open_store(store, experiment), run_id)
    console.show_run(run_id, experiment, page or console.run_command("ui", run_id[:8], store))


def _run_name(config: Config, dataset: Dataset, sweep_job: SweepJob | None) -> str:
    own = sweep_job.name if sweep_job else config.tracking.run_name
    return own or f"{dataset.name} {config.model.title}"


def _load_finished_folds(
    checkpoint: Checkpoint,
    previous: PreviousRun,
    inputs: EvaluationInputs,
    run: TrackedRun,
    sweep_job: SweepJob | None,
) -> list[FoldResult]:
    """Return the folds that the previous run finished, and print their number."""
    if previous.failed:
        checkpoint.take_over(previous.failed)
    elif not previous.run_id:
        return []
    finished = checkpoint.load(inputs.splits)
    run.seconds_before = checkpoint.elapsed
    if previous.run_id or finished:
        position = sweep_job.position if sweep_job else ""
        run_id = previous.run_id or previous.failed or ""
        console.show_continued(position, run_id, len(finished), len(inputs.splits))
    return finished


def _log_inputs(run: TrackedRun, config: Config, inputs: EvaluationInputs) -> None:
    """Log what is known before training: the settings and the data set."""
    tracking = replace(config.tracking, parent_run_id=None)
    config = replace(config, tracking=tracking, resume=False)  # what a user would run again
    run.log_settings(flatten(config))
    dataset, path = inputs.dataset, getattr(config.dataset, "path", None)
    names = dataset.feature_names, dataset.label_names
    run.log_dataset(
        DatasetInfo(dataset.name, dataset.digest, *names, inputs.summary.profile(), path)
    )
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), config, inputs.summary)
        run.log_files(Path(name))


def _make_race(
    config: Config, inputs: EvaluationInputs, fingerprint: dict[str, str], store: Store
) -> Race | None:
    """Return the race against the incumbent; None without one, or if folds or data differ."""
    racing, metric = config.racing, raced_metric(config, inputs.splits)
    if racing is None or racing.incumbent is None or metric is None:
        return None
    reader = RunReader(store)
    try:
        incumbent = reader.one(racing.incumbent)
    except UserError as error:
        raise UserError(f"racing.incumbent: {error}") from error
    same = ("data_digest", "split_digest")
    if any(incumbent.tags.get(key) != fingerprint[key] for key in same):
        console.show("Racing: the incumbent has other data or folds; all folds are trained.")
        return None
    scores = reader.fold_scores(incumbent.run_id, metric, len(inputs.splits))
    return make_race(racing, metric, inputs.splits, scores.tolist())


def _train(
    evaluator: Evaluator,
    run: TrackedRun,
    checkpoint: Checkpoint,
    finished: Sequence[FoldResult],
    race: Race | None,
    sweep_job: SweepJob | None,
) -> Evaluation:
    """Train all folds and the final model; log, print and keep each fold once it is scored."""
    is_quiet = sweep_job is not None
    with console.progress_bar(evaluator.total, evaluator.unit, is_quiet) as advance:

        def progress(n: int) -> None:
            advance(n)
            if is_interrupted():
                evaluator.stop()

        try:
            with closing(evaluator.folds(progress, finished, race)) as folds:
                for step, fold in enumerate(folds):
                    if not is_quiet:
                        console.show_fold(next(iter(fold.scores.values())))
                    run.log_scores(step, fold.scores)
                    if error := checkpoint.save(fold, run.seconds):
                        console.show_checkpoint_error(error)
        except Stopped:
            raise_interrupt()
            raise
    console.show_warnings(evaluator.warnings)
    return evaluator.evaluation()


def _log_result(
    run: TrackedRun, evaluation: Evaluation, summary: DataSummary, sweep_job: SweepJob | None
) -> None:
    """Print the result, log the rest, and predict new rows with the logged model."""
    if sweep_job is None:
        console.show_result(evaluation.summary, "" if evaluation.final else " of the first repeat")
    with console.waiting("logging figures and the final model"):
        run.log_metrics(evaluation.metrics())
        run.log_n_undefined(sum(it.n_undefined_labels for it in evaluation.summary.values()))
        if evaluation.n_fits_skipped and evaluation.race and evaluation.decision:
            reason = describe_decision(evaluation.race, evaluation.decision)
            run.set_tags({"stopped_after_repeat": "1", "stopped_because": reason})
            console.show(
                f"Stopped after the first repeat: {reason}. "
                f"{evaluation.n_fits_skipped} fits skipped."
            )
        with tempfile.TemporaryDirectory() as name:
            experiment_name = evaluation.config.tracking.experiment_name
            run_info = RunInfo.of(run.record(), experiment_name)
            write_result(Path(name), evaluation, summary, run_info)
            run.log_files(Path(name), tables=TABLES)
        model_uri = None
        if evaluation.final:
            run.set_tags({FINAL_FIT: evaluation.describe_final_fit()})
            with tempfile.TemporaryDirectory() as name:
                model_uri = _log_model(evaluation, evaluation.final, Path(name))
    if sweep_job:
        part = "" if evaluation.final else ", the first repeat only"
        how = f"{run.seconds:.1f} s{part}"
        console.show_job_result(sweep_job.position, evaluation.summary, how)
        return
    if evaluation.config.cv.kind == "predefined" or evaluation.config.training.final_fit:
        console.show(evaluation.describe_final_fit())
    rows = evaluation.config.dataset.predict_rows
    if rows and model_uri:
        for y_score in predict_rows(model_uri, evaluation.dataset.feature_names, rows):
            console.show_prediction(y_score)


def _log_model(evaluation: Evaluation, final: FinalModel, folder: Path) -> str:
    """Write the final model, check that it predicts the same when loaded, and log it."""
    has_user_code = write_model(folder, final, evaluation.config.model)
    X = evaluation.dataset.X[:N_CHECKED_ROWS].copy()
    if not final.requires_complete_rows:
        X[-1] = np.nan
    check_model(folder, final.schema.decode(X), final.predict_proba(X))
    if has_user_code:
        check_code(folder)
    return log_model(folder, {"final_fit": evaluation.describe_final_fit()})
