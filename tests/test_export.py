"""Exported models: equal to the model on raw rows, with code that works, or refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

import pipeline
from pipeline.commands import export
from pipeline.decision.rule import DecisionRule
from pipeline.export import export_check, exported_model, sklearn_graph
from pipeline.export.export_check import make_rows
from pipeline.model.keras_models import mlp
from pipeline.model.multilabel import MultilabelEnsemble
from pipeline.model.saved_model import FinalModel, write_model
from pipeline.model.sklearn_models import fit_labels
from pipeline.prediction import open_model
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.layer import PreprocessingLayer, weights_of
from pipeline.preprocessing.preprocessor import Preprocessor
from pipeline.preprocessing.table_schema import TableSchema

N = 60
LABELS = ("a", "b|c", "always")
SCHEMA = TableSchema(
    (
        Column("x"),
        Column("city", "category", ("Rome", "Oslo", "São Paulo", "Bern")),
        Column("day", "datetime", offset=1.7e9),
        Column("size", "category", ("S", "M")),
    ),
    na_values=("?",),
)
PREPROCESSOR = Preprocessor(
    numeric=np.array([0, 2]),
    fill=np.array([0.5, 86400], np.float32),
    center=np.array([0.1, 1000], np.float32),
    scale=np.array([2, 50000], np.float32),
    indicators=np.array([1, -1]),  # with a spare column
    categorical=np.array([1, 3]),
    columns=[np.array([0, 1, 1, -1]), np.array([2, 3])],  # rare ones share a column; one has none
)
TEMPERATURE = np.array([2.0, 0.5, 1.0])


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return 2 * x


def raw_rows():
    """Return rows with missing cells and unseen categories."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.choice(["S", "M", "XL", None], size=N),
            "day": (pd.Timestamp("2023-11-14") + pd.to_timedelta(rng.integers(0, 90, N), unit="h")),
            "city": rng.choice(["Rome", "Oslo", "São Paulo", "Bern", "Atlantis", "?"], size=N),
            "x": rng.normal(size=N),
        }
    )
    frame.loc[::7, "x"] = np.nan
    frame.loc[3::7, "day"] = pd.NaT
    return frame


def write(folder, model, config, temperature=TEMPERATURE, schema=SCHEMA):
    rule = DecisionRule(temperature, np.array([0.5, 0.25, 0.75]))
    folder.mkdir(exist_ok=True)
    write_model(folder, FinalModel(model, rule, schema, LABELS, False, N, N, False), config)
    return folder


def network(*models, preprocessor=PREPROCESSOR):
    """Return a network as a trainer makes it, with another name for each member."""
    layer, inputs = PreprocessingLayer(preprocessor.layout), keras.Input((4,))
    prepared = layer(inputs)
    for variable, value in zip(layer.weights, weights_of(preprocessor), strict=True):
        variable.assign(value)
    for index, model in enumerate(models):
        model.name = f"member_{index}"
    outputs = [model(prepared) for model in models]
    return keras.Model(inputs, keras.layers.Average()(outputs) if outputs[1:] else outputs[0])


def make_mlp(**params):
    return mlp(PREPROCESSOR.n_columns, len(LABELS), **params)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory, make_config):
    keras.utils.set_random_seed(1)
    model = network(make_mlp(activation="gelu"), make_mlp(batch_normalization=True, dropout=0.5))
    return write(tmp_path_factory.mktemp("ensemble"), model, make_config().model)


def write_pipeline(folder, config, temperature=TEMPERATURE, n_classifiers=1):
    """Train on preprocessed rows, where every row has the last label."""
    X, rng = SCHEMA.encode(raw_rows()), np.random.default_rng(3)
    prepared = PREPROCESSOR.transform(X)
    y = np.column_stack([prepared[:, :2] + rng.normal(size=(N, 2)) > 0.2, np.ones(N)])
    classifiers = [
        fit_labels(config, prepared, y.astype(np.int8), seed=it) for it in range(n_classifiers)
    ]
    steps = [("preprocessor", PREPROCESSOR), ("classifier", MultilabelEnsemble(classifiers))]
    return write(folder, Pipeline(steps), config, temperature)


@pytest.fixture(scope="module")
def logistic(tmp_path_factory, make_config):
    config = make_config("model=logistic").model
    return write_pipeline(tmp_path_factory.mktemp("logistic"), config)


def call(*arguments, code=0):
    assert export.main([*map(str, arguments)]) == code


@pytest.fixture
def unchecked(monkeypatch):
    """Leave out the check of the command, which takes a process, where a test has its own."""
    monkeypatch.setattr(exported_model, "check_export", lambda *arguments: 0.0)


def require(export_format):
    for module in exported_model.PACKAGES.get(export_format, ()):
        pytest.importorskip(module)


