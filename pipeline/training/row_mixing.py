"""Whether a model's answer for one row depends on the other rows of its batch."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def mixes_rows(model: keras.Model, x: NDArray[np.float32]) -> bool:
    """Return whether training mode mixes rows, as BatchNormalization does; found by trying.

    A batch of such a model must hold training rows and nothing else: rows added to even out
    batches would change its answers, its statistics or its penalties, whatever their weight.

    Args:
        model: A built model.
        x: Some rows of its input, of shape (n, n_columns).
    """
    x, others = x[:9], x[9:] if len(x) > 9 else x
    other = x.copy()
    other[-1] = others[(others != x[-1]).any(axis=1).argmax()]

    def answers(x: NDArray[np.float32]) -> list[NDArray[np.generic]]:
        y, non_trainable, penalties = model.stateless_call(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
            tf.constant(x),
            training=True,
            return_losses=True,
        )
        return [np.asarray(part) for part in (y[:-1], *non_trainable, *penalties)]

    pairs = zip(answers(x), answers(other), strict=True)
    return not all(np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in pairs)
