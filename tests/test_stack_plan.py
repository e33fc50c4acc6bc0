"""The division of fits into stacks, and of their rows into batches."""

from functools import partial

import numpy as np
import pytest

from pipeline.training.batches import MAX_KEPT_ROWS, PADDING, epoch_order, make_batches
from pipeline.training.stack_plan import depends_on_batch, plan_stacks
from tests.keras_reference import N_FEATURES, NETWORK, X
from tests.test_keras_trainer import custom_model


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (NETWORK, False),
        (partial(NETWORK, dropout=0.5), False),
        (partial(NETWORK, l2=0.1), False),
        (custom_model, False),
        (partial(NETWORK, batch_normalization=True), True),
    ],
    ids=["plain", "dropout", "l2", "custom", "batch normalization"],
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


def test_small_models_are_stacked_and_large_ones_are_not():
    small = plan_stacks(31, 900, 32, 283, 1130, 100, None, 2)
    large = plan_stacks(11, 18_000, 256, 281_000, 843_000, 100, None, 2)
    assert (small.fits_per_program, small.n_threads, small.epochs_per_call) == (8, 2, 10)
    assert (large.fits_per_program, large.n_threads, large.epochs_per_call) == (1, 2, 1)
    assert plan_stacks(31, 900, 32, 283, 1130, 100, 5, 1).fits_per_program == 5


def size(n_fits, n_weights, epochs=100, n_train=900):
    """Return the stack size for fits trained by Adam in batches of 32."""
    plan = plan_stacks(n_fits, n_train, 32, n_weights, 3 * n_weights, epochs, None, 2)
    return plan.fits_per_program


def test_no_slot_is_idle_where_a_step_costs_little_beside_its_weights():
    assert size(10, 61_000) == 1, "4 stacks of 3 would train 12 slots for 10 fits"
    assert size(11, 61_000) == size(10, 283) == 3


@pytest.mark.parametrize(
    ("n_weights", "seconds", "n_stacks"),
    [
        # A step of a small network has a high fixed cost: many fits share it.
        (283, 1, 4),
        (283, 50, 8),
        (283, 500, 8),
        (283, 5_000, 16),
        # A step of a large one has not: each core gets a stack.
        (20_000, 1, 4),
        (20_000, 50, 8),
        (20_000, 500, 16),
        (20_000, 5_000, 31),
    ],
)
def test_longer_trainings_have_stacks_for_more_cores(n_weights, seconds, n_stacks):
    seconds_per_epoch = 6e-6 * (1 + n_weights * 32 / 50_000) * 31 * 900 / 32
    epochs = int(seconds / seconds_per_epoch)
    plans = [
        plan_stacks(31, 900, 32, n_weights, 3 * n_weights, epochs, None, n)
        for n in (1, 2, 4, 8, 16, 32, 64)
    ]
    assert [plan.n_threads for plan in plans] == [1, 2, 4, 8, 16, 31, 31]
    assert {-(-31 // plan.fits_per_program) for plan in plans} == {n_stacks}


@pytest.mark.parametrize("n_fits", [1, 2, 11, 31, 200])
def test_stacks_do_not_depend_on_cores(n_fits):
    plans = [plan_stacks(n_fits, 900, 32, 61_000, 183_000, 100, None, n) for n in (1, 2, 3, 64)]
    assert len({plan.fits_per_program for plan in plans}) == 1
    assert all(plan.n_threads <= n_fits for plan in plans)


def test_the_order_of_an_epoch_is_that_of_numpy_whether_it_is_kept_or_not():
    for n in (5, MAX_KEPT_ROWS, MAX_KEPT_ROWS + 1):
        train = np.arange(n) * 3
        for _ in range(2):
            expected = np.random.default_rng([7, 2]).permutation(train)
            np.testing.assert_array_equal(epoch_order(7, 2, train), expected)
