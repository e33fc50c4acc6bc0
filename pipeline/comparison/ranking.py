"""Several configurations on the same folds: ranked, and every pair of them tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.paired import PairedTest, are_constant, holm, paired_test

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
    test_share: float,
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
        test_share: Mean of n_test / n_train over folds.
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
        _pair(i, j, sign * table, test_share, alpha, rope)
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
    test_share: float,
    alpha: float,
    rope: float,
) -> Pair:
    """Test two rows of gains, more of which is better."""
    advantages = gains[first] - gains[second]
    constant = are_constant(advantages, float(np.abs(gains[[first, second]]).max()))
    test = None if constant else paired_test(advantages, test_share, alpha=alpha, rope=rope)
    return Pair(first, second, float(advantages.mean()), test)


def _n_pairs(n: int) -> int:
    return n * (n - 1) // 2
