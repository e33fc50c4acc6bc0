"""Heavy imports, made quick and quiet."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without garbage collection, then leave what was imported out of it for good.

    TensorFlow and MLflow make a million objects that live to the end; walking them again and again
    costs 1.4 s of 5.8 s at the import and another 1.2 s at the exit.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:  # not for the later jobs of a sweep, whose garbage must go
            gc.freeze()
        gc.enable()


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ writes to the error stream meanwhile.

    They come before any setting can silence them. Should the import fail, they are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a GPU, and says so where there is none
    tf.get_logger().setLevel(logging.ERROR)


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    with TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
