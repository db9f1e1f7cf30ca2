"""Random weights of Keras models that keep activations alive, and inputs that fit the models."""

import keras
import numpy as np

from .random_inputs import images, tokens

L = keras.layers
BRANCH = 0.25
"""How strong the last layer of a residual branch or of a gate is; resnet50.py says why."""
SHIFT = 1.0
"""The mean of a batch norm's results. Where it is 0, half the values are cut off in every layer and
a deep network without shortcuts is chaotic: noise 40 dB below the input of InceptionV3 comes out
5 dB below the output, in float; at 1 it is 26 dB."""
SAMPLES, VALUES = 64, 64 * 128 * 128 * 3
"""Inputs that batch-norm statistics are taken from, less where they have more values than that
together, since all activations are kept. With 8 small ones the activations of other inputs were up
to 30 times as large in the last layers of MobileNetV3Small."""
TRANSPARENT = (L.Dropout, L.Activation, L.Rescaling)


def alive(model, seed: int = 0):
    """The model with random weights under which its output depends on its input.

    Kernels after He et al. (2015), depthwise ones around a mean as trained ones blur, what ends a
    residual branch or a gate at a quarter, batch-norm statistics from data: at momentum 0 a pass of
    training leaves to each norm the statistics that it has itself normalized by, so that inference
    on these inputs is that pass, layer by layer.
    """
    rng = np.random.default_rng(seed)
    layers = list(model._flatten_layers(include_self=False))
    for layer in layers:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.0
        if isinstance(layer, L.Dropout):
            layer.rate = 0.0  # those of EfficientNet drop whole branches
        for variable in layer._trainable_variables:
            ends = variable.name != "beta" and _ends_a_branch(layer)
            variable.assign(_drawn(layer, variable, rng) * (BRANCH if ends else 1))
    if any(isinstance(layer, L.BatchNormalization) for layer in layers):
        size = sum(np.prod(each.shape[1:]) for each in model.inputs)
        drawn = inputs_of(model, min(SAMPLES, int(VALUES / size)), seed)
        data = [np.concatenate(each) for each in zip(*drawn, strict=True)]
        model(data if len(data) > 1 else data[0], training=True)
    return model


def inputs_of(model, count: int, seed: int = 1) -> list[list[np.ndarray]]:
    """Inputs of a Keras model, batches of one: pictures, sequences of embedded tokens, tokens.

    Pictures have pixels of 0 to 255 where the model's first layers scale them, else about mean 0
    and standard deviation 1.
    """
    scaled = any(isinstance(layer, (L.Rescaling, L.Normalization)) for layer in model.layers)
    arrays = [_drawn_inputs(each.shape[1:], each.dtype, count, seed, scaled)
              for each in model.inputs]  # fmt: skip
    return [[array[i : i + 1] for array in arrays] for i in range(count)]


def _drawn_inputs(shape, dtype: str, count: int, seed: int, scaled: bool) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    if "int" in dtype:
        return rng.integers(0, 1000, (count, *shape)).astype(dtype)
    if len(shape) == 3:
        pictures = images(count, max(shape[:2]), seed, shape[2])[:, : shape[0], : shape[1]]
        return np.clip(128 + 64 * pictures, 0, 255) if scaled else pictures
    if len(shape) == 2:
        return tokens(count, *shape, seed)
    return rng.normal(0, 1, (count, *shape)).astype(dtype)


def _drawn(layer, variable, rng) -> np.ndarray:
    """What a weight becomes, the same on every backend."""
    shape, name = variable.shape, variable.name
    if name == "gamma":
        return rng.uniform(0.8, 1.2, shape)
    if name in ("beta", "bias"):
        mean = SHIFT if isinstance(layer, L.BatchNormalization) else 0
        return rng.uniform(mean - 0.1, mean + 0.1, shape)
    if isinstance(layer, L.DepthwiseConv2D) or name == "depthwise_kernel":
        return (1 + rng.normal(0, 1, shape)) / np.sqrt(np.prod(shape[:-2]))
    if isinstance(layer, (L.Dense, L.Conv1D, L.Conv2D)) or name == "pointwise_kernel":
        return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    return rng.normal(0, np.asarray(variable).std(), shape)


def _ends_a_branch(layer) -> bool:
    """Whether all that reads a layer's result is a sum or a product of two."""
    readers = [node.operation for node in layer._outbound_nodes]
    return bool(readers) and all(
        type(each).__name__ in ("Add", "Multiply")
        or isinstance(each, TRANSPARENT) and _ends_a_branch(each)
        for each in readers)  # fmt: skip
