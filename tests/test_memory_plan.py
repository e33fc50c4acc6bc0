"""The memory of training: what is known of it beforehand, and what is done if it is too little."""

import json
import subprocess
import sys
from dataclasses import fields
from functools import partial

import numpy as np
import pytest

from pipeline import runtime
from pipeline.config.schema import parse_bytes
from pipeline.errors import UserError
from pipeline.model.keras_models import mlp
from pipeline.model.tabular_networks import tabm
from pipeline.training import memory_plan, stack_plan
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.memory_plan import fit_to_memory, slice_memory
from pipeline.training.stack_plan import StackPlan
from tests.keras_reference import N_LABELS, X, Y, make_fits, train, training_config

PLAN = StackPlan(fits_per_program=8, n_threads=4, epochs_per_call=5)
MB = 10**6


def test_the_bytes_of_a_slice_are_those_of_its_arrays():
    network = mlp(10, n_labels=4, hidden_units=(6,))
    n_weights = 10 * 6 + 6 + 6 * 4 + 4
    memory = slice_memory(network, 2 * n_weights + 1, 32, 100, 250, 3000, restores_best=False)
    assert memory.weights == 2 * 4 * n_weights
    assert memory.gradients == 2 * 4 * n_weights
    assert memory.optimizer == 2 * 4 * (2 * n_weights + 1)
    assert memory.activations == 2 * 4 * 100 * (10 + 4 + 10 + 6)
    assert memory.scores == 4 * 250 * 4
    assert memory.batches == 3000 * (8 + 3 * 4)
    parts = [getattr(memory, field.name) for field in fields(memory)]
    assert memory.total == sum(parts)
    best = slice_memory(network, 0, 32, 100, 250, 3000, restores_best=True)
    assert best.weights == 2 * memory.weights


@pytest.mark.parametrize(
    ("budget", "size", "n_threads"),
    [(32, 8, 4), (31, 8, 3), (9, 8, 1), (8, 8, 1), (7, 7, 1), (1, 1, 1)],
)
def test_threads_are_given_up_before_fits_of_a_stack(budget, size, n_threads):
    plan, message = fit_to_memory(PLAN, MB, f"{budget}MB", 0)
    assert (plan.fits_per_program, plan.n_threads) == (size, n_threads)
    assert plan.epochs_per_call == PLAN.epochs_per_call
    assert bool(message) is (plan != PLAN)


def test_half_of_the_free_memory_is_the_budget_unless_one_is_set():
    plan, message = fit_to_memory(PLAN, MB, None, 32 * MB)
    assert (plan.fits_per_program, plan.n_threads) == (8, 2)
    assert message == (
        "4 x 8 fits at once would take 32.00 MB, more than the 16.00 MB of training.memory, "
        "so 2 x 8 train at once"
    )
    assert (
        fit_to_memory(PLAN, 20 * MB, None, 32 * MB)[0].fits_per_program == 1
    )  # more than the share
    with pytest.raises(UserError, match=r"at least 33\.00 MB.*Received: 32\.00 MB that are free"):
        fit_to_memory(PLAN, 33 * MB, None, 32 * MB)
    with pytest.raises(UserError, match=r"Received: 2\.00 MB that training\.memory allows"):
        fit_to_memory(PLAN, 3 * MB, "2MB", 32 * MB)


def test_jobs_of_a_parallel_sweep_share_the_memory_as_they_share_the_cores(monkeypatch):
    monkeypatch.setattr(runtime, "_available_cores", lambda: 4)
    monkeypatch.setenv(runtime.CORES_VARIABLE, "1")
    plan, message = fit_to_memory(PLAN, MB, None, 64 * MB)
    assert (plan.fits_per_program, plan.n_threads) == (8, 1)
    assert "more than the 8.00 MB" in message
    monkeypatch.setenv(runtime.CORES_VARIABLE, "9")  # more than there are
    assert fit_to_memory(PLAN, MB, None, 64 * MB) == (PLAN, "")
    monkeypatch.delenv(runtime.CORES_VARIABLE)
    assert fit_to_memory(PLAN, MB, None, 64 * MB) == (PLAN, "")


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [("4GB", 4 * 10**9), ("0.5 GiB", 2**29), ("500MB", 5 * 10**8), ("1MiB", 2**20)]
    + [(it, 0) for it in ("4", "GB", "-1GB", "0GB", "4gb", "1TB")],
)
def test_sizes(size, n_bytes):
    assert parse_bytes(size) == n_bytes


