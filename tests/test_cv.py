import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import RepeatedKFold

from pipeline.config import RepeatedKFoldConfig
from pipeline.cv import digest, make_splits
from pipeline.errors import UserError


def config(n_splits=10, n_repeats=3, random_state=1):
    return RepeatedKFoldConfig(
        kind="repeated_kfold", n_splits=n_splits, n_repeats=n_repeats, random_state=random_state
    )


@given(st.integers(2, 60), st.integers(2, 12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_repeated_kfold_is_scikit_learns(n_samples, n_splits, n_repeats, random_state):
    if n_splits > n_samples:
        return
    theirs = RepeatedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=random_state)
    ours = make_splits(config(n_splits, n_repeats, random_state), n_samples)
    pairs = list(zip(ours, theirs.split(np.zeros(n_samples)), strict=True))
    for place, (split, (train, test)) in enumerate(pairs):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)
        assert (split.repeat, split.fold) == divmod(place, n_splits)


@given(st.integers(4, 60), st.integers(2, 4), st.integers(1, 3))
def test_every_row_is_tested_once_per_repeat(n_samples, n_splits, n_repeats):
    splits = make_splits(config(n_splits, n_repeats), n_samples)
    for repeat in range(n_repeats):
        tested = np.concatenate([split.test for split in splits if split.repeat == repeat])
        assert sorted(tested) == list(range(n_samples))
    for split in splits:
        assert sorted([*split.train, *split.test]) == list(range(n_samples))


def test_the_digest_tells_splits_apart():
    assert digest(make_splits(config(), 100)) == digest(make_splits(config(), 100))
    others = [config(random_state=2), config(n_splits=5), config(n_repeats=2)]
    digests = {digest(make_splits(other, 100)) for other in (config(), *others)}
    assert len(digests | {digest(make_splits(config(), 101))}) == 5


def test_more_folds_than_rows_are_refused():
    with pytest.raises(UserError, match="at most the number of rows, 5. Received: 6"):
        make_splits(config(n_splits=6), 5)
