"""Control flow of version 1: loops between Enter and Exit, branches between Switch and Merge.

What a loop or a branch is stands in no operation; it is how these few are connected. A loop is
found from an Exit, and written out; a branch from the Merge where it ends, by what decided the
Switch that each side comes from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qir.dialects import lax

from ...errors import Declined
from ..loops import STEPS
from ..values import MISSING, Known, Missing, Value, located, node_of

ENTERS, EXITS = ("Enter", "RefEnter"), ("Exit", "RefExit")
MERGES, SWITCHES = ("Merge", "RefMerge"), ("Switch", "RefSwitch")
REPEATS = ("NextIteration", "RefNextIteration")
INNER = (*ENTERS, *SWITCHES, *REPEATS, "LoopCond")


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop of a graph.

    condition: the LoopCond. switches: that of each of its variables, each of which reads the
    variable's Merge. enters: the Enters of variables and of what is the same in every step.
    """

    condition: object
    switches: Sequence
    enters: Sequence

    @property
    def reads(self) -> list:
        """What stands outside and is read inside."""
        return [enter.inputs[0] for enter in self.enters]


def is_inner(tensor) -> bool:
    """Whether a tensor is a part of a loop or a branch that says nothing to anyone outside."""
    op = tensor.op
    if op.type in MERGES:
        return tensor.value_index == 1 or any(_inputs(op, REPEATS))
    return op.type in INNER or op.type == "Identity" and op.inputs[0].op.type in SWITCHES


def loop_of(exit) -> Loop:
    """The loop that an Exit leaves; Declined where its operations are not connected as a loop's."""
    switch = exit.inputs[0].op
    if switch.type not in SWITCHES or switch.inputs[1].op.type != "LoopCond":
        raise Declined("it leaves no loop that has a condition")
    condition = switch.inputs[1].op
    switches = [op for op in condition.outputs[0].consumers()
                if op.type in SWITCHES and op.inputs[0].op.type in MERGES]  # fmt: skip
    merges = [each.inputs[0].op for each in switches]
    frame = next(each for merge in merges for each in _inputs(merge, ENTERS)).get_attr("frame_name")
    inside = [condition.inputs[0].op]
    inside += [repeat.inputs[0].op for merge in merges for repeat in _inputs(merge, REPEATS)]
    enters = [each for merge in merges for each in _inputs(merge, ENTERS)]
    enters += [op for op in _before(inside, {merge.name for merge in merges}, frame)
               if op.type in ENTERS and op.get_attr("frame_name") == frame]  # fmt: skip
    return Loop(condition, switches, list(dict.fromkeys(enters)))


def _inputs(op, kinds) -> Iterator:
    return (tensor.op for tensor in op.inputs if tensor.op.type in kinds)


def _before(ops, stop: set[str], frame: bytes) -> Iterator:
    """The operations that some come from, up to those of these names and to Enters of the frame."""
    seen, stack = set(stop), list(ops)
    while stack:
        op = stack.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        yield op
        if op.type not in ENTERS or op.get_attr("frame_name") != frame:
            stack += [tensor.op for tensor in op.inputs]


def unrolled(importer, loop: Loop, outside: Sequence[Value]) -> dict[object, Value]:
    """The values behind the Exits of a loop, written out; outside: the values of its `reads`."""
    entered = dict(zip((each.name for each in loop.enters), outside, strict=True))
    merges = [switch.inputs[0].op for switch in loop.switches]
    state = [entered[next(_inputs(merge, ENTERS)).name] for merge in merges]
    same = {each.outputs[0].ref(): entered[each.name] for each in loop.enters}
    following = [next(_inputs(merge, REPEATS)).inputs[0] for merge in merges]
    for _ in range(STEPS + 1):
        values = dict(same)
        for merge, switch, value in zip(merges, loop.switches, state, strict=True):
            for tensor in (merge.outputs[0], *switch.outputs):
                values[tensor.ref()] = value
            values[merge.outputs[1].ref()] = Known(np.int32(0))
        (goes_on,) = importer.tensors([loop.condition.inputs[0]], values)
        if isinstance(goes_on, Missing):
            return _behind(loop, [MISSING] * len(state))
        if not isinstance(goes_on, Known):
            raise Declined("how often the loop runs depends on an input")
        if not goes_on.array:
            return _behind(loop, state)
        state = importer.tensors(following, values)
    raise Declined(f"a loop of more than {STEPS} steps")


def _behind(loop: Loop, state: Sequence[Value]) -> dict[object, Value]:
    return {op.outputs[0].ref(): value
            for switch, value in zip(loop.switches, state, strict=True)
            for op in switch.outputs[0].consumers() if op.type in EXITS}  # fmt: skip


