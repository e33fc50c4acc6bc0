"""Labels that are not known, read from every format, joined, deduplicated and stratified."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.cv.splitters import make_splits
from pipeline.dataset import loading
from pipeline.dataset.dataset import TEST, TRAIN, Dataset
from pipeline.dataset.in_memory import make_dataset
from pipeline.errors import UserError
from pipeline.preprocessing.table_schema import TableSchema
from tests.test_table_formats import feather, workbook, zipped

X = [1.5, 2.5, -1.0, 0.25]
A, B = [1, None, 0, 1], [None, 0, 1, None]
Y, MASK = [[1, 0], [0, 0], [0, 1], [1, 0]], [[1, 0], [0, 1], [1, 1], [1, 0]]
FRAME = pd.DataFrame({"x": X, "a": pd.array(A, "Int64"), "b": pd.array(B, "Int64")})
CSV = FRAME.to_csv(index=False)
ARFF = "@relation 't: -C 2'\n@attribute a {0,1}\n@attribute b {0,1}\n@attribute x numeric\n@data\n"
ARFF += "1,?,1.5\n?,0,2.5\n0,1,-1\n1,?,0.25\n"
TABLE, MASKED = ("dataset=table", "dataset.labels=[a,b]"), "dataset.missing_labels=mask"


def parquet() -> bytes:
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    y = FRAME[["a", "b"]].to_numpy(float, na_value=np.nan)
    np.savez(buffer, X=FRAME[["x"]], y=y, feature_names=["x"], label_names=["a", "b"])
    return buffer.getvalue()


FILES = {
    "t.csv": lambda: CSV,
    "t.tsv": lambda: FRAME.to_csv(index=False, sep="\t", na_rep="?"),
    "nan.csv": lambda: FRAME.to_csv(index=False, na_rep="NaN"),
    "t.jsonl": lambda: FRAME.to_json(orient="records", lines=True),
    "t.parquet": parquet,
    "t.feather": lambda: feather(FRAME),
    "t.xlsx": lambda: workbook(["x", "a", "b"], *zip(X, A, B, strict=True)),
    "t.zip": lambda: zipped(("t.csv", CSV)),
    "t.arff": lambda: ARFF,
    "t.npz": npz,
}


@pytest.fixture
def load(tmp_path, make_config):
    def load(file: str, content: bytes | str, *overrides: str) -> Dataset:
        path = tmp_path / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        kind = {"arff": ("dataset=arff",), "npz": ("dataset=npz",)}
        source = kind.get(path.suffix[1:], TABLE)
        return loading.load(make_config(*source, f"dataset.path='{path}'", *overrides).dataset)

    return load


@pytest.mark.parametrize("file", FILES)
def test_every_format_has_labels_that_are_not_known(load, file):
    with pytest.raises(UserError, match=r"give dataset\.missing_labels=mask"):
        load(file, FILES[file]())
    dataset = load(file, FILES[file](), MASKED)
    assert dataset.label_names == ("a", "b")
    np.testing.assert_array_equal(dataset.X[:, 0], X)
    np.testing.assert_array_equal(dataset.y, Y)
    np.testing.assert_array_equal(dataset.label_mask, np.array(MASK, dtype=bool))


@pytest.mark.parametrize(
    "y",
    [
        FRAME[["a", "b"]],
        FRAME[["a", "b"]].astype("Float64"),
        np.array([A, B], dtype=float).T,
        np.array([A, B], dtype=object).T,
        pd.DataFrame({"a": ["yes", None, "no", "yes"], "b": ["?", "f", "t", ""]}),
    ],
    ids=["Int64", "Float64", "float", "object", "texts"],
)
def test_data_frames_and_arrays_have_labels_that_are_not_known(y):
    with pytest.raises(UserError, match=r"missing_labels=.?mask"):
        make_dataset("t", FRAME[["x"]], y)
    dataset = make_dataset("t", FRAME[["x"]], y, missing_labels="mask")
    np.testing.assert_array_equal(dataset.y, Y)
    np.testing.assert_array_equal(dataset.label_mask, np.array(MASK, dtype=bool))


@pytest.mark.parametrize("file", ["t.csv", "t.arff"])
def test_further_values_mean_that_a_label_is_not_known(load, file):
    coded = {
        "t.csv": "x,a,b\n1.5,1,-1\n2.5,-1,0\n-1,0,1\n0.25,1,-1\n",
        "t.arff": ARFF.replace("{0,1}", "{0,1,-1}").replace("?", "-1"),
    }[file]
    values = "dataset.label_na_values=[-1]"
    dataset = load(file, coded, MASKED, values)
    np.testing.assert_array_equal(dataset.label_mask, np.array(MASK, dtype=bool))
    np.testing.assert_array_equal(dataset.y, Y)
    with pytest.raises(UserError, match=r"dataset\.label_na_values: expected none with"):
        load(file, coded, values)


def test_a_table_without_missing_labels_is_the_same_with_and_without_mask(load):
    content = "x,a,b\n1,0,1\n2,1,0\n3,1,1\n"
    plain, masked = load("t.csv", content), load("t.csv", content, MASKED)
    assert masked.label_mask is None
    assert masked.digest == plain.digest
    np.testing.assert_array_equal(masked.strata, plain.strata)


def test_a_label_that_no_row_knows_is_refused_by_name(load):
    content = "x,a,b\n1,0,\n2,1,\n"
    with pytest.raises(UserError, match=r"Received: 'b', known in none\. .*'dataset\.drop=\[b\]'"):
        load("t.csv", content, MASKED)
    # only a row that is dropped knows it
    content = "x,a,b\n1,0,\n2,1,\n1,0,1\n"
    assert load("t.csv", content, MASKED).label_mask.sum() == 4
    with pytest.raises(UserError, match="'b', known in none"):
        load("t.csv", content, MASKED, "dataset.drop_duplicates=true")


def test_rows_that_are_dropped_take_their_mask_along(load):
    content = "x,a,b\n1,1,\n2,,0\n1,,1\n2,1,1\n3,0,1\n"
    dataset = load("t.csv", content, MASKED, "dataset.drop_duplicates=true")
    assert dataset.label_mask.tolist() == [[True, False], [False, True], [True, True]]
    assert dataset.y.tolist() == [[1, 0], [0, 0], [0, 1]]
    # the first two rows of x=1 know no label in common; those of x=2 differ in b
    assert any("dropped 2 rows" in it and "1 of them with" in it for it in dataset.warnings)


@pytest.mark.parametrize("train", ["x,a,b\n1,1,\n2,,0\n", "x,a,b\n1,1,0\n2,0,0\n"])
def test_training_and_test_rows_keep_their_masks(load, tmp_path, train):
    (tmp_path / "test.csv").write_text("b,x,a\n1,3,\n,4,1\n")
    test_path = f"dataset.test_path='{tmp_path}/test.csv'"
    dataset = load("t.csv", train, MASKED, test_path)
    of_train = [[True, False], [False, True]] if ",\n" in train else [[True, True]] * 2
    assert dataset.label_mask.tolist() == [*of_train, [False, True], [True, False]]
    assert dataset.y[2:].tolist() == [[0, 1], [1, 0]]
    assert dataset.fold.tolist() == [TRAIN, TRAIN, TEST, TEST]


@pytest.mark.parametrize("kind", ["multilabel_stratified", "stratified_group_kfold"])
def test_stratified_folds_know_and_have_each_label_equally_often(make_config, kind):
    rng = np.random.default_rng(0)
    n = 200
    mask = rng.random((n, 3)) < [0.5, 0.2, 0.1]
    y = (rng.random((n, 3)) < 0.4).astype(np.int8) * mask
    schema, features = TableSchema.of_numbers("x"), np.arange(n, dtype=np.float32)[:, None]
    groups = np.arange(n) if kind == "stratified_group_kfold" else None
    dataset = Dataset("t", features, y, schema, tuple("abc"), groups=groups, label_mask=mask)
    splits = make_splits(make_config(f"cv={kind}", "cv.n_splits=4").cv, dataset)
    for cells in (y == 1, mask & (y == 0)):
        counts = np.array([cells[split.test].sum(axis=0) for split in splits])
        assert (np.ptp(counts[:4], axis=0) <= 3).all()
    others = make_splits(make_config("cv=repeated_kfold", "cv.n_splits=4").cv, dataset)
    spread, of_others = (
        np.ptp([mask[split.test].sum(axis=0) for split in it[:4]], axis=0).sum()
        for it in (splits, others)
    )
    assert spread < of_others


def test_unknown_cells_are_no_negatives_to_stratify(make_config):
    """Of rows that are alike but for one known negative, each fold gets one."""
    mask = np.zeros((20, 1), dtype=bool)
    mask[:8] = True
    y = np.zeros((20, 1), dtype=np.int8)
    y[:4] = 1
    schema = TableSchema.of_numbers("x")
    dataset = Dataset("t", np.arange(20.0, dtype=np.float32)[:, None], y, schema, ("a",))
    masked = replace(dataset, label_mask=mask)
    config = make_config("cv=multilabel_stratified", "cv.n_splits=4").cv
    for split in make_splits(config, masked):
        assert np.sum(split.test < 4) == 1  # rows with the label
        assert np.sum((split.test >= 4) & (split.test < 8)) == 1  # rows known to be without it


def test_lists_of_labels_give_every_label_of_a_row(tmp_path, make_config):
    path = tmp_path / "t.svm"
    path.write_text("1,2 1:0.5\n 1:2\n2 1:-1\n")
    config = make_config("dataset=svmlight", f"dataset.path='{path}'", MASKED)
    assert loading.load(config.dataset).label_mask is None
    path = tmp_path / "t.csv"
    path.write_text("x,tags\n1,a\n2,\n")
    source = ("dataset=table", f"dataset.path='{path}'", "dataset.label_list_column=tags")
    with pytest.raises(UserError, match=r"expected refuse with dataset\.label_list_column"):
        loading.load(make_config(*source, MASKED).dataset)