def encode(folder):
    """Encode the raw rows with the exported schema alone."""
    schema = json.loads((folder / "schema.json").read_text())
    return TableSchema.from_dict(schema).encode(raw_rows())


def predict_onnx(folder, X):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(["probabilities"], {"features": X})[0]


def assert_onnx_equal(model, exported, *options):
    require("onnx")
    call(model, "--format", "onnx", exported, *options)
    expected = pipeline.load_model(str(model), trust_code=True).predict_proba(raw_rows()).to_numpy()
    X = encode(exported)
    np.testing.assert_allclose(predict_onnx(exported, X), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(predict_onnx(exported, X[:1]), expected[:1], rtol=0, atol=1e-5)


def test_an_ensemble_as_onnx(ensemble, tmp_path, capfd):
    assert_onnx_equal(ensemble, tmp_path / "new" / "out")
    assert sorted(os.listdir(tmp_path / "new" / "out")) == [
        "README.md",
        "model.onnx",
        "schema.json",
    ]
    assert os.listdir(tmp_path / "new") == ["out"]
    out = capfd.readouterr().out
    assert "texts, dates and categories have to be encoded before" in " ".join(out.split())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("activation", ["celu", "silu"])
def test_activations_as_onnx(tmp_path, make_config, activation):
    model = network(make_mlp(activation=activation))
    write(tmp_path / "model", model, make_config().model)
    assert_onnx_equal(tmp_path / "model", tmp_path / "out")


@pytest.mark.parametrize("export_format", ["onnx", "litert"])
def test_overconfident_networks_are_calibrated_exactly(tmp_path, make_config, export_format):
    """High temperatures magnify the errors of probabilities near 0 and 1."""
    require(export_format)
    keras.utils.set_random_seed(0)
    model = make_mlp()
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 12)
    write(tmp_path / "model", network(model), make_config().model, np.full(3, 6.0))
    loaded = open_model(tmp_path / "model", "model")
    y_score = np.asarray(loaded.model.model(make_rows(loaded)))
    assert ((y_score < 1e-6) | (y_score > 1 - 1e-5)).mean() > 0.05
    call(tmp_path / "model", "--format", export_format, tmp_path / "out")


def test_saved_model_in_another_process(ensemble, tmp_path):
    import tensorflow as tf

    call(ensemble, "--format", "saved_model", tmp_path / "out")  # a process loads it
    serve = tf.saved_model.load(tmp_path / "out" / "saved_model").signatures["serve"]
    actual = serve(features=tf.constant(encode(tmp_path / "out")))["probabilities"]
    expected = pipeline.load_model(str(ensemble)).predict_proba(raw_rows())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
def test_litert(ensemble, tmp_path):
    require("litert")
    from ai_edge_litert.interpreter import Interpreter

    call(ensemble, "--format", "litert", tmp_path / "out")
    predict = Interpreter(str(tmp_path / "out" / "model.tflite")).get_signature_runner()
    expected = pipeline.load_model(str(ensemble)).predict_proba(raw_rows())
    actual = predict(features=encode(tmp_path / "out"))["probabilities"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ("model=logistic",),
        ("model=random_forest", "model.params.n_estimators=5"),
        ("model=hist_gradient_boosting", "model.params.max_iter=5"),
        ("model=knn",),
        ("model=svm",),
        ("model=classifier_chain",),
        ("model=classifier_chain", "model.chain_params.chain_method=predict_proba"),
    ],
    ids=lambda options: "-".join(it.rpartition("=")[2] for it in options),
)
@pytest.mark.usefixtures("one_thread", "unchecked")
def test_scikit_learn_as_onnx(tmp_path, make_config, options):
    config = make_config(*options).model
    write_pipeline(tmp_path / "model", config, n_classifiers=2)
    assert_onnx_equal(tmp_path / "model", tmp_path / "out")


def run_example(folder, more=""):
    """Run the example of the text as somebody who pastes it, and return what it prints."""
    (code,) = re.findall(
        r"## Example.*```python\n(.*?)```", (folder / "README.md").read_text(), re.S
    )
    process = subprocess.run(
        [sys.executable, "-c", code + more], cwd=folder, capture_output=True, text=True, check=True
    )
    return process.stdout


@pytest.mark.usefixtures("unchecked")
def test_the_example_works_as_it_is(logistic, tmp_path):
    require("onnx")
    call(logistic, "--format", "onnx", tmp_path / "out", "--threshold", "always=1")
    assert re.fullmatch(r"\[\[[01] [01] 0\]\]\n", run_example(tmp_path / "out"))
    text = (tmp_path / "out" / "README.md").read_text()
    assert '1  "city": code of the category: 0 "Rome", 1 "Oslo", 2 "São Paulo", 3 "Bern"' in text
    assert '2  "day": seconds since 1970, less 1700000000.0' in text
    assert '1  "b|c": 0.25' in text


