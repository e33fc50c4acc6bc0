"""XGBoost, LightGBM and CatBoost in the trainer against each library used by hand."""

import json
from dataclasses import replace
from unittest.mock import patch

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.errors import UserError
from pipeline.evaluation.inputs import make_trainer, plan_fits
from pipeline.export import export_model
from pipeline.model.loaded_model import LoadedModel
from pipeline.model.saved_model import write_model
from pipeline.prediction import ModelFolder
from tests.command_runner import CommandRunner
from tests.test_saved_model import load_served
from tests.test_sklearn_trainer import run

pytestmark = pytest.mark.usefixtures("one_thread")
TITLES = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}
LIBRARIES = {"xgboost": "n_estimators", "lightgbm": "n_estimators", "catboost": "iterations"}
TWO = ("model.ensemble_size=2",)
ALL = ("model.params.subsample=1", "model.params.colsample_bytree=1")  # rows and columns
PLAIN = ("+model.params.bootstrap_type='No'", "+model.params.random_strength=0")
SMALL = (
    *("dataset.n_samples=120", "dataset.n_features=6", "cv.n_splits=2", "cv.n_repeats=1"),
    "preprocessing=standard",
)
STOPPING = ("training.early_stopping.patience=2", "training.early_stopping.validation_fraction=0.5")
LONG = ("model.params.learning_rate=0.5",)  # overfits after a few of 60 rounds


def settings(library, *others, rounds=6):
    return *SMALL, f"model={library}", f"model.params.{LIBRARIES[library]}={rounds}", *others


def fit_by_hand(library, params, seed, train, valid=None, n_threads=1):
    """Train with a library's own classes.

    Returns:
        A function that predicts probabilities, and the number of rounds of each model.
    """
    X, y = train
    if library == "lightgbm":
        models = []
        for label in range(y.shape[1]):
            model = lightgbm.LGBMClassifier(
                **params, random_state=seed, n_jobs=n_threads, verbosity=-1
            )
            stopping = {}
            if valid:
                stopping = {"eval_X": valid[0], "eval_y": valid[1][:, label]}
                stopping["callbacks"] = [lightgbm.early_stopping(2, verbose=False)]
            models.append(model.fit(X, y[:, label], **stopping))
        rounds = [model.best_iteration_ or model.n_estimators_ for model in models]
        return lambda X: np.column_stack([it.predict_proba(X)[:, 1] for it in models]), rounds
    stopping = {"early_stopping_rounds": 2} if valid else {}
    if library == "xgboost":
        model = xgboost.XGBClassifier(
            **params, **stopping, random_state=seed, n_jobs=n_threads, eval_metric="logloss"
        ).fit(X, y, eval_set=valid and [valid], verbose=False)
        rounds = model.best_iteration + 1 if valid else model.n_estimators
        return model.predict_proba, [rounds]
    model = catboost.CatBoostClassifier(
        **params,
        **stopping,
        loss_function="MultiLogloss",
        random_seed=seed,
        thread_count=n_threads,
        allow_writing_files=False,
        logging_level="Silent",
    ).fit(X, y, eval_set=valid)
    return model.predict_proba, [model.tree_count_]


def count_rounds(trees):
    """Return the number of rounds of a booster of Manyfold."""
    match trees.library:
        case "xgboost":
            return trees.booster.num_boosted_rounds()
        case "lightgbm":
            return trees.booster.num_trees()
    return trees.booster.tree_count_


def fits_of(config):
    dataset = load(config.dataset)
    fits, *_ = plan_fits(config, dataset, make_splits(config.cv, dataset))
    return dataset, fits


def train_all(config):
    """Return the data set, and each fit with its result."""
    dataset, fits = fits_of(config)
    trainer = make_trainer(config, dataset, fits)
    results = list(trainer.train())
    assert trainer.warnings == []
    return dataset, list(zip(fits, results, strict=True))


