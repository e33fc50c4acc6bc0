"""What may be concluded, in one sentence that claims no more than the folds can carry."""

import math
from collections.abc import Sequence

from pipeline.comparison.ranking import Pair, Ranking
from pipeline.scoring import in_words

MAX_NAMED = 3  # configurations; more are counted


def conclusion(ranking: Ranking) -> str:
    """Return what may be said of the best configuration and of those behind it.

    "Better" takes a Holm-adjusted p below alpha, "practically equivalent" a probability above
    1 - alpha; of all else, nothing is claimed.
    """
    if len(ranking.names) == 2 and not ranking.n_unranked:
        return _of_two(ranking, ranking.pairs[0])
    return _of_many(ranking)


def of_probability(value: float) -> str:
    """Return a p-value or a probability with three digits, and never as a plain 0 or 1."""
    if value < 0.0005:
        return "<0.001"
    return ">0.999" if value >= 0.9995 else f"{value:.3f}"


def _of_two(ranking: Ranking, pair: Pair) -> str:
    leader, other = (_quoted(name) for name in ranking.names)
    metric = _metric(ranking)
    if pair.test is None:
        return _untested(ranking, pair)
    low, high = pair.test.ci
    numbers = (
        f"{1 - ranking.alpha:.0%} interval {low:.4f} to {high:.4f}, "
        f"p {_equals(of_probability(pair.test.p))}"
    )
    ahead = f"its {metric} is {_way(ranking)} by {pair.advantage:.4f} ({numbers})"
    same = (
        f"practically equivalent: within {ranking.rope:g} of each other with probability "
        f"{of_probability(pair.test.equivalent)}"
    )
    if ranking.differ(pair):
        if ranking.are_equivalent(pair):
            return f"{leader} is better than {other}, but hardly: {ahead}, and they are {same}."
        return f"{leader} is better than {other}: {ahead}."
    if ranking.are_equivalent(pair):
        return f"{leader} and {other} are {same}; neither is shown to be better."
    return (
        f"Nothing may be concluded: {leader} is ahead of {other} by {pair.advantage:.4f}, "
        f"which may be chance ({numbers})."
    )


def _of_many(ranking: Ranking) -> str:
    leader = _quoted(ranking.names[0])
    pairs = [pair for pair in ranking.pairs if pair.first == 0]
    beaten = [pair for pair in pairs if ranking.differ(pair)]
    rivals = [pair for pair in pairs if not ranking.differ(pair)]
    adjusted = f"Holm-adjusted p < {ranking.alpha:g} over {ranking.n_pairs:,} pairs"
    better = f"{leader} is better than {_named(ranking, beaten, 'each')}" if beaten else ""
    if beaten and all(ranking.are_equivalent(pair) for pair in beaten):
        better += f", if by less than {ranking.rope:g},"
    if not rivals:
        least = min(pair.advantage for pair in beaten)
        ahead = f"its {_metric(ranking)} is {_way(ranking)} by {least:.4f} or more"
        return f"{better}: {ahead} ({adjusted})."
    equivalent = all(ranking.are_equivalent(pair) for pair in rivals)
    if beaten and equivalent:
        same = f"practically equivalent to {_named(ranking, rivals, 'all')}"
        return f"{better} ({adjusted}), and {same}."
    if beaten:
        unproven = f"may not be called better than {_named(ranking, rivals, 'any')}"
        return f"{better} ({adjusted}), but {unproven}."
    n_others = sum(ranking.differ(pair) for pair in ranking.pairs)
    differ = f"{n_others} differ" if n_others > 1 else f"{n_others or 'none'} differs"
    others = f"; of all {ranking.n_pairs:,} pairs, {differ} at Holm-adjusted p < {ranking.alpha:g}"
    if equivalent:
        same = f"practically equivalent to {_named(ranking, rivals, 'all')}"
        return f"{leader} leads, but is {same}{others}."
    return (
        f"Nothing may be concluded about which is best: {leader} leads, but may not be called "
        f"better than {_named(ranking, rivals, 'any')}{others}."
    )


def _untested(ranking: Ranking, pair: Pair) -> str:
    leader, other = (_quoted(name) for name in ranking.names)
    if math.isclose(pair.advantage, 0, abs_tol=1e-12):
        return (
            f"Nothing may be concluded: {leader} and {other} scored the same in every fold, so "
            "these folds cannot tell them apart."
        )
    return (
        f"Nothing may be concluded: {leader} is ahead of {other} by {pair.advantage:.4f} in every "
        "fold alike, which leaves no deviation to judge chance by."
    )


def _named(ranking: Ranking, pairs: Sequence[Pair], all_of: str) -> str:
    """Return the leader's counterparts by name, or how many they are."""
    names = [_quoted(ranking.names[pair.second]) for pair in pairs]
    n_others = len(ranking.names) - 1
    if len(names) > MAX_NAMED:
        behind = f"the other {n_others}" if not ranking.n_unranked else f"the next {n_others}"
        return f"{all_of} of {behind}" if len(names) == n_others else f"{len(names)} of {behind}"
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _metric(ranking: Ranking) -> str:
    words = in_words(ranking.metric)
    return words[0].lower() + words[1:] if words[1:2].islower() else words


def _way(ranking: Ranking) -> str:
    return "lower" if ranking.lower_is_better else "higher"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _equals(number: str) -> str:
    return f"{number[0]} {number[1:]}" if number.startswith(("<", ">")) else f"= {number}"