@pytest.mark.usefixtures("unchecked")
def test_skops_with_its_own_code(logistic, tmp_path, capfd):
    folder = tmp_path / "out"
    call(logistic, "--format", "skops", folder)
    out = " ".join(capfd.readouterr().out.split())
    assert "model.skops does not calibrate: the temperatures are in schema.json" in out
    code = "import pipeline.decision.rule as it; print(it.__file__)"
    predictions, path = run_example(folder, code).splitlines()
    assert re.fullmatch(r"\[\[[01] [01] 1\]\]", predictions)
    assert Path(path).is_relative_to(folder / "code")


def test_a_wrong_export_is_noticed_and_removed(logistic, tmp_path, monkeypatch, capfd):
    require("onnx")
    monkeypatch.setattr(sklearn_graph, "_calibrate", lambda graph, y_score, temperature: y_score)
    call(logistic, "--format", "onnx", tmp_path / "out", code=1)
    assert os.listdir(tmp_path) == []
    err = " ".join(capfd.readouterr().err.split())
    assert re.search(r"in \d+ of 240 rows: they differ by up to 0\.\d+, more than 1e-05", err)
    assert "Use --format skops." in err


def test_an_export_that_cannot_be_loaded_is_removed(logistic, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(exported_model, "_copy_code", lambda model, folder: folder.mkdir())
    monkeypatch.setattr(
        export_check, "make_example", lambda *arguments: "raise OSError('broken')\n"
    )
    call(logistic, "--format", "skops", tmp_path / "out", code=1)
    assert os.listdir(tmp_path) == []
    assert "cannot be loaded: OSError: broken" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("fixture", "export_format", "message"),
    [
        ("ensemble", "skops", "expected one of onnx, saved_model, litert for a network"),
        ("logistic", "litert", "expected one of onnx, skops for a scikit-learn model"),
        ("logistic", "saved_model", "expected one of onnx, skops for a scikit-learn model"),
    ],
)
def test_formats_that_do_not_suit_the_model(
    request, tmp_path, capfd, fixture, export_format, message
):
    require(export_format)
    model = request.getfixturevalue(fixture)
    call(model, "--format", export_format, tmp_path / "out", code=2)
    assert message in " ".join(capfd.readouterr().err.split())
    assert os.listdir(tmp_path) == []


def test_an_estimator_without_a_converter(tmp_path, make_config, capfd):
    require("onnx")
    write_pipeline(tmp_path / "model", make_config("model=dummy").model)
    call(tmp_path / "model", "--format", "onnx", tmp_path / "out", code=2)
    err = " ".join(capfd.readouterr().err.split())
    assert "expected estimators that skl2onnx converts. Received: DummyClassifier" in err
    assert "Use --format skops." in err


def test_an_operation_that_onnx_does_not_have(tmp_path, make_config, capfd):
    require("onnx")
    model = keras.Sequential([keras.Input((PREPROCESSOR.n_columns,)), Bessel(), make_mlp()])
    write(tmp_path / "model", network(model), make_config().model)
    call(tmp_path / "model", "--format", "onnx", tmp_path / "out", code=2)
    err = " ".join(capfd.readouterr().err.split())
    assert "expected a network of operations that ONNX has" in err
    assert "Use --format saved_model." in err


@keras.saving.register_keras_serializable("tests")
class Bessel(keras.layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return tf.math.bessel_i0e(x)


@pytest.mark.parametrize(
    ("export_format", "missing"), [("onnx", "tf2onnx"), ("litert", "ai_edge_litert")]
)
def test_missing_packages(ensemble, tmp_path, monkeypatch, capfd, export_format, missing):
    monkeypatch.setattr(exported_model, "is_installed", lambda name: name != missing)
    call(ensemble, "--format", export_format, tmp_path / "out", code=2)
    err = " ".join(capfd.readouterr().err.split())
    assert f"Received: no {missing}. Install them: pip install 'manyfold[{export_format}]'" in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full", "expected a new or an empty folder. Received: .*full, one with files in it"),
        ("file", "expected a new or an empty folder. Received: .*file, a file"),
        (".", "other than the working directory"),
        ("file/new", "expected a new or an empty folder that can be written"),
    ],
)
def test_folders_that_are_refused(logistic, tmp_path, monkeypatch, capfd, name, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    for path in ("full/notes.txt", "file"):
        (tmp_path / path).write_text("mine")
    folder = "." if name == "." else tmp_path / name
    call(logistic, "--format", "skops", folder, code=2)
    assert re.search(message, " ".join(capfd.readouterr().err.split()))
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "full"]
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("unchecked")
def test_an_empty_folder_is_filled(logistic, tmp_path):
    (tmp_path / "out").mkdir()
    call(logistic, "--format", "skops", tmp_path / "out")
    assert (tmp_path / "out" / "model.skops").is_file()


