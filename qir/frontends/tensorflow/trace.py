"""From a TensorFlow model to a graph."""

import re

import numpy as np

from ...errors import QirError
from ...ir import Func, Module, parameter
from ...types import Type, dtype
from .graph import Importer
from .sources import source_of
from .table import QUANTIZED

NAMES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64", "int8": "i8",
         "uint8": "u8", "int16": "i16", "uint16": "u16", "int32": "i32", "int64": "i64",
         "uint32": "u32", "bool": "bool", **QUANTIZED}  # fmt: skip


def trace(model, *example_args, name: str = "main", batch: int = 1,
          signature: str | None = None) -> Module:  # fmt: skip
    """The graph of a TensorFlow model.

    model: a Keras model, a tf.function, a concrete function, a loaded SavedModel, a GraphDef, or
    the path of a SavedModel or a frozen graph. example_args: arrays or shapes with dtypes; without
    them the shapes are the model's own, with `batch` where the first extent is open. signature: of
    a SavedModel, serving_default if not said. Inputs and results have the model's names, ops the
    names of its nodes as locations. QirError lists every operation that has no import.
    """
    source = source_of(model, example_args, signature)
    if example_args and len(example_args) != len(source.inputs):
        raise QirError(f"the model takes {len(source.inputs)} inputs, found {len(example_args)} "
                       "examples")  # fmt: skip
    examples = example_args or [None] * len(source.inputs)
    parameters = tuple(
        parameter(_word(label), Type(_storage(label, kind), _extents(label, shape, example, batch)),
                  (label,))
        for (label, _, shape, kind), example in zip(source.inputs, examples, strict=True)
    )  # fmt: skip
    results = Importer(source).run(parameters)
    names = tuple(_word(label) if label else "" for label, _ in source.outputs)
    return Module((Func(name, parameters, results, names if all(names) else ()),))


def _storage(label: str, kind: str):
    if kind not in NAMES:
        raise QirError(f"the input '{label}' holds {kind}, which is no storage of numbers")
    return dtype(NAMES[kind])


def _extents(label: str, stated, example, batch: int) -> tuple[int, ...]:
    if example is not None:
        found = tuple(int(n) for n in np.shape(example) or getattr(example, "shape", ()))
        fits = len(found) == len(stated) and all(s in (-1, n) for s, n in zip(stated, found,
                                                                              strict=True))
        if not fits:
            raise QirError(f"the input '{label}' takes {list(stated)}, found an example of "
                           f"{list(found)}")  # fmt: skip
        return found
    full = (batch, *stated[1:]) if stated and stated[0] == -1 else tuple(stated)
    if -1 in full:
        raise QirError(f"the input '{label}' has the shape {list(stated)}",
                       help="give an example that says what the open extents are")  # fmt: skip
    return full


def _word(name: str) -> str:
    """A name that the text can hold."""
    word = re.sub(r"\W+", "_", name).strip("_") or "x"
    return word if not word[0].isdigit() else f"x{word}"