@pytest.mark.parametrize("options", [(), (*STOPPING, *LONG)], ids=["all_rounds", "early_stopping"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_fits_equal_the_library_used_by_hand(make_config, library, options):
    config = make_config(*settings(library, *options, rounds=60 if options else 6))
    dataset, fits = train_all(config)
    for fit, result in fits:

        def rows(indices, fit=fit):
            return fit.preprocessor.transform(dataset.X[indices]), dataset.y[indices]

        assert bool(len(fit.valid)) == bool(options)
        assert not set(fit.valid) & {*fit.train, *fit.test}
        valid = rows(fit.valid) if len(fit.valid) else None
        # By hand with two threads: their number has no influence.
        predict, rounds = fit_by_hand(
            library, config.model.params, fit.seed, rows(fit.train), valid, n_threads=2
        )
        if len(fit.test):
            expected = predict(rows(fit.test)[0])
            np.testing.assert_allclose(result.y_score, expected, rtol=1e-6, atol=1e-7)
        else:
            trees = [it.estimator for it in result.estimator.estimators]
            assert [count_rounds(it) for it in trees] == rounds
            assert not options or max(rounds) < 60


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_rounds_are_kept_on_request(make_config, library):
    keep = "training.early_stopping.restore_best_weights=false"
    config = make_config(*settings(library, *STOPPING, *LONG, keep, rounds=60))
    best = replace(
        config.training,
        early_stopping=replace(config.training.early_stopping, restore_best_weights=True),
    )
    n_rounds = []
    for training in (config.training, best):
        _, fits = train_all(replace(config, training=training))
        estimators = fits[-1][1].estimator.estimators
        n_rounds.append(np.array([count_rounds(it.estimator) for it in estimators]))
    # XGBoost and LightGBM stop two rounds after the best one; CatBoost counts one more.
    assert set((n_rounds[0] - n_rounds[1]).tolist()) <= {2, 3}


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_features_reach_the_library(make_config, tmp_path, library):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = (X[:, :2] + 0.3 * rng.normal(size=(80, 2)) > 0).astype(int)
    X[rng.random(X.shape) < 0.3] = np.nan
    frame = pd.DataFrame(np.hstack([X, y]), columns=["a", "b", "c", "tag_a", "tag_b"])
    frame.to_csv(tmp_path / "data.csv", index=False)
    table = ("dataset=table", f"dataset.path={tmp_path}/data.csv", "dataset.labels=[tag_*]")
    config = make_config(*settings(library)[2:], *table, "preprocessing=none", "cv=repeated_kfold")
    evaluation, _ = run(config)
    dataset = evaluation.dataset
    assert np.isnan(dataset.X).any()
    predict, _ = fit_by_hand(
        library, config.model.params, 0, (dataset.X, dataset.y)
    )  # with another seed
    final = evaluation.final
    assert not final.requires_complete_rows
    difference = np.abs(final.predict_proba(dataset.X) - predict(dataset.X)).mean()
    assert difference < 0.1
    assert np.corrcoef(predict(dataset.X).ravel(), dataset.y.ravel())[0, 1] > 0.5
    for scaling in ("standard", "robust", "minmax"):
        scaled = make_config(
            *settings(library)[2:], *table, f"preprocessing.scaling={scaling}",
            "preprocessing.imputation=none", "cv=repeated_kfold",
        )  # fmt: skip
        _, fits = fits_of(scaled)
        prepared = fits[0].preprocessor.transform(dataset.X)
        np.testing.assert_array_equal(np.isnan(prepared), np.isnan(dataset.X))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_saved_model_has_the_librarys_own_files_and_predicts_the_same(
    make_config, tmp_path, library
):
    config = make_config(*settings(library, "model.ensemble_size=2"))
    evaluation, _ = run(config)
    final, dataset = evaluation.final, evaluation.dataset
    assert write_model(tmp_path, final, config.model) is False
    files = sorted(path.name for path in (tmp_path / "model").glob("trees_*"))
    n_labels = dataset.n_labels if library == "lightgbm" else 1
    assert len(files) == 2 * n_labels
    serving = json.loads((tmp_path / "model" / "schema.json").read_text())
    assert {name.rpartition(".")[0] for name in serving["trusted"]} == {
        "pipeline.model.boosted_trees", "pipeline.model.multilabel",
        "pipeline.preprocessing.preprocessor",
    }  # fmt: skip
    assert library in (tmp_path / "requirements.txt").read_text()
    served = load_served(tmp_path)
    rows = pd.DataFrame(dataset.X, columns=final.schema.names)
    expected = final.predict_proba(dataset.X)
    np.testing.assert_array_equal(served.predict(None, rows).to_numpy(np.float32), expected)
    folder = ModelFolder(LoadedModel(tmp_path / "model"), {}, tmp_path / "model")
    for export_format in ("onnx", "skops"):
        with pytest.raises(UserError, match=rf"their own library reads from \S+/{files[0]}"):
            export_model(folder, export_format, tmp_path, name="m", thresholds=final.rule.threshold)
    path = tmp_path / "model" / files[0]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="Expected the model file that was logged"):
        load_served(tmp_path)


def test_balanced_labels_weigh_the_same(make_config):
    balanced = ("model.strategy=binary_relevance", "training.class_weight=balanced")
    config = make_config(*settings("xgboost", *balanced))
    dataset, ((fit, result), *_) = train_all(config)
    X, y = fit.preprocessor.transform(dataset.X[fit.train]), dataset.y[fit.train]
    for label in range(3):
        n_present = y[:, label].sum()
        counts = np.array([len(y) - n_present, n_present])
        model = xgboost.XGBClassifier(**config.model.params, random_state=fit.seed, n_jobs=1)
        model.fit(X, y[:, label], sample_weight=(len(y) / (2 * counts))[y[:, label]])
        test = fit.preprocessor.transform(dataset.X[fit.test])
        expected = model.predict_proba(test)[:, 1]
        np.testing.assert_allclose(result.y_score[:, label], expected, rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_labels_and_weights_are_rows_left_out_and_weighted(make_config, library):
    config = make_config(*settings(library, *STOPPING, "model.strategy=binary_relevance"))
    dataset = load(config.dataset)
    rng = np.random.default_rng(0)
    mask = rng.random(dataset.y.shape) < 0.8
    weight = rng.integers(0, 4, dataset.n_samples).astype(np.float32)
    fits, *_ = plan_fits(config, dataset, make_splits(config.cv, dataset))
    fit = fits[0]
    masked = replace(dataset, y=dataset.y * mask, label_mask=mask, sample_weight=weight)
    (result,) = make_trainer(config, masked, fits).train(fit_indices=[0])
    X = fit.preprocessor.transform(dataset.X)
    for label in range(3):

        def rows(indices, label=label):
            counted = indices[mask[indices, label] & (weight[indices] > 0)]
            return X[counted], dataset.y[counted, label], weight[counted]

        params = config.model.params
        (X_train, y_train, w_train), (X_valid, y_valid, w_valid) = rows(fit.train), rows(fit.valid)
        if library == "xgboost":
            model = xgboost.XGBClassifier(
                **params, random_state=fit.seed, n_jobs=1, early_stopping_rounds=2,
                eval_metric="logloss",
            )  # fmt: skip
            model.fit(
                X_train, y_train, sample_weight=w_train, eval_set=[(X_valid, y_valid)],
                sample_weight_eval_set=[w_valid], verbose=False,
            )  # fmt: skip
        elif library == "lightgbm":
            model = lightgbm.LGBMClassifier(**params, random_state=fit.seed, n_jobs=1, verbosity=-1)
            model.fit(
                X_train, y_train, sample_weight=w_train, eval_X=X_valid, eval_y=y_valid,
                eval_sample_weight=[w_valid],
                callbacks=[lightgbm.early_stopping(2, verbose=False)],
            )  # fmt: skip
        else:
            model = catboost.CatBoostClassifier(
                **params, random_seed=fit.seed, thread_count=1, early_stopping_rounds=2,
                allow_writing_files=False, logging_level="Silent",
            )  # fmt: skip
            model.fit(
                catboost.Pool(X_train, y_train, weight=w_train),
                eval_set=catboost.Pool(X_valid, y_valid, weight=w_valid),
            )
        expected = model.predict_proba(X[fit.test])[:, 1]
        np.testing.assert_allclose(result.y_score[:, label], expected, rtol=1e-5, atol=1e-6)
    if library == "lightgbm":
        return
    native = make_trainer(make_config(*settings(library, *STOPPING)), masked, fits)
    (of_native,) = native.train(fit_indices=[0])
    np.testing.assert_array_equal(of_native.y_score, result.y_score)
    (warning,) = native.warnings
    assert f"{TITLES[library]} fits one estimator per label" in warning


@pytest.mark.parametrize("library", LIBRARIES)
def test_constant_labels_get_their_frequency(make_config, library):
    config = make_config(*settings(library))
    dataset = load(config.dataset)
    y = dataset.y.copy()
    y[:, 1], y[:, 2] = 0, 1
    dataset = replace(dataset, y=y)
    fits, *_ = plan_fits(config, dataset, make_splits(config.cv, dataset))
    for result in make_trainer(config, dataset, fits).train(fit_indices=[0]):
        assert (result.y_score[:, 1:] == [0, 1]).all()
        assert np.ptp(result.y_score[:, 0]) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("model=xgboost", "+model.params.max_dept=3"), "Did you mean 'max_depth'"),
        (("model=lightgbm", "+model.params.num_leafs=3"), "LightGBM has no such parameter"),
        (("model=catboost", "+model.params.dept=3"), "CatBoost has no such parameter"),
        (("model=xgboost", "+model.params.n_jobs=3"), "training.n_threads"),
        (("model=catboost", "+model.params.early_stopping_rounds=3"), "early_stopping.patience"),
        (("model=lightgbm", "model.strategy=native"), "expected binary_relevance"),
        (("model=catboost", "training.class_weight=balanced"), "model.strategy=binary_relevance"),
        (("model=catboost", "training.early_stopping.min_delta=0.1"), "expected 0"),
        (("model=xgboost", "model.params.max_depth=-3"), "max_depth"),
        (
            ("model=xgboost", *TWO, "+model.params.random_state=3"),
            r"the seed model\.params\.random_state=3",
        ),
        (("model=catboost", *TWO, "+model.params.random_seed=3"), "Leave out that parameter"),
        (("model=xgboost", *TWO, *ALL), r"\+\+model\.params\.colsample_bytree=0\.5"),
        (("model=lightgbm", *TWO, "model.params.subsample_freq=0", *ALL[1:]), "would be equal"),
        (("model=catboost", *TWO, *PLAIN), r"\+\+model\.params\.rsm=0\.5"),
    ],
)
def test_wrong_settings_are_refused(make_config, options, message):
    with pytest.raises(UserError, match=message):
        run(make_config(*SMALL, *options))


