"""What there is to say of a value: what it is, what it came from, and why it has its grid."""

from collections import Counter
from collections.abc import Callable, Iterator

from ..decisions import ConstantPlaced, GridChanged, GridsChosen, RangeFound, WeightStored
from ..floats import floats_left, is_lowered
from ..ir import Func, Op, place_of
from ..quantizable import FloatKept
from ..text.write import op_printer, value_names
from ..types import Type
from .constants import constant_lines, weight_lines
from .grids import grid_lines
from .history import History, Link
from .ranges import given_line, range_lines
from .words import about, again, element_text, indented, listed

SHOWN = 12
"""How many ops of the input, rules and readers are listed; of others there is their number."""

Section = tuple[str, list[str]]
PrintOp = Callable[[Op], str]


def story(history: History, stage: int, op: Op, print_op: PrintOp) -> str:
    """What there is to say of a value of the graph after a step, as a text of several lines."""
    lines = [print_op(op), *indented(_places(history.stages[stage], op))]
    said = ((title, tuple(inside)) for title, inside in _sections(history, stage, op, print_op))
    for title, inside in dict.fromkeys(said):
        if inside:
            lines += [f"  {title}", *indented(inside, 4)]
    return "\n".join(lines)


def _sections(history: History, stage: int, op: Op, print_op: PrintOp) -> Iterator[Section]:
    func, lineage = history.stages[stage], history.lineage(op)
    if op.kind == "quant.dequantize":
        yield "the reals of", [print_op(op.operands[0])]
        yield from _sections(history, stage, op.operands[0], print_op)
        return
    yield "made from", _origins(history, op, lineage)
    yield "by", _steps(history, lineage)
    if stage < len(history.stages) - 1:
        yield "became", _heirs(history, op)
    if op.is_const:
        placed = _placed(history, op, lineage)
        yield from (("grid", list(constant_lines(each))) for each in placed)
        kept = [each for each in history.decisions(WeightStored) if each.stored in lineage]
        yield from (("grid", list(weight_lines(each))) for each in kept)
        if placed or kept or op.type.grid is None:
            return
    if _is_float(op):
        yield from _float_sections(history, func, op, lineage, print_op)
    yield from _grid_sections(history, op, lineage)


def _places(func: Func, op: Op) -> list[str]:
    """Where it came from, and which results of the function it is."""
    names = func.result_names or ("",) * len(func.results)
    ends = [f"result {i}{f' ({name})' if name else ''} of @{func.name}"
            for i, name in enumerate(names) if func.results[i] is op]  # fmt: skip
    return [*(op.location or ("at an unknown place",)), *ends]


def _origins(history: History, op: Op, lineage: dict[Op, None]) -> list[str]:
    """The ops of the graph that went in, by the names they have there."""
    first = history.stages[0]
    found = [each for each in first.ops if each in lineage]
    if found == [op]:
        return []
    names = value_names(first)

    def line(each: Op) -> str:
        name = f"(#{each.attributes['name']})" if each.is_const and each.attributes["name"] else ""
        return f"{names[each]} = {each.kind}{name} : {each.type}  {place_of(each) or ''}".rstrip()

    return list(listed(found, line, SHOWN))


def _steps(history: History, lineage: dict[Op, None]) -> list[str]:
    """What rules and passes did to it, in order; what they did several times is one line."""
    did = Counter()
    for link in history.made_by(lineage):
        text = _did(link)
        if text is not None:
            did[link.step, text] += 1
    width = max((len(history.names[step]) for step, _ in did), default=0)
    return [f"{history.names[step]:<{width}}  {again((text, times))}"
            for (step, text), times in did.items()]  # fmt: skip


def _did(link: Link) -> str | None:
    """What a rule or a pass made of what; None where an op only moved along."""
    if link.firing is not None:
        matched = ", ".join(each.kind for each in link.firing.matched)
        return f"{link.firing.rule}: {matched} -> {link.firing.replacement.kind}"
    kinds = dict.fromkeys(each.kind for each in link.olds)
    return None if link.op.kind in kinds else f"{', '.join(kinds)} -> {link.op.kind}"


