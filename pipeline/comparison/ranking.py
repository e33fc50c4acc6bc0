"""Several configurations on the same folds: ranked, and every pair of them tested."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring import PairedTest, are_constant, holm, metric_title, paired_test

MAX_PAIRED = 6  # configurations up to which every pair is shown


@dataclass(frozen=True)
class Pair:
    """Two configurations, by their places in the ranking.

    Attributes:
        first: Place of the one with the better mean, from 0.
        second: Place of the other.
        advantage: By how much the first is better, the mean over folds.
        test: None where the advantage is the same in every fold: it has no deviation to judge
            chance by.
        p_holm: The p-value, adjusted for all pairs; 1 where there is no test.
    """

    first: int
    second: int
    advantage: float
    test: PairedTest | None
    p_holm: float = 1.0


@dataclass(frozen=True, eq=False)
class Ranking:
    """What may be said of several configurations by one metric.

    Attributes:
        metric: Its name.
        lower_is_better: Whether less of it is better.
        alpha: Accepted chance of a single false difference among all pairs.
        rope: Half the width of the region of practical equivalence, in units of the metric.
        names: The configurations, the best mean first.
        scores: Their scores by fold, of shape (n_names, n_folds).
        pairs: Every two of them, in the order of their places.
        n_undefined: How many folds are left out, as the metric is undefined there for some.
        n_unranked: How many more configurations there are; their pairs count in `p_holm`.
    """

    metric: str
    lower_is_better: bool
    alpha: float
    rope: float
    names: tuple[str, ...]
    scores: NDArray[np.float64]
    pairs: tuple[Pair, ...]
    n_undefined: int = 0
    n_unranked: int = 0

    @property
    def n_pairs(self) -> int:
        """How many pairs the p-values are adjusted for."""
        return _n_pairs(len(self.names) + self.n_unranked)

    def differ(self, pair: Pair) -> bool:
        """Return whether the two are told apart, all pairs allowed for."""
        return pair.p_holm < self.alpha

    def are_equivalent(self, pair: Pair) -> bool:
        """Return whether the two are practically equivalent, almost certainly."""
        return pair.test is not None and pair.test.equivalent > 1 - self.alpha

    def shown_pairs(self) -> list[Pair]:
        """Return all pairs of a few configurations; of many, those with the best.

        Their p-values stay adjusted for all pairs: which one is best was seen in the same scores.
        """
        few = len(self.names) <= MAX_PAIRED
        return [pair for pair in self.pairs if few or pair.first == 0]

    def groups(self) -> list[range]:
        """Return the longest stretches of places in which no two are told apart.

        They are what a critical-difference diagram joins by bars. Two that no bar joins may yet
        not be told apart, where one between them has the steadier scores.
        """
        apart = {(pair.first, pair.second) for pair in self.pairs if self.differ(pair)}
        groups: list[range] = []
        for start in range(len(self.names)):
            stop = start + 1
            while stop < len(self.names) and not any(
                (i, stop) in apart for i in range(start, stop)
            ):
                stop += 1
            if not groups or stop > groups[-1].stop:
                groups.append(range(start, stop))
        return groups


def rank(
    scores: Mapping[str, Sequence[float] | NDArray[np.float64]],
    *,
    metric: str,
    test_fraction: float,
    lower_is_better: bool,
    alpha: float,
    rope: float,
    n_unranked: int = 0,
) -> Ranking:
    """Rank configurations by their means and test every pair.

    Args:
        scores: Scores by fold of each configuration, by its name; two configurations at least, the
            same folds in the same order. A fold in which one of them is NaN is left out of all.
        metric: Its name.
        test_fraction: Mean of n_test / n_train over folds.
        lower_is_better: Whether less of it is better.
        alpha: Accepted chance of a single false difference among all pairs.
        rope: Half the width of the region of practical equivalence.
        n_unranked: How many more configurations there are, with worse means: these were chosen
            among all, so that their p-values are adjusted for the pairs of all.

    Raises:
        ValueError: If fewer than two folds are left.
    """
    names, table = tuple(scores), np.array([*scores.values()], dtype=np.float64)
    defined = np.asarray(np.isfinite(table).all(axis=0))
    if defined.sum() < 2:
        raise ValueError(
            f"Expected two folds at least in which {metric} is defined for all. Received: "
            f"{defined.sum()} of {len(defined)}."
        )
    sign = -1.0 if lower_is_better else 1.0
    order = np.argsort(-sign * table[:, defined].mean(axis=1), kind="stable")
    table = table[order][:, defined]
    pairs = [
        _pair(i, j, sign * table, test_fraction, alpha, rope)
        for i, j in combinations(range(len(table)), 2)
    ]
    p = np.array([pair.test.p if pair.test else 1.0 for pair in pairs])
    adjusted = holm(p, _n_pairs(len(table) + n_unranked)).tolist()
    return Ranking(
        metric=metric,
        lower_is_better=lower_is_better,
        alpha=alpha,
        rope=rope,
        names=tuple(names[place] for place in order),
        scores=table,
        pairs=tuple(
            replace(pair, p_holm=float(q)) for pair, q in zip(pairs, adjusted, strict=True)
        ),
        n_undefined=int((~defined).sum()),
        n_unranked=n_unranked,
    )


def _pair(
    first: int,
    second: int,
    gains: NDArray[np.float64],
    test_fraction: float,
    alpha: float,
    rope: float,
) -> Pair:
    """Test two rows of gains, more of which is better."""
    advantages = gains[first] - gains[second]
    constant = are_constant(advantages, float(np.abs(gains[[first, second]]).max()))
    test = None if constant else paired_test(advantages, test_fraction, alpha=alpha, rope=rope)
    return Pair(first, second, float(advantages.mean()), test)


def _n_pairs(n: int) -> int:
    return n * (n - 1) // 2


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
    words = metric_title(ranking.metric)
    return words[0].lower() + words[1:] if words[1:2].islower() else words


def _way(ranking: Ranking) -> str:
    return "lower" if ranking.lower_is_better else "higher"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _equals(number: str) -> str:
    return f"{number[0]} {number[1:]}" if number.startswith(("<", ">")) else f"= {number}"