SAMPLED = {
    "xgboost": ("model.params.subsample=1",),
    "lightgbm": ("model.params.colsample_bytree=1",),
    "catboost": ("+model.params.bootstrap_type='No'",),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_models_of_an_ensemble_differ_and_would_be_equal_where_they_are_refused(
    make_config, library
):
    config = make_config(*settings(library, *TWO, *SAMPLED[library]))
    _, ((_, one), (_, other), *_) = train_all(config)
    assert (one.y_score != other.y_score).any()
    equal = PLAIN if library == "catboost" else ALL
    config = make_config(*settings(library, *TWO, *equal))
    with patch("pipeline.model.boosting_checks._check_ensemble"):
        _, ((_, one), (_, other), *_) = train_all(config)
    np.testing.assert_array_equal(one.y_score, other.y_score)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_learns_no_label_is_named(make_config, library):
    message = f"^model={library}: {TITLES[library]} cannot learn label 'y0' and 2 more"
    with (
        patch(f"pipeline.model.boosting._Fit.fit_{library}", side_effect=ValueError("no")),
        pytest.raises(UserError, match=message),
    ):
        run(make_config(*settings(library)))


def test_a_missing_library_fails_its_own_jobs_alone(tmp_path):
    with patch("pipeline.model.boosting_checks.is_installed", lambda name: name != "lightgbm"):
        out, err = CommandRunner(tmp_path).run_here(
            "experiment=strong_baselines", "model=dummy,lightgbm", *SMALL[:4], "report=none",
            "dataset.predict_rows=[]", code=1,
        )  # fmt: skip
    assert "2 jobs: 1 finished, 1 failed" in " ".join(out.split())
    assert "sampler grid" in out
    assert "[2/2] model=lightgbm" in out
    assert "pip install 'manyfold[lightgbm]'" in " ".join((out + err).split())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_says_how_to_install_it(make_config, library):
    config = make_config(*SMALL, f"model={library}")
    with (
        patch("pipeline.model.boosting_checks.is_installed", return_value=False),
        pytest.raises(UserError, match=rf"pip install 'manyfold\[{library}\]'"),
    ):
        run(config)
