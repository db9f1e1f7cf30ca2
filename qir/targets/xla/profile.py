"""Profiles: which kernels a machine was measured to run fastest; imports no jax.

`qir tune` writes them, `legalize(target=xla, profile=FILE)` reads them. A profile says the kernel
of a convolution and the layout of a dot by their shapes; for shapes that it does not hold, and
without one, `choice` says. What is legalized by one is the same on every machine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from operator import index
from pathlib import Path

from ...errors import QirError, suggestion
from ...ir import Op
from ...shapes import pads_of
from ...text import write_atomically
from .choice import LAYOUTS, choose_conv, choose_dot, possible_convs

VERSION = 1
Key = tuple[tuple[str, object], ...]
"""What a choice depends on: names and numbers, in a fixed order."""


@dataclass(frozen=True)
class Profile:
    """Kernels by the shapes they are for. machine: where they were measured."""

    machine: str = ""
    kernels: Mapping[Key, str] = field(default_factory=dict)

    def conv(self, x_shape, w_shape, strides, dilation, groups, pads) -> str:
        """The kernel for a convolution, as `choice.choose_conv` names it."""
        numbers = (x_shape, w_shape, strides, dilation, groups, pads)
        return self.kernels.get(conv_key(*numbers), choose_conv(*numbers))

    def dot(self, rows: int, inner: int, outputs: int) -> str:
        """How a dot stores its weights, as `choice.choose_dot` names it."""
        return self.kernels.get(dot_key(rows, inner, outputs), choose_dot(rows))


USUAL = Profile()
"""Of no measurements: what `choice` says."""


def conv_key(x_shape, w_shape, strides, dilation, groups, pads) -> Key:
    """A convolution of `x[N,H,W,C]` by `w[KH,KW,C/groups,O]`."""
    numbers = {"x": x_shape, "w": w_shape, "strides": strides, "dilation": dilation,
               "groups": groups, "pads": pads}  # fmt: skip
    return tuple((name, _frozen(value)) for name, value in numbers.items())


def dot_key(rows: int, inner: int, outputs: int) -> Key:
    """A product of [rows, inner] by constant weights of so many outputs."""
    return (("rows", rows), ("inner", inner), ("outputs", outputs))


def alternatives(op: Op) -> tuple[Key, tuple[str, ...]]:
    """What the choice for an `xla.conv` or `xla.dot` depends on, and what may be chosen."""
    a, (x, w) = op.attributes, (operand.type for operand in op.operands[:2])
    if op.kind == "xla.dot":
        return dot_key(prod(x.shape[:-1]), x.shape[-1], op.shape[-1]), LAYOUTS
    pads = pads_of(x, w.shape[:2], a["strides"], a["padding"], a["dilation"])
    numbers = (x.shape, w.shape, a["strides"], a["dilation"], a["groups"], pads)
    return conv_key(*numbers), possible_convs(*numbers)


def write_profile(path: str | Path, profile: Profile) -> None:
    """Write a profile as JSON, atomically: one choice a line."""
    lines = [json.dumps({**dict(key), "kernel": kernel}) for key, kernel in profile.kernels.items()]
    head = json.dumps({"profile": VERSION, "machine": profile.machine})[:-1]
    body = ",\n  ".join(lines)
    write_atomically(path, f'{head}, "kernels": [\n  {body}\n]}}\n')


def read_profile(path: str | Path) -> Profile:
    """The profile in a file; QirError where it is none, or names a kernel that does not compute
    the shape it is for."""
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise QirError(f"no profile can be read: {error}", at=str(path), help=_HELP) from error
    is_profile = isinstance(found, dict) and isinstance(found.get("kernels"), list)
    if not is_profile or found.get("profile") != VERSION:
        wanted = f'{{"profile": {VERSION}, "machine": ..., "kernels": [...]}}'
        raise QirError(f"expected {wanted}, found {str(found)[:60]}", at=str(path), help=_HELP)
    kernels = dict(_entry(path, i, entry) for i, entry in enumerate(found["kernels"]))
    return Profile(str(found.get("machine", "")), kernels)


_HELP = "`qir tune MODEL -o FILE` writes one"


def _entry(path, number: int, entry) -> tuple[Key, str]:
    at = f"{path}: kernels[{number}]"
    names = set(entry) - {"kernel"} if isinstance(entry, dict) else set()
    try:
        if names == {"rows", "inner", "outputs"}:
            key, known = dot_key(**{name: _frozen(entry[name]) for name in names}), LAYOUTS
        else:
            numbers = [_frozen(entry[name]) for name in ("x", "w", "strides", "dilation", "groups",
                                                         "pads")]  # fmt: skip
            key, known = conv_key(*numbers), possible_convs(*numbers)
    except (KeyError, TypeError, ValueError, IndexError, ArithmeticError, RecursionError) as error:
        raise QirError(f"expected the shapes of a convolution or a dot, found {entry}", at=at,
                       help=_HELP) from error  # fmt: skip
    kernel = entry.get("kernel")
    if kernel not in known:
        raise QirError(f"the kernel '{kernel}' does not compute this", at=at,
                       help=suggestion(str(kernel), known))  # fmt: skip
    return key, kernel


def _frozen(value):
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else index(value)
