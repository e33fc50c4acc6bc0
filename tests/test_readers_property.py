"""Any file of any reader: its rows, read by pandas or sent as JSON, are encoded as in training."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file

from pipeline.dataset import load
from pipeline.dataset.builder import dataset_from_arrays, dataset_from_frame
from tests.test_pyfunc_model import as_json

MISSING = st.none()
# A column of smaller numbers alone is refused.
FLOATS = st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) >= 1e-30)
CELLS = {
    "number": st.one_of(MISSING, FLOATS, st.integers(-(2**53), 2**53)),
    "tiny": st.one_of(MISSING, st.floats(1e-9, 1e-6)),
    "größe": st.one_of(MISSING, st.integers(-3, 3)),
    "shifted": st.one_of(MISSING, st.integers(2**40, 2**40 + 9)),
    "date": st.one_of(MISSING, st.datetimes().map(lambda it: it.replace(microsecond=0))),
    "category": st.one_of(MISSING, st.sampled_from(["a", "8", "07", "ß", "x, y", "it's", "TRUE"])),
}
TEXTS = {
    "category code": st.one_of(MISSING, st.sampled_from([8, 10, 200])),
    "price": st.one_of(MISSING, st.integers(-(10**9), 10**9).map(lambda it: f"{it:,} €")),
    "day": st.one_of(MISSING, st.dates().map(lambda it: f"{it.month}/{it.day}/{it.year:04}")),
    "boolean": st.booleans(),
}
SCALE = 1e-6  # tolerance, in units of a column's largest absolute value


@st.composite
def frames(draw, cells):
    """Draw a table of columns that have two values at least, and its labels."""
    n = draw(st.integers(4, 12))
    columns = {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(cells)), max_size=5))):
        values = draw(st.lists(cells[kind], min_size=n, max_size=n))
        if len({it for it in values if it is not None}) > 1:
            columns[f"{kind} {number}"] = pd.Series(values, dtype=object)
    frame = pd.DataFrame({**columns, "number": np.arange(n) * 0.3})
    return frame, pd.DataFrame({"l0": np.arange(n) % 2})


def assert_encoded(dataset, *readings: pd.DataFrame) -> None:
    """Compare rows, and those that arrive as JSON, with the matrix that training takes."""
    atol = SCALE * np.nan_to_num(np.abs(dataset.X)).max(axis=0)
    for rows in readings:
        sent = rows[list(dataset.feature_names)]
        for received in (rows, *as_json(sent)):
            X = dataset.schema.encode(received)
            np.testing.assert_array_equal(np.isnan(X), np.isnan(dataset.X))
            assert (np.nan_to_num(np.abs(X - dataset.X)) <= atol).all()


WRITERS = {
    "t.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "t.csv": lambda frame, path: decimal_commas(frame).to_csv(path, index=False, sep=";"),
    "t.parquet": lambda frame, path: frame.infer_objects().to_parquet(path),
    "t.feather": lambda frame, path: frame.infer_objects().to_feather(path),
    "t.jsonl": lambda frame, path: frame.infer_objects().to_json(
        path, orient="records", lines=True, double_precision=15, date_format="iso"
    ),
    "t.xlsx": lambda frame, path: frame.astype({c: str for c in frame if "number" in c}).to_excel(
        path, index=False
    ),
}


def decimal_commas(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.map(lambda it: repr(it).replace(".", ",") if isinstance(it, float) else it)


def readings(path: Path) -> list[pd.DataFrame]:
    text = {".tsv": {"sep": "\t"}, ".csv": {"sep": ";"}}.get(path.suffix)
    if text is not None:
        options = ({}, {"keep_default_na": False}, {"dtype": str})
        return [pd.read_csv(path, **text, **more) for more in options]
    if path.suffix == ".jsonl":
        return [pd.read_json(path, lines=True, dtype=False)]
    if path.suffix == ".xlsx":
        return [pd.read_excel(path)]
    return [getattr(pd, f"read_{path.suffix[1:]}")(path)]


@pytest.fixture(scope="module")
def make_dataset(make_config):
    def make(kind: str, path: Path, *overrides: str):
        return load(make_config(f"dataset={kind}", f"dataset.path='{path}'", *overrides).dataset)

    return make


@pytest.mark.parametrize("name", WRITERS)
@given(table=frames(CELLS | TEXTS))
@settings(max_examples=8)
def test_any_table(make_dataset, name, table):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    frame, labels = table
    roles = {"categorical": "category", "numeric": "date"}
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        WRITERS[name](pd.concat([frame, labels], axis=1), path)
        dataset = make_dataset(
            *("table", path, "dataset.labels=[l0]", "dataset.thousands=','"),
            *("dataset.dayfirst=false", *(["dataset.decimal=','"] * name.endswith("csv"))),
            *(
                f"dataset.{role}=[{','.join(repr(it) for it in frame if it.startswith(kind))}]"
                for role, kind in roles.items()
            ),
        )
        assert_encoded(dataset, *readings(path))


def quote(value) -> str:
    if value is None:
        return "?"
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return "'" + text.replace("'", "\\'") + "'"


@pytest.mark.parametrize("is_sparse", [False, True])
@given(table=frames({kind: CELLS[kind] for kind in ("number", "shifted", "category", "date")}))
@settings(max_examples=8)
def test_any_arff_file(make_dataset, is_sparse, table):
    frame, labels = table
    lines = ["@relation 't: -C 1'", "@attribute l0 {0,1}"]
    for name in frame:
        values = ",".join(quote(it) for it in dict.fromkeys(frame[name]) if it is not None)
        kind = {"category": f"{{{values}}}", "date": "date"}.get(name.split()[0], "numeric")
        lines.append(f"@attribute '{name}' {kind}")
    rows = [
        [str(label), *map(quote, row)]
        for label, row in zip(labels["l0"], frame.astype(object).to_numpy(), strict=True)
    ]
    for row in rows:
        cells = (f"{j} {cell}" for j, cell in enumerate(row) if cell not in ("'0'", "'0.0'", "0"))
        row[:] = ["{" + ", ".join(cells) + "}"] if is_sparse else row
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.arff"
        path.write_text("\n".join([*lines, "@data", *(",".join(row) for row in rows)]))
        assert_encoded(make_dataset("arff", path), frame.convert_dtypes(), frame.astype(object))


@given(table=frames({kind: CELLS[kind] for kind in ("number", "shifted", "tiny")}))
@settings(max_examples=8)
def test_any_arrays(make_dataset, table):
    frame, labels = table
    X, y = frame.to_numpy(dtype=np.float64, na_value=np.nan), labels.to_numpy()
    assert_encoded(dataset_from_arrays("t", "t", X, y), pd.DataFrame(X).add_prefix("x"))
    rows = frame.infer_objects()
    assert_encoded(dataset_from_frame("t", "t", pd.concat([rows, labels], axis=1), ["l0"]), rows)
    with TemporaryDirectory() as folder:
        np.savez(Path(folder) / "t.npz", X=X, y=y)
        assert_encoded(make_dataset("npz", Path(folder) / "t.npz"), pd.DataFrame(X).add_prefix("x"))
        X = np.nan_to_num(X)
        X[:, 0] += X[:, 0] == 0  # a column of zeros at the end has no index in the file
        X = np.column_stack([X, np.ones(len(X))])
        path = Path(folder) / "t.svm"
        dump_svmlight_file(X, y, str(path), multilabel=True, zero_based=True)
        names = [f"x{j}" for j in range(X.shape[1])]
        options = (f"dataset.n_features={X.shape[1]}", "dataset.zero_based=true")
        assert_encoded(make_dataset("svmlight", path, *options), pd.DataFrame(X, columns=names))
