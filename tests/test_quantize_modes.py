"""`qir.rounding.modes` is `tf.quantization.quantize` and `dequantize`, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir.errors import QirError
from qir.rounding import modes
from qir.types import DTYPES

LEAST = 1e-6
"""Below, steps come near to subnormal numbers, which TensorFlow's threads take for zero."""
EDGES = (0.0, -0.0, 1.0, -1.0, LEAST, -LEAST, 3e4, -3e4, 0.5, 127.0, 255.0, 1e30)
NUMBERS = st.one_of(
    st.sampled_from(EDGES), st.floats(-1e6, 1e6, width=32), st.floats(-4, 4, width=32)
).map(lambda number: number if abs(number) >= LEAST else 0.0)


@st.composite
def cases(draw):
    """Values, a range or one for each index of an axis, and the options that go together."""
    mode = draw(st.sampled_from(modes.MODES))
    axis = draw(st.sampled_from([None, 0, 1])) if mode != "MIN_FIRST" else None
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 9)))
    count = 1 if axis is None else shape[axis]
    ends = np.float32([sorted((draw(NUMBERS), draw(NUMBERS))) for _ in range(count)]).T
    lo, hi = ends[:, 0] if axis is None else ends
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = np.maximum((hi - lo).max() / 510, np.float32(1e-3))
    x = rng.uniform(lo.min() - steps, hi.max() + steps, shape)
    x = np.where(rng.random(shape) < 0.5, np.round(x / steps) * steps, x)  # half on half steps
    even = mode == "SCALED" and draw(st.booleans())
    return np.float32(x), lo, hi, {
        "type": draw(st.sampled_from(sorted(modes.TYPES))), "mode": mode,
        "round_mode": modes.ROUND_MODES[even], "narrow_range": draw(st.booleans()), "axis": axis,
        "ensure_minimum_range": draw(st.sampled_from([0.0, 0.01, 0.3])),
    }  # fmt: skip


def no_width(lo, hi, options) -> bool:
    """Whether TensorFlow would divide by zero, or by next to nothing."""
    ends = modes.widened(lo, hi, options["ensure_minimum_range"])
    to = DTYPES[modes.TYPES[options["type"]]]
    least = (to.hi - to.lo) / np.float64(modes.MOST)
    return options["mode"] != "SCALED" and bool((ends[1] - ends[0] <= least).any())


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(cases())
def agrees(case):
    """One case against TensorFlow's own kernels."""
    import tensorflow as tf

    x, lo, hi, options = case
    named = {**options, "T": getattr(tf, options["type"])}
    named.pop("type")
    if no_width(lo, hi, options):
        with pytest.raises(QirError, match="has no width"):
            modes.quantize(x, lo, hi, **options)
        return
    theirs = tf.quantization.quantize(x, lo, hi, **named)
    ours = modes.quantize(x, lo, hi, **options)
    stored = np.asarray(theirs[0])
    stored = stored[stored.dtype.names[0]] if stored.dtype.names else stored
    np.testing.assert_array_equal(stored, ours.stored)
    for a, b in zip(theirs[1:], ours[1:], strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)
    back = {name: options[name] for name in ("mode", "narrow_range", "axis")}
    np.testing.assert_array_equal(np.asarray(tf.quantization.dequantize(*theirs, **back)),
                                  modes.dequantize(*ours, **back))  # fmt: skip


def test_they_are_tensorflows_bit_for_bit():
    pytest.importorskip("tensorflow")  # its own kernels are chosen when it is imported
    found = subprocess.run(
        [sys.executable, str(Path(__file__))], capture_output=True, text=True, check=False,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-4000:]


def test_the_range_is_made_to_hold_zero_and_to_have_a_width():
    _, lo, hi = modes.quantize([4.0], 3.0, 5.0, "quint8")
    assert (lo, hi) == (0, 5)
    _, lo, hi = modes.quantize([1.0], 0.0, 0.0, "quint8")
    assert (lo, hi) == (0, np.float32(0.01))
    found = modes.quantize([[0.0, 1.0], [2.0, 4.0]], [0.0, 0.0], [1.0, 4.0], "quint8", axis=0)
    assert found.stored.tolist() == [[0, 255], [128, 255]]


REFUSED = {
    "unknown mode 'MIN_LAST'": {"mode": "MIN_LAST"},
    "unknown round mode 'HALF_UP'": {"round_mode": "HALF_UP"},
    "unknown quantized type 'qint4'": {"type": "qint4"},
    "HALF_TO_EVEN is a round mode of SCALED, found mode MIN_FIRST":
        {"mode": "MIN_FIRST", "round_mode": "HALF_TO_EVEN"},
    "axis 3 of values of shape [2, 4]": {"axis": 3},
    "axis -1 of values of shape [2, 4]": {"axis": -1},
    "MIN_FIRST has one range for all values, found an axis":
        {"mode": "MIN_FIRST", "axis": 0, "lo": [0, 0], "hi": [1, 1]},
    "'lo' must have the shape [2], found []": {"axis": 0},
    "'lo' must have the shape [], found [2]": {"lo": [0, 0]},
    "the range ends below its start, found [2.0, 1.0]": {"lo": 2.0},
    "a range is finite, found [nan, 1.0]": {"lo": np.nan},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_they_refuse(message):
    options = {"lo": 0.0, "hi": 1.0, "type": "qint8", **REFUSED[message]}
    with pytest.raises(QirError) as caught:
        modes.quantize(np.zeros((2, 4)), **options)
    assert caught.value.message == message
    if "type" not in REFUSED[message] and "round_mode" not in REFUSED[message]:
        del options["type"]
        with pytest.raises(QirError) as caught:
            modes.dequantize(np.zeros((2, 4), np.int8), **options)
        assert caught.value.message == message


def test_reals_are_not_dequantized():
    with pytest.raises(QirError, match="quantized are 8, 16 and 32 bits, found float32"):
        modes.dequantize(np.zeros(3, np.float32), 0.0, 1.0)


if __name__ == "__main__":
    agrees()