def joined_reads(importer, node, values: Mapping) -> list:
    """The tensors whose values an Exit or a Merge needs first, given those that are known.

    A Merge needs what decides, and then both sides, or the one that is taken.
    """
    if node.type in EXITS:
        loop = _known_loop(importer, node)
        return [] if loop is None else loop.reads
    found = _decider(importer, node)
    if found is None:
        return []
    which, sides = found
    if not isinstance(values.get(which.ref()), Known):
        return [which, *(node.inputs if which.ref() in values else ())]
    return [which, node.inputs[sides.index(int(bool(values[which.ref()].array)))]]


def joined(importer, node, values: Mapping) -> dict[object, Value]:
    """The values behind a loop that an Exit leaves, or of a Merge."""
    loop = _known_loop(importer, node) if node.type in EXITS else None
    try:
        if node.type in EXITS:
            loop = loop or loop_of(node)
            return unrolled(importer, loop, [values[tensor.ref()] for tensor in loop.reads])
        return {tensor.ref(): value for tensor, value in
                zip(node.outputs, _merged(importer, node, values), strict=True)}  # fmt: skip
    except Declined as error:
        told = node if loop is None else loop.condition
        importer.problems.add(told.type, str(error), told.name)
    behind = {} if loop is None else _behind(loop, [MISSING] * len(loop.switches))
    return {**{tensor.ref(): MISSING for tensor in node.outputs}, **behind}


def _known_loop(importer, exit) -> Loop | None:
    if exit not in importer.loops:
        try:
            importer.loops[exit] = loop_of(exit)
        except Declined:
            return None
    return importer.loops[exit]


def _merged(importer, node, values: Mapping) -> tuple[Value, Value]:
    """What a Merge gives, and the number of the input that it comes from."""
    found = _decider(importer, node)
    if found is None:
        raise Declined("no condition tells which of its inputs it gives")
    which, sides = found
    decided = values[which.ref()]
    if isinstance(decided, Known):
        place = sides.index(int(bool(decided.array)))
        return values[node.inputs[place].ref()], Known(np.int32(place))
    both = [values[tensor.ref()] for tensor in node.inputs]
    return _chosen(importer, node, sides, decided, both), MISSING


def _decider(importer, merge) -> tuple[object, Sequence[int]] | None:
    """The predicate that decides which input a Merge gives, and the side of it each input is on."""
    known = importer.sides.setdefault(merge.graph, {})
    for op in (tensor.op for tensor in merge.inputs):
        _learn(op, known)
    return _telling([_beyond(tensor, known[tensor.op.name]) for tensor in merge.inputs])


def _telling(sides: Sequence[Mapping]) -> tuple[object, Sequence[int]] | None:
    for ref in sides[0]:
        found = [each.get(ref) for each in sides]
        if sorted(found, key=str) == [0, 1]:
            return ref.deref(), found
    return None


def _learn(op, known: dict[str, Mapping]) -> None:
    """By predicate: 1 if it must hold for an operation to run, 0 if it must not; for all before it.

    known: what was learnt by the operations' names.
    """
    stack = [op]
    while stack:
        op = stack[-1]
        sources = [] if op.name in known else _sources(op)
        open_ = [each for _, each in sources if each.name not in known]
        if open_:
            stack += open_
            continue
        stack.pop()
        if op.name in known:
            continue
        found: dict = {}
        for tensor, source in sources:
            found |= _beyond(tensor, known[source.name])
        told = None
        if op.type in MERGES and len(sources) == len(op.inputs) + len(op.control_inputs):
            told = _telling([_beyond(tensor, known[tensor.op.name]) for tensor in op.inputs])
        known[op.name] = {k: v for k, v in found.items() if told is None or k != told[0].ref()}


def _sources(op) -> list[tuple[object, object]]:
    """What an operation waits for, each with the tensor it hands on: not the way back of a loop."""
    found = [(tensor, tensor.op) for tensor in op.inputs] + [(None, c) for c in op.control_inputs]
    return [(tensor, each) for tensor, each in found if each.type not in REPEATS]


def _beyond(tensor, sides: Mapping) -> Mapping:
    """What decides on a result of an operation: the sides of a Switch are told apart."""
    if tensor is None or tensor.op.type not in SWITCHES:
        return sides
    predicate = tensor.op.inputs[1]
    while predicate.op.type == "Identity":
        predicate = predicate.op.inputs[0]
    if predicate.op.type == "LoopCond":
        return sides
    return {**sides, predicate.ref(): tensor.value_index}


def _chosen(importer, node, sides: Sequence[int], which: Value, values: Sequence[Value]) -> Value:
    """What a Merge gives if an input decides: both sides are computed, and one of them taken."""
    if isinstance(which, Missing) or any(isinstance(each, Missing) for each in values):
        return MISSING
    if any(not isinstance(v, Known) and not hasattr(v, "type") for v in values):
        raise Declined("an input decides between lists")
    condition, *both = (node_of(v, importer.made, node.name) for v in (which, *values))
    off, on = (both[sides.index(side)] for side in (0, 1))
    found = lax.select(condition, on, off)
    located([found], [condition, *both], node.name)
    return found
