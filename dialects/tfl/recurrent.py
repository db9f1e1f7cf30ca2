"""Cells with a state: LSTMs over a sequence, and SVDF.

A graph is one call of a fresh interpreter: variables of a file are constants, what they hold before
the first call.
"""

import numpy as np

from qir.attributes import Ints
from qir.errors import require
from qir.expansions import expands
from qir.ir import Op, const
from qir.types import DTYPES, Element, Grid, Type, per_tensor

from .. import hybrid, int8, lax, nn
from ..int8.recurrent import TWELFTH, lstm_over, reference, scale_of
from .dialect import Activation, builtin, is_hybrid, on, on_grids, regridded

INPUTS = (
    "x", "input_to_input", "input_to_forget", "input_to_cell", "input_to_output",
    "recurrent_to_input", "recurrent_to_forget", "recurrent_to_cell", "recurrent_to_output",
    "cell_to_input", "cell_to_forget", "cell_to_output", "input_bias", "forget_bias", "cell_bias",
    "output_bias", "projection", "projection_bias", "state", "cell", "input_norm", "forget_norm",
    "cell_norm", "output_norm",
)  # fmt: skip
GATES = ("input", "forget", "cell", "output")
STEPS = 1024
"""Of the longest sequence of reals that is written out step by step."""


def _parts(present: Ints, xs) -> dict:
    """The operands that there are, by the kernel's name for them."""
    require(len(present) == len(xs) and set(present) <= set(range(len(INPUTS))),
            f"{len(xs)} operands, said to be {list(present)}")  # fmt: skip
    found = {INPUTS[number]: x for number, x in zip(present, xs, strict=True)}
    gates = GATES if "input_to_input" in found else GATES[1:]
    needed = {"x", "state", "cell", *(name for gate in gates for name in (
        f"input_to_{gate}", f"recurrent_to_{gate}", f"{gate}_bias"))}  # fmt: skip
    require(needed <= found.keys(), f"there is no {', '.join(sorted(needed - found.keys()))}")
    return found


def _states(x: Type, parts: dict, batch: int, to: Element | None) -> Type:
    require(parts["cell"].rank == parts["state"].rank == 2,
            f"the state is {parts['state']}, the cell {parts['cell']}")  # fmt: skip
    (_, width), (_, outputs), inputs = parts["cell"].shape, parts["state"].shape, x.shape[-1]
    shapes = {"x": x.shape, "projection": (outputs, width), "projection_bias": (outputs,),
              "state": (batch, outputs), "cell": (batch, width)}  # fmt: skip
    for gate in GATES:
        shapes |= {f"input_to_{gate}": (width, inputs), f"recurrent_to_{gate}": (width, outputs)}
    for name, type in parts.items():
        wanted = shapes.get(name, (width,))  # peepholes, biases, norms
        require(type.shape == wanted, f"{name} must be {list(wanted)}, found {type}")
    require("projection" in parts or outputs == width, f"{width} cells make no {outputs} outputs")
    return on(x, (*x.shape[:-1], outputs), to)


@builtin("UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions",
         intermediates=("input_gate", "forget_gate", "cell_gate", "output_gate", "hidden"),
         variables=(18, 19))  # fmt: skip
def unidirectional_sequence_lstm(
    *xs: Type, present: Ints, time_major: bool = False, cell_clip: float = 0.0,
    proj_clip: float = 0.0, fused_activation_function: Activation = "TANH",
    asymmetric_quantize_inputs: bool = False, diagonal_recurrent_tensors: bool = False,
    input_gate: Element | None = None, forget_gate: Element | None = None,
    cell_gate: Element | None = None, output_gate: Element | None = None,
    hidden: Element | None = None, to: Element | None = None,
) -> Type:  # fmt: skip
    """States of an LSTM over x[B,T,I], or x[T,B,I] with time_major.

    present: which of the 24 inputs of the operator the operands are. input_gate ... hidden: the
    grids of what lies between, where the cell holds integers.
    """
    parts = _parts(present, xs)
    require(parts["x"].rank == 3, f"takes sequences of rank 3, found {parts['x']}")
    return _states(parts["x"], parts, parts["x"].shape[1 if time_major else 0], to)


