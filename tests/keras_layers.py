"""Models of one Keras layer each, to be traced on whatever backend Keras has."""

import sys

import keras
import numpy as np

import qir

L = keras.layers
IMAGE, ROWS, VECTOR, VOLUME = (8, 8, 4), (6, 8), (6,), (5, 4, 4, 2)


def _twice(shape, layer, **more):
    x = keras.Input(shape)
    return keras.Model(x, layer(x, x, **more))


def _masked():
    x = keras.Input((6,), dtype="int32")
    return keras.Model(x, L.LSTM(3)(L.Embedding(10, 4, mask_zero=True)(x)))


def _both():
    x = keras.Input(ROWS)
    return keras.Model(x, L.Dot(axes=2)([L.Attention()([x, x]), x]))


def _alone(shape, layer):
    return lambda: keras.Sequential([keras.Input(shape), layer()])


MODELS = {
    "attention of heads": lambda: _twice(ROWS, L.MultiHeadAttention(2, 4)),
    "causal attention": lambda: _twice(ROWS, L.MultiHeadAttention(2, 4), use_causal_mask=True),
    "grouped queries": lambda: _twice(ROWS, L.GroupQueryAttention(4, 4, 2)),
    "masked lstm": _masked, "attention, dot": _both,
    "group norm": _alone(IMAGE, lambda: L.GroupNormalization(2)),
    "unit norm": _alone(VECTOR, L.UnitNormalization),
    "rms norm": _alone(ROWS, L.RMSNormalization),
    "layer norm": _alone(ROWS, lambda: L.LayerNormalization(axis=[1, 2])),
    "separable": _alone(IMAGE, lambda: L.SeparableConv2D(3, 3)),
    "causal": _alone((9, 4), lambda: L.Conv1D(3, 3, dilation_rate=2, padding="causal")),
    "depthwise": _alone((9, 4), lambda: L.DepthwiseConv1D(3)),
    "transposed": _alone((9, 4), lambda: L.Conv1DTranspose(3, 3, 2)),
    "transposed, valid": _alone(IMAGE, lambda: L.Conv2DTranspose(3, 3, 2)),
    "volume": _alone(VOLUME, lambda: L.Conv3D(3, 2, padding="same", strides=2)),
    "volume, mean": _alone(VOLUME, lambda: L.AveragePooling3D(3, 2, padding="same")),
    "volume, max": _alone(VOLUME, lambda: L.MaxPooling3D(2)),
    "crop": _alone(IMAGE, lambda: L.Cropping2D(1)),
    "permute": _alone(IMAGE, lambda: L.Permute((2, 1, 3))),
    "repeat": _alone(VECTOR, lambda: L.RepeatVector(3)),
    "prelu": _alone(IMAGE, lambda: L.PReLU(shared_axes=[1, 2])),
    "resize": _alone(IMAGE, lambda: L.Resizing(5, 7)),
    "nearest": _alone(IMAGE, lambda: L.Resizing(16, 16, interpolation="nearest")),
    "bilinear": _alone(IMAGE, lambda: L.UpSampling2D(2, interpolation="bilinear")),
    "softmax of rows": _alone(ROWS, lambda: L.Softmax(axis=1)),
    "steps": _alone((3, *IMAGE), lambda: L.TimeDistributed(L.Conv2D(2, 3))),
    "einsum": _alone(ROWS, lambda: L.EinsumDense("abc,cd->abd", output_shape=(None, 5))),
    "convolutional lstm": _alone((3, *IMAGE), lambda: L.ConvLSTM2D(2, 3)),
} | {
    name: _alone(VECTOR, lambda name=name: L.Activation(name))
    for name in ("softplus", "mish", "hard_sigmoid", "hard_silu", "gelu", "exponential", "celu",
                 "glu", "sparsemax", "log_softmax", "tanh_shrink", "squareplus")
}  # fmt: skip


def check(name: str) -> None:
    """Fail where a model's graph on XLA is not what Keras gives."""
    model, rng = MODELS[name](), np.random.default_rng(0)
    (given,) = model.inputs
    x = rng.normal(0, 2, (2, *given.shape[1:]))
    x = abs(x).astype("int32") if "int" in given.dtype else x.astype("float32")
    (found,) = qir.compile(qir.trace(model, x))(x)
    expected = np.asarray(model(x, training=False))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5, err_msg=name)


if __name__ == "__main__":
    for each in sys.argv[1:] or MODELS:
        check(each)