def test_other_sizes_are_refused(make_config):
    assert make_config("training.memory=4GB").training.memory == "4GB"
    with pytest.raises(UserError, match=r"training\.memory: .*a size such as 4GB"):
        make_config("training.memory=4")
    with pytest.raises(UserError, match=r"training\.memory: .*a size such as 4GB"):
        make_config("training.memory=much")


def test_a_small_budget_trains_smaller_stacks_to_the_same_result(monkeypatch):
    fits, build = make_fits((40, 40, 40, 40)), partial(mlp, n_labels=3, hidden_units=(8,))
    config = training_config(fits_per_program=4, n_threads=1, epochs=2)
    together = train(fits, config, build)
    seen, fit_to_memory = [], memory_plan.fit_to_memory

    def record(plan, per_slice, setting, free):
        seen.append(fit_to_memory(plan, per_slice, f"{2.5 * per_slice / MB:.6f}MB", free))
        return seen[-1]

    monkeypatch.setattr(memory_plan, "fit_to_memory", record)
    for result, expected in zip(train(fits, config, build), together, strict=True):
        np.testing.assert_allclose(result.y_score, expected.y_score, rtol=0, atol=1e-6)
    ((plan, message),) = seen
    assert plan.fits_per_program == 2
    assert "so 1 x 2 train at once" in message


PROGRAM = """
import ctypes, gc, json, sys
from functools import partial
from pathlib import Path
import numpy as np
from pipeline.config.schema import EarlyStoppingConfig
from pipeline.model.keras_models import mlp
from pipeline.training import memory_plan
from pipeline.training.base import FitSpec, fit_seed
from pipeline.training.keras_trainer import KerasTrainer
from tests.keras_reference import training_config
from tests.test_preprocessor import fit_preprocessor, numeric_schema, preprocessing

n_rows, n_features, hidden_units, patience, settings = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
y = (rng.random((n_rows, 5)) > 0.5).astype(np.int8)
preprocessor = fit_preprocessor(preprocessing(), X, numeric_schema(X), np.arange(n_rows))
parts = (rng.permutation(n_rows) for _ in range(8))
valid, test = n_rows * 7 // 10, n_rows * 8 // 10
fits = [
    FitSpec(fit_seed(7, (0, fold)), rows[:valid], rows[test:], preprocessor, rows[valid:test])
    for fold, rows in enumerate(parts)
]
stopping = EarlyStoppingConfig(
    patience=patience, min_delta=0.0, restore_best_weights=True, validation_fraction=0.1
)
config = training_config(early_stopping=stopping, memory="20GB", **settings)
estimates, fit_to_memory = [], memory_plan.fit_to_memory

def record(plan, per_slice, *rest):
    estimates.append(per_slice * plan.fits_per_program * plan.n_threads)
    return fit_to_memory(plan, per_slice, *rest)

memory_plan.fit_to_memory = record
build = partial(mlp, n_labels=5, hidden_units=hidden_units)
trainer = KerasTrainer(build, config, X, y, fits)
trainer.compile()

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # gives freed memory back, else training would use it unseen
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
before = kilobytes("VmRSS")
for _ in trainer.train():
    pass
print(json.dumps([estimates[0], 1024 * (kilobytes("VmHWM") - before)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
@pytest.mark.parametrize(
    ("n_rows", "n_features", "hidden_units", "patience", "settings"),
    [
        (2_000, 500, [1_000, 1_000], 1, {"fits_per_program": 2, "n_threads": 2}),
        (500_000, 10, [20], None, {"fits_per_program": 4, "n_threads": 2, "batch_size": 1024}),
    ],
    ids=["many weights", "many rows"],
)
def test_the_estimate_is_about_the_peak_of_a_training(
    n_rows, n_features, hidden_units, patience, settings
):
    arguments = json.dumps([n_rows, n_features, hidden_units, patience, settings])
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    estimate, peak = json.loads(process.stdout)
    assert peak > 50 * MB  # else other objects of the process would count
    assert 0.5 < peak / estimate < 2


def test_members_of_an_ensemble_count_as_operations_of_a_call(monkeypatch):
    def epochs_per_call(n_submodels: int) -> int:
        build = partial(
            tabm, n_labels=N_LABELS, hidden_units=(64, 64), dropout=0.0, n_submodels=n_submodels
        )
        trainer = KerasTrainer(build, training_config(epochs=400), X, Y, make_fits())
        return trainer._plan.epochs_per_call

    monkeypatch.setattr(stack_plan, "MAX_CALL_FLOPS", 2e8)
    one, many = epochs_per_call(1), epochs_per_call(16)
    assert one >= 16 * many