@pytest.mark.usefixtures("unchecked")
def test_code_of_the_user_runs_only_if_it_is_trusted(tmp_path, make_config, capfd):
    require("onnx")
    layers = [keras.Input((PREPROCESSOR.n_columns,)), Doubled(), make_mlp()]
    config = make_config("model=keras", "model.builder=tests.test_export.build").model
    write(tmp_path / "model", network(keras.Sequential(layers)), config)
    registered = keras.saving.get_custom_objects()
    layer = registered.pop("tests>Doubled")
    try:
        call(tmp_path / "model", "--format", "onnx", tmp_path / "out", code=2)
        assert "--trust-code" in capfd.readouterr().err
        registered["tests>Doubled"] = layer
        assert_onnx_equal(tmp_path / "model", tmp_path / "out", "--trust-code")
    finally:
        registered["tests>Doubled"] = layer


def test_skops_contains_the_modules_of_the_user(tmp_path, make_config, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_export_estimator.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n\n"
        "class Mine(LogisticRegression):\n    pass\n"
    )
    config = make_config("model=sklearn", "model.estimator=my_export_estimator.Mine").model
    write_pipeline(tmp_path / "model", config)
    call(tmp_path / "model", "--format", "skops", tmp_path / "refused", code=2)
    call(tmp_path / "model", "--format", "skops", tmp_path / "out", "--trust-code")
    assert sorted(os.listdir(tmp_path / "out" / "code")) == ["my_export_estimator.py", "pipeline"]


def test_categories_alone(tmp_path, make_config):
    require("onnx")
    none = np.empty(0, np.float32)
    preprocessor = Preprocessor(
        np.empty(0, np.int64), none, none, none, np.empty(0, np.int64), np.arange(2),
        PREPROCESSOR.columns,
    )  # fmt: skip
    schema = TableSchema((SCHEMA.columns[1], SCHEMA.columns[3]))
    prepared = preprocessor.transform(schema.encode(raw_rows()))
    config = make_config("model=logistic").model
    y = np.column_stack([prepared[:, :2], np.ones(N)]).astype(np.int8)
    ensemble = MultilabelEnsemble([fit_labels(config, prepared, y, seed=0)])
    steps = [("preprocessor", preprocessor), ("classifier", ensemble)]
    write(tmp_path / "model", Pipeline(steps), config, schema=schema)
    assert_onnx_equal(tmp_path / "model", tmp_path / "out")


def build(**sizes):
    """Stand for the user's builder of a model."""


def test_the_checked_rows_have_all_categories_and_missing_values(logistic, tmp_path):
    training = {"columns": {"x": {"edges": [5.0, 6.0, 8.0]}, "day": {"edges": [1.8e9]}}}
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    for path in (logistic / "model").iterdir():
        (artifacts / "model").mkdir(exist_ok=True)
        (artifacts / "model" / path.name).write_bytes(path.read_bytes())
    (artifacts / "model" / "training.json").write_text(json.dumps(training))
    example = {"columns": ["x", "city", "day", "size"], "data": [[1.5, "Oslo", "2023-12-01", "S"]]}
    (tmp_path / "input_example.json").write_text(json.dumps(example))
    X = make_rows(open_model(tmp_path, "model"))
    seconds = np.float32(pd.Timestamp("2023-12-01").timestamp() - 1.7e9)
    np.testing.assert_array_equal(X[0], [1.5, 1, seconds, 0])
    assert np.isnan(X[-1]).all()
    assert {*X[1:81, 1]} == {0, 1, 2, 3}
    assert 5 <= np.nanmin(X[1:, 0]) < 6 < np.nanmax(X[1:, 0]) <= 8
    assert {*X[1:81, 2]} == {np.float32(1e8)}
    assert 0.1 < np.isnan(X[81:]).mean() < 0.5


def test_rows_stay_complete_for_a_model_that_needs_them(tmp_path, make_config):
    config = make_config("model=logistic").model
    write_pipeline(tmp_path / "model", config)
    path = tmp_path / "model" / "model" / "schema.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "requires_complete_rows": True}))
    X = make_rows(open_model(tmp_path / "model", "model"))
    assert not np.isnan(X[:, ~SCHEMA.is_categorical]).any()
    assert np.isnan(X[:, SCHEMA.is_categorical]).any()


def test_the_help_is_quick_and_lists_the_formats(capsys):
    with pytest.raises(SystemExit):
        export.main(["--help"])
    assert "{onnx,saved_model,litert,skops}" in capsys.readouterr().out
