"""Folds that the data bring along."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cv.splitters import make_splits
from pipeline.dataset.builder import read_folds
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import join, load
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["train", "Test", " train "], [-1, 0, -1]),
        ([3, "1", 2.0, np.int8(-1)], [3, 1, 2, -1]),
        ([], []),
    ],
)
def test_numbers_and_words_become_folds(values: list[object], expected: list[int]) -> None:
    folds = read_folds(values, "column fold")
    assert folds.tolist() == expected
    assert folds.dtype == np.int64


@pytest.mark.parametrize("value", ["dev", 1.5, -2, None, float("nan"), "inf", ""])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"column fold: expected the number of a fold.* in row 1"):
        read_folds([0, value], "column fold")


def table(n: int) -> Dataset:
    return Dataset(
        name="half",
        X=np.full((n, 2), float(n)),
        y=np.ones((n, 2), dtype=np.int8),
        feature_names=("a", "b"),
        label_names=("p", "q"),
    )


def test_train_and_test_become_one_table() -> None:
    both = join(table(2), table(1))
    assert both.X[:, 0].tolist() == [2, 2, 1]
    assert both.y.shape == (3, 2)
    assert both.fold is not None
    assert both.fold.tolist() == [-1, -1, 0]
    assert both.digest not in (table(2).digest, table(1).digest)


def test_halves_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"same labels in train and test.*in one .* only: q, r"):
        join(table(2), replace(table(1), label_names=("p", "r")))
    ids = np.array(["i", "j"])
    with pytest.raises(
        UserError, match=r"each row in one of them. Received: 1 in both, such as 'i'"
    ):
        join(replace(table(2), ids=ids), replace(table(1), ids=ids[:1]))


def test_columns_are_joined_by_name() -> None:
    one = table(2)
    swapped = replace(table(1), feature_names=one.feature_names[::-1], X=one.X[:1, ::-1] + [[0, 5]])
    both = join(one, swapped)
    assert both.X[2].tolist() == (one.X[0] + [5, 0]).tolist()


def test_a_label_that_one_list_lacks_is_one_that_its_rows_lack(tmp_path, make_config):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("a,tags\n1,p|q\n2,q\n")
    test.write_text("a,tags\n3,p|r\n")
    pair = (f"dataset.path={train}", f"dataset.test_path={test}", "dataset.label_list_column=tags")
    dataset = load(make_config("dataset=table", *pair).dataset)
    assert dataset.label_names == ("p", "q", "r")
    assert dataset.y.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_what_says_which_rows_test_is_heeded_or_refused(tmp_path, make_config):
    path = tmp_path / "table.csv"
    path.write_text("a,part,l\n1,train,0\n2,test,1\n3,train,1\n4,test,0\n")
    table = (
        "dataset=table",
        f"dataset.path={path}",
        "dataset.labels=[l]",
        "dataset.fold_column=part",
    )
    config = make_config(*table, "cv.n_splits=2")
    dataset = load(config.dataset)
    with pytest.raises(UserError, match="expected cv=predefined, as table says which rows test"):
        make_splits(config.cv, dataset)
    (split,) = make_splits(make_config(*table, "cv=predefined").cv, dataset)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 2], [1, 3])
    assert dataset.digest != replace(dataset, fold=-1 - dataset.fold).digest
    with pytest.raises(
        UserError, match=r"neither dataset\.fold_column nor dataset\.group_column beside it"
    ):
        load(make_config(*table, f"dataset.test_path={path}").dataset)


def test_a_column_of_a_table_names_the_folds(tmp_path, make_config):
    path = tmp_path / "table.csv"
    path.write_text("a,part,l\n1,train,0\n2,test,1\n3,train,1\n4,test,0\n")
    table = (
        "dataset=table",
        f"dataset.path={path}",
        "dataset.labels=[l]",
        "dataset.fold_column=part",
    )
    dataset = load(make_config(*table).dataset)
    assert dataset.feature_names == ("a",)
    assert dataset.fold.tolist() == [-1, 0, -1, 0]


def test_a_wrong_fold_is_refused_by_column_and_row(tmp_path, make_config):
    path = tmp_path / "table.csv"
    path.write_text("a,part,l\n1,train,0\n2,maybe,1\n")
    table = (
        "dataset=table",
        f"dataset.path={path}",
        "dataset.labels=[l]",
        "dataset.fold_column=part",
    )
    with pytest.raises(UserError, match=r"column 'part': .*Received: 'maybe' in row 1\."):
        load(make_config(*table).dataset)


def test_a_pair_of_files_joins_their_categories(tmp_path, make_config):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("a,c,l\n1,red,0\n2,blue,1\n3,red,1\n")
    test.write_text("a,c,l\n4,green,0\n5,blue,1\n6,,1\n")
    pair = (f"dataset.path={train}", f"dataset.test_path={test}", "dataset.labels=[l]")
    dataset = load(make_config("dataset=table", *pair).dataset)
    assert dataset.categories == (None, ("blue", "green", "red"))
    texts = [dataset.value(row, 1) for row in range(6)]
    assert texts == ["red", "blue", "red", "green", "blue", "?"]
    assert dataset.X[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert dataset.fold.tolist() == [-1, -1, -1, 0, 0, 0]


def test_mulans_pair_of_files_shares_one_xml(tmp_path, make_config):
    header = "@relation r\n@attribute a numeric\n@attribute l {0,1}\n@data\n"
    (tmp_path / "small-train.arff").write_text(f"{header}1,0\n2,1\n")
    (tmp_path / "small-test.arff").write_text(f"{header}3,1\n4,0\n")
    (tmp_path / "small.xml").write_text('<labels><label name="l"></label></labels>')
    parts = {"path": "train", "test_path": "test"}
    pair = [f"dataset.{key}={tmp_path}/small-{part}.arff" for key, part in parts.items()]
    dataset = load(make_config("dataset=arff", *pair).dataset)
    assert (dataset.y.ravel().tolist(), dataset.fold.tolist()) == ([0, 1, 1, 0], [-1, -1, 0, 0])
