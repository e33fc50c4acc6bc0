"""Scores and settings of finished runs, and checks that they are comparable."""

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config import affects_scores, translate_settings
from pipeline.errors import UserError, suggest
from pipeline.scoring import RATIO_METRICS, lower_is_better, own_directions, short_name, summary_key
from pipeline.tracking import RunRecord
from pipeline.tracking.run_reader import FOLD

MAX_RANKED = 100  # configurations compared at once, those with the best means
MAX_NAMED = 3  # runs in an error message; more are counted
MAX_SETTINGS = 4  # in a name


@dataclass(frozen=True, eq=False)
class RunScores:
    """One finished run, or several whose scores are averaged.

    Attributes:
        name: Name of the run.
        run_ids: Ids in MLflow; several if averaged.
        data_digest: Digest of all values of the data set.
        split_digest: Digest of the rows of every fold.
        metrics: Names of the metrics in the configuration, the headline first.
        means: Mean over folds of each metric that is defined in some fold, by its short name.
        settings: The configuration, by dotted key.
        sweep: Id of the sweep's parent run; empty outside sweeps.
        fingerprint: Digests of configuration and code.
    """

    name: str
    run_ids: tuple[str, ...]
    data_digest: str
    split_digest: str
    metrics: tuple[str, ...]
    means: Mapping[str, float]
    settings: Mapping[str, str]
    sweep: str = ""
    fingerprint: tuple[str, str] = ("", "")

    @property
    def zero_division(self) -> float:
        """Value of a metric that is 0 / 0."""
        return float(self.settings.get("scoring.zero_division", "0.0"))

    def full_name(self, metric: str) -> str | None:
        """Return the name of the metric in the configuration, such as a dotted path, or None."""
        return next((name for name in self.metrics if short_name(name) == metric), None)


def to_run_scores(run: RunRecord) -> RunScores:
    """Convert a run; former names of settings are replaced by the present ones.

    Raises:
        UserError: If the run was not logged by Manyfold.
    """
    if not {"split_digest", "data_digest"} <= run.tags.keys():
        raise UserError(
            f"Expected runs of Manyfold. Received: {run.name!r} ({run.run_id}), which lacks the "
            "tags data_digest and split_digest."
        )
    settings = translate_settings(run.params)
    scored = [key.removeprefix(FOLD) for key in run.metrics if key.startswith(FOLD)]
    try:
        metrics = tuple(map(str, ast.literal_eval(settings["scoring.metrics"])))
    except (KeyError, ValueError, SyntaxError):  # MLflow cut a list that was too long
        metrics = ()
    return RunScores(
        name=run.name,
        run_ids=(run.run_id,),
        data_digest=run.tags["data_digest"],
        split_digest=run.tags["split_digest"],
        metrics=metrics,
        means={metric: run.metrics.get(summary_key(metric, "mean"), math.nan) for metric in scored},
        settings=settings,
        sweep=run.parent or "",
        fingerprint=(run.tags.get("config_digest", ""), run.tags.get("code_version", "")),
    )


def make_names_unique(runs: Sequence[RunScores]) -> list[RunScores]:
    """Append the start of the run id to names that occur more than once."""
    counts = Counter(run.name for run in runs)
    return [
        replace(run, name=f"{run.name} ({run.run_ids[0][:8]})") if counts[run.name] > 1 else run
        for run in runs
    ]


def drop_duplicates(runs: Sequence[RunScores]) -> list[RunScores]:
    """Keep the last of the runs with equal configuration, code, data and folds."""

    def key(run: RunScores) -> tuple[str, ...]:
        has_fingerprint = any(run.fingerprint)
        digests = (*run.fingerprint, run.data_digest, run.split_digest)
        return digests if has_fingerprint else run.run_ids

    return list({key(run): run for run in runs}.values())


def shorten_names(runs: Sequence[RunScores]) -> list[str]:
    """Return names without the overrides that all runs share and without config groups.

    `model.hidden_units=[20], cv.n_repeats=2` becomes `hidden_units=[20]` if the names stay unique.
    Runs of different sweeps are named by the settings in which they differ, because the settings
    that vary in one sweep say nothing about the runs of another.
    """
    if len({run.sweep for run in runs}) > 1 and (names := _names_by_settings(runs)):
        return names
    overrides = [run.name.split(", ") for run in runs]
    shared = set.intersection(*({*parts} for parts in overrides))
    if not all("=" in part for parts in overrides for part in parts):
        shared = set()  # a name set by the user, or a comma within a value
    specific = [", ".join(part for part in parts if part not in shared) for parts in overrides]
    brief = [re.sub(r"[\w.]+\.(?=\w+=)", "", name) for name in specific]
    return brief if all(brief) and len({*brief}) == len(brief) else [run.name for run in runs]


def _names_by_settings(runs: Sequence[RunScores]) -> list[str] | None:
    """Return the settings in which runs differ; None if that is too long or not unique."""
    if any(run.settings.get("tracking.run_name", "None") != "None" for run in runs):
        return None  # names set by the user
    keys = _differing_keys(runs)
    names = [
        ", ".join(f"{key.rpartition('.')[2]}={run.settings.get(key, '-')}" for key in keys)
        for run in runs
    ]
    return names if len({*names}) == len(runs) and len(keys) <= MAX_SETTINGS else None


