"""Loading data and folds once per process, and the rows of all fits."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cv import make_splits
from pipeline.dataset.builder import dataset_from_arrays
from pipeline.errors import UserError
from pipeline.evaluation import inputs
from pipeline.evaluation.inputs import load_inputs, plan_fits


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch):
    for name in ("_datasets", "_splits"):
        monkeypatch.setattr(inputs, name, {})


@pytest.fixture
def loads(monkeypatch):
    """Which data sets were loaded."""
    seen = []
    load = inputs.load

    def counting(config):
        seen.append(config)
        return load(config)

    monkeypatch.setattr(inputs, "load", counting)
    return seen


def test_jobs_of_a_process_share_data_and_folds(make_config, loads):
    first = load_inputs(make_config("model.hidden_units=[8]"))
    second = load_inputs(make_config("model.hidden_units=[4]", "dataset.predict_rows=[]", "seed=3"))
    assert second.dataset is first.dataset
    assert second.summary is first.summary
    assert second.splits is first.splits
    assert len(loads) == 1


def test_other_folds_of_the_same_data_are_made_and_other_data_read(make_config, loads):
    first = load_inputs(make_config())
    second = load_inputs(make_config("cv.n_splits=4"))
    third = load_inputs(make_config("dataset.random_state=2"))
    assert second.dataset is first.dataset
    assert (len(first.splits), len(second.splits)) == (30, 12)
    assert third.dataset.digest != first.dataset.digest
    assert third.splits is not first.splits
    assert len(loads) == 2


def test_what_is_refused_is_refused_every_time(make_config, tmp_path, monkeypatch):
    X = np.array([[1.0], [np.nan], [2.0], [3.0]])
    np.savez(tmp_path / "x.npz", X=X, y=np.array([[0], [1], [0], [1]]))
    table = (f"dataset.path={tmp_path}/x.npz", "dataset=npz", "cv.n_splits=2")
    for _ in range(2):
        with pytest.raises(UserError, match="no missing value"):
            load_inputs(make_config(*table, "preprocessing=none", "preprocessing.imputation=none"))
    assert load_inputs(make_config(*table, "preprocessing=standard")).dataset.n_samples == 4


def test_a_large_table_is_dropped_before_another_is_loaded():
    cache, cached_bytes = {}, []

    def make(n_bytes):
        cached_bytes.append(sum(cache.values()))
        return n_bytes

    half = inputs.MAX_CACHED_BYTES // 2
    for key, n_bytes in enumerate([half, half, half, 3 * half, 1]):
        inputs._cached(cache, key, lambda n_bytes=n_bytes: make(n_bytes), lambda value: value)
    assert cached_bytes == [0, half, half, half, 0]
    assert inputs._cached(cache, 4, lambda: 1 / 0, lambda value: value) == 1
    assert len(cache) == 1


def complete_table(n=60):
    """Return a data set with a column around 2000 without missing values, and one with some."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(2000, 5, size=n), rng.normal(size=n)])
    X[::7, 1] = np.nan
    return dataset_from_arrays("t", "t", X, (rng.random((n, 2)) < 0.5).astype(int)), X


def test_the_final_fit_imputes_columns_that_are_complete_in_training(make_config):
    dataset, X = complete_table()
    config = make_config("training.early_stopping.patience=5", "preprocessing=standard")
    splits = make_splits(config.cv, dataset)
    fits, _, final = plan_fits(config, dataset, splits)
    fit = fits[final.outer[0]]
    assert 0 < len(fit.valid) < 60
    expected = np.nanmedian(X[fit.train], axis=0) - dataset.schema.offsets
    np.testing.assert_allclose(fit.preprocessor.fill, expected, rtol=1e-6)


def test_the_final_fit_of_predefined_folds_leaves_their_test_rows_out(make_config):
    dataset, _ = complete_table()
    fold = np.repeat([-1, 0], [40, 20])
    dataset = replace(dataset, fold=fold)

    def final_train(*settings, dataset=dataset):
        config = make_config("cv=predefined", "preprocessing=standard", *settings)
        splits = make_splits(config.cv, dataset)
        fits, _, final = plan_fits(config, dataset, splits)
        return fits[final.outer[0]].train

    np.testing.assert_array_equal(final_train(), np.arange(40))
    np.testing.assert_array_equal(final_train("training.final_fit=all"), np.arange(60))
    several = replace(dataset, fold=np.arange(60) % 3)
    np.testing.assert_array_equal(final_train(dataset=several), np.arange(60))
    with pytest.raises(UserError, match=r"training\.final_fit: expected all.*with 3 folds"):
        final_train("training.final_fit=train", dataset=several)


def test_the_final_fit_of_other_folds_takes_all_rows_unless_told(make_config):
    dataset, _ = complete_table()
    for settings, n_train in (((), 60), (("training.final_fit=train",), 45)):
        config = make_config(
            "cv=shuffle_split", "cv.n_splits=1", "cv.test_size=0.25", "preprocessing=standard",
            *settings,
        )  # fmt: skip
        fits, _, final = plan_fits(config, dataset, make_splits(config.cv, dataset))
        assert len(fits[final.outer[0]].train) == n_train


@pytest.mark.parametrize(
    "kind", ["repeated_kfold", "multilabel_stratified", "group_kfold", "time_series"]
)
def test_the_row_numbers_of_all_fits_take_four_bytes_and_seeds_share_them(make_config, kind):
    dataset, _ = complete_table()
    dataset = replace(dataset, groups=np.arange(60) // 2, times=np.arange(60))
    config = make_config(
        *(f"cv={kind}", "cv.n_splits=2", "training.early_stopping.patience=3"),
        "training.early_stopping.validation_fraction=0.3",
        *("decision=tuned", "decision.inner_cv.n_splits=2", "model.ensemble_size=2"),
    )
    fits, *_ = plan_fits(config, dataset, make_splits(config.cv, dataset))
    arrays = [array for fit in fits for array in (fit.train, fit.valid, fit.test)]
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}
    for fit, same_rows in zip(fits[::2], fits[1::2], strict=True):
        assert fit.train is same_rows.train
        assert fit.valid is same_rows.valid
