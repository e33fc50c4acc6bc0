"""The command `predict`: every format, bad rows, thresholds, scores, and the models it takes."""

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import dump_svmlight_file
from sklearn.metrics import f1_score, roc_auc_score

from pipeline.commands import predict, promote
from pipeline.dataset import load
from pipeline.model.loaded_model import LoadedModel
from pipeline.model.training_profile import describe_training
from pipeline.prediction import open_model, table_files
from tests.command_runner import CommandRunner, artifact
from tests.test_pyfunc_model import CATEGORICAL, DATES, SKLEARN, mixed_frame, serve

N = 40
LABELS = ["l0", "l1"]


def write_table(path, missing=""):
    """Write a CSV file of every kind of column, with an id column, and return it as texts."""
    frame, labels = mixed_frame()
    table = pd.concat([frame.astype(object), labels], axis=1)
    table.insert(0, "key", [f"row {i}" for i in range(N)])
    for j, name in enumerate(frame.columns):
        table.loc[[j, j + 20], name] = missing
    table.to_csv(path, index=False)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def train(make_config, path, folder, *options):
    """Train on a CSV file, write the model into a folder, and return served model and data set."""
    config = make_config(
        *("dataset=table", f"dataset.path={path}", "dataset.labels=['l?']"),
        *("dataset.id_column=key", f"dataset.categorical=[{','.join(CATEGORICAL)}]"),
        *(f"dataset.numeric=[{','.join(DATES)}]", *options),
    )
    dataset = load(config.dataset)
    folder.mkdir()
    served, _ = serve(config, dataset, folder)
    rows = np.arange(N)
    training = describe_training(dataset, rows, dataset.y, N, config.dataset, config.scoring)
    (folder / "model" / "training.json").write_text(json.dumps(training))
    return served, dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_config):
    """A folder with a model of columns of every kind, its training file and its table."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_table(folder / "t.csv")
    served, _ = train(make_config, folder / "t.csv", folder / "model", *SKLEARN)
    features = table.drop(columns=["key", *LABELS])
    return folder, table, served.predict(None, features).to_numpy()


def call(*arguments, code=0):
    assert predict.main([*map(str, arguments)]) == code


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_json(path, lines=True) if path.suffix == ".jsonl" else pd.read_csv(path)


@pytest.mark.parametrize("output", ["o.csv", "o.parquet", "o.jsonl"])
def test_probabilities_equal_those_of_the_served_model(trained, tmp_path, capfd, output):
    folder, table, expected = trained
    call(folder / "model", folder / "t.csv", "-o", tmp_path / "new" / output)
    written = read(tmp_path / "new" / output)
    assert [*written.columns] == ["key", *LABELS]
    assert [*written["key"]] == [*table["key"]]
    np.testing.assert_allclose(written[LABELS], expected, atol=1e-6)
    assert os.listdir(tmp_path / "new") == [output]
    assert "40 rows in" in capfd.readouterr().err


def as_typed(table):
    """Return the rows with types, as a program would write them to Parquet."""
    typed = pd.read_csv(io.StringIO(table.to_csv(index=False)), parse_dates=[*DATES])
    return typed


def write_rows(table, path):
    if path.name.endswith(".parquet"):
        as_typed(table).to_parquet(path, row_group_size=7)
    elif path.suffix == ".feather":
        as_typed(table).to_feather(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif path.suffix == ".xlsx":
        table.to_excel(path, index=False)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as opened:
            opened.writestr("r.csv", table.to_csv(index=False))
    elif path.name == "semicolons.csv":
        table.to_csv(path, index=False, sep=";")
    elif path.name.endswith(".gz"):
        text = table.to_csv(index=False, sep="\t" if ".tsv" in path.name else ",")
        path.write_bytes(gzip.compress(text.encode()))
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize(
    "name",
    [
        *("r.csv", "r.csv.gz", "r.tsv", "r.tsv.gz", "r.parquet", "r.jsonl", "r.feather", "r.xlsx"),
        *("r.zip", "semicolons.csv"),
    ],
)
def test_tables_in_any_order_of_columns_and_in_small_batches(
    trained, tmp_path, monkeypatch, capfd, name
):
    folder, table, expected = trained
    monkeypatch.setattr("pipeline.prediction.batch.MIN_ROWS", 9)
    monkeypatch.setattr("pipeline.prediction.batch.MAX_CELLS", 0)
    monkeypatch.setattr(table_files, "CSV_BLOCK", 512)
    write_rows(table.drop(columns=LABELS)[[*table.columns[:-2]][::-1]], tmp_path / name)
    call(folder / "model", tmp_path / name)
    out, err = capfd.readouterr()
    written = pd.read_csv(io.StringIO(out))
    np.testing.assert_allclose(written[LABELS], expected, atol=1e-6)
    assert [*written["key"]] == [*table["key"]]
    assert "F1" not in err  # there are no labels


def test_standard_input_to_standard_output(trained, tmp_path, monkeypatch, capfd):
    folder, table, expected = trained
    text = io.TextIOWrapper(io.BytesIO(table.to_csv(index=False).encode()))
    monkeypatch.setattr("sys.stdin", text)
    call(folder / "model", "-", "--labels", "--no-scores")
    written = pd.read_csv(io.StringIO(capfd.readouterr().out), keep_default_na=False)
    names = ["|".join(np.array(LABELS)[row > 0.5]) for row in expected]
    assert [*written["labels"]] == names


def test_other_formats_than_csv_need_a_file(trained, capfd):
    folder, *_ = trained
    call(folder / "model", "-", "--format", "parquet", code=2)
    assert "-: expected CSV or TSV" in capfd.readouterr().err


def test_labels_are_scored_as_in_the_run(trained, tmp_path, capfd):
    folder, table, expected = trained
    call(folder / "model", folder / "t.csv", "-o", tmp_path / "o.csv", "--threshold", "0.4")
    y_true, y_pred = table[LABELS].astype(int), expected > 0.4
    out = capfd.readouterr().out
    assert f"Accuracy       {(y_true == y_pred).all(axis=1).mean():.3f}" in out
    assert f"F1 macro       {f1_score(y_true, y_pred, average='macro'):.3f}" in out
    assert f"{roc_auc_score(y_true, expected):.4f}"[:5] in out
    assert (read(tmp_path / "o.csv")[LABELS] == y_pred).all(axis=None)


READINGS = {
    # name: reading of the training file, and columns of the labels of all rows
    "values": (
        {"true_values": ["x"], "false_values": [""]},
        lambda y: y.replace({"1": "x", "0": ""}),
    ),
    "lists": (
        {"label_list_column": "tags"},
        lambda y: pd.DataFrame({"tags": [str([*LABELS_ARRAY[row]]) for row in (y == "1").values]}),
    ),
}
LABELS_ARRAY = np.array(LABELS, dtype=object)


@pytest.mark.parametrize("name", READINGS)
def test_labels_are_read_as_those_of_the_training_file(trained, tmp_path, capfd, name):
    folder, table, _ = trained
    reading, write = READINGS[name]
    model = shutil.copytree(folder / "model", tmp_path / "model")
    training = json.loads((model / "model" / "training.json").read_text())
    training["reading"] |= reading
    (model / "model" / "training.json").write_text(json.dumps(training))
    rows = pd.concat([table.drop(columns=LABELS), write(table[LABELS])], axis=1)
    rows.to_csv(tmp_path / "r.csv", index=False)
    call(folder / "model", folder / "t.csv", "-o", tmp_path / "o.csv")
    expected = capfd.readouterr().out.splitlines()[:4]
    call(model, tmp_path / "r.csv", "-o", tmp_path / "o.csv")
    assert capfd.readouterr().out.splitlines()[:4] == expected
    assert "Accuracy" in "".join(expected)


def test_labels_that_are_missing_do_not_prevent_the_prediction(trained, tmp_path, capfd):
    folder, table, _ = trained
    table.assign(l1="").to_csv(tmp_path / "r.csv", index=False)
    call(folder / "model", tmp_path / "r.csv", "-o", tmp_path / "o.csv")
    assert "No scores, as the labels cannot be used" in capfd.readouterr().err
    assert len(read(tmp_path / "o.csv")) == N


@pytest.mark.parametrize(
    ("arguments", "thresholds"),
    [
        (["--decide"], [0.5, 0.5]),
        (["--threshold", "0.3"], [0.3, 0.3]),
        (["--threshold", "0.3", "--threshold", "l1=0.6"], [0.3, 0.6]),
        (["--threshold", "l0=0.55"], [0.55, 0.5]),
    ],
)
def test_thresholds(trained, tmp_path, arguments, thresholds):
    folder, _, expected = trained
    call(folder / "model", folder / "t.csv", "-o", tmp_path / "o.parquet", *arguments)
    written = read(tmp_path / "o.parquet")
    assert [*written.dtypes[LABELS]] == [np.int8, np.int8]
    np.testing.assert_array_equal(written[LABELS], expected > thresholds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "much"], "--threshold: expected a number, or LABEL=NUMBER. Received"),
        (["--threshold", "1.2"], "--threshold: expected a threshold from 0 to 1. Received: 1.2"),
        (["--threshold", "l7=0.2"], "Received: 'l7'. Available: l0, l1."),
        (["--threshold", "nan"], "Received: nan for label 'l0'"),
        (["--threshold-metric", "f1_macro"], "expected a model of the store, whose run"),
        (["--id", "kye"], "--id: no column 'kye'. Did you mean 'key'?"),
        (["-o", "o.xlsx"], "-o: expected a file that ends in .csv, .parquet"),
    ],
)
def test_arguments_that_are_refused(trained, capfd, arguments, message):
    folder, *_ = trained
    call(folder / "model", folder / "t.csv", *arguments, code=2)
    assert message in capfd.readouterr().err


BAD = {3: ("plain", "many"), 17: ("date", "yesterday"), 18: ("count", "inf"), 33: ("plain", "x")}


@pytest.mark.parametrize("name", ["r.csv", "r.tsv.gz"])
def test_the_first_bad_row_is_named(trained, tmp_path, monkeypatch, capfd, name):
    folder, table, _ = trained
    monkeypatch.setattr(table_files, "CSV_BLOCK", 1024)
    rows = table.copy()
    for row, (column, value) in [*BAD.items()][1:]:
        rows.loc[row, column] = value
    write_rows(rows, tmp_path / name)
    call(folder / "model", tmp_path / name, "-o", tmp_path / "o.csv", code=2)
    err = capfd.readouterr().err
    assert f"{tmp_path / name}: expected dates such as" in err
    assert "in column 'date'. Received: 'yesterday' in row 17 (the first is 0)" in err
    assert "--skip-bad" in err
    assert os.listdir(tmp_path) == [name]  # no part of an output


def test_bad_rows_are_left_out_and_written_to_a_file(trained, tmp_path, monkeypatch, capfd):
    folder, table, expected = trained
    monkeypatch.setattr(table_files, "CSV_BLOCK", 1024)
    rows = table.copy()
    for row, (column, value) in BAD.items():
        rows.loc[row, column] = value
    lines = rows.to_csv(index=False).splitlines()
    lines.insert(6, "too,short")  # row 5, so that the later ones move by one
    (tmp_path / "r.csv").write_text("\n".join(lines))
    call(folder / "model", tmp_path / "r.csv", "-o", tmp_path / "o.csv", "--skip-bad")
    written = read(tmp_path / "o.csv")
    good = [row for row in range(N) if row not in BAD]
    assert [*written["key"]] == [f"row {row}" for row in good]
    np.testing.assert_allclose(written[LABELS], expected[good], atol=1e-6)
    bad = [json.loads(line) for line in (tmp_path / "o.bad.jsonl").read_text().splitlines()]
    bad.sort(key=lambda it: it["row"])
    assert [(it["row"], it["column"]) for it in bad] == [
        (3, "plain"), (5, None), (18, "date"), (19, "count"), (34, "plain"),
    ]  # fmt: skip
    assert bad[0]["reason"] == (
        "Expected numbers in column 'plain'. Received: 'many' in row 3 (the first is 0)."
    )
    assert bad[0]["values"]["key"] == "row 3"
    assert bad[1]["values"] == "too,short"
    assert "Left out 5 bad rows" in capfd.readouterr().err


def test_a_missing_column_and_a_column_of_another_type(trained, tmp_path, capfd):
    folder, table, _ = trained
    table.drop(columns="city").to_csv(tmp_path / "r.csv", index=False)
    call(folder / "model", tmp_path / "r.csv", code=2)
    assert "Received: none named 'city', but 'key'" in capfd.readouterr().err
    as_typed(table).assign(date=1.5).to_parquet(tmp_path / "r.parquet")
    call(folder / "model", tmp_path / "r.parquet", "--skip-bad", code=2)
    assert "in column 'date'. Received: double" in capfd.readouterr().err


def test_a_damaged_parquet_file(trained, tmp_path, capfd):
    folder, table, _ = trained
    table.assign(key="some text").to_parquet(tmp_path / "r.parquet", compression="none")
    content = (tmp_path / "r.parquet").read_bytes()
    (tmp_path / "r.parquet").write_bytes(content.replace(b"some text", b"\xff" * 9))
    call(folder / "model", tmp_path / "r.parquet", code=2)
    assert "expected a complete Parquet file. Received: " in capfd.readouterr().err


ARFF = """@relation 't: -C 2'
@attribute l0 {0,1}
@attribute l1 {0,1}
@attribute size numeric
@attribute city {Rome,'São Paulo'}
@data
"""


@pytest.mark.parametrize("is_sparse", [False, True])
def test_an_arff_file(tmp_path, make_config, monkeypatch, capfd, is_sparse):
    rng = np.random.default_rng(0)
    sizes, cities, y = rng.integers(0, 3, N), rng.integers(0, 2, N), rng.integers(0, 2, (N, 2))
    names = ["Rome", "'São Paulo'"]
    if is_sparse:
        rows = [
            f"{{0 {a}, 1 {b}, 2 {s}, 3 {names[c]}}}"
            for (a, b), s, c in zip(y, sizes, cities, strict=True)
        ]
    else:
        rows = [f"{a},{b},{s},{names[c]}" for (a, b), s, c in zip(y, sizes, cities, strict=True)]
    path = tmp_path / "t.arff"
    path.write_text(ARFF + "\n".join(rows))
    config = make_config("dataset=arff", f"dataset.path={path}", *SKLEARN)
    _, expected = serve(config, load(config.dataset), tmp_path)
    monkeypatch.setattr("pipeline.prediction.batch.MIN_ROWS", 9)
    monkeypatch.setattr("pipeline.prediction.batch.MAX_CELLS", 0)
    # Another file may declare the categories in another order.
    other = ARFF.replace("Rome,'São Paulo'", "'São Paulo',Rome,Oslo").replace("@data", "%\n@data")
    bad = "{9 1}" if is_sparse else "0,0,big,Rome"
    (tmp_path / "r.arff").write_text(f"{other}{rows[0]}\n\n{bad}\n" + "\n".join(rows[1:]))
    call(tmp_path, tmp_path / "r.arff", "--skip-bad", "-o", tmp_path / "o.csv")
    np.testing.assert_allclose(read(tmp_path / "o.csv"), expected, atol=1e-6)
    (line,) = (tmp_path / "o.bad.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 1
    assert "in line 10" in json.loads(line)["reason"]
    call(tmp_path, tmp_path / "r.arff", code=2)
    assert "in line 10" in capfd.readouterr().err


def test_an_svmlight_file(tmp_path, make_config, monkeypatch, capfd):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (N, 4)).astype(float), rng.integers(0, 2, (N, 3))
    y[:, 0] = 1
    path = tmp_path / "t.svmlight"
    dump_svmlight_file(X, y, str(path), zero_based=False, multilabel=True)
    config = make_config("dataset=svmlight", f"dataset.path={path}", *SKLEARN)
    _, expected = serve(config, load(config.dataset), tmp_path)
    monkeypatch.setattr("pipeline.prediction.batch.MIN_ROWS", 9)
    monkeypatch.setattr("pipeline.prediction.batch.MAX_CELLS", 0)
    lines = path.read_text().splitlines()
    lines.insert(5, "0,1 1:x")
    path.write_text("\n".join(lines))
    call(tmp_path, path, "-o", tmp_path / "o.csv", code=2)
    assert "'0,1 1:x' in line 6" in capfd.readouterr().err
    call(tmp_path, path, "-o", tmp_path / "o.csv", "--skip-bad")
    np.testing.assert_allclose(read(tmp_path / "o.csv"), expected, atol=1e-6)


def test_numbers_as_texts_are_those_of_python(trained):
    """Arrow converts most columns of numbers; a column with a spelling it lacks is left to it."""
    folder, *_ = trained
    schema = replace(open_model(folder / "model", "t").model.schema, decimal=",")
    texts = pa.chunked_array([["1,5", "-2e3", "", "NA", ",25"]])
    numbers = table_files._parse_numbers(texts, schema)
    assert numbers.to_pylist() == [1.5, -2000, None, None, 0.25]
    for text in ("1.5", " 1", "true", "٣"):
        assert table_files._parse_numbers(pa.chunked_array([[text]]), schema) is None


def test_zero_rows(trained, tmp_path, capfd):
    folder, table, _ = trained
    for name in ("r.csv", "r.parquet"):
        write_rows(table[:0], tmp_path / name) if name == "r.csv" else as_typed(table)[
            :0
        ].to_parquet(tmp_path / name)
        call(folder / "model", tmp_path / name, "-o", tmp_path / f"{name}.parquet")
        assert [*read(tmp_path / f"{name}.parquet").columns] == ["key", *LABELS]


class TestTrust:
    def test_code_of_the_model_runs_only_if_it_is_trusted(self, tmp_path, make_config, capfd):
        config = make_config(
            "model=sklearn", "model.estimator=tests.test_saved_model.LabelFrequency"
        )
        dataset = load(make_config("dataset.n_samples=30").dataset)
        serve(config, dataset, tmp_path)
        pd.DataFrame(dataset.X, columns=dataset.feature_names).to_csv(tmp_path / "r.csv")
        call(tmp_path, tmp_path / "r.csv", code=2)
        err = capfd.readouterr().err
        assert "one that needs tests.test_saved_model.LabelFrequency" in err
        assert "--trust-code" in err
        call(tmp_path, tmp_path / "r.csv", "--trust-code")

    def test_a_schema_cannot_name_functions_to_call(self, trained, tmp_path, capfd):
        folder, *_ = trained
        copy = tmp_path / "model"
        shutil.copytree(folder / "model" / "model", copy)
        path = copy / "schema.json"
        serving = json.loads(path.read_text())
        path.write_text(json.dumps({**serving, "trusted": [*serving["trusted"], "os.system"]}))
        call(copy, folder / "t.csv", code=2)
        assert "one that needs os.system" in capfd.readouterr().err


def test_a_folder_without_a_model(tmp_path, capfd):
    call(tmp_path, "r.csv", code=2)
    assert "expected a model of Manyfold, a folder with schema.json" in capfd.readouterr().err


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store with a run of two folds, its registered model, and rows with labels."""
    folder = tmp_path_factory.mktemp("stored")
    store = CommandRunner(folder)
    store.run_here(
        "training.epochs=2", "cv.n_splits=2", "cv.n_repeats=1", "report=none",
        "dataset.n_samples=60", "tracking.run_name=first",
    )  # fmt: skip
    (run,) = store.runs()
    assert promote.main([run.info.run_id, "--name", "mine", f"tracking.uri={store.uri}"]) == 0
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.integers(0, 9, (20, 10))).add_prefix("x")
    rows.to_csv(folder / "r.csv", index=False)
    return store, run, folder / "r.csv"


