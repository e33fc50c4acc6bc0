"""The served model gives raw rows the probabilities that the trainer gave the same rows."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import infer_and_parse_data
from sklearn.datasets import dump_svmlight_file
from threadpoolctl import threadpool_limits

from pipeline.cv import Split
from pipeline.dataset import load
from pipeline.dataset.builder import dataset_from_arrays, dataset_from_frame
from pipeline.evaluation.derived_inputs import derive_columns
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.inputs import make_trainer, plan_fits
from pipeline.model.saved_model import write_model
from pipeline.tracking.pyfunc_model import ServedModel

N = 40
TOLERANCE = 1e-6


def serve(config, dataset, folder):
    """Train, write the model and load it.

    Returns:
        The served model, and the probabilities that the trainer had for all rows.
    """
    rows = np.arange(dataset.n_samples)
    evaluator = Evaluator(config, dataset, [Split(0, 0, rows[5:], rows[:5])])
    list(evaluator.folds(lambda n: None))
    final = evaluator.evaluation().final
    derived = derive_columns(config.preprocessing, dataset)
    expected = final.predict_proba(derived.X)
    if config.model.kind == "mlp":  # what the compiled program computed
        fits, *_ = plan_fits(config, derived, [Split(0, 0, rows, rows)])
        trainer = make_trainer(config, derived, fits)
        result = next(trainer.train())
        final = replace(final, model=trainer.final_model([result], fits[0]))
        expected = result.y_score
    write_model(folder, final, config.model)
    served = ServedModel()
    served.load(folder / "model")
    return served, expected


def as_json(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return rows as they arrive through each JSON that MLflow's server takes."""
    text = {
        orient: rows.to_json(orient=orient, date_format="iso", double_precision=15)
        for orient in ("split", "records")
    }
    split = json.loads(text["split"])
    columns = {name: [row[j] for row in split["data"]] for j, name in enumerate(split["columns"])}
    bodies = (
        {"dataframe_split": split},
        {"dataframe_records": json.loads(text["records"])},
        {"inputs": columns},
    )
    return [pd.DataFrame(infer_and_parse_data(body)) for body in bodies]


def assert_served(served, expected, rows):
    """Compare the probabilities of raw rows, as a data frame and as JSON, with the trainer's."""
    for sent in (rows, *as_json(rows)):
        actual = served.predict(None, sent).to_numpy()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