@builtin("LSTM", "LSTMOptions", variables=(18, 19),
         intermediates=("input_gate", "forget_gate", "cell_gate", "output_gate", "hidden"))
def lstm(
    *xs: Type, present: Ints, cell_clip: float = 0.0, proj_clip: float = 0.0,
    fused_activation_function: Activation = "TANH", asymmetric_quantize_inputs: bool = False,
    input_gate: Element | None = None, forget_gate: Element | None = None,
    cell_gate: Element | None = None, output_gate: Element | None = None,
    hidden: Element | None = None, to: Element | None = None,
) -> Type:  # fmt: skip
    """The state of an LSTM after one step on x[B,I]; the rest as for the sequence."""
    parts = _parts(present, xs)
    require(parts["x"].rank == 2, f"takes x[B,I], found {parts['x']}")
    return _states(parts["x"], parts, parts["x"].shape[0], to)


@expands(unidirectional_sequence_lstm, lstm)
def _(op, kernels, *xs):
    a = op.attributes
    parts = _parts(a["present"], xs)
    require(a["fused_activation_function"] == "TANH", "only TANH is computed inside a cell")
    require(not a.get("diagonal_recurrent_tensors"), "diagonal recurrent weights")
    x = parts["x"]
    if x.type.rank == 2:
        x = lax.reshape(x, shape=(1, *x.shape))
    elif not a["time_major"]:
        x = lax.transpose(x, permutation=(1, 0, 2))
    weights = [part for name, part in parts.items() if "_to_" in name]
    if is_hybrid(x, *weights):
        build = _hybrid
    else:
        build = _integer if on_grids(op, parts["x"], parts["state"]) else _real
    y = build(op, x, parts)
    if op.type.rank == 2:
        return lax.reshape(y, shape=op.shape)
    return y if a["time_major"] else lax.transpose(y, permutation=(1, 0, 2))


def _names(parts: dict) -> tuple[str, ...]:
    """The gates of a cell; without weights for it, the input gate is what forget leaves."""
    return GATES if "input_to_input" in parts else GATES[1:]


def _value(op: Op) -> np.ndarray:
    """What a constant is, or what is computed of constants alone, as weights that are stored."""
    if op.is_const:
        return op.value
    require(op.operands and op.kind != "item", "a weight of a cell is computed")
    found = op.definition.evaluate(op, *map(_value, op.operands))
    return np.asarray(found, op.dtype.numpy)


def _integer(op: Op, x: Op, parts: dict) -> Op:
    """Gates of 16 bits: what the input adds for all steps at once, then step by step."""
    names, state, a = _names(parts), parts["state"], op.attributes
    normed = f"{names[0]}_norm" in parts
    between = [a[f"{name}_gate"] if normed else TWELFTH for name in names]
    require(None not in between and a["hidden"] is not None, "the file states no grids inside")
    weights, recurrent = ([parts[f"{kind}_to_{name}"] for name in names]
                          for kind in ("input", "recurrent"))  # fmt: skip
    biases = [_value(parts[f"{name}_bias"]) for name in names]
    exponent = round(float(np.log2(scale_of(parts["cell"]))))
    more, keywords = _more(parts, names, a, between, exponent)
    y = lstm_over(x, weights, recurrent, biases, state, parts["cell"], *more, hidden=a["hidden"],
                  to=state.type.element, between=between, normed=normed, **keywords)  # fmt: skip
    return regridded(y, op) if y.type.element != op.type.element else y


