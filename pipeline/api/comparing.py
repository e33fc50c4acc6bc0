"""Compare evaluations and runs, and load models, from Python."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import comparison
from pipeline.api.evaluating import Group
from pipeline.api.messages import python_messages
from pipeline.api.result import Evaluation
from pipeline.comparison import Comparison, RunScores
from pipeline.config import flatten, parse_tracking
from pipeline.config.python_settings import compose_settings
from pipeline.cv import split_digest
from pipeline.errors import UserError
from pipeline.model.predictor import Predictor
from pipeline.named_model import open_named_model
from pipeline.tracking import RunReader, Store, locate


def compare(
    runs: Sequence[str | Evaluation] | Mapping[str, str | Evaluation],
    *,
    metric: str | None = None,
    average: str | None = None,
    alpha: float = 0.05,
    rope: float = 0.01,
    tracking: Group = None,
) -> Comparison:
    """Compare evaluations of the same data and folds, and test which differences are significant.

    Args:
        runs: Evaluations; or names or ids of runs and sweeps in MLflow; a dict gives them names.
        metric: Metric to compare; None for the headline.
        average: Setting over which to average runs that differ only in it. By default the seed, if
            there are several configurations; "" for none.
        alpha: Accepted chance of a single false difference among all pairs.
        rope: Differences up to this size do not matter in practice.
        tracking: The MLflow store: `{"uri": ...}`.

    Raises:
        UserError: If they cannot be compared, as their data or folds differ.
    """
    with python_messages():
        named = runs.items() if isinstance(runs, Mapping) else [("", run) for run in runs]
        reader: RunReader | None = None
        evaluations: dict[str, Evaluation] = {}
        all_runs: list[RunScores] = []
        for number, (name, run) in enumerate(named):
            if isinstance(run, Evaluation):
                evaluations[f"evaluation {number}"] = run
                all_runs.append(_to_run_scores(name, f"evaluation {number}", run))
            else:
                reader = reader or RunReader(_locate(tracking))
                scores = [comparison.to_run_scores(it) for it in reader.find([run]).runs]
                is_named = name and len(scores) == 1
                all_runs += [replace(scores[0], name=name)] if is_named else scores
        distinct = comparison.make_names_unique(comparison.drop_duplicates(all_runs))

        def read_sizes(run_id: str) -> NDArray[np.int64]:
            if run_id not in evaluations:
                assert reader
                return reader.fold_sizes(run_id)
            splits = [fold.split for fold in evaluations[run_id].folds]
            return np.array([(len(split.train), len(split.test)) for split in splits])

        def read_scores(run_id: str, metric: str, n_folds: int) -> NDArray[np.float64]:
            if run_id not in evaluations:
                assert reader
                return reader.fold_scores(run_id, metric, n_folds)
            return np.array([fold.scores[metric] for fold in evaluations[run_id].folds])

        ranking, _ = comparison.rank_paired_runs(
            distinct,
            read_sizes,
            read_scores,
            metric=metric,
            average=average,
            alpha=alpha,
            rope=rope,
        )
        return Comparison.of(ranking)


def load_model(name: str, *, trust_code: bool = False, tracking: Group = None) -> Predictor:
    """Load a final model from MLflow or a folder; it takes raw rows.

    Args:
        name: `models:/NAME@ALIAS`; or the name or id of a run or sweep; or a folder.
        trust_code: Whether the model may import modules of the user's own that it carries.
        tracking: The MLflow store: `{"uri": ...}`.

    Raises:
        UserError: If there is no such model, or it needs code that is not trusted.
    """
    arguments = Namespace(model=name, threshold=[], threshold_metric=None, trust_code=trust_code)
    with python_messages():
        config = parse_tracking(compose_settings([], {"tracking": tracking}))
        with open_named_model(arguments, config) as named:
            model = named.folder.model

    def call(rows: pd.DataFrame, decide: bool) -> pd.DataFrame:
        try:
            return model.predict(rows, {"decide": decide})
        except ValueError as error:
            raise UserError(str(error)) from error

    return Predictor(model.schema.names, model.label_names, call)


def _locate(tracking: Group) -> Store:
    return locate(parse_tracking(compose_settings([], {"tracking": tracking})))


def _to_run_scores(name: str, run_id: str, evaluation: Evaluation) -> RunScores:
    config = evaluation.config
    return RunScores(
        name=name or config.model.title,
        run_ids=(run_id,),
        data_digest=evaluation.dataset.digest,
        split_digest=split_digest([fold.split for fold in evaluation.folds]),
        metrics=tuple(config.scoring.metrics),
        means={metric: summary.mean for metric, summary in evaluation.summary.items()},
        settings=flatten(config),
    )
