"""What a drawn op and a drawn network must fulfil."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from ...api import run_pipeline
from ...dialect import items
from ...evaluate import evaluate
from ...forms import FORMS, complaints
from ...ir import Func, Module, Op
from ...registry import target_named
from .draft import draw_mood
from .networks import draw_network
from .nodes import Leaves, draw_node
from .soundness import largest_of, round_trip, unlike
from .values import draw_inputs

SILENT = 200.0
"""The signal to noise, in dB, of a result without any noise."""
LOGICAL = ("lax.and", "lax.or", "lax.xor", "lax.not", "lax.reduce_and", "lax.reduce_or")


def check_op(kind: str, seed: int, target: str | None = None) -> str | None:
    """What is wrong with a random node of this kind, None if nothing is; Rejected if none is drawn.

    Its numpy meaning must give what its type says and survive saving and loading; with a target,
    the compiled node must give the same.
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    mood = draw_mood(rng, "bool" if kind in LOGICAL and seed % 2 else None)
    if kind.startswith("xla."):  # kernels take constants
        mood = replace(mood, fixed=True)
    leaves = Leaves(rng, mood)
    op = draw_node(kind, leaves)
    func = Func("drawn", tuple(leaves.parameters), items(op))
    inputs = draw_inputs(rng, [p.type for p in func.parameters])
    try:
        wanted = evaluate(func, inputs)
        found = target_named(target).compile(func)(*inputs) if _taken(op, target) else wanted
    except Exception as error:  # whatever a meaning or a lowering raises on a typed node is a bug
        return f"{type(error).__name__}: {error}\n{func}"
    largest = max(1.0, largest_of(func, inputs))
    for result, a, b in zip(func.results, wanted, map(np.asarray, found), strict=True):
        different = a.dtype != b.dtype or unlike(result.type, a, b, largest)
        if different:
            return f"{different if isinstance(different, str) else b.dtype}\n{func}"
    complaint = round_trip(func, inputs, wanted)
    return complaint and f"{complaint}\n{func}"


def _taken(op: Op, target: str | None) -> bool:
    """Whether a target runs the op; those of plugins, and others for a plugin's, it may not."""
    return target is not None and FORMS[target_named(target).form].complaint(op) is None


@dataclass(frozen=True)
class Loss:
    """What quantization cost one result: signal to noise in dB, and its type."""

    decibels: float
    type: object


def check_network(seed: int, pipeline: str = "ptq_int8", target: str | None = None):
    """What is wrong with a random network after a pipeline, and what each result lost by it."""
    rng = np.random.default_rng([7, seed])
    func = draw_network(rng)
    return check_pipeline(func, [draw_normal(rng, func) for _ in range(4)], pipeline, target)


def check_pipeline(func: Func, samples, pipeline: str, target: str | None = None):
    """What is wrong with a function after a pipeline, and what each result lost by it.

    samples: calibration items, each a list of arrays; results are compared on the first. A
    pipeline that leaves floats keeps what they mean. The result is to serve another batch with the
    same bits (floats nearly so) and to survive saving and loading; with a target, the compiled
    graph must give those bits too.
    """
    after = run_pipeline(Module((func,)), pipeline, samples, run=evaluate).main
    wanted, found = evaluate(func, samples[0]), evaluate(after, samples[0])
    losses = [Loss(_decibels(a, b), r.type)
              for a, b, r in zip(wanted, found, func.results, strict=True)]  # fmt: skip
    largest = max(largest_of(func, samples[0]), largest_of(after, samples[0]))
    in_float = not any(op.kind.startswith(_INTEGERS) for op in after.ops)
    if in_float and not _same(after, wanted, found, largest):
        return f"{pipeline} gives other numbers\n{func}became\n{after}", losses
    one = evaluate(after.with_batch(1), [x[:1] for x in samples[0]])
    first = [a[:1] for a in found]
    same = _same(after, first, one, largest) if in_float else _equal(first, one)
    if not same:
        return f"batch 1 gives other numbers\n{func}", losses
    if target is not None:
        ours = [np.asarray(x) for x in target_named(target).compile(after)(*samples[0])]
        if not _same(after, found, ours, largest):
            return f"{target} gives other numbers than numpy\n{func}became\n{after}", losses
    return round_trip(after, samples[0], found), losses


_INTEGERS = ("int8.", "xla.", "quant.")


def _equal(wanted, found) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))


def _same(func: Func, wanted, found, largest: float) -> bool:
    """Whether results have the same bits, or where the function computes floats nearly so."""
    pairs = zip(func.results, wanted, found, strict=True)
    if next(complaints(func, "int8"), None) is None:
        return _equal(wanted, found)
    return all(unlike(r.type, a, b, largest) is None for r, a, b in pairs)


def draw_normal(rng: np.random.Generator, func: Func) -> list[np.ndarray]:
    """Normal numbers for the parameters of a network."""
    return [rng.normal(size=p.shape).astype(np.float32) for p in func.parameters]


def _decibels(signal: np.ndarray, found: np.ndarray) -> float:
    power = float(np.square(signal, dtype=np.float64).mean())
    noise = float(np.square(signal - found, dtype=np.float64).mean())
    return SILENT if noise == 0 else float(10 * np.log10(max(power, 1e-30) / noise))
