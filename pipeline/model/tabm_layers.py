"""Layers of TabM, in which all members of an ensemble share one matrix of weights.

Logged models carry this file, so it imports nothing of Manyfold.

References:
    Gorishniy et al., TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling,
    ICLR 2025.
    Wen et al., BatchEnsemble: An Alternative Approach to Efficient Ensemble and Lifelong Learning,
    ICLR 2020.
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable("manyfold", "RandomSign")
class RandomSign(keras.initializers.RandomUniform):  # type: ignore[misc]
    """Draws -1 or 1."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Return a tensor of signs."""
        values = super().__call__(shape, dtype)
        return keras.ops.where(
            values < 0, -keras.ops.ones_like(values), keras.ops.ones_like(values)
        )


def rsqrt_uniform(n_inputs: int | None = None) -> keras.initializers.Initializer:
    """Return the initializer of the papers: uniform within 1 / sqrt(inputs), as PyTorch's layers.

    Args:
        n_inputs: Number of inputs of each output; None for that of a matrix.
    """
    if n_inputs is None:
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return keras.initializers.RandomUniform(-(n_inputs**-0.5), n_inputs**-0.5)


@keras.saving.register_keras_serializable("manyfold", "BatchEnsembleDense")
class BatchEnsembleDense(keras.layers.Layer):  # type: ignore[misc]
    """A dense layer of several members: one kernel, and scales and a bias of each member.

    A member computes ((x * input_scale) @ kernel) * output_scale + bias. The input is of shape
    (batch, n_inputs), which all members see, or (batch, n_submodels, n_inputs); the output is of
    shape (batch, n_submodels, units).
    """

    def __init__(self, units: int, n_submodels: int, is_first: bool = False, **kwargs: Any) -> None:
        """Set the sizes; the input scales of the first layer are random signs, others are ones."""
        super().__init__(**kwargs)
        self.units, self.n_submodels, self.is_first = units, n_submodels, is_first
        self.scale_initializer = RandomSign(-1.0, 1.0) if is_first else keras.initializers.Ones()
        self.kernel_initializer = rsqrt_uniform()

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        n_inputs, n_submodels = input_shape[-1], self.n_submodels

        def add(name: str, shape: tuple[int, ...], initializer: Any) -> Any:
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.input_scale = add("input_scale", (n_submodels, n_inputs), self.scale_initializer)
        self.kernel = add("kernel", (n_inputs, self.units), self.kernel_initializer)
        self.output_scale = add("output_scale", (n_submodels, self.units), "ones")
        self.bias = add("bias", (n_submodels, self.units), "zeros")

    def call(self, x: Any) -> Any:
        """Return the outputs of all members."""
        if len(x.shape) == 2:
            x = keras.ops.expand_dims(x, 1)
        x = keras.ops.reshape(x * self.input_scale, (-1, x.shape[-1]))
        x = keras.ops.matmul(x, self.kernel)  # all members at once
        x = keras.ops.reshape(x, (-1, self.n_submodels, self.units))
        return x * self.output_scale + self.bias

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Return the shape of the output."""
        return (input_shape[0], self.n_submodels, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the sizes, to save the layer."""
        sizes = {"units": self.units, "n_submodels": self.n_submodels, "is_first": self.is_first}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("manyfold", "MemberMean")
class MemberMean(keras.layers.Layer):  # type: ignore[misc]
    """Averages the members' probabilities; in training, returns those of each member.

    So the loss is the mean of the members' losses, not the loss of their mean.
    """

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return probabilities of shape (batch, n_labels); in training, as they came."""
        return x if training else keras.ops.mean(x, axis=1)
