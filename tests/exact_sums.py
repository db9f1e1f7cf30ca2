"""What integer ops hold on the way, in 64 bits, apart from their meanings and their ranges."""

import numpy as np

from qir import shapes, windows

WIDE = np.int64


def held(op, arrays) -> dict[str, np.ndarray]:
    """Accumulators and intermediates of an op by `Register.what`; nothing for other ops."""
    find = _HELD.get(op.kind)
    return {} if find is None else find(op, *arrays)


def centred(op, index: int, array) -> np.ndarray:
    return array.astype(WIDE) - int(op.operands[index].type.zero)


def _weight(op, w) -> np.ndarray:
    """A weight without its zero point; one of several scales has none."""
    return w.astype(WIDE) - int(op.operands[1].type.zero.ravel()[0])


def _with_bias(total, b) -> dict[str, np.ndarray]:
    if b is None:
        return {"the sum of products": total}
    return {"the sum of products and bias": total + b.astype(WIDE)}


def _pads(op, w):
    a = op.attributes
    return shapes.pads_of(op.operands[0].type, w.shape[:2], a["strides"], a["padding"],
                          a["dilation"])  # fmt: skip


def _conv(op, x, w, b=None):
    a, w = op.attributes, _weight(op, w)
    total = windows.conv2d(centred(op, 0, x), w, a["strides"], _pads(op, w),
                           a["dilation"], a["groups"], accumulator=WIDE)  # fmt: skip
    return _with_bias(total, _own_bias(op, b, w.sum((0, 1, 2), WIDE)))


def _depthwise(op, x, w, b=None):
    a, w = op.attributes, _weight(op, w)
    total = windows.depthwise_conv2d(centred(op, 0, x), w, a["strides"], _pads(op, w),
                                     a["dilation"], accumulator=WIDE)  # fmt: skip
    return _with_bias(total, _own_bias(op, b, w.sum((0, 1), WIDE).reshape(-1)))


def _transposed(op, x, w, b=None):
    a, types = op.attributes, [o.type for o in op.operands[:2]]
    crops = shapes.transposed_crops(*types, a["strides"], a["padding"])
    total = windows.transposed_conv2d(centred(op, 0, x), _weight(op, w), a["strides"], crops,
                                      accumulator=WIDE)  # fmt: skip
    return _with_bias(total, b)


def _dense(op, x, w, b=None):
    w = _weight(op, w.T if op.attributes.get("layout") == "nk" else w)
    return _with_bias(centred(op, 0, x) @ w, _own_bias(op, b, w.sum(0, WIDE)))


def _own_bias(op, b, taps):
    """The bias without the zero point that the xla kernels have in it."""
    if b is None or not op.kind.startswith("xla."):
        return b
    return b.astype(WIDE) + int(op.operands[0].type.zero) * taps


