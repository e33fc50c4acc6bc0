"""The division of fits into stacks, and of their rows into batches."""

from functools import partial

import keras
import numpy as np
import pytest

from pipeline.training.batches import MAX_KEPT_ROWS, PADDING, epoch_order, make_batches
from pipeline.training.stack_plan import depends_on_batch, plan_stacks
from tests.keras_reference import N_FEATURES, NETWORK, X
from tests.test_keras_trainer import custom_model


def dense(n_features, **options):
    return keras.Sequential([keras.Input((n_features,)), keras.layers.Dense(2, **options)])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (NETWORK, False),
        (partial(NETWORK, dropout=0.5), False),
        (partial(NETWORK, l2=0.1), False),
        (custom_model, False),
        (partial(NETWORK, batch_normalization=True), True),
        (partial(dense, activation=lambda z: z - keras.ops.mean(z, axis=0)), True),
        (partial(dense, activation=keras.layers.BatchNormalization()), True),
        (partial(dense, activity_regularizer="l2"), True),
    ],
    ids=[
        *("plain", "dropout", "l2", "custom", "batch normalization", "mean activation"),
        *("layer as activation", "activity regularizer"),
    ],
)
def test_layers_that_depend_on_the_batch_are_detected(build, expected):
    assert depends_on_batch(build(N_FEATURES), X[:16]) is expected


@pytest.mark.parametrize("last_batch_size", [0, 3])
def test_every_training_row_is_visited_once_per_epoch(last_batch_size):
    n = 16 + 3 if last_batch_size else 23
    orders = [[epoch_order(1, epoch, np.arange(n)), np.empty(0, int)] for epoch in range(2)]
    batches, last_batches = make_batches(
        orders, n_steps=2 if last_batch_size else 3, batch_size=8, last_batch_size=last_batch_size
    )
    for epoch in range(2):
        visited = [*batches[epoch, :, 0].ravel(), *last_batches[epoch, 0]]
        assert sorted(row for row in visited if row != PADDING) == list(range(n))
        assert (batches[epoch, :, 1] == PADDING).all()
    assert (orders[0][0] != orders[1][0]).any()


def plan(n_fits=31, n_weights=283, n_threads=2, epochs=100, **options):
    """Return the plan of fits that Adam trains on 900 rows in batches of 32."""
    return plan_stacks(
        n_fits, 900, 32, n_weights, 3 * n_weights, epochs, None, n_threads, **options
    )


def test_small_models_are_stacked_and_large_ones_are_not():
    small = plan_stacks(31, 900, 32, 283, 1130, 100, None, 2)
    large = plan_stacks(11, 18_000, 256, 281_000, 843_000, 100, None, 2)
    assert (small.fits_per_program, small.n_threads, small.epochs_per_call) == (16, 2, 25)
    assert (large.fits_per_program, large.n_threads, large.epochs_per_call) == (1, 2, 1)
    stopping = plan_stacks(31, 900, 32, 283, 1130, 100, None, 2, can_stop=True)
    assert stopping.epochs_per_call == 10
    long = plan_stacks(31, 900, 32, 283, 1130, 1000, None, 2)
    assert (long.fits_per_program, long.epochs_per_call) == (16, 35)  # of 29 steps each


def test_a_call_has_so_few_row_numbers_that_they_fit_into_memory():
    large_batches = plan_stacks(2, 200_000, 200_000, 33, 132, 2000, None, 2)
    assert (large_batches.fits_per_program, large_batches.epochs_per_call) == (1, 5)


@pytest.mark.parametrize("n_fits", [1, 2, 11, 31, 200])
def test_every_core_has_a_stack_as_far_as_two_fits_of_a_small_network_share_one(n_fits):
    for n_cores in (1, 2, 3, 8, 64):
        size = plan(n_fits, n_threads=n_cores).fits_per_program
        n_stacks = -(-n_fits // size)
        assert n_stacks <= n_cores or size == 2
        assert size == min(n_fits, max(2, -(-n_fits // n_cores)))


def test_the_cores_have_no_say_in_whether_fits_train_alone():
    for n_weights in (283, 20_000, 61_000, 281_000, 10**7):
        sizes = {plan(31, n_weights, n).fits_per_program for n in (1, 2, 3, 8, 30, 31, 64)}
        assert sizes == {1} or 1 not in sizes


def test_no_slot_is_idle_where_a_step_costs_little_beside_its_weights():
    assert plan(10, 61_000).fits_per_program == 5
    assert plan(10, 61_000, n_threads=4).fits_per_program == 3
    assert plan(12, 61_000, n_threads=5).fits_per_program == 3


def test_the_first_results_of_a_long_training_do_not_wait_for_the_last():
    short, long = plan(epochs=1000), plan(epochs=2000)
    assert (short.fits_per_program, long.fits_per_program) == (16, 8)


def test_fits_wait_for_the_slots_of_those_that_early_stopping_ends():
    assert plan(can_stop=True).fits_per_program == 8


def test_some_of_the_fits_train_on_all_cores_too():
    assert [plan(31).n_slots(n, 31) for n in (31, 21, 10, 3)] == [16, 11, 5, 2]
    assert [plan(31, 281_000).n_slots(n, 31) for n in (31, 10, 1)] == [1, 1, 1]
    given = plan_stacks(31, 900, 32, 283, 1130, 100, 5, 2)
    assert [given.n_slots(n, 31) for n in (31, 3)] == [5, 5]


def test_no_fit_trains_alone_because_the_others_are_done():
    assert plan(31).n_slots(1, 31) == 2
    assert plan(31).n_slots(1, 1) == 1  # the only one of its shape


def test_where_the_size_changes_bits_it_depends_on_the_work_alone():
    plans = [plan(31, n_threads=n, is_flexible=False) for n in (1, 2, 8, 64)]
    assert {it.fits_per_program for it in plans} == {8}
    assert {it.n_slots(n, 31) for it in plans for n in (1, 10, 31)} == {8}
    assert [it.n_threads for it in plans] == [1, 2, 8, 31]


def test_the_order_of_an_epoch_is_that_of_numpy_whether_it_is_kept_or_not():
    for n in (5, MAX_KEPT_ROWS, MAX_KEPT_ROWS + 1):
        train = np.arange(n) * 3
        for _ in range(2):
            expected = np.random.default_rng([7, 2]).permutation(train)
            np.testing.assert_array_equal(epoch_order(7, 2, train), expected)
