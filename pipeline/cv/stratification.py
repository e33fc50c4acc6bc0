"""Folds of equal label frequencies: of rows, and of groups."""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

MAX_ROUNDS = 2**16  # that are drawn at once


def iterative_folds(
    y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,).

    The rows of the rarest remaining label are assigned first, each to the fold that lacks this
    label most, because frequent labels can still be balanced later. Unlike in the paper, folds
    differ by one row at most: folds of one size are trained in one program, and the label
    proportions are as good.

    Args:
        y: Indicator matrix of shape (n_samples, n_labels), values {0, 1}.
        n_splits: Number of folds, at most the number of rows.
        generator: Source of the order of rows and of the tie-breaking.

    References:
        Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data,
        ECML PKDD 2011.
    """
    row_order = generator.permutation(len(y))
    shuffled = y[row_order]
    remaining = shuffled.sum(axis=0, dtype=np.int64)  # rows of each label without a fold
    counts = np.zeros((n_splits, y.shape[1]), dtype=np.int64)  # rows of each label, by fold
    sizes = np.bincount(np.arange(len(y)) % n_splits, minlength=n_splits)
    room = generator.permutation(sizes).tolist()  # rows that each fold still takes
    folds = np.full(len(y), -1)
    while remaining.any():
        rarest = generator.choice(np.flatnonzero(remaining == remaining[remaining > 0].min()))
        rows = np.flatnonzero((shuffled[:, rarest] == 1) & (folds == -1))
        chosen = _choose_folds(len(rows), counts[:, rarest].tolist(), room, generator)
        folds[rows] = chosen
        is_in_fold = (chosen == np.arange(n_splits)[:, None]).astype(np.float32)
        added = (is_in_fold @ shuffled[rows].astype(np.float32)).astype(np.int64)  # exact to 2**24
        counts += added
        remaining -= added.sum(axis=0)
    folds[folds == -1] = np.repeat(np.arange(n_splits), room)  # rows without a label, shuffled
    result = np.empty_like(folds)
    result[row_order] = folds
    return result


def _choose_folds(
    n_rows: int, counts: list[int], room: list[int], generator: RandomState
) -> NDArray[np.int64]:
    """Return the folds of rows that have a label, one after another.

    Each row goes to the fold that has fewest rows of the label, as all folds are to have equally
    many; of equal ones, to one with most room. So the folds with fewest rows take turns, and each
    round has the same folds with most room as the last, until others have as few rows or one is
    full: all such rounds are drawn at once, in the order in which single rows would draw.

    Args:
        n_rows: Number of rows.
        counts: Number of rows of the label that each fold has; is changed.
        room: Number of rows that each fold still takes; is changed.
        generator: Source of the tie-breaking.
    """
    chosen = [np.empty(0, dtype=np.int64)]
    while n_rows:
        with_room = [fold for fold, n in enumerate(room) if n > 0]
        fewest = min(counts[fold] for fold in with_room)
        level = [fold for fold in with_room if counts[fold] == fewest]
        above = [counts[fold] - fewest for fold in with_room if counts[fold] > fewest]
        n_rounds = min(n_rows // len(level), MAX_ROUNDS, *(room[fold] for fold in level), *above)
        n_picks = len(level) if n_rounds else n_rows  # of the last round, a part
        n_rounds = max(n_rounds, 1)
        by_room: dict[int, list[int]] = {}
        for fold in level:
            by_room.setdefault(room[fold], []).append(fold)
        ties = [by_room[n] for n in sorted(by_room, reverse=True)]
        picks = _draw_rounds(ties, n_rounds, n_picks, generator)
        for fold in picks[0].tolist():
            counts[fold] += n_rounds
            room[fold] -= n_rounds
        chosen.append(picks.ravel())
        n_rows -= picks.size
    return np.concatenate(chosen)


def _draw_rounds(
    ties: list[list[int]], n_rounds: int, n_picks: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the order of the folds in each round, of shape (n_rounds, n_picks).

    Of folds with equal room, each is drawn from the rest; those with more room come first.
    """
    if all(len(folds) == 1 for folds in ties[:n_picks]):  # nothing to draw
        return np.tile([folds[0] for folds in ties[:n_picks]], (n_rounds, 1))
    sizes = [size for folds in ties for size in range(len(folds), 0, -1)][:n_picks]
    draws = generator.randint(0, np.tile(sizes, (n_rounds, 1)))
    picks = np.empty((n_rounds, n_picks), dtype=np.int64)
    position = 0
    for folds in ties:
        rest = np.tile(np.array(folds, dtype=np.int32), (n_rounds, 1))
        while rest.shape[1] and position < n_picks:
            index = draws[:, position, None]
            picks[:, position] = np.take_along_axis(rest, index, axis=1)[:, 0]
            others = np.arange(rest.shape[1] - 1)
            rest = np.take_along_axis(rest, others + (others >= index), axis=1)
            position += 1
    return picks


def grouped_folds(
    groups: NDArray[np.int64], y: NDArray[np.int8], n_splits: int, generator: RandomState
) -> NDArray[np.int64]:
    """Return the fold of each row, of shape (n_samples,); rows of a group share one.

    Groups with a large fraction of the rows or of a label are assigned first, each to the fold that
    keeps the folds most even, as in scikit-learn's `StratifiedGroupKFold`, but with every label
    and the number of rows as a quantity to balance. Each fold gets at least one group.

    Args:
        groups: Group of each row, of shape (n_samples,), at least `n_splits` of them.
        y: Labels to balance, of shape (n_samples, n_labels); no columns balance rows alone.
        n_splits: Number of folds.
        generator: Source of random factors in [0.5, 1) for the weights that order the groups, so
            that repeats differ.
    """
    _, group = np.unique(groups, return_inverse=True)
    quantities = np.column_stack([y, np.ones(len(y))])
    totals = np.zeros((group.max() + 1, quantities.shape[1]))
    np.add.at(totals, group, quantities)
    fractions = totals / np.maximum(totals.sum(axis=0), 1)  # of each label, and of the rows

    weights = np.linalg.norm(fractions, axis=1) * generator.uniform(0.5, 1, size=len(fractions))
    fold_sums = np.zeros((n_splits, fractions.shape[1]))
    folds = np.empty(len(fractions), dtype=np.int64)
    for i in np.argsort(-weights, kind="stable"):
        # The sum of squares over folds grows by 2 fold_sum @ fraction + fraction @ fraction.
        folds[i] = fold = (fold_sums @ fractions[i]).argmin()
        fold_sums[fold] += fractions[i]
    numbers = generator.permutation(n_splits)  # else the heaviest group is always in fold 0
    result: NDArray[np.int64] = numbers[folds[group]]
    return result
