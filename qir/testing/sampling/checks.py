"""What a drawn op and a drawn network must fulfil."""

import zlib
from dataclasses import replace

import numpy as np

from ...dialect import items
from ...evaluate import evaluate
from ...forms import FORMS
from ...ir import Func, Op
from ...registry import target_named
from .draft import draw_mood
from .networks import draw_network
from .nodes import Leaves, draw_node
from .pipelines import check_pipeline, draw_normal
from .soundness import largest_of, round_trip, unlike
from .values import draw_inputs

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


def check_network(seed: int, pipeline: str = "ptq_int8", target: str | None = None):
    """What is wrong with a random network after a pipeline, and what each result lost by it.

    See `check_pipeline` for what is demanded.
    """
    rng = np.random.default_rng([7, seed])
    func = draw_network(rng)
    samples = [draw_normal(rng, func) for _ in range(4)]
    passage = check_pipeline(func, pipeline, samples, target)
    return passage.complaint, list(passage.losses)
