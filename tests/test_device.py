"""The device that trains, and the plan that follows from it. The GPUs here are made up."""

import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import UserError
from pipeline.model.keras_models import mlp
from pipeline.training import device, memory_plan
from pipeline.training.base import CPU, Device
from pipeline.training.device import find_device, free_memory
from pipeline.training.keras_trainer import KerasTrainer
from tests.keras_reference import NETWORK, X, Y, make_fits, training_config

GPU = Device("gpu", "NVIDIA H100", 80 * 10**9)


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """Let TensorFlow see two GPUs, and record what is set."""
    made, experimental = [], tf.config.experimental
    gpus = [SimpleNamespace(name=f"GPU:{number}") for number in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    for module, name in (
        (tf.config, "set_visible_devices"),
        (experimental, "set_memory_growth"),
        (experimental, "enable_tensor_float_32_execution"),
        (experimental, "enable_op_determinism"),
    ):
        monkeypatch.setattr(module, name, lambda *args, name=name: made.append((name, *args)))
    details = {"GPU:0": {"device_name": "NVIDIA H100"}}
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: details[gpu.name])
    monkeypatch.setattr(device, "_gpu_memory", lambda: 80 * 10**9)
    made.append(gpus[0])
    return made


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_first_gpu_is_set_up_as_configured(calls, deterministic):
    gpu = calls.pop()
    assert find_device(deterministic=deterministic) == GPU
    assert calls == [
        ("set_visible_devices", gpu, "GPU"),
        ("set_memory_growth", gpu, True),
        ("enable_tensor_float_32_execution", False),
        *[("enable_op_determinism",)] * deterministic,
    ]


def test_a_gpu_that_is_in_use_trains_with_the_memory_that_it_has(calls, monkeypatch):
    def refuse(*args):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    assert find_device(deterministic=True) == GPU
    assert ("enable_op_determinism",) in calls


def test_the_device_of_this_machine_is_the_one_that_tensorflow_sees():
    found = find_device(deterministic=False)
    assert (found.kind == "gpu") is bool(tf.config.list_physical_devices("GPU"))
    assert bool(found.reason) is (found.kind == "cpu")


@pytest.mark.parametrize(
    ("has_driver", "visible", "has_cuda", "reason"),
    [
        (False, None, True, "no driver of an NVIDIA GPU"),
        (True, "", True, "CUDA_VISIBLE_DEVICES hides the GPU"),
        (True, "-1", True, "CUDA_VISIBLE_DEVICES hides the GPU"),
        (True, "0", False, "this build of TensorFlow cannot use the GPU"),
        (True, None, True, "Install it: pip install 'manyfold[gpu]'"),
    ],
)
def test_the_reason_for_no_gpu(tmp_path, monkeypatch, has_driver, visible, has_cuda, reason):
    driver = tmp_path / "nvidiactl"
    if has_driver:
        driver.touch()
    monkeypatch.setattr(device, "DRIVER_FILES", (driver,))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: has_cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_device(deterministic=True)
    assert found.kind == "cpu"
    assert found.reason.endswith(reason)
    assert (str(found), found.description) == ("CPU", f"CPU ({found.reason})")


@pytest.mark.parametrize(("failing", "expected"), [(None, 80 * 10**9), ("cuInit", None)])
def test_the_memory_of_a_gpu_is_that_of_cuda(monkeypatch, failing, expected):
    class Cuda:
        def __getattr__(self, name):
            return lambda *args: self._call(name, *args)

        def _call(self, name, *args):
            if name == "cuDeviceTotalMem_v2":
                args[0]._obj.value = 80 * 10**9
            return int(name == failing)

    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: Cuda())
    assert device._gpu_memory() == expected


def test_the_text_of_a_device_names_it_and_its_memory():
    assert str(CPU) == "CPU"
    assert GPU.description == str(GPU) == "GPU (NVIDIA H100, 80.0 GB)"
    assert str(Device("gpu", "AMD")) == "GPU (AMD)"


