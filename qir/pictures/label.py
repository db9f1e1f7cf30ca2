"""What is written into the box of an op: its constants, its attributes, its type, each in short."""

from collections.abc import Mapping
from textwrap import wrap

import numpy as np

from ..ir import Op
from ..rounding import Rescale
from ..text.write import option_text
from ..types import Element, Grid, TupleType, Type, grid_text

WIDTH = 50
"""Characters of the longest line in a box."""
LONGEST = 3 * WIDTH
"""Characters that one attribute may take."""
FEW = 4
"""Numbers of a constant or scales of a grid that are written out."""

Parts = dict[str, tuple[str, object]]
"""What is said of an op: for each part (an attribute, a constant operand, `type`) its text, and
what it stands for, by which two ops are compared."""


def lines_of_op(op: Op, constants: Mapping[str, Op]) -> tuple[str, ...]:
    """The lines of an op's box; constants: those among its operands, by the operand's name."""
    return _wrapped(_line(key, text) for key, (text, _) in _parts(op, constants).items())


def lines_of_change(old: Op, new: Op, old_constants: Mapping[str, Op],
                    new_constants: Mapping[str, Op]) -> tuple[tuple[str, ...], bool]:  # fmt: skip
    """The lines of an op in both graphs, changes as `before → after`, and whether there are any."""
    olds, news = _parts(old, old_constants), _parts(new, new_constants)
    lines, changed = [], False
    keys = dict.fromkeys((*list(olds)[:-1], *news))  # the type stays last
    for key in keys:
        before, was = olds.get(key, ("none", None))
        after, now = news.get(key, ("none", None))
        if _same(was, now):
            lines.append(_line(key, after))
            continue
        changed = True
        text = f"{before} → {after}" if before != after else f"{after}, other numbers"
        lines.append(_line(key, text))
    return _wrapped(lines), changed


def operand_names(op: Op) -> list[str]:
    """The name of each operand, as the op's definition has it."""
    definition = op.definition
    names = [*definition.required, *definition.optional][: len(op.operands)]
    left = range(len(op.operands) - len(names))
    return [*names, *(f"{definition.variadic}{i}" for i in left)]


def type_label(type: Type | TupleType) -> str:
    """A type in short: of many scales their number, `i8<32 scales @3>[3,3,1,32]`."""
    if isinstance(type, TupleType):
        return f"({', '.join(map(type_label, type.items))})"
    return f"{type.dtype}{_grid_label(type.grid)}[{','.join(map(str, type.shape))}]"


def _grid_label(grid: Grid | None) -> str:
    if grid is None or grid.dynamic or grid.scale.size <= FEW:
        return grid_text(grid)
    block = "" if grid.block is None else f"/{grid.block}"
    return f"<{grid.scale.size} scales @{grid.axis}{block}>"


def _parts(op: Op, constants: Mapping[str, Op]) -> Parts:
    parts: Parts = {name: (_constant_label(c), c) for name, c in constants.items()}
    if op.is_const:
        parts["value"] = (_constant_label(op), op)
    elif op.kind not in ("parameter", "item"):
        defaults = op.definition.attributes
        for key, value in op.attributes.items():
            if key != "to" and value != defaults.get(key, (None, None))[1]:
                parts[key] = (_short(_value_label(value)), value)
    parts["type"] = (type_label(op.type), op.type)
    return parts


def _line(key: str, text: str) -> str:
    return text if key == "type" else f"{key} = {text}"


def _wrapped(lines) -> tuple[str, ...]:
    parts = (wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines)
    return tuple(part for line in parts for part in line)


def _constant_label(op: Op) -> str:
    if op.type.size <= FEW:
        return f"{_numbers(op.value)} : {type_label(op.type)}"
    name = op.attributes["name"]
    return f"{'#' + name if name else 'const'} : {type_label(op.type)}"


def _numbers(array: np.ndarray) -> str:
    if array.ndim:
        return f"[{', '.join(map(_numbers, array))}]"
    return f"{float(array):.6g}" if array.dtype.kind not in "iub" else str(array[()]).lower()


def _value_label(value) -> str:
    if isinstance(value, Rescale):
        return value.rounding
    if isinstance(value, Element):
        return f"{value.dtype}{_grid_label(value.grid)}"
    return option_text(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _same(was, now) -> bool:
    if isinstance(was, Op) and isinstance(now, Op):
        return was.type == now.type and (was is now or np.array_equal(was.value, now.value))
    return type(was) is type(now) and was == now