def _more(parts: dict, names, a, between, exponent: int) -> tuple[list[Op], dict]:
    """Peepholes, a norm and a projection: as operands of int8.lstm, and its attributes."""
    found: dict[int, np.ndarray] = {}
    keywords: dict = {"cell_clip": _clip(a["cell_clip"], scale_of(parts["cell"]), 2**15 - 1)}
    through = [name for name in names if name != "cell"]
    state, width = parts["state"], parts["cell"].shape[-1]
    if f"cell_to_{through[0]}" in parts:
        require(state.shape[-1] == width, "peepholes beside a projection, which the runtime reads "
                "by the wrong length")  # fmt: skip
        peepholes = [parts[f"cell_to_{name}"] for name in through]
        found[0] = np.stack([_value(p) for p in peepholes])
        keywords["peephole_rescale"] = reference([
            np.float32(2.0**exponent * np.float64(scale_of(p)) / np.float64(scale_of(to)))
            for p, to in zip(peepholes, (between[names.index(n)] for n in through), strict=True)])
    if f"{names[0]}_norm" in parts:
        norms = [parts[f"{name}_norm"] for name in names]
        found[1] = np.stack([_value(n) for n in norms])
        found[2] = np.stack([_value(parts[f"{name}_bias"]) for name in names]).astype(np.int32)
        keywords["norm_rescale"] = reference([scale_of(n) for n in norms])
        keywords["norm_guard"] = [max(1, int(np.float32(10000) * scale_of(n))) for n in norms]
    if "projection" in parts:
        w, zero = _value(parts["projection"]), int(a["hidden"].grid.zero)
        bias = _value(parts["projection_bias"]) if "projection_bias" in parts else 0
        found[3] = np.ascontiguousarray(w.T)
        found[4] = (w.astype(np.int64).sum(1) * zero + bias).astype(np.int32)
        scale = np.float32(scale_of(parts["projection"]) * scale_of(a["hidden"])) / scale_of(state)
        keywords["projection_rescale"] = reference(scale)
        keywords["projection_clip"] = _clip(a["proj_clip"], scale_of(state), 2**7 - 1)
    return [const(each) for each in found.values()], {**keywords, "parts": list(found)}


def _clip(real: float, scale: np.float32, most: int) -> int:
    return int(min(np.float32(real) / scale, most)) if real > 0 else 0


def _hybrid(op: Op, x: Op, parts: dict) -> Op:
    """Reals by integer weights, each gate's on a scale of its own."""
    a = op.attributes
    plain = not a["cell_clip"] and not a["proj_clip"] and set(parts) == {
        "x", "state", "cell", *(f"{kind}{gate}{end}" for gate in GATES for kind, end in (
            ("input_to_", ""), ("recurrent_to_", ""), ("", "_bias")))}  # fmt: skip
    require(plain, "a cell of reals by integers with clips, peepholes, a norm, a projection, or "
            "without an input gate")  # fmt: skip

    def together(kind: str) -> Op:
        each = [parts[f"{kind}_to_{gate}"] for gate in GATES]
        value = np.stack([_value(w).T for w in each])
        grid = Grid(np.array([scale_of(w) for w in each]), 0, 0)
        return const(value, Type(DTYPES["i8"], value.shape, grid))

    bias = np.concatenate([_value(parts[f"{gate}_bias"]) for gate in GATES])
    return hybrid.lstm(x, together("input"), together("recurrent"), const(bias), parts["state"],
                       parts["cell"])  # fmt: skip


def _real(op: Op, x: Op, parts: dict) -> Op:
    """The cell written out for each step of a sequence."""
    require(x.shape[0] <= STEPS, f"a sequence of {x.shape[0]} steps, of {STEPS} at most")
    names, a = _names(parts), op.attributes
    require("input_norm" not in parts and "forget_norm" not in parts, "a norm of reals in a cell")
    w, u = (const(np.concatenate([_value(parts[f"{kind}_to_{name}"]) for name in names]).T.copy())
            for kind in ("input", "recurrent"))  # fmt: skip
    bias = const(np.concatenate([_value(parts[f"{name}_bias"]) for name in names]))
    gates, (h, c) = nn.dense(x, w, bias), (parts["state"], parts["cell"])
    width, states = c.shape[-1], []
    for t in range(x.shape[0]):
        now = lax.reshape(lax.slice(gates, start=(t, 0, 0), limit=(t + 1, *gates.shape[1:])),
                          shape=gates.shape[1:])  # fmt: skip
        total = nn.add(now, nn.dense(h, u))
        pre = {name: lax.slice(total, start=(0, i * width), limit=(-1, (i + 1) * width))
               for i, name in enumerate(names)}  # fmt: skip

        def opened(name: str, cell: Op, pre=pre) -> Op:
            value, peephole = pre[name], parts.get(f"cell_to_{name}")
            return nn.sigmoid(value if peephole is None else nn.add(value, nn.mul(cell, peephole)))

        forget = opened("forget", c)
        one = const(np.float32(1))
        taken = opened("input", c) if "input" in names else nn.sub(one, forget)
        c = _within(nn.add(nn.mul(forget, c), nn.mul(taken, nn.tanh(pre["cell"]))), a["cell_clip"])
        h = nn.mul(opened("output", c), nn.tanh(c))
        if "projection" in parts:
            w_ = const(_value(parts["projection"]).T.copy())
            h = _within(nn.dense(h, w_, parts.get("projection_bias")), a["proj_clip"])
        states.append(lax.reshape(h, shape=(1, *h.shape)))
    return lax.concatenate(*states, axis=0)


