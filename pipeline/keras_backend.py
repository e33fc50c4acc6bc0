"""Import TensorFlow and Keras with the settings that training needs."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryFile

from pipeline.errors import UserError

KERAS_VARIABLES = {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"}
_LOG_LINE = re.compile(  # of TensorFlow's C++ code: information and warnings
    rb"(WARNING: All log messages before absl|[IW]\d{4} |\d{4}-\d\d-\d\d .*: [IW] "
    rb"|To enable the following instructions)"
)
_overridden: list[str] = []  # settings of the user that Manyfold cannot train with


def set_keras_variables() -> None:
    """Choose TensorFlow for Keras; call it before code of the user, which may import Keras."""
    for name, value in KERAS_VARIABLES.items():
        own = os.environ.get(name, value)
        os.environ[name] = value
        if own.lower() not in (value, "", "false"):
            _overridden.append(f"{name}={own} is replaced by {value}")


def import_tensorflow() -> list[str]:
    """Import TensorFlow and Keras without the log lines of C++ code, unless the import fails.

    TensorFlow's settings cannot silence them, as they are written before it reads the settings.

    Returns:
        Settings of the user for Keras that are replaced, from the environment and `keras.json`.

    Raises:
        UserError: If Keras was imported with another backend before.
    """
    set_keras_variables()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _buffered_stderr():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # logs the search for a GPU
    tf.get_logger().setLevel(logging.ERROR)
    if keras.config.backend() != "tensorflow":
        raise UserError(
            f"Expected Keras with TensorFlow. Received: {keras.config.backend()}, with which "
            "another module has imported it. Start the program with KERAS_BACKEND=tensorflow."
        )
    config = keras.config
    settings = (
        ("floatx", "float32", config.floatx, config.set_floatx),
        ("epsilon", 1e-7, config.epsilon, config.set_epsilon),
        (
            *("image_data_format", "channels_last"),
            *(config.image_data_format, config.set_image_data_format),
        ),
    )
    for name, value, read, replace in settings:
        own = read()
        if own != value:
            replace(value)
            _overridden.append(f"{name} {own} of Keras is replaced by {value}")
    config.set_dtype_policy("float32")
    return list(dict.fromkeys(_overridden))


@contextmanager
def _buffered_stderr() -> Iterator[None]:
    with TemporaryFile() as buffer:
        stderr = os.dup(2)
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            os.write(stderr, buffer.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Drop the log lines of a TensorFlow that the program has imported itself.

    It has read its settings before, so that only its output can be filtered.
    """
    if not _imported_with_logs():
        yield
        return
    with TemporaryFile() as buffer:
        stderr = os.dup(2)
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            buffer.seek(0)
            for line in buffer:
                if not _LOG_LINE.match(line):
                    os.write(2, line)


@cache
def _imported_with_logs() -> bool:
    return "tensorflow" in sys.modules and "TF_CPP_MIN_LOG_LEVEL" not in os.environ