def _heirs(history: History, op: Op) -> list[str]:
    """The ops of the last graph that were made from it."""
    last, offspring = history.stages[-1], history.offspring(op)
    found = [each for each in last.ops if each in offspring and (op.is_const or not each.is_const)]
    return list(listed(found, op_printer(last), SHOWN)) or ["nothing: no result needs it any more"]


def _placed(history: History, op: Op, lineage: dict[Op, None]) -> list[ConstantPlaced]:
    """How constants in the lineage of one were put on grids; those of its own storage, if any."""
    found = [each for each in history.decisions(ConstantPlaced) if each.stored in lineage]
    alike = [each for each in found if each.stored.dtype == op.dtype]
    return alike or found


def _is_float(op: Op) -> bool:
    return isinstance(op.type, Type) and op.type.is_float


def _float_sections(history: History, func: Func, op: Op, lineage,
                    print_op: PrintOp) -> Iterator[Section]:  # fmt: skip
    """Why a value is in float, and the casts to and from integers around it."""
    for cast in func.users[op]:
        if cast.kind == "quant.quantize":
            yield "quantized by", [print_op(cast)]
            yield from _grid_sections(history, cast, history.lineage(cast))
    if op.kind in ("parameter", "const"):
        return
    kept = [each for each in history.decisions(FloatKept) if each.op in lineage]
    said = [(each.reason, each.needed) for each in kept]
    if not said and is_lowered(func):
        said = [(each.reason, each.fix) for each in floats_left(func, [op])]
    yield "stays in float", list(dict.fromkeys(reason for reason, _ in said))
    yield "to change that it takes", list(dict.fromkeys(fix for _, fix in said))


def _grid_sections(history: History, op: Op, lineage: dict[Op, None]) -> Iterator[Section]:
    """The ranges and grids of a value, and where they change."""
    first = set(history.stages[0].ops)
    for found in history.decisions(RangeFound):
        if found.observer in lineage:
            yield "range", list(range_lines(found))
    given = [each for each in lineage if each.kind == "quant.stats" and each in first]
    yield "range", [given_line(each) for each in given]
    changes = [each for each in history.decisions(GridChanged) if each.value in lineage]
    yield "grid", _unchosen(history, op, lineage)
    for chosen in history.decisions(GridsChosen):
        for node in _nodes(chosen, op, lineage):
            yield "grid", list(grid_lines(chosen, node, history.decisions(GridChanged)))
        for each in changes:
            if each.cast in lineage:
                why = f"{element_text(each.own)} to {element_text(each.wanted)}"
                yield "change of grid", [f"from {why}, which {about(each.reader)} reads"]
                yield "grid there", list(grid_lines(chosen, each.reader, changes))
    elsewhere = [each for each in changes if each.cast not in lineage and not op.is_const]
    yield "read on another grid by", [_change(history, each) for each in elsewhere]


def _unchosen(history: History, op: Op, lineage: dict[Op, None]) -> list[str]:
    """What is said of a grid that no pass on the way chose."""
    given = isinstance(op.type, Type) and op.type.grid is not None
    if not given or any(_nodes(each, op, lineage) for each in history.decisions(GridsChosen)):
        return []
    return ["it came with the graph that went in, or with a constant: no pass here chose it"]


def _nodes(chosen: GridsChosen, op: Op, lineage: dict[Op, None]) -> list[Op]:
    """The nodes whose grid a value stands on; where none is the very one, all in its lineage."""
    found = [chosen.node_of.get(each, each) for each in lineage]
    nodes = list(dict.fromkeys(node for node in found if node in chosen.elements))
    own = op.type.element if isinstance(op.type, Type) else None
    return [node for node in nodes if chosen.elements[node] == own] or nodes


def _change(history: History, change: GridChanged) -> str:
    """A reader that wanted another grid, and what gives it that grid in the last graph."""
    last, offspring = history.stages[-1], history.offspring(change.cast)
    made = next((each for each in last.ops if each in offspring), None)
    by = "" if made is None else f", made by {value_names(last)[made]} = {made.kind}"
    return f"{about(change.reader)}: {element_text(change.wanted)}{by}"
