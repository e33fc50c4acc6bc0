"""The trained model that leaves Manyfold: one Keras model that takes raw features."""

from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.preparation import Preparation


def final_model(
    model: keras.Model, weights: Sequence[NDArray[np.generic]], preparation: Preparation
) -> keras.Model:
    """Return the model with trained weights and its preparation in front of it.

    Args:
        model: Untrained, of the architecture that was trained.
        weights: Trainable, then non-trainable variables, in the model's order.
        preparation: What the training rows taught.
    """
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)
    if (preparation.mean == 0).all() and (preparation.scale == 1).all():
        return model
    standardise = keras.layers.Normalization(
        mean=preparation.mean, variance=preparation.scale**2, name="preparation"
    )
    return keras.Sequential([keras.Input((len(preparation.mean),)), standardise, model])