def test_the_free_memory_of_a_gpu_is_what_tensorflow_has_not_taken(monkeypatch):
    taken = {"GPU:0": {"current": 30 * 10**9, "peak": 70 * 10**9}}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", taken.__getitem__)
    assert free_memory(GPU) == 50 * 10**9
    assert free_memory(Device("gpu")) is None


def make_trainer(sizes, on, build=NETWORK, **settings) -> KerasTrainer:
    config = training_config(**{"fits_per_program": None, **settings})
    return KerasTrainer(build, config, X, Y, make_fits(sizes), repr(build), device=on)


def groups_of(trainer: KerasTrainer) -> list[tuple[int, int]]:
    """Return the numbers of fits, and of fits per stack, of each group of equal shape."""
    groups = trainer._group_fits(range(len(trainer._fits)))
    return [(len(group.fit_indices), group.n_slots) for group in groups]


def test_a_gpu_trains_all_fits_in_one_program_and_one_thread(monkeypatch):
    monkeypatch.setattr(memory_plan, "n_cores", lambda: 16)
    on_gpu, on_cpu = (make_trainer((40,) * 9, on) for on in (Device("gpu"), CPU))
    assert (groups_of(on_gpu), on_gpu._plan.n_threads) == ([(9, 9)], 1)
    assert (groups_of(on_cpu), on_cpu._plan.n_threads) == ([(9, 2)], 9)
    assert on_gpu.device == Device("gpu")
    for result, expected in zip(on_gpu.train(), on_cpu.train(), strict=True):
        np.testing.assert_allclose(result.y_score, expected.y_score, rtol=0, atol=1e-6)


def test_fits_of_unequal_size_have_one_program_each_where_they_need_exact_batches():
    build = partial(mlp, n_labels=3, hidden_units=(8,), batch_normalization=True)
    assert groups_of(make_trainer((40,) * 5 + (45,) * 6, Device("gpu"), build)) == [(5, 5), (6, 6)]


def test_the_settings_of_the_user_count_on_a_gpu():
    trainer = make_trainer((40,) * 9, Device("gpu"), fits_per_program=4, n_threads=2)
    assert (groups_of(trainer), trainer._plan.n_threads) == ([(9, 4)], 2)


def test_a_program_is_as_large_as_the_memory_of_the_gpu_allows(monkeypatch):
    free, plan_for = [10**12], memory_plan.fit_to_memory
    per_slice = []

    def record(plan, n_bytes, *rest):
        per_slice.append(n_bytes)
        return plan_for(plan, n_bytes, *rest)

    monkeypatch.setattr(memory_plan, "fit_to_memory", record)
    monkeypatch.setattr(memory_plan, "free_memory", lambda device: free[0])
    assert groups_of(make_trainer((40,) * 9, GPU)) == [(9, 9)]
    free[0] = 2 * 5 * per_slice[0]  # of which half is for the fits
    trainer = make_trainer((40,) * 9, GPU)
    assert groups_of(trainer) == [(9, 5)]
    assert "so 1 x 5 train at once" in trainer.warnings[0]
    free[0] = per_slice[0] - 1
    with pytest.raises(UserError, match="which a single fit takes"):
        make_trainer((40,) * 9, GPU)


def test_the_device_is_set_up_before_tensorflow_is_used():
    program = """
import pipeline.training
from pipeline import make_config
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.inputs import load_inputs
from pipeline.keras_backend import reset_keras

reset_keras()
import tensorflow as tf
from pipeline.training import device

find_device = device.find_device

def find(**settings):
    tf.config.threading.set_inter_op_parallelism_threads(1)  # raises once it is used
    print("unused")
    return find_device(**settings)

device.find_device = find
config = make_config("dataset.n_samples=60", "cv.n_splits=2", "training.epochs=1")
inputs = load_inputs(config)
print(Evaluator(config, inputs.dataset, list(inputs.splits)).device.description)
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    unused, shown = process.stdout.splitlines()
    assert unused == "unused"
    assert shown.startswith("CPU (")