def _differing_keys(runs: Sequence[RunScores]) -> list[str]:
    """Return the keys of the settings in which runs differ, of those that affect scores."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key
        for key in keys
        if any(affects_scores(key, run.settings.get(key)) for run in runs)
        and len({run.settings.get(key) for run in runs}) > 1
    ]


def check_paired(runs: Sequence[RunScores]) -> None:
    """Raise UserError if the runs do not have the same data and folds."""
    if len(runs) < 2:
        received = f"only {runs[0].name!r}" if runs else "none"
        raise UserError(f"Expected at least two finished runs. Received: {received}.")
    _check_equal(
        runs,
        lambda run: run.data_digest,
        "runs on the same data, as only their scores can be paired",
        "data with digest {}",
        "Compare the runs of one data set at a time, or over data sets: manyfold compare --across",
        "dataset.",
    )
    _check_equal(
        runs,
        lambda run: run.split_digest,
        "runs with the same folds, as only their scores can be paired",
        "splits with digest {}",
        "Run them again with the same settings of cv, or compare runs with the same splits.",
        "cv.",
    )


def _describe_differences(runs: Sequence[RunScores], prefix: str) -> str:
    """Return a sentence that lists the settings with this prefix in which the runs differ."""
    settings = [
        f"{key} ({', '.join(sorted({run.settings.get(key, 'none') for run in runs}))})"
        for key in _differing_keys(runs)
        if key.startswith(prefix)
    ]
    return f"They differ in {', '.join(settings[:MAX_NAMED])}. " if settings else ""


def choose_metric(runs: Sequence[RunScores], requested: str | None) -> str:
    """Return the short name of the metric to compare by: the requested one, or the headline.

    Raises:
        UserError: If a run lacks it, or the runs define it differently.
    """
    in_all = set.intersection(*({*run.means} for run in runs))
    if requested is None:
        headlines = {short_name(run.metrics[0]) for run in runs if run.metrics}
        if len(headlines) != 1:
            raise UserError(
                "Expected runs with the same headline, the first of scoring.metrics. Received: "
                f"{', '.join(sorted(headlines)) or 'none'}. Choose a metric with --metric. All "
                f"runs have: {', '.join(sorted(in_all)) or '(none)'}."
            )
        requested = headlines.pop()
    metric = short_name(requested)
    lacking = [run for run in runs if metric not in run.means]
    if lacking:
        is_configured = any(run.full_name(metric) for run in lacking)
        raise UserError(
            f"--metric: expected one that all runs have. Received: {metric!r}, which is "
            f"{'undefined in every fold of' if is_configured else 'missing in'} "
            f"{_names(lacking)}. {suggest(metric, in_all)}"
        )
    _check_equal(
        runs,
        lambda run: _definition(run, metric),
        f"runs with the same definition of {metric}",
        "{}",
        "Use the same settings of scoring.",
    )
    return metric


def select_best(runs: Sequence[RunScores], metric: str) -> list[RunScores]:
    """Return the runs sorted by their means, and at most `MAX_RANKED` of them."""
    sign = 1 if lower_is_better(metric, own_directions(runs[0].settings)) else -1
    return sorted(runs, key=lambda run: sign * run.means[metric])[:MAX_RANKED]


def _definition(run: RunScores, metric: str) -> str:
    """Return the full name of a metric, and its direction, value of 0 / 0 and weights where set."""
    is_weighted = run.settings.get("scoring.weighted") == "True"
    return f"{_unweighted_definition(run, metric)}{' with scoring.weighted=true' * is_weighted}"


def _unweighted_definition(run: RunScores, metric: str) -> str:
    name, directions = run.full_name(metric) or metric, own_directions(run.settings)
    if metric in directions:
        return f"{name} with greater_is_better={directions[metric]}"
    if name not in RATIO_METRICS:
        return name
    return f"{name} with zero_division={run.zero_division}"


def _check_equal(
    runs: Sequence[RunScores],
    key: Callable[[RunScores], str],
    expected: str,
    template: str,
    hint: str,
    prefix: str = "",
) -> None:
    """Raise UserError if the runs differ in a key; list the differing settings of a prefix."""
    runs_by_key: dict[str, list[RunScores]] = {}
    for run in runs:
        runs_by_key.setdefault(key(run), []).append(run)
    if len(runs_by_key) > 1:
        received = "; ".join(
            f"{template.format(value)} in {_names(group)}" for value, group in runs_by_key.items()
        )
        differences = _describe_differences(runs, prefix) if prefix else ""
        raise UserError(f"Expected {expected}. Received: {received}. {differences}{hint}")


def _names(runs: Sequence[RunScores]) -> str:
    names = [repr(run.name) for run in runs[:MAX_NAMED]]
    more = f" and {len(runs) - MAX_NAMED} more" if len(runs) > MAX_NAMED else ""
    return ", ".join(names) + more
