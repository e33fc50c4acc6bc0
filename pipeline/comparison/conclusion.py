"""Conclusion of a ranking as a sentence."""

import math
from collections.abc import Sequence

from pipeline.comparison.ranking import Pair, Ranking
from pipeline.scoring import format_interval, format_number, metric_title

MAX_NAMED = 3  # configurations; more are counted
NO_TEST = (
    "Windows of a time series have no paired t test, because they are no interchangeable folds: "
    "later ones have more or other training rows, and differ as time goes on."
)
PROPER_NAMES = ("Brier", "Hamming", "Jaccard")  # stay capitalized within a sentence


def describe_conclusion(ranking: Ranking) -> str:
    """Return a sentence that compares the best configuration with the others.

    "Significantly better" requires a Holm-adjusted p-value below alpha, "practically equivalent" a
    probability above 1 - alpha, of all named pairs at once; otherwise nothing is claimed.
    """
    if not ranking.has_tests:
        return _describe_windows(ranking)
    if len(ranking.names) == 2 and not ranking.n_unranked:
        return _describe_two(ranking, ranking.pairs[0])
    return _describe_many(ranking)


def _describe_windows(ranking: Ranking) -> str:
    """Count the windows of a time series in which the best is better, which is no test."""
    pair, n = ranking.pairs[0], ranking.scores.shape[1]
    best, other = (_quote(name) for name in ranking.names[:2])
    advantage = format_number(pair.advantage, pair.decimals)
    return (
        f"No test: {best} is ahead of {other} by {advantage} on average, and in {pair.n_ahead} of "
        f"{n} windows. {NO_TEST}"
    )


def format_probability(value: float) -> str:
    """Return a p-value or a probability with three decimals, and never as exactly 0 or 1."""
    if value < 0.0005:
        return "<0.001"
    return ">0.999" if value >= 0.9995 else f"{value:.3f}"


def _describe_two(ranking: Ranking, pair: Pair) -> str:
    best, other = (_quote(name) for name in ranking.names)
    advantage = format_number(pair.advantage, pair.decimals)
    if pair.test is None:
        if math.isclose(pair.advantage, 0, abs_tol=1e-12):
            return f"No conclusion: {best} and {other} have the same score in every fold."
        return (
            f"No conclusion: {best} is better than {other} by {advantage} in every fold alike, "
            "and without variance there is no test."
        )
    numbers = (
        f"{1 - ranking.alpha:.0%} interval {format_interval(pair.test.ci, pair.decimals)}, "
        f"p {_equals(format_probability(pair.test.p))}"
    )
    probability = format_probability(pair.test.equivalent)
    equivalent = f"within {ranking.rope:g} of each other with probability {probability}"
    if ranking.is_significant(pair):
        difference = f"its {_metric(ranking)} is {_direction(ranking)} by {advantage} ({numbers})"
        if ranking.is_equivalent(pair):
            return (
                f"{best} is significantly better than {other}, but they are practically "
                f"equivalent: {difference}, and they are {equivalent}."
            )
        return f"{best} is significantly better than {other}: {difference}."
    if ranking.is_equivalent(pair):
        return (
            f"{best} and {other} are practically equivalent: {equivalent}; neither is "
            "significantly better."
        )
    return (
        f"No conclusion: {best} is ahead of {other} by {advantage}, which is not significant "
        f"({numbers})."
    )


def _describe_many(ranking: Ranking) -> str:
    best = _quote(ranking.names[0])
    pairs = [pair for pair in ranking.pairs if pair.first == 0]
    worse = [pair for pair in pairs if ranking.is_significant(pair)]
    rivals = [pair for pair in pairs if not ranking.is_significant(pair)]
    adjusted_p = f"Holm-adjusted p < {ranking.alpha:g}"
    adjusted = f"{adjusted_p} over {ranking.n_pairs:,} pairs"
    better = f"{best} is significantly better than {_list(ranking, worse, 'each')}"
    if worse and ranking.is_equivalent(*worse):
        better += f", though by less than {ranking.rope:g}"
    if not rivals:
        least = min(worse, key=lambda pair: pair.advantage)
        advantage = format_number(least.advantage, least.decimals)
        difference = f"its {_metric(ranking)} is {_direction(ranking)} by {advantage} or more"
        return f"{better}: {difference} ({adjusted})."
    are_equivalent = ranking.is_equivalent(*rivals)
    equivalent = f"practically equivalent to {_list(ranking, rivals, 'all')}"
    if worse and are_equivalent:
        return f"{better} ({adjusted}), and {equivalent}."
    if worse:
        return f"{better} ({adjusted}), but not than {_list(ranking, rivals, 'any')}."
    n_significant = sum(ranking.is_significant(pair) for pair in ranking.pairs)
    differ = (
        f"{n_significant} differ" if n_significant > 1 else f"{n_significant or 'none'} differs"
    )
    others = f"of all {ranking.n_pairs:,} pairs, {differ} significantly ({adjusted_p})"
    if are_equivalent:
        return f"{best} leads, but is {equivalent}; {others}."
    return (
        f"No conclusion about which is best: {best} leads, but is not significantly better than "
        f"{_list(ranking, rivals, 'any')}; {others}."
    )


def _list(ranking: Ranking, pairs: Sequence[Pair], quantifier: str) -> str:
    """Return the second configurations of the pairs by name, or their number."""
    names = [_quote(ranking.names[pair.second]) for pair in pairs]
    n_others = len(ranking.names) - 1
    if len(names) > MAX_NAMED:
        others = f"the next {n_others}" if ranking.n_unranked else f"the other {n_others}"
        number = quantifier if len(names) == n_others else len(names)
        return f"{number} of {others}"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _metric(ranking: Ranking) -> str:
    title = metric_title(ranking.metric)
    is_name = title.startswith(PROPER_NAMES) or not title[1:2].islower()
    return title if is_name else title[0].lower() + title[1:]


def _direction(ranking: Ranking) -> str:
    return "lower" if ranking.lower_is_better else "higher"


def _quote(name: str) -> str:
    return f'"{name}"'


def _equals(number: str) -> str:
    return f"{number[0]} {number[1:]}" if number.startswith(("<", ">")) else f"= {number}"
