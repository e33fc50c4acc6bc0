"""Checks of a sweep: what its leaderboard says about the settings that it varies."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from pipeline.checks.finding import CHECKS, Finding
from pipeline.comparison import SEED, Leaderboard
from pipeline.comparison.across_datasets import OF_DATASET
from pipeline.errors import UserError
from pipeline.scoring import corrected_error, format_number, metric_title

MIN_VALUES = 3  # of a setting, from which on it has an edge
MAX_VALUES = 10  # of a grid; more are sampled, and the bounds of the space are not among them
N_AT_EDGE = 3  # best configurations with the most extreme values of a sampled setting
MIN_CONFIGURATIONS = 10
N_BEST = 5
SMALL = 0.1  # of the interval's width
CLEAR = 0.25  # of the interval's width
ALPHA, POWER = 0.05, 0.8  # of the test between two configurations
MAX_FOLDS = 1000  # that somebody may train
UNDECIDED = {"MF013", "MF014"}  # of configurations that are about equally good, which is no fault


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores of a run by fold.

    Attributes:
        scores: Score of each fold, of shape (n_folds,); NaN where undefined.
        test_fraction: Mean of n_test / n_train over folds.
    """

    scores: NDArray[np.float64]
    test_fraction: float


def check_sweep(
    board: Leaderboard, read_folds: Callable[[str], FoldScores] | None = None
) -> list[Finding]:
    """Check the leaderboard of a sweep.

    Args:
        board: The leaderboard.
        read_folds: Reads the scores of a run by its id; None to leave out what needs them.
    """
    if not board.configurations or board.is_across:
        return []
    return [
        *_check_edges(board),
        *_check_differences(board),
        *(_check_power(board, read_folds) if read_folds else ()),
        *_check_seeds(board),
    ]


def _check_edges(board: Leaderboard) -> Iterator[Finding]:
    best = board.configurations[0].settings
    for key in best:
        if key == SEED or key.startswith(OF_DATASET) or key.endswith("random_state"):
            continue
        values = [_to_number(one.settings.get(key)) for one in board.configurations]
        numbers = sorted({value for value in values if value is not None})
        if None in values or len(numbers) < MIN_VALUES:
            continue
        n = N_AT_EDGE if len(numbers) > MAX_VALUES else 1
        leading = {value for value in values[:n] if value is not None}
        is_low, is_high = leading == {*numbers[:n]}, leading == {*numbers[-n:]}
        neighbour = numbers[-2 if is_high else 1]
        if (is_low or is_high) and (n > 1 or _is_clear(board, values.index(neighbour))):
            end, more = ("largest", "larger") if is_high else ("smallest", "smaller")
            best_ones = "best configuration has" if n == 1 else f"best {n} configurations have"
            yield Finding(
                "MF012",
                f"the {best_ones} the {end} {key} that {'was' if n == 1 else 'were'} tried, "
                f"{', '.join(str(one.settings[key]) for one in board.configurations[:n])}",
                f"Try {more} values too",
            )


def _is_clear(board: Leaderboard, index: int) -> bool:
    """Return whether the best configuration is better than another by more than noise."""
    best, other = board.configurations[0], board.configurations[index]
    low, high = _interval(board)
    return abs(best.mean - other.mean) > CLEAR * (high - low) if low < high else False


def _interval(board: Leaderboard) -> tuple[float, float]:
    """Return the interval of the best configuration's first job; both ends are 0 without one."""
    best = board.configurations[0].entries[0]
    low, high = (board.value(best, name) for name in ("ci_low", "ci_high"))
    return (0.0, 0.0) if low is None or high is None else (low, high)


def _to_number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _check_differences(board: Leaderboard) -> Iterator[Finding]:
    """Find a sweep of many configurations whose best ones differ by far less than their error."""
    best = board.configurations[:N_BEST]
    low, high = _interval(board)
    if len(board.configurations) < MIN_CONFIGURATIONS:
        return
    spread = abs(best[-1].mean - best[0].mean)
    if spread < SMALL * (high - low):
        yield Finding(
            "MF013",
            f"the best {N_BEST} of {len(board.configurations)} configurations differ by "
            f"{format_number(spread)} in {metric_title(board.metric)}, and the interval of the "
            f"best is {format_number(high - low)} wide",
            "More configurations of this kind will hardly help; take the simplest of them",
        )


def _check_power(board: Leaderboard, read_folds: Callable[[str], FoldScores]) -> Iterator[Finding]:
    """Find folds that are too few to tell even the best from the worst configuration."""
    best, worst = board.configurations[0], board.configurations[-1]
    digests = {one.digests for one in (*best.entries, *worst.entries)}
    if best is worst or len(digests) > 1 or board.criterion.statistic != "mean":
        return
    try:
        first, second = ([read_folds(one.run_id) for one in it.entries] for it in (best, worst))
    except UserError:  # of a store that lost a file
        return
    differences = np.mean([one.scores for one in first], axis=0)
    differences = differences - np.mean([one.scores for one in second], axis=0)
    differences, ratio = differences[np.isfinite(differences)], first[0].test_fraction
    if len(differences) < 2 or (error := corrected_error(differences, ratio)) == 0:
        return
    gap, df = abs(float(differences.mean())), len(differences) - 1
    critical, power = stdtrit(df, 1 - ALPHA / 2), stdtrit(df, POWER)
    if gap >= critical * error:
        return
    precision = (gap / (ndtri(1 - ALPHA / 2) + ndtri(POWER))) ** 2 / differences.var(ddof=1)
    n_folds = 1 / (precision - ratio) if precision > ratio else np.inf
    remedy = "No number of folds would with so few rows: take the simplest configuration"
    if n_folds <= MAX_FOLDS:
        remedy = f"About {ceil(n_folds)} folds would, cv.n_splits times cv.n_repeats"
    yield Finding(
        "MF014",
        f"the best and the worst of {len(board.configurations)} configurations differ by "
        f"{format_number(gap)} in {metric_title(board.metric)}, and these folds detect a "
        f"difference of about {format_number((critical + power) * error)} with probability {POWER}",
        remedy,
    )


def _check_seeds(board: Leaderboard) -> Iterator[Finding]:
    deviations = [one.seed_std for one in board.configurations if one.seed_std is not None]
    if len(deviations) < 2:
        return
    of_seeds, of_settings = fmean(deviations), stdev(one.mean for one in board.configurations)
    if of_seeds > of_settings:
        yield Finding(
            "MF019",
            f"seeds change {metric_title(board.metric)} by {format_number(of_seeds)} (standard "
            f"deviation), more than the settings of the sweep, {format_number(of_settings)}",
            "Use more seeds before preferring one of the settings: 'seed=range(5)'",
        )


def is_faulty(board: Leaderboard, findings: Sequence[Finding]) -> bool:
    """Return whether a job or the sweep has a finding other than that nothing is decided.

    Args:
        board: The leaderboard, with the findings of the jobs.
        findings: Findings of the sweep.
    """
    of_sweep = {finding.code for finding in findings} - UNDECIDED
    return bool(of_sweep) or any(entry.codes for entry in board.entries)


def count_job_findings(board: Leaderboard) -> Iterator[str]:
    """Yield the checks that have something to say about jobs, each with the number of these."""
    n_jobs = Counter(code for entry in board.entries for code in entry.codes)
    for code in sorted(n_jobs.keys() & CHECKS.keys()):
        jobs = f"{n_jobs[code]} of {len(board.entries)} jobs"
        yield f"{code} {CHECKS[code]}: {jobs}; details are in the file checks.json of each."
