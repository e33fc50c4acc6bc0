"""Networks for tables from the papers that compare them: ResNet, MLP with embeddings, TabM."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from pipeline.model.tabm_layers import BatchEnsembleDense, MemberMean, rsqrt_uniform


def resnet(
    n_features: int,
    n_labels: int,
    *,
    n_blocks: int,
    units: int,
    hidden_units: int,
    hidden_dropout: float,
    residual_dropout: float,
) -> keras.Model:
    """Build an untrained residual network with one sigmoid output per label.

    Args:
        n_features: Number of input columns.
        n_labels: Number of outputs.
        n_blocks: Number of residual blocks.
        units: Width of the residual stream.
        hidden_units: Units of the hidden layer of each block.
        hidden_dropout: Fraction of hidden outputs that is dropped in training.
        residual_dropout: Fraction of each block's outputs that is dropped in training.

    References:
        Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021.
    """
    inputs = keras.Input((n_features,))
    x = _dense(units)(inputs)
    for _ in range(n_blocks):
        z = _dense(hidden_units)(_batch_normalization()(x))
        z = layers.Dropout(hidden_dropout)(layers.ReLU()(z))
        x = layers.Add()([x, layers.Dropout(residual_dropout)(_dense(units)(z))])
    x = layers.ReLU()(_batch_normalization()(x))
    return keras.Model(inputs, _dense(n_labels, "sigmoid")(x))


def mlp_plr(
    n_features: int,
    n_labels: int,
    *,
    n_numeric: int,
    hidden_units: Sequence[int],
    dropout: float,
    n_frequencies: int,
    frequency_scale: float,
    embedding_size: int,
) -> keras.Model:
    """Build an untrained perceptron on embeddings of numbers: periodic, linear, ReLU.

    A number x becomes the sines and cosines of 2 pi c x with trained frequencies c of its own, then
    a vector by a dense layer of its own. Other columns, such as categories, stay as they are.

    Args:
        n_features: Number of input columns.
        n_labels: Number of outputs.
        n_numeric: Number of numbers, which are the first columns.
        hidden_units: Units of each hidden layer.
        dropout: Fraction of each hidden layer's outputs that is dropped in training.
        n_frequencies: Frequencies of each number.
        frequency_scale: Standard deviation of the initial frequencies.
        embedding_size: Length of the vector of each number.

    References:
        Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning,
        NeurIPS 2022.
    """
    inputs = keras.Input((n_features,))
    x = inputs
    if n_numeric:
        numbers = layers.Reshape((n_numeric, 1))(inputs[:, :n_numeric])
        frequencies = layers.EinsumDense(
            "bni,nif->bnf",
            (n_numeric, n_frequencies),
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=frequency_scale),
        )(numbers)
        angles = 2 * math.pi * frequencies
        periodic = layers.Concatenate()([keras.ops.sin(angles), keras.ops.cos(angles)])
        embedded = layers.EinsumDense(
            "bnf,nfe->bne",
            (n_numeric, embedding_size),
            bias_axes="ne",
            kernel_initializer=rsqrt_uniform(2 * n_frequencies),
        )(periodic)
        x = layers.Flatten()(layers.ReLU()(embedded))
        if n_numeric < n_features:
            x = layers.Concatenate()([x, inputs[:, n_numeric:]])
    for units in hidden_units:
        x = layers.Dropout(dropout)(layers.ReLU()(_dense(units)(x)))
    return keras.Model(inputs, _dense(n_labels, "sigmoid")(x))


def tabm(
    n_features: int,
    n_labels: int,
    *,
    hidden_units: Sequence[int],
    dropout: float,
    n_submodels: int,
) -> keras.Model:
    """Build an untrained TabM: an ensemble of perceptrons that share their kernels.

    In training it returns the probabilities of each submodel, of shape (batch, n_submodels,
    n_labels), so that each learns by its own loss; else their mean.

    Args:
        n_features: Number of input columns.
        n_labels: Number of outputs.
        hidden_units: Units of each hidden layer.
        dropout: Fraction of each hidden layer's outputs that is dropped in training.
        n_submodels: Number of them.

    References:
        Gorishniy et al., TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling,
        ICLR 2025.
    """
    inputs = keras.Input((n_features,))
    x = inputs
    for number, units in enumerate(hidden_units):
        x = BatchEnsembleDense(units, n_submodels, is_first=number == 0)(x)
        x = layers.Dropout(dropout)(layers.ReLU()(x))
    heads = layers.EinsumDense(
        "bmi,mil->bml",
        (n_submodels, n_labels),
        activation="sigmoid",
        bias_axes="ml",
        kernel_initializer=rsqrt_uniform(hidden_units[-1]),
    )
    return keras.Model(inputs, MemberMean()(heads(x)))


def _dense(units: int, activation: str | None = None) -> layers.Dense:
    return layers.Dense(units, activation, kernel_initializer=rsqrt_uniform())


def _batch_normalization() -> layers.BatchNormalization:
    """Return the layer with the constants of PyTorch's, which the paper used."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
