"""Average runs that differ only in one setting, such as their seed."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from pipeline.comparison.entries import SEED
from pipeline.comparison.run_scores import RunScores, make_names_unique
from pipeline.errors import UserError, suggest


def average_runs(runs: Sequence[RunScores], over: str) -> list[RunScores]:
    """Average runs that differ only in one setting.

    Args:
        runs: Runs on the same folds.
        over: Key of the setting, such as `seed`.

    Raises:
        UserError: If no run has the setting, or fewer than two configurations remain.
    """
    if not any(over in run.settings for run in runs):
        keys = {key for run in runs for key in run.settings}
        raise UserError(f"--average: expected a setting of the runs. {suggest(over, keys)}")
    values = {run.settings.get(over) for run in runs}
    if len(values) == 1:
        raise UserError(
            f"--average: expected a setting in which the runs differ. Received: {over}, which is "
            f"{values.pop()} in all of them."
        )
    groups = _group_by_other_settings(runs, over)
    if len(groups) < 2:
        raise UserError(
            f"--average: expected at least two configurations. Received: {len(runs)} runs that "
            f"differ only in {over}."
        )
    return make_names_unique([_average(group, over) for group in groups])


def has_several_seeds(runs: Sequence[RunScores]) -> bool:
    """Return whether there are several configurations, and one of them was run with more seeds."""
    groups = _group_by_other_settings(runs, SEED)
    return 1 < len(groups) < len(runs) and any(SEED in run.settings for run in runs)


def _group_by_other_settings(runs: Sequence[RunScores], key: str) -> list[list[RunScores]]:
    """Group the runs that differ in no setting but one, and in their names."""
    groups: dict[tuple[tuple[str, str], ...], list[RunScores]] = {}
    for run in runs:
        ignored = (key, "tracking.run_name")
        others = sorted((k, v) for k, v in run.settings.items() if k not in ignored)
        groups.setdefault(tuple(others), []).append(run)
    return list(groups.values())


def _average(runs: Sequence[RunScores], over: str) -> RunScores:
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
