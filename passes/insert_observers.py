"""Mark every value whose range quantization needs.

Only f32 values that are neither constant, fixed by their op (a softmax), nor inside a chain of
pointwise ops over one value (`qir.quantizable.chains`) need one. Movement and the like pass the
grid of their operands on, so their results need one only where they mix in constants.
"""

import re
import warnings
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from qir.errors import QirWarning
from qir.graph_pass import graph_pass
from qir.ir import OPS, Func, Op, derived, kept, place_of, transform
from qir.quantizable import chains, inside_chain, is_real, roles_in, takes_part
from qir.roles import FLOAT, INDEX, Role, Roles
from qir.schemes import scheme_of, with_scheme
from qir.selectors import Selector, chooser
from qir.timing import count
from qir.variables import held

from ..dialects import nn, quant

Method = Literal["minmax", "ema", "percentile", "entropy", "mse"]


@graph_pass("float -> observed")
def insert_observers(
    func: Func, *, method: Method | None = None, where: Selector | None = None
) -> Func:
    """Put an observer behind every value whose range quantization needs, with a lasting name.

    method: how calibration is to find the ranges; its own option of that name overrules it. Where
    training has put a fake quantization to 8 bits, its range is the value's, and it is taken out.
    where: the ops that are to be quantized; others are given the scheme `float`, by which later
    passes know them.
    """
    if where is not None:
        func = _left_in_float(func, chooser(func, where))
    func, put_back = held(func)
    return put_back(_marked(func, method))


def _left_in_float(func: Func, chosen) -> Func:
    """The function with the scheme `float` for all ops that are not chosen and have none."""
    owners = nn.owners(func)

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        if op.kind not in OPS or chosen(owners.get(op, op)) or scheme_of(op) is not None:
            return node
        return derived(with_scheme(node, "float"), op)

    return transform(func, change)


def _marked(func: Func, method: Method | None) -> Func:
    """A function without variables, observed."""
    func, trained = _trained(func)
    chained = chains(func)
    roles = {op: roles_in(op, chained) for op in func.ops if op.kind in OPS}
    observed = _observed(func, roles, chained)
    names = _names(func)
    bare: dict[Op, Op] = {}
    marked: dict[Op, Op] = {}
    for op in func.ops:
        operands = tuple(
            bare[o] if _bare_read(op, o, role, roles, chained) else marked.get(o, bare[o])
            for o, role in _slots(op, roles)
        )
        node = kept(op, operands)
        bare[op] = node if node is op else derived(node, op)
        if op in observed:
            place = {"name": names[op], "location": op.location}
            if op in trained:
                seen = quant.stats(node, lo=trained[op][0], hi=trained[op][1], **place)
            else:
                seen = quant.observe(node, method=method, **place)
            marked[op] = derived(seen, op)
    count("observers inserted", len(marked.keys() - trained.keys()))
    results = tuple(
        bare[r] if _made_by(r, roles).kind == "float" else marked.get(r, bare[r])
        for r in func.results
    )
    return replace(func, results=results) if marked else func


def _trained(func: Func) -> tuple[Func, dict[Op, tuple[float, float]]]:
    """A function without fake quantizations to 8 bits, and the ranges of the values they had.

    Those of constants are computed; the constants keep their grids (`qir.trained`).
    """
    ranges: dict[Op, tuple[float, float]] = {}

    def change(op: Op, operands: tuple[Op, ...]) -> Op:
        node = kept(op, operands)
        if op.kind not in quant.FAKE:
            return node
        if all(o.is_const for o in operands):
            return quant.fixed(node)
        span = quant.ends(node)
        if span is None:
            if op.attributes.get("axis") is not None:
                warnings.warn(QirWarning(
                    f"{op.kind} along axis {op.attributes['axis']} stays in float: a value has one "
                    "scale, only weights have several; train it with one range for the whole value",
                    at=place_of(op)), stacklevel=2)  # fmt: skip
            return node
        ranges[operands[0]] = span
        return operands[0]

    return transform(func, change), ranges