@pytest.mark.parametrize(
    "name",
    [
        "first",
        "{run_id}",
        "{start}",
        "models:/mine@champion",
        "models:/mine/1",
        "runs:/{run_id}/model",
    ],
)
def test_names_of_a_model(stored, tmp_path, name):
    store, run, rows = stored
    name = name.format(run_id=run.info.run_id, start=run.info.run_id[:8])
    before = {path: path.stat().st_mtime_ns for path in store.folder.glob("artifacts/**/*")}
    call(name, rows, "-o", tmp_path / "o.csv", f"tracking.uri={store.uri}")
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    model = LoadedModel(Path(logged.artifact_location.removeprefix("file://")) / "artifacts/model")
    np.testing.assert_allclose(
        read(tmp_path / "o.csv"), model.predict(pd.read_csv(rows)), atol=1e-6
    )
    assert before == {path: path.stat().st_mtime_ns for path in store.folder.glob("artifacts/**/*")}


def test_a_model_carries_its_example_and_its_training_rows(stored):
    store, run, _ = stored
    (logged,) = store.client.search_logged_models([run.info.experiment_id])
    folder = Path(logged.artifact_location.removeprefix("file://"))
    assert mlflow.models.Model.load(folder).load_input_example(str(folder)).shape == (3, 10)
    training = json.loads((folder / "artifacts/model/training.json").read_text())
    assert training["n_rows"] == 60
    assert sum(training["columns"]["x0"]["counts"]) == 60
    assert [*training["label_rates"]] == ["y0", "y1", "y2"]
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in requirements)


