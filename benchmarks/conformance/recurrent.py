"""Random cells with a state, from their first call on."""

from functools import partial

import numpy as np
from qir.dialects import tfl
from qir.dialects.tfl.recurrent import INPUTS

from qir.ir import Func, const, parameter
from qir.types import DTYPES, Element, Type, per_tensor

from .convolutions import element, one_scale
from .elementwise import single


def _sixteen(rng, shape, low=-(2**15), high=2**15):
    grid = per_tensor(2.0 ** -int(rng.integers(9, 14)) * rng.uniform(0.5, 1), 0)
    return const(rng.integers(low, high, shape).astype(np.int16), Type(DTYPES["i16"], shape, grid))


def _bias(rng, shape, scale):
    value = rng.integers(-2000, 2000, shape).astype(np.int32)
    return const(value, Type(DTYPES["i32"], shape, per_tensor(scale, 0)))


def lstm(op, rng: np.random.Generator) -> Func:
    """A random LSTM: with an input gate, peepholes, a norm, a projection, clips, or without."""
    batch, steps, inputs, width = (int(n) for n in rng.integers(1, (4, 6, 9, 12)))
    coupled, peepholes, normed, projected = (bool(n) for n in rng.integers(0, 2, 4))
    outputs = int(rng.integers(1, 8)) if projected else width
    peepholes = peepholes and outputs == width
    names = ("forget", "cell", "output") if coupled else ("input", "forget", "cell", "output")
    x_element, s_element = element(rng, 0.01, 0.05), element(rng, 1 / 256, 1 / 128)
    parts = {"state": const(np.full((batch, outputs), s_element.grid.zero, np.int8),
                            s_element[(batch, outputs)])}  # fmt: skip
    cell = Element(DTYPES["i16"], per_tensor(2.0 ** -int(rng.integers(10, 13)), 0))
    parts["cell"] = const(np.zeros((batch, width), np.int16), cell[(batch, width)])
    between: dict = {"hidden": element(rng, 1 / 256, 1 / 128)}
    for name in names:
        w = one_scale(rng, (width, inputs))
        parts[f"input_to_{name}"] = w
        parts[f"recurrent_to_{name}"] = one_scale(rng, (width, outputs))
        parts[f"{name}_bias"] = _bias(rng, (width,), w.type.scale * x_element.grid.scale)
        if normed:
            parts[f"{name}_norm"] = _sixteen(rng, (width,), 0)
            between[f"{name}_gate"] = Element(DTYPES["i16"], per_tensor(
                float(rng.uniform(1e-4, 1e-3)), 0))  # fmt: skip
        if peepholes and name != "cell":
            parts[f"cell_to_{name}"] = _sixteen(rng, (width,))
    if normed and coupled:
        between["input_gate"] = between["forget_gate"]
    if projected:
        parts["projection"] = one_scale(rng, (outputs, width))
        if rng.integers(2):
            parts["projection_bias"] = _bias(rng, (outputs,), 1e-5)
    sequence = op is tfl.unidirectional_sequence_lstm
    options: dict = {"time_major": bool(rng.integers(2))} if sequence else {}
    lead = (steps, batch) if options.get("time_major") else (batch, steps)
    x = parameter("x", x_element[(*lead, inputs) if sequence else (batch, inputs)])
    parts["x"] = x
    present = sorted(INPUTS.index(name) for name in parts)
    clips = {"cell_clip": float(rng.choice([0, 2.0])), "proj_clip": float(rng.choice([0, 0.5]))}
    y = op(*(parts[INPUTS[i]] for i in present), present=present, to=s_element, **options,
           **clips, **between)  # fmt: skip
    return single(y, x)


def svdf(rng: np.random.Generator) -> Func:
    """A random SVDF."""
    batch, inputs, units, rank, memory = (int(n) for n in rng.integers(1, (4, 9, 9, 4, 9)))
    x = parameter("x", element(rng)[(batch, inputs)])
    state = Element(DTYPES["i16"], per_tensor(float(rng.uniform(1e-3, 1e-2)), 0))
    kept = const(np.zeros((batch, memory * units * rank), np.int16),
                 state[(batch, memory * units * rank)])  # fmt: skip
    time = _sixteen(rng, (units * rank, memory), -512, 512)
    bias = _bias(rng, (units,), time.type.scale * state.grid.scale) if rng.integers(2) else None
    y = tfl.svdf(x, one_scale(rng, (units * rank, inputs)), time, kept, bias, rank=rank,
                 fused_activation_function="RELU", to=element(rng))  # fmt: skip
    return single(y, x)


CASES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": partial(lstm, tfl.unidirectional_sequence_lstm),
    "LSTM": partial(lstm, tfl.lstm), "SVDF": svdf,
}  # fmt: skip
KNOWN: dict[tuple[str, str], str] = {}
"""Pairs of operator and kernel set that do not agree, with the cause."""
