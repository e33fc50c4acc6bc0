"""Encodings of many categories equal scikit-learn's and Keras's own, in every part of a run."""

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import OrdinalEncoder, TargetEncoder
from sklearn.utils import murmurhash3_32

from pipeline.cv import Split
from pipeline.dataset import Dataset
from pipeline.dataset.in_memory import make_dataset
from pipeline.errors import UserError
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.fingerprint import compute_fingerprint
from pipeline.model.category_embeddings import CategoryEmbeddings, embedding_size
from pipeline.model.saved_model import write_model
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.tracking.pyfunc_model import ServedModel
from tests.test_layer import assert_equal_outputs, layer_of
from tests.test_preprocessor import SCHEMA, fit_preprocessor, mixed_table, preprocessing

N = 90
TRAIN, TEST = np.arange(60), np.arange(60, N)
ENCODING = "preprocessing.category_encoding"


def make_frame() -> tuple[pd.DataFrame, np.ndarray]:
    """Return a number and many categories, some of them in test rows only, and the labels."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, N)
    codes[-3:] = 99
    city = pd.Series([f"city {code}" for code in codes], dtype=object)
    city[4] = np.nan
    frame = pd.DataFrame({"x": rng.normal(size=N), "city": city, "flag": rng.choice(["0", "1"], N)})
    y = np.column_stack([codes % 2, rng.integers(0, 2, N), codes % 3 == 0]).astype(int)
    return frame, y


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset("cities", *make_frame())


def evaluate(config, dataset, splits=None):
    """Return the folds and the final model."""
    evaluator = Evaluator(config, dataset, splits or [Split(0, 0, TRAIN, TEST)])
    folds = list(evaluator.folds(lambda n: None))
    return folds, evaluator.evaluation().final


@pytest.mark.parametrize("encoding", ["ordinal", "target", "embedding", "hashing"])
@pytest.mark.parametrize("min_frequency", [1, 4])
def test_the_layer_equals_transform(encoding, min_frequency):
    config = preprocessing(category_encoding=encoding, min_frequency=min_frequency)
    X = mixed_table()
    preprocessor = fit_preprocessor(config, X, SCHEMA, np.arange(30))
    assert_equal_outputs(layer_of(preprocessor), preprocessor, X)


def test_ordinal_codes_are_those_of_scikit_learn(dataset):
    config = preprocessing(category_encoding="ordinal")
    (preprocessor,) = fit_preprocessors(config, dataset.X, dataset.schema, [TRAIN])
    frame = make_frame()[0][["city", "flag"]]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
    )
    expected = encoder.fit(frame.iloc[TRAIN]).transform(frame)
    np.testing.assert_array_equal(preprocessor.transform(dataset.X)[:, 1:], expected)
    assert (expected[-3:, 0] == -1).all()


def test_hashed_categories_share_columns(dataset):
    config = preprocessing(category_encoding="hashing", n_hash_buckets=8)
    (preprocessor,) = fit_preprocessors(config, dataset.X, dataset.schema, [TRAIN])
    output = preprocessor.transform(dataset.X)[:, 1:]
    assert output.shape == (N, 16)
    frame = make_frame()[0]
    for row, (city, flag) in enumerate(zip(frame["city"], frame["flag"], strict=True)):
        columns = [8 + murmurhash3_32(flag, positive=True) % 8]
        if isinstance(city, str):
            columns.append(murmurhash3_32(city, positive=True) % 8)
        assert np.flatnonzero(output[row]).tolist() == sorted(columns)


def test_target_encoding_is_cross_fitted_for_each_label(dataset, make_config):
    config = make_config("model=logistic", f"{ENCODING}=target", "preprocessing.scaling=none")
    (fold,), _ = evaluate(config, dataset)
    ordinal = preprocessing(category_encoding="ordinal", scaling="none")
    (preprocessor,) = fit_preprocessors(ordinal, dataset.X, dataset.schema, [TRAIN])
    X, y = preprocessor.transform(dataset.X), dataset.y
    params = config.model.params
    seed = Evaluator(config, dataset, [Split(0, 0, TRAIN, TEST)])._fits[0].seed
    for label in range(3):
        folds = StratifiedKFold(shuffle=True, random_state=seed)
        encoder = TargetEncoder(target_type="binary", cv=folds)
        learnt = encoder.fit_transform(X[TRAIN, 1:], y[TRAIN, label])
        model = LogisticRegression(**params, random_state=seed)
        model.fit(np.column_stack([learnt, X[TRAIN, :1]]), y[TRAIN, label])
        encoded = np.column_stack([encoder.transform(X[TEST, 1:]), X[TEST, :1]])
        expected = model.predict_proba(encoded)[:, 1]
        np.testing.assert_allclose(fold.y_score[:, label], expected, atol=1e-5)


def test_embeddings_are_lookups_of_keras():
    x = np.array([[0.5, 0, 2], [1.5, -1, 1], [2.5, 3, -1]], dtype=np.float32)
    layer = CategoryEmbeddings((4, 3))
    output = np.asarray(layer(x))
    first = embedding_size(4)
    assert output.shape == layer.compute_output_shape(x.shape) == (3, 1 + first + embedding_size(3))
    one, other = (np.asarray(it(np.arange(it.input_dim))) for it in layer.embeddings)
    np.testing.assert_array_equal(output[:, 0], x[:, 0])
    np.testing.assert_array_equal(output[[0, 2], 1 : 1 + first], one[[0, 3]])
    np.testing.assert_array_equal(output[:2, 1 + first :], other[[2, 1]])
    assert not output[1, 1 : 1 + first].any()
    assert not output[2, 1 + first :].any()
    assert embedding_size(10_000) == 50


def test_embeddings_of_all_folds_train_as_in_a_loop_of_keras(dataset, make_config):
    options = ("training.epochs=3", "training.batch_size=60", f"{ENCODING}=embedding")
    config = make_config(*options)
    splits = [Split(0, 0, TRAIN, TEST), Split(0, 1, np.arange(30, N), np.arange(30))]
    evaluator = Evaluator(config, dataset, splits)
    folds = list(evaluator.folds(lambda n: None))
    for split, fold, fit in zip(splits, folds, evaluator._fits, strict=False):
        X = fit.preprocessor.transform(dataset.X)
        model = evaluator._trainer._build(X.shape[1])
        keras.utils.set_random_seed(fit.seed)
        model = evaluator._trainer._build(X.shape[1])
        before = model.get_weights()
        model.compile(keras.optimizers.Adam(config.training.learning_rate), "binary_crossentropy")
        model.fit(
            X[split.train],
            dataset.y[split.train],
            epochs=3,
            batch_size=60,
            verbose=0,
            shuffle=False,
        )
        assert not np.array_equal(before[0], model.get_weights()[0])
        expected = model.predict(X[split.test], verbose=0)
        np.testing.assert_allclose(fold.y_score, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ("training.epochs=2", "training.batch_size=60", f"{ENCODING}=embedding"),
        ("model=logistic", f"{ENCODING}=target"),
        ("model=random_forest", "model.params.n_estimators=5", f"{ENCODING}=ordinal"),
    ],
    ids=["embedding", "target", "ordinal"],
)
def test_the_served_model_takes_categories(dataset, tmp_path, make_config, options):
    config = make_config(*options)
    _, final = evaluate(config, dataset)
    write_model(tmp_path, final, config.model)
    served = ServedModel()
    served.load(tmp_path / "model")
    frame = make_frame()[0]
    y_score = served.predict(None, frame)
    np.testing.assert_allclose(y_score, final.predict_proba(dataset.X), atol=1e-6)
    unknown = served.predict(None, frame.assign(city="nowhere"))
    missing = served.predict(None, frame.assign(city=None))
    np.testing.assert_array_equal(unknown, missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("model=logistic", f"{ENCODING}=embedding"), r"networks alone learn .*=ordinal"),
        ((f"{ENCODING}=target",), r"than target for mlp, .*scikit-learn.*=embedding"),
        (("model=random_forest", f"{ENCODING}=target"), r"model.strategy=binary_relevance"),
    ],
)
def test_encodings_that_do_not_suit_the_model_are_refused(dataset, make_config, options, message):
    with pytest.raises(UserError, match=message):
        Evaluator(make_config(*options), dataset, [Split(0, 0, TRAIN, TEST)])


def test_one_hot_runs_keep_their_digest(dataset, make_config):
    splits = [Split(0, 0, TRAIN, TEST)]
    options = ((), (f"{ENCODING}=ordinal",), ("preprocessing.n_hash_buckets=3",))
    one_hot, ordinal, buckets = (
        compute_fingerprint(make_config(*it), dataset, splits)["config_digest"] for it in options
    )
    assert one_hot == buckets != ordinal