def _matmul(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    if op.kind == "xla.batch_dot":
        a, b = (x.transpose(op.attributes[f"{name}_axes"] or range(x.ndim))
                for x, name in ((a, "a"), (b, "b")))  # fmt: skip
    else:
        a = np.swapaxes(a, -1, -2) if op.attributes["adjoint_a"] else a
        b = np.swapaxes(b, -1, -2) if op.attributes["adjoint_b"] else b
    return {"the sum of products": a @ b}


def _pool(op, x):
    a = op.attributes
    pads = shapes.pads_of(op.operands[0].type, a["window"], a["strides"], a["padding"])
    views = windows.windows(x.astype(WIDE), a["window"], a["strides"], pads)
    return {"the sum of the window": views.sum((3, 4))}


def _div(op, a, b):
    a, b = centred(op, 0, a), centred(op, 1, b)
    dividend, divisor = (2 * a) << op.attributes["bits"], np.where(b == 0, 1, 2 * b)
    size = np.abs(dividend) + np.abs(divisor) // 2
    sign = np.sign(dividend) * np.sign(divisor)
    return {
        "the dividend shifted left": dividend, "twice the divisor": np.abs(divisor),
        "the dividend and half the divisor": size, "the quotient": sign * (size // np.abs(divisor)),
    }  # fmt: skip


def _softmax(op, x, exps, mask=None):
    axis = op.attributes["axis"]
    x, exps = x.astype(WIDE), np.append(exps, 0).astype(WIDE)
    if mask is not None:
        x = np.where(mask, x, op.operands[0].type.lo - len(exps))
    e = exps[np.minimum(x.max(axis, keepdims=True) - x, len(exps) - 1)]
    total = e.sum(axis, keepdims=True)
    found = {"the sum of the exponentials": total}
    if (total > 0).all() and (exps >= 0).all():
        dividend = 2**30 + total // 2
        found["the dividend of the reciprocal"] = dividend
        found["the exponential times the reciprocal"] = e * (dividend // total) + 2**21
    return found


def _norm(op, x, gamma, beta=None):
    """Layer norm, or RMS norm without a beta, with the integers of dialects/int8/normalize.py."""
    q, n, epsilon = centred(op, 0, x), x.shape[-1], op.attributes["epsilon"]
    found, rest = {}, np.zeros((*q.shape[:-1], 1), WIDE)
    if beta is not None:
        total = q.sum(-1, keepdims=True)
        whole = (2 * total + n) // (2 * n)
        rest, q = total - whole * n, q - whole
        found = {"the sum of the row": total, "twice the sum and the length": 2 * total + n}
    square = (q * q).sum(-1, keepdims=True) + (epsilon >> 16)
    found["the sum of squares"] = square
    if (square >= 2**30).any():  # beyond what the rest is made for
        return found
    e = (30 - np.frexp(np.maximum(square, 1).astype(float))[1]) // 2

    def shifted(fraction):
        return (fraction << np.maximum(2 * e - 16, 0)) >> np.maximum(16 - 2 * e, 0)

    raised = (square << (2 * e)) + shifted(np.int64(epsilon & 0xFFFF))
    part = rest * rest // n
    spread = raised - (part << (2 * e)) - shifted(((rest * rest - part * n) << 16) // n)
    deviation = (q << e) - ((rest << (e + 1)) + n) // (2 * n)
    exponent = int(np.ceil(np.log2(n) / 2))
    mantissa = int(np.floor(np.sqrt(n) * 2.0 ** (15 - exponent) + 0.5))
    root = np.floor(np.sqrt(np.maximum(spread, 1).astype(float))).astype(WIDE)
    inverse = ((2**29 + root // 2) // root) * mantissa + 2**14
    shift = 19 - exponent
    moves = (deviation != 0).any(-1, keepdims=True)  # else the product is 0 whatever the root
    found["the inverse root"] = inverse[moves]
    scaled = deviation * (inverse >> 15) * moves + 2 ** (shift - 1)
    found["the deviation times the inverse root"] = scaled
    z = np.clip(scaled >> shift, -(2**15), 2**15 - 1)
    last = z * gamma.astype(WIDE) + (0 if beta is None else beta.astype(WIDE))
    return {**found, "gamma times the normalized value, and beta": last}


_HELD = {
    "int8.conv2d": _conv, "xla.conv": _conv, "int8.depthwise_conv2d": _depthwise,
    "xla.depthwise": _depthwise, "int8.transposed_conv2d": _transposed,
    "xla.transposed_conv": _transposed, "int8.dense": _dense, "xla.dot": _dense,
    "int8.matmul": _matmul, "xla.batch_dot": _matmul, "int8.avg_pool": _pool, "int8.div": _div,
    "int8.softmax": _softmax, "int8.layer_norm": _norm, "int8.rms_norm": _norm,
    "int8.mul": lambda op, a, b: {"the product": centred(op, 0, a) * centred(op, 1, b)},
    "int8.requantize": lambda op, x: {"the input without zero point": centred(op, 0, x)},
    "int8.mean": lambda op, x: {"the sum": centred(op, 0, x).sum(op.attributes["axes"])},
    "int8.sum": lambda op, x: {"the sum": centred(op, 0, x).sum(op.attributes["axes"])},
}  # fmt: skip
