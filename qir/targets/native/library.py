"""The shared library of the kernels: found, loaded, made known to XLA once."""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
from jax import ffi

from ...errors import QirError, suggestion

CALLS = ("qir_conv", "qir_depthwise", "qir_batch_dot", "qir_hybrid_conv",
         "qir_hybrid_depthwise")  # fmt: skip
SETS = ("plain", "avx2", "avx512vnni")
STEM = "_kernels"


@dataclass(frozen=True)
class Library:
    """The kernels chosen for this processor, and how they want their weights.

    name: the instruction set. columns, depth: tiles of weights, see src/kernels.h. offset: what is
    added to a signed input. threads: how many a call uses at most.
    """

    name: str
    columns: int
    depth: int
    offset: int
    threads: int


@cache
def library() -> Library | None:
    """What the extension holds; None where there is none, or QIR_NATIVE=off, or no CPU.

    QirError where QIR_NATIVE names other kernels than there are, or than the processor runs.
    """
    wanted = os.environ.get("QIR_NATIVE", "")
    if wanted not in ("", "off", *SETS):
        raise QirError(f"QIR_NATIVE names no kernels: '{wanted}'",
                       help=suggestion(wanted, ("off", *SETS)))  # fmt: skip
    if wanted == "off" or jax.default_backend() != "cpu":
        return None
    paths = sorted(Path(__file__).parent.glob(f"{STEM}*.so"))
    if not paths:
        return None
    try:
        loaded = ctypes.cdll.LoadLibrary(str(paths[0]))
    except OSError:  # built for another machine
        return None
    for name in CALLS:
        ffi.register_ffi_target(name, ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    loaded.qir_kernels.restype = ctypes.c_char_p
    name = loaded.qir_kernels().decode()
    if wanted not in ("", name):
        raise QirError(f"QIR_NATIVE asks for kernels that this processor does not run: '{wanted}'",
                       help=f"the best here are '{name}'")  # fmt: skip
    numbers = [getattr(loaded, f"qir_{name}") for name in ("columns", "depth", "offset", "threads")]
    for number in numbers:
        number.restype = ctypes.c_int64
    return Library(name, *(number() for number in numbers))
