"""Find the processor that trains: a GPU if TensorFlow can use one, else the CPU."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import tensorflow as tf

from pipeline.dataset.files import available_memory
from pipeline.training.base import Device

DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")  # of NVIDIA's driver, on Linux and in WSL


def free_memory(device: Device) -> int | None:
    """Return the bytes that training can still use; None if they are unknown."""
    if device.kind == "cpu":
        return available_memory()
    if device.memory is None:
        return None
    return device.memory - int(tf.config.experimental.get_memory_info("GPU:0")["current"])


def find_device(*, deterministic: bool) -> Device:
    """Return the device that trains; set up a GPU, before TensorFlow uses it.

    Of several GPUs the first one trains.

    Args:
        deterministic: `training.deterministic`. Once a training of this process has requested it,
            it holds for the later ones as well.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Device("cpu", reason=_why_no_gpu())
    with suppress(RuntimeError):  # the user's own code has used TensorFlow before
        tf.config.set_visible_devices(gpus[0], "GPU")
        tf.config.experimental.set_memory_growth(gpus[0], True)
    # Its products would have 10 bits of precision, those of a CPU have 23.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if deterministic:
        # XLA then excludes kernels whose sums depend on the order of threads.
        tf.config.experimental.enable_op_determinism()
    details = tf.config.experimental.get_device_details(gpus[0])
    return Device("gpu", details.get("device_name", "of unknown name"), _gpu_memory())


def _why_no_gpu() -> str:
    if not any(Path(file).exists() for file in DRIVER_FILES):
        return "no driver of an NVIDIA GPU"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides the GPU"
    if not tf.test.is_built_with_cuda():
        return "this build of TensorFlow cannot use the GPU"
    return "TensorFlow cannot load CUDA for the GPU. Install it: pip install 'manyfold[gpu]'"


def _gpu_memory() -> int | None:
    """Return the bytes of the first GPU that CUDA sees, by its own library."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, n_bytes = ctypes.c_int(), ctypes.c_size_t()
    has_failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceTotalMem_v2(ctypes.byref(n_bytes), device)
    )
    return None if has_failed else n_bytes.value
