"""Predefined folds, of a column or of a pair of files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.cv.splitters import make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import join, load
from pipeline.dataset.row_columns import parse_fold
from pipeline.errors import UserError
from pipeline.preprocessing.table_schema import TableSchema


@pytest.mark.parametrize(
    ("text", "fold"),
    [("train", -1), ("Test", 0), (" train ", -1), ("3", 3), ("2.0", 2), ("-1", -1)]
    + [(text, None) for text in ("dev", "1.5", "-2", "nan", "inf", "")],
)
def test_numbers_and_the_words_train_and_test_are_folds(text: str, fold: int | None) -> None:
    assert parse_fold(text) == fold


def table(n: int) -> Dataset:
    return Dataset(
        name="half",
        X=np.full((n, 2), n, dtype=np.float32),
        y=np.ones((n, 2), dtype=np.int8),
        schema=TableSchema.of_numbers("ab"),
        label_names=("p", "q"),
    )


def test_train_and_test_are_joined() -> None:
    both = join(table(2), table(1))
    assert both.X[:, 0].tolist() == [2, 2, 1]
    assert both.y.shape == (3, 2)
    assert both.fold is not None
    assert both.fold.tolist() == [-1, -1, 0]
    assert both.digest not in (table(2).digest, table(1).digest)


def test_different_columns_and_common_rows_are_errors() -> None:
    with pytest.raises(UserError, match=r"same labels in train and test.*in one .* only: q, r"):
        join(table(2), replace(table(1), label_names=("p", "r")))
    ids = np.array(["i", "j"])
    with pytest.raises(
        UserError, match=r"each row in one of them. Received: 1 in both, such as 'i'"
    ):
        join(replace(table(2), ids=ids), replace(table(1), ids=ids[:1]))


def test_columns_are_joined_by_name() -> None:
    train = table(2)
    test = replace(
        table(1),
        schema=TableSchema.of_numbers("ba"),
        X=train.X[:1, ::-1] + np.array([[0, 5]], np.float32),
    )
    assert join(train, test).X[2].tolist() == (train.X[0] + [5, 0]).tolist()


def test_a_label_that_one_list_lacks_is_zero_in_its_rows(tmp_path, make_config):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("a,tags\n1,p|q\n2,q\n")
    test.write_text("a,tags\n3,p|r\n")
    pair = (f"dataset.path={train}", f"dataset.test_path={test}", "dataset.label_list_column=tags")
    dataset = load(make_config("dataset=table", *pair).dataset)
    assert dataset.label_names == ("p", "q", "r")
    assert dataset.y.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_predefined_folds_are_used_or_an_error(tmp_path, make_config):
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
    with pytest.raises(UserError, match="expected cv=predefined, because table has predefined"):
        make_splits(config.cv, dataset)
    (split,) = make_splits(make_config(*table, "cv=predefined").cv, dataset)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 2], [1, 3])
    assert dataset.digest != replace(dataset, fold=-1 - dataset.fold).digest
    with pytest.raises(
        UserError, match=r"neither dataset\.fold_column nor dataset\.group_column beside it"
    ):
        load(make_config(*table, f"dataset.test_path={path}").dataset)


def test_a_fold_column_is_read(tmp_path, make_config):
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


def test_an_invalid_fold_is_an_error_that_names_column_and_row(tmp_path, make_config):
    path = tmp_path / "table.csv"
    path.write_text("a,part,l\n1,train,0\n2,maybe,1\n")
    table = (
        "dataset=table",
        f"dataset.path={path}",
        "dataset.labels=[l]",
        "dataset.fold_column=part",
    )
    with pytest.raises(UserError, match=r"column 'part': .*Received: 'maybe' in row 1 "):
        load(make_config(*table).dataset)


def test_categories_of_a_pair_of_files_are_joined(tmp_path, make_config):
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


def test_a_pair_of_arff_files_shares_one_xml_file(tmp_path, make_config):
    header = "@relation r\n@attribute a numeric\n@attribute l {0,1}\n@data\n"
    (tmp_path / "small-train.arff").write_text(f"{header}1,0\n2,1\n")
    (tmp_path / "small-test.arff").write_text(f"{header}3,1\n4,0\n")
    (tmp_path / "small.xml").write_text('<labels><label name="l"></label></labels>')
    parts = {"path": "train", "test_path": "test"}
    pair = [f"dataset.{key}={tmp_path}/small-{part}.arff" for key, part in parts.items()]
    dataset = load(make_config("dataset=arff", *pair).dataset)
    assert (dataset.y.ravel().tolist(), dataset.fold.tolist()) == ([0, 1, 1, 0], [-1, -1, 0, 0])


@pytest.mark.parametrize("shift", [0, 50, 10**7])
def test_a_pair_of_files_is_encoded_by_one_schema(tmp_path, make_config, shift):
    rng, frames = np.random.default_rng(0), []
    for part, center in (("train", 5_412_345.67), ("test", 5_412_345.67 + shift)):
        frame = pd.DataFrame({"a": (center + rng.normal(0, 30, 200)).round(2), "b": 1, "l": 0})
        frame["c"] = rng.choice(list("xy") if part == "train" else list("yz"), 200)
        frame.loc[0, ["b", "l"]] = 1
        frame.to_csv(tmp_path / f"{part}.csv", index=False)
        frames.append(frame)
    parts = {"path": "train", "test_path": "test"}
    pair = [f"dataset.{key}={tmp_path}/{part}.csv" for key, part in parts.items()]
    dataset = load(make_config("dataset=table", *pair, "dataset.labels=[l]").dataset)
    assert dataset.schema.columns[2].categories == ("x", "y", "z")
    rows = pd.concat(frames, ignore_index=True)
    encoded = dataset.schema.encode(rows)
    # The offsets of the single files were others, so numbers are rounded twice.
    np.testing.assert_allclose(dataset.X, encoded, rtol=0, atol=2**-22 * np.abs(encoded).max())
    np.testing.assert_array_equal(dataset.X[:, 1:], encoded[:, 1:])
