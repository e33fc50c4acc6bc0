"""What finished runs say of themselves, and whether their scores may be compared at all."""

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pipeline.config import IGNORED_IN_FINGERPRINT, translate_settings
from pipeline.errors import UserError, suggest
from pipeline.scoring import RATIO_METRICS, lower_is_better, short_name, summary_key
from pipeline.tracking import RunRecord
from pipeline.tracking.runs import FOLD

MAX_RANKED = 100  # configurations compared at once, those with the best means
MAX_NAMED = 3  # runs in a refusal; more are counted
MAX_KEYS = 4  # settings in a name


@dataclass(frozen=True, eq=False)
class RunScores:
    """One finished run, or several whose scores are averaged.

    Attributes:
        name: Of the run; no other's.
        run_ids: MLflow's; several if averaged.
        data_digest: Of all values of the data.
        split_digest: Of the rows of every fold.
        metrics: Names in the configuration, the headline first.
        means: Mean over folds of each metric that is defined in some, by its short name.
        settings: The configuration, flat.
        sweep: Id of the sweep it is of, or empty.
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

    def full_name(self, metric: str) -> str | None:
        """Return the metric's name in the configuration, which may be a dotted path, or None."""
        return next((name for name in self.metrics if short_name(name) == metric), None)


def to_run_scores(run: RunRecord) -> RunScores:
    """Take what a comparison needs from a run; former names of settings are translated.

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
        means={it: run.metrics.get(summary_key(it, "mean"), math.nan) for it in scored},
        settings=settings,
        sweep=run.parent or "",
        fingerprint=(run.tags.get("config_digest", ""), run.tags.get("code_version", "")),
    )


def with_distinct_names(runs: Sequence[RunScores]) -> list[RunScores]:
    """Return the runs with the start of their ids behind names that come more than once."""
    counts = Counter(run.name for run in runs)
    return [
        replace(run, name=f"{run.name} ({run.run_ids[0][:8]})") if counts[run.name] > 1 else run
        for run in runs
    ]


def drop_duplicates(runs: Sequence[RunScores]) -> list[RunScores]:
    """Return the runs; of several of one configuration, code, data and folds only the last."""

    def what(run: RunScores) -> tuple[str, ...]:
        known = any(run.fingerprint)
        return (*run.fingerprint, run.data_digest, run.split_digest) if known else run.run_ids

    return list({what(run): run for run in runs}.values())


def brief_names(runs: Sequence[RunScores]) -> list[str]:
    """Return names without the overrides that all runs share and the groups of the others.

    `hidden_units=[20]` for `model.hidden_units=[20], cv.n_repeats=2`, while that tells runs apart.
    What varied in one sweep tells nothing of the runs of another: all settings are looked at then.
    """
    if len({run.sweep for run in runs}) > 1 and (names := _names_by_settings(runs)):
        return names
    overrides = [run.name.split(", ") for run in runs]
    shared = set.intersection(*({*parts} for parts in overrides))
    if not all("=" in part for parts in overrides for part in parts):
        shared = set()  # a name that a person gave, or a comma within a value
    kept = [", ".join(part for part in parts if part not in shared) for parts in overrides]
    brief = [re.sub(r"[\w.]+\.(?=\w+=)", "", name) for name in kept]
    return brief if all(brief) and len({*brief}) == len(brief) else [run.name for run in runs]


def _names_by_settings(runs: Sequence[RunScores]) -> list[str] | None:
    """Return what sets each run apart, or None where that would be long, or does not do so."""
    if any(run.settings.get("tracking.run_name", "None") != "None" for run in runs):
        return None  # names that a person gave
    keys = _differing(runs)
    names = [
        ", ".join(f"{key.rpartition('.')[2]}={run.settings.get(key, '-')}" for key in keys)
        for run in runs
    ]
    return names if len({*names}) == len(runs) and len(keys) <= MAX_KEYS else None


def _differing(runs: Sequence[RunScores]) -> list[str]:
    """Return the keys of the settings in which runs differ, of those that matter to scores."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key
        for key in keys
        if not key.startswith(IGNORED_IN_FINGERPRINT)
        and len({run.settings.get(key) for run in runs}) > 1
    ]


def check_paired(runs: Sequence[RunScores]) -> None:
    """Raise UserError if the folds of the runs do not pair up one to one."""
    if len(runs) < 2:
        received = f"only {runs[0].name!r}" if runs else "none"
        raise UserError(f"Expected two finished runs at least, to compare. Received: {received}.")
    _check_equal(
        runs,
        lambda run: run.data_digest,
        "runs on the same data, as scores on different data do not pair up",
        "data of the digest {}",
        "Compare within one data set at a time.",
        "dataset.",
    )
    _check_equal(
        runs,
        lambda run: run.split_digest,
        "runs with the same folds, as scores of different rows do not pair up",
        "splits of the digest {}",
        "Run them again with the same settings of cv, or compare those that share splits.",
        "cv.",
    )


