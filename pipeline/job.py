"""One job: a configuration in, evidence and final model in MLflow, the result on screen."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import console
from pipeline.config import Config, load
from pipeline.cv import Split, find_troubles, make_splits
from pipeline.dataset import Dataset, DataSummary, summarise
from pipeline.dataset import load as load_dataset
from pipeline.errors import UserError
from pipeline.imports import import_tensorflow, uncollected
from pipeline.racing import Race, in_words, make_race, raced_metric
from pipeline.scoring import Summary, refuse_unknown_metrics

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.runner import Evaluation, FoldResult, Runner
    from pipeline.tracking import TrackedRun


@dataclass(frozen=True)
class Result:
    """What a job found; plain values, so that it travels between processes.

    Attributes:
        run_id: Of its MLflow run.
        summary: Each metric over the folds that were trained, the headline first.
        n_fits: Fits that it takes to evaluate a configuration whole, the final one included.
        n_saved: Those that racing saved; above 0, the summary is of the first repeat alone.
    """

    run_id: str
    summary: dict[str, Summary]
    n_fits: int
    n_saved: int = 0


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
        if self.result is None or self.result.n_saved:
            return None
        headline = next(iter(self.result.summary.values()))
        return headline.mean if headline.n_folds else None


def run_job(
    composed: "DictConfig", overrides: Sequence[str] = (), sweep: str | None = None
) -> Outcome:
    """Run one configuration.

    Args:
        composed: What Hydra composed.
        overrides: What sets this job of a sweep apart; names its run.
        sweep: Name of the sweep, or None.
    """
    return attempt(lambda: _run(load(composed), overrides, sweep))


def attempt(work: Callable[[], Result | None]) -> Outcome:
    """Do the work; failures are shown and returned, so that a sweep goes on."""
    try:
        return Outcome(0, work())
    except UserError as error:
        console.show_error(str(error))
        return Outcome(2, failure=str(error))
    except Exception as error:
        console.show_error(traceback.format_exc())
        console.show_error(f"The job failed: {type(error).__name__}: {error}")
        return Outcome(1, failure=f"{type(error).__name__}: {error}")


def _run(config: Config, overrides: Sequence[str], sweep: str | None) -> Result:
    dataset, summary, splits = _read(config)
    with console.waiting("loading TensorFlow and MLflow"), uncollected():
        import_tensorflow()
        from pipeline.runner import Runner
        from pipeline.tracking import locate, open_store, refuse_unreachable, track

    store = locate(config.tracking)
    refuse_unreachable(store)
    with console.waiting("learning each fold's preparation"):
        runner = Runner(config, dataset, splits)
    name = config.tracking.run_name or ", ".join(overrides)
    tags = {"overrides": " ".join(overrides)} if overrides else {}
    with ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(runner.compile)
        with console.waiting("compiling the training and opening the MLflow store"):
            experiment_id = open_store(store, config.tracking.experiment_name)
            race = _race(config, dataset, splits)
        name = name or f"{dataset.name} {config.model.kind}"
        with track(experiment_id, name, tags, sweep) as run:
            with console.waiting("compiling the training"):
                run.log_start(config, dataset, summary, splits)
                compiled.result()
            evaluation = _evaluate(runner, run, race)
            _finish(evaluation, run)
    console.show_where(store.uri, store.database, config.tracking.experiment_name, run.run_id)
    return Result(run.run_id, evaluation.summary, runner.n_fits, runner.n_missing)


def _read(config: Config) -> tuple[Dataset, DataSummary, list[Split]]:
    """Read the data and refuse what cannot work, before anything heavy is loaded."""
    refuse_unknown_metrics(config.scoring)
    with console.waiting("reading the data"):
        dataset = load_dataset(config.dataset)
        dataset.refuse_extreme()
        if config.preparation.impute == "none":
            dataset.refuse_missing()
        splits = make_splits(config.cv, dataset)
        troubles = find_troubles(config.cv, dataset, splits)
        summary = summarise(dataset)
    dataset.refuse_unfit(config.dataset.new_rows)
    console.show_dataset(dataset, summary)
    console.show_troubles(troubles)
    return dataset, summary, splits


def _race(config: Config, dataset: Dataset, splits: Sequence[Split]) -> Race | None:
    """Return the race that the configuration is in, or None; the store is open."""
    from pipeline.tracking import paired_scores

    racing, metric = config.racing, raced_metric(config, splits)
    if racing is None or racing.incumbent is None or metric is None:
        return None
    scores = paired_scores(racing.incumbent, metric, dataset, splits)
    if scores is None:
        console.show("Racing: the incumbent has other data or folds; all folds are trained.")
        return None
    return make_race(racing, metric, splits, scores)


def _evaluate(runner: "Runner", run: "TrackedRun", race: Race | None) -> "Evaluation":
    from pipeline.training import Stopped

    with console.progress_bar(runner.total, runner.unit) as advance:

        def progress(n: int) -> None:
            advance(n)
            if run.interrupted:
                runner.stop()

        try:
            for step, fold in enumerate(_folds(runner, run, race, progress)):
                console.show_fold(next(iter(fold.scores.values())))
                run.log_fold(fold, step)
        except Stopped:
            run.raise_interrupt()
            raise
    return runner.evaluation()


def _folds(
    runner: "Runner", run: "TrackedRun", race: Race | None, progress: Callable[[int], None]
) -> Iterator["FoldResult"]:
    """Yield the folds as they are trained: all, or those of the first repeat of a lost race."""
    if race is None:
        yield from runner.folds(progress)
        return
    scores = []
    for fold in runner.folds(progress, repeats=(0,)):
        scores.append(fold.scores[race.metric])
        yield fold
    decision = race.decide(scores)
    if decision is not None:
        n_saved = runner.n_missing if decision.stop else 0
        run.log_race(race, decision, n_saved)
        if decision.stop:
            how = in_words(race, decision)
            console.show(f"Stopped after the first repeat: {how}. {n_saved} fits saved.")
            return
    yield from runner.folds(progress, repeats=range(1, race.n_repeats))


def _finish(evaluation: "Evaluation", run: "TrackedRun") -> None:
    """Show the result, log the rest, and predict new rows with the model that was logged."""
    from pipeline.tracking import log_model, predict_rows

    console.show_result(evaluation.summary, "" if evaluation.final else " of the first repeat")
    with console.waiting("logging figures and the final model"):
        run.log_evaluation(evaluation)
        if evaluation.final is None:
            return
        model_uri = log_model(evaluation)
    rows = evaluation.config.dataset.new_rows
    if rows:
        for y_score in predict_rows(model_uri, evaluation.dataset.feature_names, rows):
            console.show_prediction(y_score)
