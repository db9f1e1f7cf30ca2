"""Equations to ops: calls inlined, what depends on constants alone evaluated, the rest imported."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from ...dialect import items
from ...errors import Declined, QirError
from ...ir import Op
from ..values import MISSING, Known, Problems, Value, located, meanings, node_of
from .control import CONTROL
from .locations import Location, Locations
from .models import identity
from .table import IMPORTS, type_of_aval

CALLS = ("jit", "pjit", "call", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
         "custom_vjp_call_jaxpr", "remat", "remat2", "checkpoint", "composite")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Importer:
    """One trace: where things came from, what arrays are called, what could not be imported.

    made: the nodes of constants.
    """

    where: Locations
    names: dict[object, str]
    problems: Problems = field(default_factory=lambda: Problems("JAX primitive"))
    made: dict[Known, Op] = field(default_factory=dict)

    def run(self, closed: ClosedJaxpr, parameters: Sequence[Op]) -> tuple[Op, ...]:
        """The results of a program on its inputs; QirError lists all that is not imported."""
        values = self.program(closed, parameters, None)
        self.problems.refuse('declare @imports("{}") in a file of qir/frontends/jax/')
        return tuple(self.op(value, Location(self.where.default)) for value in values)

    def program(self, closed, arguments: Sequence[Value], outer: Location | None) -> list[Value]:
        """The results of a jaxpr, closed over its constants or open, on values."""
        jaxpr = getattr(closed, "jaxpr", closed)
        values: dict[object, Value] = {}
        for variable, array in zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=True):
            values[variable] = self.named(array)
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom) -> Value:
            if isinstance(atom, Literal):
                return Known(np.asarray(atom.val, atom.aval.dtype))
            return values[atom]

        for equation in _live(jaxpr):
            location = self.where.of(equation, outer)
            results = self.equation(equation, [read(a) for a in equation.invars], location)
            values.update(zip(equation.outvars, results, strict=True))
        return [read(a) for a in jaxpr.outvars]

    def named(self, array) -> Known:
        """A constant under the name its model gives it."""
        return Known(_as_numpy(array), self.names.get(identity(array)))

    def equation(self, equation, operands: list[Value], location: Location) -> list[Value]:
        """The results of one equation."""
        primitive = equation.primitive.name
        body = _body(equation, operands)
        if body is not None:
            inner, arguments = body
            jaxpr = getattr(inner, "jaxpr", inner)
            return self.program(inner, arguments, self.where.inside(location, jaxpr))
        if all(isinstance(o, Known) for o in operands):
            return self.evaluated(equation, operands, location)
        control = CONTROL.get(primitive)
        if control is None and primitive not in IMPORTS:
            self.problems.add(primitive, None, str(location))
            return [MISSING] * len(equation.outvars)
        if control is None and any(o is MISSING for o in operands):
            return [MISSING] * len(equation.outvars)
        try:
            if control is not None:
                return control(self, equation, operands, location)
            return list(self.imported(equation, operands, location))
        except (Declined, QirError) as error:
            reason = error.message if isinstance(error, QirError) else str(error)
            self.problems.add(primitive, reason, str(location))
            return [MISSING] * len(equation.outvars)

    def imported(self, equation, operands: list[Value], location: Location):
        """The ops of an equation's results, which and whose helpers stand at its location."""
        entry = IMPORTS[equation.primitive.name]
        if entry.broadcasts:
            operands = _narrowed(operands, equation.outvars[0].aval.shape)
        ours = [self.op(value, location) for value in operands]
        built = entry.build(equation, *ours)
        results = built if isinstance(built, tuple) else items(built)
        located(results, ours, str(location))
        _check(results, equation)
        return results

    def op(self, value: Value, location: Location) -> Op:
        """A value as a node of the graph; a constant stands where it is first read."""
        if isinstance(value, Known) and _is_key(value.array):
            raise QirError("random keys are no values of a graph")
        return node_of(value, self.made, str(location))

    def evaluated(self, equation, operands: list[Known], location: Location) -> list[Known]:
        """The results of an equation on constants: by our meaning of it, else by JAX's own."""
        name = _kept_name(operands, equation.outvars[0].aval) if equation.outvars else None
        try:
            if equation.primitive.name in IMPORTS:
                results = self.imported(equation, operands, location)
                return [Known(array, name) for array in meanings(results)]
        except (Declined, QirError):
            pass  # a variant or a type that only JAX knows, complex numbers say
        with jax.default_device(jax.devices("cpu")[0]):
            values = equation.primitive.bind(*(o.array for o in operands), **equation.params)
        values = values if equation.primitive.multiple_results else (values,)
        return [Known(_as_numpy(v), name) for v in values]


def _as_numpy(value):
    """numpy's form of an array; keys and their like have none and stay JAX's."""
    return value if _is_key(value) else np.asarray(value)


def _is_key(value) -> bool:
    return jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended)


def _kept_name(operands: list[Known], aval) -> str | None:
    """The name of the first operand of the result's size: a transposed filter keeps its name."""
    size = int(np.prod(aval.shape))
    return next((o.name for o in operands if o.name and np.size(o.array) == size), None)


def _live(jaxpr) -> list:
    """The equations whose results are read, in order."""
    wanted = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    live = []
    for equation in reversed(jaxpr.eqns):
        if any(v in wanted for v in equation.outvars):
            live.append(equation)
            wanted.update(v for v in equation.invars if not isinstance(v, Literal))
    return live[::-1]


def _body(equation, operands):
    """The jaxpr that an equation calls and its arguments; None if it is no call."""
    if equation.primitive.name == "cond" and isinstance(operands[0], Known):
        branches = equation.params["branches"]
        index = int(np.clip(np.asarray(operands[0].array), 0, len(branches) - 1))
        return branches[index], operands[1:]
    if equation.primitive.name not in CALLS:
        return None
    found = (equation.params.get(key) for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
    inner = next((jaxpr for jaxpr in found if jaxpr is not None), None)
    return None if inner is None else (inner, operands)


def _narrowed(operands: list[Value], shape) -> list[Value]:
    """Constants without the axes along which they repeat what another operand spans anyway."""
    spans = [any(isinstance(o, Op) and o.type.rank == len(shape) and o.shape[axis] == n
                 for o in operands) for axis, n in enumerate(shape)]  # fmt: skip
    return [_narrow(o, spans) if isinstance(o, Known) else o for o in operands]


def _narrow(known: Known, spans: list[bool]) -> Known:
    array = np.asarray(known.array)
    if array.ndim != len(spans):
        return known
    for axis, spanned in enumerate(spans):
        if spanned and array.shape[axis] > 1 and _repeats(array, axis):
            array = array[(slice(None),) * axis + (slice(0, 1),)]
    if array.size == 1 and all(spans):
        array = array.reshape(())
    return replace(known, array=array)


def _repeats(array: np.ndarray, axis: int) -> bool:
    """Whether a broadcast made the axis; along the first axis, the batch, whether it could have."""
    if array.strides[axis] == 0 or axis > 0:
        return array.strides[axis] == 0
    return bool((array[0] == array[1]).all() and (array == array[:1]).all())


def _check(results: Sequence[Op], equation) -> None:
    """The types an import gave are those the equation has."""
    for result, variable in zip(results, equation.outvars, strict=True):
        expected = type_of_aval(variable.aval)
        if result.type != expected:
            raise QirError(f"the import gave {result.type}, JAX has {expected}")