def _told(runs: Sequence[RunScores], group: str) -> str:
    """Return in which settings of a group the runs differ, as a sentence."""
    told = [
        f"{key} ({', '.join(sorted({run.settings.get(key, 'none') for run in runs}))})"
        for key in _differing(runs)
        if key.startswith(group)
    ]
    return f"They differ in {', '.join(told[:MAX_NAMED])}. " if told else ""


def choose_metric(runs: Sequence[RunScores], asked: str | None) -> str:
    """Return the short name of the metric to compare by: what is asked for, or the headline.

    Raises:
        UserError: If a run lacks it, or the runs do not mean the same by it.
    """
    in_all = set.intersection(*({*run.means} for run in runs))
    if asked is None:
        headlines = {short_name(run.metrics[0]) for run in runs if run.metrics}
        if len(headlines) != 1:
            raise UserError(
                "Expected runs with one headline, the first of scoring.metrics. Received: "
                f"{', '.join(sorted(headlines)) or 'none'}. Name a metric by --metric. All runs "
                f"have: {', '.join(sorted(in_all)) or '(none)'}."
            )
        asked = headlines.pop()
    metric = short_name(asked)
    lacking = [run for run in runs if metric not in run.means]
    if lacking:
        known = any(run.full_name(metric) for run in lacking)
        raise UserError(
            f"--metric: expected one that all runs have. Received: {metric!r}, "
            f"{'undefined in every fold of' if known else 'which is missing in'} "
            f"{_names(lacking)}. {suggest(metric, in_all)}"
        )
    _check_equal(
        runs,
        lambda run: _rule(run, metric),
        f"runs that mean the same by {metric}",
        "{}",
        "Give scoring the same settings.",
    )
    return metric


def averaged(runs: Sequence[RunScores], over: str) -> list[RunScores]:
    """Return one piece of evidence for each set of runs that differ in nothing but one setting.

    Args:
        runs: On the same folds.
        over: Key of the setting, as `seed`.

    Raises:
        UserError: If no run has the setting, or all runs are one configuration.
    """
    if not any(over in run.settings for run in runs):
        known = {key for run in runs for key in run.settings}
        raise UserError(f"--average: expected a setting of the runs. {suggest(over, known)}")
    values = {run.settings.get(over) for run in runs}
    if len(values) == 1:
        raise UserError(
            f"--average: expected a setting in which the runs differ. Received: {over}, which is "
            f"{values.pop()} in all of them."
        )
    sets: dict[tuple[tuple[str, str], ...], list[RunScores]] = {}
    for run in runs:
        ignored = (over, "tracking.run_name")
        others = sorted((k, v) for k, v in run.settings.items() if k not in ignored)
        sets.setdefault(tuple(others), []).append(run)
    if len(sets) < 2:
        raise UserError(
            f"--average: expected two configurations at least. Received: {len(runs)} runs that "
            f"differ in nothing but {over}."
        )
    return with_distinct_names([_as_one(group, over) for group in sets.values()])


def best(runs: Sequence[RunScores], metric: str) -> list[RunScores]:
    """Return the runs, or as many of those with the best means as may be compared at once."""
    sign = 1 if lower_is_better(metric) else -1
    return sorted(runs, key=lambda run: sign * run.means[metric])[:MAX_RANKED]


def _as_one(runs: Sequence[RunScores], over: str) -> RunScores:
    parts = [part for part in runs[0].name.split(", ") if not part.startswith(f"{over}=")]
    return replace(
        runs[0],
        name=", ".join(parts) or runs[0].name,
        run_ids=tuple(run_id for run in runs for run_id in run.run_ids),
        means={
            metric: fmean(run.means[metric] for run in runs)
            for metric in set.intersection(*({*run.means} for run in runs))
        },
    )


def _rule(run: RunScores, metric: str) -> str:
    """Return what the run means by a metric: whose it is and what it counts for 0 / 0."""
    name = run.full_name(metric) or metric
    if name not in RATIO_METRICS:
        return name
    return f"{name} with zero_division={run.settings.get('scoring.zero_division', '0.0')}"


def _check_equal(
    runs: Sequence[RunScores],
    what: Callable[[RunScores], str],
    expected: str,
    each: str,
    hint: str,
    group: str | None = None,
) -> None:
    """Raise UserError if the runs are not alike, naming the settings of the group that differ."""
    having: dict[str, list[RunScores]] = {}
    for run in runs:
        having.setdefault(what(run), []).append(run)
    if len(having) > 1:
        received = "; ".join(
            f"{each.format(it)} in {_names(those)}" for it, those in having.items()
        )
        told = _told(runs, group) if group else ""
        raise UserError(f"Expected {expected}. Received: {received}. {told}{hint}")


def _names(runs: Sequence[RunScores]) -> str:
    names = [repr(run.name) for run in runs[:MAX_NAMED]]
    more = f" and {len(runs) - MAX_NAMED} more" if len(runs) > MAX_NAMED else ""
    return ", ".join(names) + more