def _slots(op: Op, roles: dict[Op, Roles]) -> list[tuple[Op, Role]]:
    """The operands of an op, each with its role; an item of a tuple plays none."""
    parts = roles[op].operands if op in roles else (INDEX,) * len(op.operands)
    return list(zip(op.operands, parts, strict=True))


def _made_by(value: Op, roles: dict[Op, Roles]) -> Role:
    """The role in which a value was made; inputs and constants come from outside, as float ops."""
    op = value.operands[0] if value.kind == "item" else value
    return roles[op].result if op in roles else FLOAT


def _bare_read(op: Op, operand: Op, role: Role, roles, chained) -> bool:
    """Whether a slot reads an observed value as it is: inside a chain, or between float ops."""
    if inside_chain(op, operand, chained):
        return True
    return not takes_part(role) and _made_by(operand, roles).kind == "float"


def _observed(func: Func, roles: dict[Op, Roles], chained) -> set[Op]:
    """The values that need a range."""
    read = {r for r in func.results if _made_by(r, roles).kind != "float"}
    for op in func.ops:
        for operand, role in _slots(op, roles):
            if not _bare_read(op, operand, role, roles, chained):
                read.add(operand)
    return {v for v in read & _wanted(func, roles) if _needs_range(v, roles)}


def _needs_range(value: Op, roles: dict[Op, Roles]) -> bool:
    if value.is_const or not is_real(value.type):
        return False
    made = _made_by(value, roles).kind
    if made != "same":
        return made in ("free", "float")
    op = value.operands[0] if value.kind == "item" else value
    return any(o.is_const and is_real(o.type) for o in op.operands)


def _wanted(func: Func, roles: dict[Op, Roles]) -> set[Op]:
    """The values that an op computes with, or moves to where one does.

    What is only moved between float ops, or from an input to a result, gains nothing on a grid.
    """
    tied: dict[Op, list[Op]] = {}  # the values that each op of that kind ties
    for op in func.ops:
        if is_real(op.type) and _made_by(op, roles).kind == "same":
            node = op.operands[0] if op.kind == "item" else op
            tied.setdefault(node, list(node.operands)).append(op)
    around: dict[Op, list[Op]] = {}
    for node, values in tied.items():
        for value in values:
            around.setdefault(value, []).append(node)
    wanted = _computed(func, roles)
    queue = list(wanted)
    for value in queue:  # grows while it is walked
        for node in around.get(value, ()):
            fresh = [v for v in tied.pop(node, ()) if v not in wanted]
            wanted.update(fresh)
            queue += fresh
    return wanted


def _computed(func: Func, roles: dict[Op, Roles]) -> set[Op]:
    """The values that are made or read in a role other than `same` by an op that takes part."""
    found = {op for op in func.ops if _made_by(op, roles).kind in ("free", "fixed")}
    for op in func.ops:
        for operand, role in _slots(op, roles):
            if takes_part(role) and role.kind != "same":
                found.add(operand)
    return found


def _names(func: Func) -> dict[Op, str]:
    """A name for every value: its layer and op, numbered where there are several of them.

    It depends on the model alone, not on which values are observed, nor on where the model's file
    lies; statistics are kept under it.
    """
    names: dict[Op, str] = {}
    taken: set[str] = set()
    count: dict[str, int] = {}
    for op in func.ops:
        if not is_real(op.type) or op.is_const:
            continue
        name = start = _start(op)
        while name in taken:
            count[start] = count.get(start, 1) + 1
            name = f"{start}_{count[start]}"
        taken.add(name)
        names[op] = name
    return names


_PLACED = re.compile(r"(?P<layer>.*) \((?P<place>[^()]*)\)")


def _start(op: Op) -> str:
    if op.kind == "parameter":
        return op.attributes["name"]
    node = op.operands[0] if op.kind == "item" else op
    short = node.kind.rpartition(".")[2]
    if op.kind == "item":
        short += f".{op.attributes['index']}"
    if not node.location:
        return short
    found = _PLACED.fullmatch(node.location[0])
    return f"{found['layer'] if found else PurePath(node.location[0]).name}/{short}"
