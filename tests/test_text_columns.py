"""Columns of texts become scikit-learn's TF-IDF of the training rows, in training and serving."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import (
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.pipeline import make_pipeline

import pipeline
from pipeline.cv import Split
from pipeline.dataset import Dataset, load
from pipeline.dataset.loading import drop_duplicates
from pipeline.errors import UserError
from pipeline.evaluation.derived_inputs import derive_columns
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.fingerprint import compute_fingerprint
from pipeline.export import export_model
from pipeline.model.loaded_model import LoadedModel
from pipeline.model.saved_model import write_model
from pipeline.prediction import ModelFolder
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.preprocessing.preprocessor import Preprocessor
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.tracking.logged_model import make_signature
from pipeline.tracking.pyfunc_model import ServedModel
from tests.test_layer import assert_equal_outputs, layer_of
from tests.test_preprocessor import preprocessing, text_config

N = 60
TRAIN, TEST = np.arange(40), np.arange(40, N)
CATS = ("purr", "meow", "kitten")
OPTIONS = [
    {},
    {"analyzer": "char", "ngram_range": (1, 2)},
    {"analyzer": "char_wb", "min_df": 3},
    {"ngram_range": (1, 2), "min_df": 2},
]


def make_texts() -> list[str]:
    """Return texts of some words; those of even rows name a cat, and some words are of one row."""
    rng = np.random.default_rng(0)
    texts = []
    for row in range(N):
        words = [*rng.choice(["the", "a", "red", "blue", "house"], 4), f"only{row}"]
        texts.append(" ".join([*words, rng.choice(CATS)] if row % 2 == 0 else words))
    texts[7] = ""
    return texts


def load_table(tmp_path, make_config, texts, *options) -> Dataset:
    """Return the data set of a table of texts, a number and the label of a cat."""
    frame = pd.DataFrame({"x": np.arange(N) % 7, "body": texts, "tag": 1 - np.arange(N) % 2})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    return load(table_config(tmp_path, make_config, *options).dataset)


def table_config(tmp_path, make_config, *options):
    table = ("dataset=table", f"dataset.path={tmp_path / 'texts.csv'}", "dataset.labels=[tag]")
    return make_config(*table, "dataset.text_columns=[body]", *options)


@pytest.fixture
def dataset(tmp_path, make_config) -> Dataset:
    return load_table(tmp_path, make_config, make_texts())


def fit(config, dataset, train=TRAIN) -> tuple[Dataset, Preprocessor]:
    """Return the data set with counts, and the preprocessor of one of two training sets."""
    encoded = derive_columns(config, dataset, lambda: [TEST, train])
    (preprocessor,) = fit_preprocessors(config, encoded.X, encoded.schema, [train])
    return encoded, preprocessor


def text_columns(preprocessor, X) -> np.ndarray:
    """Return the columns of the text without spare ones."""
    columns = preprocessor.transform(X)[:, len(preprocessor.numeric) :]
    n = len(preprocessor.terms[0]) - (preprocessor.idf[0] == 0).sum()
    assert not columns[:, n:].any()
    return columns[:, :n]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tf_idf_is_that_of_scikit_learn(dataset, options):
    config = preprocessing(text=text_config(**options))
    encoded, preprocessor = fit(config, dataset)
    texts = np.array(make_texts(), dtype=object)
    expected = TfidfVectorizer(**options).fit(texts[TRAIN]).transform(texts).toarray()
    np.testing.assert_allclose(text_columns(preprocessor, encoded.X), expected, atol=1e-6)
    assert_equal_outputs(layer_of(preprocessor), preprocessor, encoded.X)


def test_the_most_frequent_terms_are_taken(dataset):
    encoded, preprocessor = fit(preprocessing(text=text_config(max_features=6)), dataset)
    texts = np.array(make_texts(), dtype=object)
    first = len(encoded.schema.columns)
    chosen = [encoded.schema.derived[0].vocabulary[j - first] for j in preprocessor.terms[0]]
    tfidf = TfidfVectorizer(vocabulary=chosen).fit(texts[TRAIN])
    np.testing.assert_allclose(
        text_columns(preprocessor, encoded.X), tfidf.transform(texts).toarray(), atol=1e-6
    )
    everything = TfidfVectorizer(use_idf=False, norm=None)
    total = np.sort(np.asarray(everything.fit_transform(texts[TRAIN]).sum(axis=0)).ravel())
    ours = TfidfVectorizer(vocabulary=chosen, use_idf=False, norm=None)
    of_chosen = np.asarray(ours.fit_transform(texts[TRAIN]).sum(axis=0)).ravel()
    assert np.sort(of_chosen).tolist() == total[-6:].tolist()


def test_components_are_those_of_scikit_learn(dataset):
    config = preprocessing(text=text_config(n_components=4))
    encoded, preprocessor = fit(config, dataset)
    texts = np.array(make_texts(), dtype=object)
    model = make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0)).fit(texts[TRAIN])
    ours = preprocessor.transform(encoded.X)[:, 1:]
    np.testing.assert_allclose(ours, model.transform(texts), atol=1e-4)
    assert_equal_outputs(layer_of(preprocessor), preprocessor, encoded.X)


def test_hashed_terms_are_those_of_scikit_learn(dataset):
    options = {"analyzer": "char", "ngram_range": (1, 1)}
    config = preprocessing(text=text_config(hashing=True, max_features=4, **options))
    encoded, preprocessor = fit(config, dataset)
    texts = np.array(make_texts(), dtype=object)
    hashing = HashingVectorizer(n_features=4, norm=None, alternate_sign=False, **options)
    model = make_pipeline(hashing, TfidfTransformer()).fit(texts[TRAIN])
    expected = model.transform(texts).toarray()
    np.testing.assert_allclose(text_columns(preprocessor, encoded.X), expected, atol=1e-6)


def test_words_of_test_rows_alone_change_nothing(dataset, tmp_path, make_config):
    texts = make_texts()
    changed = [f"{text} unseen{row} new" if row in TEST else text for row, text in enumerate(texts)]
    other = load_table(tmp_path, make_config, changed)
    assert dataset.digest != other.digest
    outputs = [
        preprocessor.transform(encoded.X)
        for encoded, preprocessor in (fit(preprocessing(), it) for it in (dataset, other))
    ]
    np.testing.assert_array_equal(*outputs)
    config = table_config(tmp_path, make_config, "model=logistic")
    y_score = []
    for each in (dataset, other):
        evaluator = Evaluator(config, each, [Split(0, 0, TRAIN, TEST)])
        y_score += [fold.y_score for fold in evaluator.folds(lambda n: None)]
    np.testing.assert_array_equal(*y_score)


def score_of(config, dataset) -> float:
    evaluator = Evaluator(config, dataset, [Split(0, 0, TRAIN, TEST), Split(0, 1, TEST, TRAIN)])
    return np.mean([fold.scores["accuracy"] for fold in evaluator.folds(lambda n: None)])


def test_the_column_beats_the_table_without_it(dataset, tmp_path, make_config):
    without = table_config(
        tmp_path, make_config, "model=logistic", "dataset.text_columns=[]", "dataset.drop=[body]"
    )
    config = table_config(tmp_path, make_config, "model=logistic")
    assert score_of(config, dataset) > 0.9 > 0.7 > score_of(without, load(without.dataset))


def test_a_data_frame_is_evaluated_like_its_file(dataset, tmp_path, make_config):
    frame = pd.read_csv(tmp_path / "texts.csv", keep_default_na=False)
    X, y = frame[["x", "body"]], frame[["tag"]]
    given = {"text_columns": ["body"], "model": "logistic", "folds": np.r_[TRAIN * 0, TEST * 0 + 1]}
    evaluation = pipeline.evaluate(X, y, **given)
    config = table_config(tmp_path, make_config, "model=logistic")
    splits = [Split(0, 0, TEST, TRAIN), Split(0, 1, TRAIN, TEST)]
    for fold, other in zip(
        evaluation.folds, Evaluator(config, dataset, splits).folds(lambda n: None), strict=True
    ):
        np.testing.assert_array_equal(fold.y_score, other.y_score)
    rows = pd.DataFrame({"x": [0, 0], "body": ["the red house", "a kitten"]})
    assert evaluation.model.predict(rows).to_numpy().ravel().tolist() == [0, 1]
    for wrong, message in (
        ({"X": X.to_numpy()}, "text_columns: expected X as a data frame. Received: ndarray"),
        ({"text_columns": ["boddy"]}, "columns that exist in text_columns.*Did you mean 'body'"),
        ({"X": dataset, "y": None, "folds": None}, "text_columns: expected none beside a Dataset"),
    ):
        with pytest.raises(UserError, match=message):
            pipeline.evaluate(**{"X": X, "y": y, **given, **wrong})


@pytest.mark.parametrize(
    "options",
    [
        ("model=logistic",),
        ("training.epochs=2", "preprocessing.text.n_components=3", "training.batch_size=20"),
    ],
    ids=["scikit-learn", "keras"],
)
def test_the_served_model_reads_texts(dataset, tmp_path, make_config, options):
    config = table_config(tmp_path, make_config, *options)
    evaluator = Evaluator(config, dataset, [Split(0, 0, TRAIN, TEST)])
    list(evaluator.folds(lambda n: None))
    final = evaluator.evaluation().final
    write_model(tmp_path, final, config.model)
    folder = ModelFolder(LoadedModel(tmp_path / "model"), {}, tmp_path / "model")
    with pytest.raises(UserError, match=r"no format counts words.*'dataset\.drop=\[body\]'"):
        export_model(folder, "onnx", tmp_path, name="m", thresholds=final.rule.threshold)
    served = ServedModel()
    served.load(tmp_path / "model")
    rows = pd.read_csv(tmp_path / "texts.csv", keep_default_na=False)
    y_score = served.predict(None, rows)
    np.testing.assert_allclose(y_score, final.predict_proba(final.schema.encode(rows)), atol=1e-6)
    rows.loc[1, "body"] += " neverseen"
    rows.loc[7, "body"] = None
    np.testing.assert_allclose(served.predict(None, rows), y_score, atol=1e-6)
    assert y_score.iloc[0, 0] != pytest.approx(y_score.iloc[1, 0], abs=1e-3)
    assert TableSchema.from_dict(final.schema.as_dict()) == final.schema
    np.testing.assert_array_equal(final.schema.encode(rows[:0]).shape, (0, final.schema.n_encoded))


def test_folds_train_as_on_the_matrix_of_scikit_learn(dataset, tmp_path, make_config):
    """A vocabulary of 12 words has no spare column, so that the networks are equal."""
    options = ("preprocessing=none", "training.epochs=3", "training.batch_size=20")
    config = table_config(tmp_path, make_config, *options, "preprocessing.text.max_features=12")
    splits = [Split(0, 0, TRAIN, TEST), Split(0, 1, TEST, TRAIN)]
    folds = list(Evaluator(config, dataset, splits).folds(lambda n: None))
    for split, fold in zip(splits, folds, strict=True):
        encoded = derive_columns(config.preprocessing, dataset, lambda: [TRAIN, TEST])
        (preprocessor,) = fit_preprocessors(
            config.preprocessing, encoded.X, encoded.schema, [split.train]
        )
        X = preprocessor.transform(encoded.X)
        schema = TableSchema.of_numbers(f"x{j}" for j in range(X.shape[1]))
        plain = replace(dataset, X=X, schema=schema, exact={})
        evaluator = Evaluator(config, plain, splits)
        expected = list(evaluator.folds(lambda n: None))[split.fold]
        np.testing.assert_allclose(fold.y_score, expected.y_score, atol=1e-6)


def test_rows_that_differ_in_their_texts_are_no_duplicates(dataset, tmp_path, make_config):
    assert drop_duplicates(dataset) is dataset
    texts = make_texts()
    texts[14] = texts[0]
    assert drop_duplicates(load_table(tmp_path, make_config, texts)).n_samples == N - 1


def test_test_rows_of_another_file(dataset, tmp_path, make_config):
    (tmp_path / "texts.csv").rename(tmp_path / "train.csv")
    load_table(tmp_path, make_config, make_texts()[::-1])
    paths = (
        f"dataset.path={tmp_path / 'train.csv'}",
        f"dataset.test_path={tmp_path / 'texts.csv'}",
    )
    joined = load(table_config(tmp_path, make_config, *paths).dataset)
    assert joined.exact["body"].tolist() == make_texts() + make_texts()[::-1]
    codes = joined.X[:, 1]
    np.testing.assert_array_equal(codes[:N], codes[N:][::-1])
    assert np.isnan(codes[[7, 2 * N - 8]]).all()


def test_columns_without_words_are_refused(dataset, tmp_path, make_config):
    with pytest.raises(UserError, match=r"min_df: expected at most .* 'body'\. Received: 99"):
        fit(preprocessing(text=text_config(min_df=99)), dataset)
    other = load_table(tmp_path, make_config, ["!", "?!"] * (N // 2))
    with pytest.raises(UserError, match=r"expected words in column 'body' of dataset\.text"):
        fit(preprocessing(), other)


def test_the_signature_has_a_text_and_the_digest_its_settings(dataset, make_config):
    types = make_signature(dataset.feature_names, ["tag"], dataset.schema.texts).inputs.inputs
    assert [str(it.type) for it in types] == ["Any", "DataType.string"]
    numbers = replace(dataset, X=dataset.X[:, :1], schema=TableSchema.of_numbers("x"), exact={})
    splits = [Split(0, 0, TRAIN, TEST)]
    digests = [
        compute_fingerprint(make_config(f"preprocessing.text.min_df={n}"), data, splits)
        for data in (dataset, numbers)
        for n in (1, 2)
    ]
    assert len({it["config_digest"] for it in digests}) == 3