def _within(x: Op, limit: float) -> Op:
    low, high = const(np.float32(-limit)), const(np.float32(limit))
    return lax.clamp(low, x, high) if limit > 0 else x


@builtin("SVDF", "SVDFOptions", slots="x feature time bias state", variables=(4,))
def svdf(x: Type, feature: Type, time: Type, state: Type, bias: Type | None = None, *, rank: int,
         fused_activation_function: Activation = "NONE", asymmetric_quantize_inputs: bool = False,
         to: Element | None = None) -> Type:  # fmt: skip
    """x[B,I] by filters feature[F,I], over the memory of state[B,M*F] by time[F,M], F / rank units.

    Singular value decomposition of a filter over a sequence (Alvarez et al., 2015).
    """
    filters, memory = time.shape if time.rank == 2 else (0, 0)
    require(x.rank == 2 and feature.shape == (filters, x.shape[1]) and rank > 0
            and filters % rank == 0 and state.shape == (x.shape[0], memory * filters),
            f"{feature}, {time} and {state} are no filters of {x}")  # fmt: skip
    return on(x, (x.shape[0], filters // rank), to)


@expands(svdf)
def _(op, kernels, x, feature, time, state, bias=None):
    (batch, units), (filters, memory) = op.shape, time.shape
    weight = lax.transpose(feature, permutation=(1, 0))
    old = lax.slice(lax.reshape(state, shape=(batch, filters, memory)), start=(0, 0, 1),
                    limit=(batch, filters, memory))  # fmt: skip
    if not on_grids(op, x, weight=feature):
        new = lax.reshape(nn.dense(x, weight), shape=(batch, filters, 1))
        rows = nn.sum(nn.mul(lax.concatenate(old, new, axis=2), time), axes=(2,))
        total = nn.sum(lax.reshape(rows, shape=(batch, units, op.attributes["rank"])), axes=(2,))
        total = total if bias is None else nn.add(total, bias)
        activation = op.attributes["fused_activation_function"]
        require(activation in ("NONE", "RELU"), f"the fused activation {activation}")
        return nn.relu(total) if activation == "RELU" else total
    first = np.float32(scale_of(x) * scale_of(feature)) / scale_of(state)
    new = int8.dense(x, weight, to=state.type.element, rescale=reference(first))
    joined = lax.concatenate(old, lax.reshape(new, shape=(batch, filters, 1)), axis=2)
    rows = lax.mul(_wide(joined), _wide(time))
    total = lax.reduce_sum(lax.reshape(lax.reduce_sum(rows, axes=(2,)),
                                       shape=(batch, units, op.attributes["rank"])), axes=(2,))
    if bias is not None:
        total = lax.add(total, const(_value(bias)))
    second = np.float32(scale_of(state) * scale_of(time)) / np.float32(op.type.scale)
    sums = int8.reinterpret(total, to=Element(DTYPES["i32"], per_tensor(1.0, 0)))
    return int8.requantize(sums, to=op.type.element, rescale=reference(second))


def _wide(x: Op) -> Op:
    plain = int8.reinterpret(x, to=Element(x.dtype)) if x.type.grid is not None else x
    return lax.convert(plain, to=Element(DTYPES["i32"]))