def test_thresholds_are_tuned_again_on_the_held_out_predictions(stored, tmp_path):
    store, run, rows = stored
    uri = f"tracking.uri={store.uri}"
    call("first", rows, "-o", tmp_path / "p.parquet", uri)
    call("first", rows, "-o", tmp_path / "o.parquet", "--threshold-metric", "hamming_loss", uri)
    held_out = pd.read_parquet(artifact(run, "predictions.parquet"))
    for label in ("y0", "y1", "y2"):
        y_true, y_score = held_out[f"true_{label}"] == 1, held_out[f"score_{label}"]
        candidates = np.arange(1, 100) / 100
        accuracy = [((y_score > it) == y_true).mean() for it in candidates]
        best = [
            it for it, value in zip(candidates, accuracy, strict=True) if value == max(accuracy)
        ]
        threshold = min(best, key=lambda it: abs(it - 0.5))
        expected = read(tmp_path / "p.parquet")[label] > threshold
        assert [*read(tmp_path / "o.parquet")[label]] == [*expected.astype(int)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["secnd"], "Expected a run or a sweep of the store. Received: 'secnd'"),
        (["models:/none@champion"], "Received: 'models:/none@champion'"),
        (["first", "--threshold-metric", "roc_auc_macro"], "--threshold-metric: expected a metric"),
    ],
)
def test_models_that_are_not_there(stored, capfd, arguments, message):
    store, _, rows = stored
    call(*arguments, rows, f"tracking.uri={store.uri}", code=2)
    assert message in capfd.readouterr().err


def test_a_store_that_cannot_be_written(stored, tmp_path, monkeypatch):
    """Root may write everywhere, so the permission is denied here, and SQLite's by its mode."""
    store, _, rows = stored
    folder = tmp_path / "store"
    shutil.copytree(store.folder, folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("mlflow.db-wal", "mlflow.db-shm"):
        (folder / name).unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    uri = f"sqlite:///{folder}/mlflow.db"
    for name in ("first", "models:/mine@champion"):
        call(name, rows, "-o", tmp_path / "o.csv", f"tracking.uri={uri}")
        assert len(read(tmp_path / "o.csv")) == 20
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_command_with_a_folder_imports_no_mlflow(stored, tmp_path):
    store, _, rows = stored
    (schema,) = store.folder.glob("artifacts/**/schema.json")
    script = (
        "import sys; from pipeline.commands import predict; code = predict.main(sys.argv[1:]); "
        "sys.exit(code or int('mlflow' in sys.modules))"
    )
    command = [sys.executable, "-c", script, str(schema.parent), str(rows), "--labels"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == '"labels"'
    assert len(done.stdout.splitlines()) == 21
    assert "20 rows in" in done.stderr
