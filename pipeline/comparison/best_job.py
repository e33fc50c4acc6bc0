"""The scores to expect of a sweep's best job, from the predictions that its jobs stored."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean

from pipeline.comparison.entries import Configuration
from pipeline.comparison.leaderboard import Leaderboard
from pipeline.comparison.run_scores import RunScores, to_run_scores
from pipeline.comparison.selection import ExpectedScore, expected_scores
from pipeline.errors import UserError, mask
from pipeline.scoring import find_metric, short_name
from pipeline.scoring.held_out import PREDICTIONS, join
from pipeline.scoring.resampled import HeldOutPredictions
from pipeline.tracking import TrackedRun, has_artifact, read_held_out

N_REQUESTS = 16  # to the store at a time
UNKNOWN = "What the best configuration may score on new rows"


@dataclass(frozen=True)
class BestJobEstimate:
    """Scores to expect of the best job of a sweep.

    Attributes:
        scores: One for each metric, that of the leaderboard first; empty if there is no estimate.
        n_configurations: Number of configurations among which the best one was chosen.
        note: Reason why there is no estimate, or which configurations it leaves out; may be empty.
    """

    scores: tuple[ExpectedScore, ...] = ()
    n_configurations: int = 0
    note: str = ""


def estimate_best_job(board: Leaderboard) -> BestJobEstimate:
    """Estimate the scores of the best job without the optimism of its being the best.

    A failure, such as of a store of artifacts, is the note of the estimate: the leaderboard is
    worth logging without it.

    Args:
        board: The leaderboard of the sweep.
    """
    try:
        return _estimate(board)
    except Exception as error:
        reason = mask(str(error).strip().partition("\n")[0])
        return BestJobEstimate(note=f"{UNKNOWN} cannot be estimated: {reason}")


def _estimate(board: Leaderboard) -> BestJobEstimate:
    if board.best is None:
        return BestJobEstimate()
    ranked = board.configurations
    if len(ranked) == 1:
        return BestJobEstimate(note="One configuration finished, so there was nothing to choose.")
    comparable = [one for one in ranked if one.entries[0].digests == board.best.digests]
    with ThreadPoolExecutor(N_REQUESTS) as pool:
        has_predictions = pool.map(_has_predictions, comparable)
        stored = [one for one, has in zip(comparable, has_predictions, strict=True) if has]
    if len(stored) < 2 or ranked[0] not in stored:
        lacking = "has the same folds" if len(comparable) < 2 else f"has stored {PREDICTIONS}"
        return BestJobEstimate(note=f"{UNKNOWN} cannot be estimated: no other {lacking}.")
    best = [to_run_scores(TrackedRun(entry.run_id).record()) for entry in ranked[0].entries]
    if best[0].settings.get("cv.kind") == "time_series":
        return BestJobEstimate(
            note=f"{UNKNOWN} cannot be estimated: that would draw rows at random, which the order "
            "of a time series forbids. The best of several scores is partly the luckiest."
        )
    means = _means(best, board.metric)
    estimates = expected_scores(
        [one.mean for one in stored],
        lambda index: _read(stored[index]),
        means,
        minimize=board.criterion.minimize,
        zero_division=best[0].zero_division,
    )
    if not estimates or estimates[0].metric != board.metric:
        return BestJobEstimate(
            note=f"{UNKNOWN} was not estimated: {board.metric} would take too long for so many "
            "predictions."
        )
    return BestJobEstimate(
        tuple(estimates), len(stored), _describe_others(board, len(comparable), len(stored))
    )


def _has_predictions(configuration: Configuration) -> bool:
    return all(has_artifact(entry.run_id, PREDICTIONS) for entry in configuration.entries)


def _read(configuration: Configuration) -> HeldOutPredictions:
    """Read the predictions of all seeds, which count like repeats."""
    return join([read_held_out(entry.run_id) for entry in configuration.entries]).to_units()


def _means(runs: Sequence[RunScores], first: str) -> dict[str, float]:
    """Return the mean of each metric over runs by its full name, that of the leaderboard first."""
    names = sorted(
        runs[0].metrics or tuple(runs[0].means), key=lambda name: short_name(name) != first
    )
    return {
        name: fmean(run.means[short_name(name)] for run in runs)
        for name in names
        if _is_importable(name) and all(short_name(name) in run.means for run in runs)
    }


def _is_importable(name: str) -> bool:
    try:
        find_metric(name, zero_division=0.0)
    except UserError:
        return False
    return True


def _describe_others(board: Leaderboard, n_comparable: int, n_stored: int) -> str:
    """Return a sentence about finished configurations that are left out; empty for none."""
    reasons = {
        "on other data or folds": len(board.configurations) - n_comparable,
        f"without {PREDICTIONS}": n_comparable - n_stored,
        "stopped early by racing": sum(
            entry.status == "FINISHED" and bool(entry.reason)
            for entry in board.entries[board.n_ranked :]
        ),
    }
    listed = [f"{n} {reason}" for reason, n in reasons.items() if n]
    return f"Left out: {', '.join(listed)}." if listed else ""
