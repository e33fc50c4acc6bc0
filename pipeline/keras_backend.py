"""Import Keras with TensorFlow, quietly, and with the settings that training needs.

Logged models carry this file, so it imports nothing of Manyfold.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryFile
from types import ModuleType

KERAS_VARIABLES = {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"}
_LOG_LINE = re.compile(  # of TensorFlow's C++ code: information and warnings
    rb"(WARNING: All log messages before absl|[IW]\d{4} |\d{4}-\d\d-\d\d .*: [IW] "
    rb"|To enable the following instructions)"
)
_overridden: list[str] = []  # settings of the user that Manyfold cannot train with
_imported: set[str] = set()  # modules that were imported here, before any other code could use them


def set_keras_variables() -> None:
    """Choose TensorFlow for Keras; call it before code of the user, which may import Keras."""
    for name, value in KERAS_VARIABLES.items():
        own = os.environ.get(name, value)
        os.environ[name] = value
        if own.lower() not in (value, "", "false"):
            _overridden.append(f"{name}={own} is replaced by {value}")


def import_keras() -> ModuleType:
    """Import Keras with TensorFlow, without the log lines of C++ code unless the import fails.

    TensorFlow's settings cannot silence them, as they are written before it reads the settings.

    Raises:
        ValueError: If Keras was imported with another backend before.
    """
    set_keras_variables()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")  # else freed memory is kept
    if "tensorflow" not in sys.modules:
        _imported.add("tensorflow")
    with _filtered_stderr(lambda line, has_failed: has_failed):
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # logs the search for a GPU
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"Expected Keras with TensorFlow. Received: {keras.config.backend()}, with which "
            "another module has imported it. Start the program with KERAS_BACKEND=tensorflow."
        )
    return keras  # type: ignore[no-any-return]


def imported_tensorflow() -> bool:
    """Return whether `import_keras` was the first to import TensorFlow in this process."""
    return "tensorflow" in _imported


def reset_keras() -> list[str]:
    """Import Keras and give its settings the values that training needs.

    Returns:
        Settings of the user that are replaced, from the environment and `keras.json`.

    Raises:
        ValueError: If Keras was imported with another backend before.
    """
    config = import_keras().config
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    settings = (
        ("floatx", "float32", config.floatx, config.set_floatx),
        ("epsilon", 1e-7, config.epsilon, config.set_epsilon),
        (
            *("image_data_format", "channels_last"),
            *(config.image_data_format, config.set_image_data_format),
        ),
    )
    for name, value, getter, setter in settings:
        own = getter()
        if own != value:
            setter(value)
            _overridden.append(f"{name} {own} of Keras is replaced by {value}")
    config.set_dtype_policy("float32")
    return list(dict.fromkeys(_overridden))


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Drop the log lines of a TensorFlow that the program has imported itself.

    It has read its settings before, so that only its output can be filtered.
    """
    if not _imported_with_logs():
        yield
        return
    with _filtered_stderr(lambda line, has_failed: not _LOG_LINE.match(line)):
        yield


@contextmanager
def _filtered_stderr(is_kept: Callable[[bytes, bool], bool]) -> Iterator[None]:
    """Hold back what C++ code prints as well, and print the lines to keep after the block.

    Args:
        is_kept: Takes a line, and whether the block has failed.
    """
    with TemporaryFile() as buffer:
        stderr = os.dup(2)
        os.dup2(buffer.fileno(), 2)
        has_failed = True
        try:
            yield
            has_failed = False
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            buffer.seek(0)
            for line in buffer:
                if is_kept(line, has_failed):
                    os.write(2, line)


@cache
def _imported_with_logs() -> bool:
    # Keras imports JAX where it is installed, which sets the level to 1 if the user has not.
    unset = (None, "1") if "jax" in sys.modules else (None,)
    return "tensorflow" in sys.modules and os.environ.get("TF_CPP_MIN_LOG_LEVEL") in unset