def mixed_frame(seed=0):
    """Return a table with columns of every kind; cells are missing in most."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "plain": rng.normal(size=N).round(3),
            "größe": rng.normal(1e-6, 1e-6, size=N),
            "huge": rng.normal(1e9, 3e8, size=N).round(),
            "offset": 16_000_000 + rng.integers(0, 2, size=N),
            "position": (5_412_345 + rng.random(N)).round(2),
            "count": rng.integers(0, 9, size=N),
            "date": pd.Timestamp("2026-01-31")
            + pd.to_timedelta(rng.integers(0, 40, size=N), unit="D"),
            "when": pd.Timestamp("2026-01-31 12:30:00")
            + pd.to_timedelta(rng.integers(0, 9**6, size=N), unit="s"),
            "room": rng.choice([8, 9, 10], size=N),
            "city": rng.choice(["Rome", "Oslo", "São Paulo"], size=N),
            "open": rng.random(N) < 0.5,
        }
    )
    labels = pd.DataFrame(rng.integers(0, 2, size=(N, 2)), columns=["l0", "l1"])
    return frame, labels


CATEGORICAL = ("room", "city")
DATES = ("date", "when")
SKLEARN = ("model=logistic",)
KERAS = ("training.epochs=3", "training.batch_size=16", "training.learning_rate=0.01")


def table_config(make_config, path, *options, categorical=CATEGORICAL, numeric=DATES):
    return make_config(
        *("dataset=table", f"dataset.path={path}", "dataset.labels=['l?']"),
        f"dataset.categorical=[{','.join(categorical)}]",
        f"dataset.numeric=[{','.join(numeric)}]",
        *options,
    )


def write_csv(path, frame, labels, missing="", decimal=".", separator=",", n_missing=3):
    """Write a CSV file with some missing cells, and dates as in ISO 8601."""
    table = pd.concat([frame.astype(object), labels], axis=1)
    rng = np.random.default_rng(1)
    for name in frame.columns:
        table.loc[rng.choice(N, size=n_missing, replace=False), name] = missing
    for name in DATES:
        form = "%Y-%m-%d" if name == "date" else "%Y-%m-%d %H:%M:%S"
        table[name] = [
            it if isinstance(it, str) else pd.Timestamp(it).strftime(form) for it in table[name]
        ]
    if decimal == ",":
        table = table.map(lambda it: str(it).replace(".", ",") if isinstance(it, float) else it)
    table.to_csv(path, index=False, sep=separator)


def test_numbers_do_not_pass_for_dates(tmp_path, make_config):
    path = tmp_path / "t.csv"
    write_csv(path, *mixed_frame())
    config = table_config(make_config, path, *SKLEARN)
    served, _ = serve(config, load(config.dataset), tmp_path)
    milliseconds = pd.read_csv(path).assign(date=1_800_000_000_000)
    with pytest.raises(MlflowException, match=r"Expected dates such as .* in column 'date'"):
        served.predict(None, milliseconds)


@pytest.mark.parametrize(
    ("cells", "reading"),
    [
        (["1,5", "2,5", "12,0"], {"decimal": ","}),
        (["2026-01-31", "2026-02-01", "2026-12-31"], {"parse_dates": ["c"]}),
        (["12:30:00", "12:30:01", "00:00:00"], {}),
    ],
    ids=["decimal commas", "dates", "times"],
)
def test_categories_that_pandas_reads_as_numbers_or_dates(tmp_path, make_config, cells, reading):
    path = tmp_path / "t.csv"
    table = pd.DataFrame({"c": cells * 10, "x": np.arange(30), "l0": [0, 1, 1] * 10})
    table.to_csv(path, index=False, sep=";")
    config = table_config(
        make_config, path, *SKLEARN, "dataset.separator=';'", "dataset.decimal=','",
        categorical=("c",), numeric=(),
    )  # fmt: skip
    served, expected = serve(config, load(config.dataset), tmp_path)
    assert len(np.unique(expected.round(3))) > 2
    assert_served(served, expected, pd.read_csv(path, sep=";", **reading))
    assert_served(served, expected, pd.read_csv(path, sep=";", dtype=str))


def test_a_missing_number_of_32_bits(tmp_path, make_config):
    path = tmp_path / "t.parquet"
    values = np.array([1.5, -999.9, 2.5, 3.5] * 10, dtype=np.float32)
    pd.DataFrame({"x": values, "l0": [0, 1] * 20}).to_parquet(path)
    config = table_config(
        make_config, path, *SKLEARN, "dataset.na_values=['-999.9']", categorical=(), numeric=()
    )
    assert np.isnan(load(config.dataset).X[:, 0]).sum() == 10


def test_numbers_and_dates_in_other_formats(tmp_path, make_config):
    path = tmp_path / "t.csv"
    rng = np.random.default_rng(5)
    numbers = rng.normal(9_000, 4_000, size=N).round(2)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, size=N), unit="D")
    rows = pd.DataFrame(
        {
            "thousands": [f"{it:,}" for it in numbers],
            "price": [f"$ {it:,.2f}".replace("$ -", "-$") for it in numbers[::-1]],
            "share": [f"{it:.1f} %" for it in numbers / 100],
            "weight": [f"{it:.1f} kg".replace(".", ",") for it in numbers[::-1]],
            "loss": [f"({-it})" if it < 9_000 else str(it) for it in numbers - 20_000],
            "when": days.strftime("%d/%m/%Y"),
        }
    )
    rows.loc[3, ["price", "when"]] = None
    rows.assign(l0=[0, 1] * (N // 2)).to_csv(path, index=False)
    config = table_config(make_config, path, *SKLEARN, categorical=(), numeric=())
    dataset = load(config.dataset)
    assert dataset.schema.is_categorical.sum() == 0
    served, expected = serve(config, dataset, tmp_path)
    assert len(np.unique(expected.round(3))) > 2
    assert_served(served, expected, rows)
    assert_served(served, expected, rows.assign(when=pd.to_datetime(rows["when"], dayfirst=True)))
    with pytest.raises(MlflowException, match=r"numbers such as \$1,234.5 in column 'price'"):
        served.predict(None, rows.assign(price="1200"))


READINGS = {
    "as pandas does": {},
    "without missing values of its own": {"keep_default_na": False},
    "as texts": {"dtype": str, "keep_default_na": False},
    "with dates": {"parse_dates": list(DATES)},
}


@pytest.mark.parametrize("model", [SKLEARN, KERAS], ids=["scikit-learn", "keras"])
def test_a_csv_file_with_columns_of_every_kind(tmp_path, make_config, model):
    path = tmp_path / "t.csv"
    write_csv(path, *mixed_frame())
    config = table_config(make_config, path, *model, "preprocessing.add_indicator=true")
    served, expected = serve(config, load(config.dataset), tmp_path)
    for reading in READINGS.values():
        rows = pd.read_csv(path, **reading)
        assert_served(served, expected, rows)


def test_a_tsv_file_with_decimal_commas_and_a_number_for_missing_values(tmp_path, make_config):
    path = tmp_path / "t.tsv"
    write_csv(path, *mixed_frame(), missing="-999", decimal=",", separator="\t")
    options = ("'dataset.decimal=\",\"'", "dataset.na_values=['-999']")
    config = table_config(make_config, path, *SKLEARN, "dataset.decimal=','", options[1])
    dataset = load(config.dataset)
    assert np.isnan(dataset.X).sum() == 3 * len(dataset.feature_names)
    served, expected = serve(config, dataset, tmp_path)
    for reading in ({"decimal": ","}, {}, {"dtype": str}):
        assert_served(served, expected, pd.read_csv(path, sep="\t", **reading))


def test_a_parquet_file_with_typed_columns(tmp_path, make_config):
    frame, labels = mixed_frame()
    rng = np.random.default_rng(2)
    frame["wait"] = pd.to_timedelta(rng.integers(0, 9**6, size=N), unit="s")
    frame["price"] = [f"{it:.2f}" for it in rng.normal(9, 2, size=N)]
    frame["city"] = frame["city"].astype("category")
    frame.loc[:3, ["plain", "date", "wait", "city"]] = None
    table = pa.Table.from_pandas(pd.concat([frame, labels], axis=1))
    seconds = pa.array(rng.integers(0, 86_400, size=N), pa.int32())
    table = table.append_column("time", seconds.cast(pa.time32("s")))
    position = table.column_names.index("price")
    table = table.set_column(position, "price", table["price"].cast(pa.decimal128(9, 2)))
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(table, path)
    config = table_config(make_config, path, *SKLEARN, numeric=(*DATES, "wait", "time"))
    served, expected = serve(config, load(config.dataset), tmp_path)
    rows = pd.read_parquet(path)
    assert_served(
        served,
        expected,
        rows.astype({"wait": object}).assign(
            wait=[None if pd.isna(it) else str(it) for it in rows["wait"]],
            time=rows["time"].map(str),
            price=rows["price"].astype(float),
        ),
    )
    np.testing.assert_allclose(served.predict(None, rows), expected, rtol=0, atol=TOLERANCE)


DENSE = """@relation 't: -C 1'
@attribute l {0,1}
@attribute size numeric
@attribute 'the city' {Rome,'São Paulo',Oslo}
@attribute room {8,9}
@data
"""


def arff_rows(rng):
    return pd.DataFrame(
        {
            "size": 16_000_000 + rng.integers(0, 2, size=N),
            "the city": rng.choice(["Rome", "São Paulo", "Oslo", "?"], size=N),
            "room": rng.choice(["8", "9"], size=N),
        }
    )


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_an_arff_file(tmp_path, make_config, is_sparse):
    rng = np.random.default_rng(3)
    rows, label = arff_rows(rng), rng.integers(0, 2, size=N)
    lines = []
    for y, (size, city, room) in zip(label, rows.to_numpy(), strict=True):
        city = city if city == "?" else f"'{city}'"
        sparse = f"{{0 {y},1 {size},2 {city},3 {room}}}"
        lines.append(sparse if is_sparse else f"{y},{size},{city},{room}")
    path = tmp_path / "t.arff"
    path.write_text(DENSE + "\n".join(lines))
    config = make_config("dataset=arff", f"dataset.path={path}", *SKLEARN)
    served, expected = serve(config, load(config.dataset), tmp_path)
    assert_served(served, expected, rows)
    assert_served(served, expected, rows.replace("?", None).astype({"room": float}))


def test_npz_and_svmlight_files(tmp_path, make_config):
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.poisson(1, size=(N, 3)), 1e7 + rng.random(N)])
    y = rng.integers(0, 2, size=(N, 2))
    np.savez(tmp_path / "t.npz", X=X, y=y)
    dump_svmlight_file(X, y, str(tmp_path / "t.svm"), multilabel=True, zero_based=False)
    for kind, path, first in (("npz", "t.npz", 0), ("svmlight", "t.svm", 1)):
        config = make_config(f"dataset={kind}", f"dataset.path={tmp_path / path}", *SKLEARN)
        folder = tmp_path / kind
        folder.mkdir()
        served, expected = serve(config, load(config.dataset), folder)
        rows = pd.DataFrame(X, columns=[f"x{j + first}" for j in range(4)])
        assert_served(served, expected, rows)


def test_a_data_frame_and_arrays(tmp_path, make_config):
    frame, labels = mixed_frame()
    frame = frame.drop(columns=list(DATES))
    frame.loc[:4, "plain"] = np.nan
    dataset = dataset_from_frame("t", "t", pd.concat([frame, labels], axis=1), ["l0", "l1"])
    served, expected = serve(make_config(*SKLEARN, "preprocessing=standard"), dataset, tmp_path)
    assert_served(served, expected, frame)
    folder = tmp_path / "arrays"
    folder.mkdir()
    X = frame.drop(columns=["city"]).to_numpy(np.float64)
    dataset = dataset_from_arrays("t", "t", X, labels)
    served, expected = serve(make_config(*SKLEARN, "preprocessing=standard"), dataset, folder)
    assert_served(served, expected, pd.DataFrame(X, columns=dataset.feature_names))


CELLS = {
    "number": st.one_of(st.none(), st.floats(-1e12, 1e12), st.integers(-(2**53), 2**53)),
    "small": st.one_of(st.none(), st.floats(-1e-9, 1e-9)),
    "shifted": st.one_of(st.none(), st.integers(2**40, 2**40 + 9)),
    "boolean": st.booleans(),
    "date": st.one_of(st.none(), st.datetimes().map(lambda it: it.replace(microsecond=0))),
    "category": st.one_of(st.none(), st.sampled_from(["a", "8", "8.0", "ß", "x y", "TRUE"])),
    "code": st.one_of(st.none(), st.integers(-3, 3)),
    "price": st.one_of(st.none(), st.integers(-(10**9), 10**9).map(lambda it: f"{it:,} €")),
    "day": st.one_of(st.none(), st.dates().map(lambda it: f"{it.month}/{it.day}/{it.year:04}")),
}


@pytest.fixture(scope="module")
def any_config(make_config):
    return table_config(make_config, "t.csv", *SKLEARN)


@settings(max_examples=25)
@given(st.data())
def test_any_csv_file(any_config, data):
    n = data.draw(st.integers(12, 30))
    kinds = data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5))
    columns = {}
    for number, kind in enumerate(kinds):
        values = data.draw(st.lists(CELLS[kind], min_size=n, max_size=n))
        if len({it for it in values if it is not None}) > 1:
            columns[f"{kind}{number}"] = values
    columns = columns or {"number0": list(range(n))}
    frame = pd.DataFrame({name: pd.Series(it, dtype=object) for name, it in columns.items()})
    labels = pd.DataFrame({"l0": [0, 1] * (n // 2) + [0] * (n % 2)})
    with TemporaryDirectory() as name, threadpool_limits(1):  # on a busy machine many wait long
        path = Path(name) / "t.csv"
        pd.concat([frame, labels], axis=1).to_csv(path, index=False)
        dataset = replace(
            any_config.dataset,
            path=str(path),
            thousands=",",
            dayfirst=False,
            categorical=tuple(it for it in columns if it.startswith(("category", "code"))),
            numeric=tuple(it for it in columns if it.startswith("date")),
        )
        served, expected = serve(replace(any_config, dataset=dataset), load(dataset), Path(name))
        for reading in ({}, {"keep_default_na": False}, {"dtype": str}):
            assert_served(served, expected, pd.read_csv(path, **reading))
