"""The shared library of the kernels: found, loaded, made known to XLA once."""

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
from jax import ffi

from ...errors import QirError, QirWarning, suggestion

CALLS = ("qir_conv", "qir_conv_sum", "qir_depthwise", "qir_batch_dot", "qir_hybrid_conv",
         "qir_hybrid_depthwise", "qir_pool", "qir_softmax", "qir_norm", "qir_table")  # fmt: skip
SETS = ("plain", "avx2", "avx512vnni", "amx")
NUMBERS = ("columns", "depth", "inner", "rows", "offset", "taps", "crosses", "threads")
STEM = "_kernels"


@dataclass(frozen=True)
class Library:
    """The kernels chosen for this processor, and how they want their weights.

    name: the instruction set. columns, depth, inner: tiles of weights, see src/kernels.h. rows: of
    how many a product is at least. offset: what is added to a signed input. taps: of a depthwise
    filter, packed together. crosses: whether products may be crossed, see
    src/avx2.cc. threads: how many a call uses at most.
    """

    name: str
    columns: int
    depth: int
    inner: int
    rows: int
    offset: int
    taps: int
    crosses: int
    threads: int


_CALLED = ContextVar("native kernels are called", default=False)


@contextmanager
def native_calls() -> Iterator[None]:
    """Within this, lowerings call the kernels: what is traced runs in this process.

    Elsewhere they do not: a program that is exported, or that a user differentiates or maps, holds
    XLA's own operations alone.
    """
    token = _CALLED.set(True)
    try:
        yield
    finally:
        _CALLED.reset(token)


def is_called() -> bool:
    """Whether lowerings may call the kernels here, and there are any."""
    return _CALLED.get() and library() is not None


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
    except OSError as error:  # built for another machine
        said = f"the native kernels cannot be loaded, install qir again to build them: {error}"
        warnings.warn(QirWarning(said, at=str(paths[0])), stacklevel=2)
        return None
    for name in CALLS:
        ffi.register_ffi_target(name, ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    loaded.qir_kernels.restype = ctypes.c_char_p
    name = loaded.qir_kernels().decode()
    if wanted not in ("", name):
        raise QirError(f"QIR_NATIVE asks for kernels that this processor does not run: '{wanted}'",
                       help=f"the best here are '{name}'")  # fmt: skip
    numbers = [getattr(loaded, f"qir_{name}") for name in NUMBERS]
    for number in numbers:
        number.restype = ctypes.c_int64
    return Library(name, *(number() for number in numbers))
