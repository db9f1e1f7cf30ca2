"""Keras's layers on whatever backend it has, to be raised; run by test_raising.py."""

import keras
import numpy as np
from raised_layers import check, normal

import qir

L = keras.layers
X, IMAGE = normal(2, 6, 8), normal(2, 8, 8, 4)
ROWS = "lax.reshape nn.layer_norm lax.reshape"
GROUPS = ("lax.reshape lax.transpose lax.reshape nn.layer_norm lax.reshape lax.transpose "
          "lax.reshape nn.mul nn.add")  # fmt: skip


def cases():
    """Layers one after the other, an example, and the ops they must become."""
    norm = L.BatchNormalization
    for name in ("gelu", "silu", "hard_swish", "relu", "relu6"):
        yield [L.Activation(name)], X, f"nn.{name}"
    yield [L.Lambda(lambda x: keras.activations.gelu(x, approximate=True))], X, "nn.gelu"
    yield [L.Softmax()], X, "nn.softmax"
    yield [L.Softmax(axis=1)], X, "nn.softmax"
    yield [L.LayerNormalization()], X, "nn.layer_norm"
    yield [L.LayerNormalization(axis=(1, 2))], X, ROWS
    yield [L.LayerNormalization(axis=(1, 2, 3))], IMAGE, ROWS
    yield [L.LayerNormalization(axis=1)], X, "lax.transpose nn.layer_norm lax.transpose"
    yield [L.RMSNormalization()], X, "nn.rms_norm"
    yield [L.GroupNormalization(2)], IMAGE, GROUPS
    yield [L.GroupNormalization(1)], IMAGE, ROWS
    yield [L.GroupNormalization(2)], X, GROUPS
    yield [L.Conv2D(6, 3), norm()], IMAGE, "nn.conv2d"
    yield [L.Conv2D(6, 3, use_bias=False), norm(), L.ReLU()], IMAGE, "nn.conv2d"
    yield [L.Conv2D(6, 3), norm(scale=False, center=False)], IMAGE, "nn.conv2d"
    yield [norm(), L.Conv2D(6, 3)], IMAGE, "nn.conv2d"
    yield [L.DepthwiseConv2D(3), norm()], IMAGE, "nn.depthwise_conv2d"
    yield [L.SeparableConv2D(6, 3), norm()], IMAGE, "nn.depthwise_conv2d nn.conv2d"
    yield [L.Conv2DTranspose(6, 3, 2), norm()], IMAGE, "nn.transposed_conv2d"
    yield [L.Conv1D(6, 3), norm()], X, "lax.reshape nn.conv2d lax.reshape"
    yield [L.Dense(6), norm()], X, "nn.dense"
    yield [norm(), L.Dense(6)], X, "nn.dense"
    yield [L.MaxPooling2D(3, 2, padding="same")], IMAGE, "nn.max_pool"
    yield [L.AveragePooling2D(3, 2, padding="same")], IMAGE, "nn.avg_pool"
    yield [L.MaxPooling1D(2)], X, "lax.reshape nn.max_pool lax.reshape"
    yield [L.AveragePooling1D(3, 2, padding="same")], X, "lax.reshape nn.avg_pool lax.reshape"
    yield [L.GlobalAveragePooling2D()], IMAGE, "nn.mean"
    yield [L.GlobalMaxPooling2D()], IMAGE, "nn.reduce_max"
    yield [L.GlobalAveragePooling1D()], X, "nn.mean"


def main():
    for layers, example, expected in cases():
        inputs = keras.Input(example.shape[1:])
        value = inputs
        for layer in layers:
            value = layer(value)
        model = keras.Model(inputs, value)
        for seed, weight in enumerate(model.weights):
            weight.assign(np.asarray(weight) + 0.3 * np.abs(normal(*weight.shape, seed=seed)))
        on_jax = keras.backend.backend() == "jax"
        module = qir.trace(model, example) if on_jax else qir.trace(model, batch=len(example))
        try:
            check(module, np.asarray(model(example, training=False)), (example,), expected)
        except AssertionError as error:
            raise AssertionError(f"{[layer.name for layer in layers]}: {error}") from error


if __name__ == "__main__":
    main()
