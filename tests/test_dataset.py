import numpy as np
import pytest

from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError


def make(X=((1.0, 2.0), (3.0, 4.0)), y=((0,), (1,)), features=("a", "b"), **more) -> Dataset:
    return Dataset(
        name="small",
        X=np.array(X),
        y=np.array(y, dtype=np.int8),
        feature_names=features,
        label_names=("l",),
        **more,
    )


def test_the_digest_covers_every_value_and_name():
    same = make().digest
    assert make().digest == same
    assert len(same) == 32
    others = [
        make(X=((1.0, 2.0), (3.0, 4.5))),
        make(y=((1,), (1,))),
        make(features=("a", "c")),
        make(groups=np.array([0, 1])),
        make(categories=(("x", "y"), None)),
    ]
    assert len({same, *(other.digest for other in others)}) == 6


def test_infinite_values_are_refused_by_place():
    with pytest.raises(UserError, match=r"finite features. Received: inf in row 1, feature 'b'"):
        make(X=((1.0, 2.0), (3.0, np.inf)))


def test_missing_values_are_refused_where_nothing_fills_them():
    dataset = make(X=((1.0, 2.0), (np.nan, 4.0)))
    with pytest.raises(UserError, match=r"no missing value. Received: nan in row 1, feature 'a'"):
        dataset.check_complete()


def test_an_empty_table_is_refused():
    with pytest.raises(UserError, match="at least one row"):
        make(X=np.empty((0, 2)), y=np.empty((0, 1)))
