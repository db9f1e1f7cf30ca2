"""Dialects and ops: an op is one typing function with a numpy meaning.

Positional parameters of the typing function are operands (`x: Type`; `b: Type | None = None` may
be left out; `*xs: Type` takes any number), keyword-only ones are attributes with defaults, and its
body infers the result type or declines with `require`. Calling the op builds a node; calling it
with patterns builds a pattern.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .attributes import coerce, is_kind
from .errors import Declined, QirError, require, suggestion
from .ir import OPS, Op, const, item, place_of
from .pattern import Pattern, node
from .plugins import with_left_out
from .roles import Roles, RoleTable, keeps_float
from .schemes import ATTRIBUTE, SCHEMES
from .types import DTYPES, LARGEST, DType, TupleType, Type


@dataclass(frozen=True, eq=False, repr=False)
class OpDefinition:
    """Everything known of one op.

    required, optional: operand names; variadic: the name of the trailing operand list, if any.
    attributes: kind and default by name (`inspect.Parameter.empty` where there is none).
    pointwise: each element of the result depends on the same element of the operands alone.
    moves: copies elements without computing, on any storage. on_storage: has the same meaning on
    stored integers of one grid (moves, and order-preserving ops such as maximum).
    """

    name: str
    typing: Callable
    required: tuple[str, ...]
    optional: tuple[str, ...]
    variadic: str | None
    attributes: dict[str, tuple[object, object]]
    roles_of: RoleTable
    commutative: bool
    pointwise: bool
    moves: bool
    on_storage: bool
    meaning: list[Callable] = field(default_factory=list)
    span: list[Callable] = field(default_factory=list)

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.typing.__doc__ or "")

    def roles(self, op: Op) -> Roles:
        """The roles of this node's operands and result."""
        return self.roles_of(op)

    def means(self, function: Callable) -> Callable:
        """Declare the numpy meaning: `(op, *arrays) -> array`, a tuple for several results."""
        if self.meaning:
            raise TypeError(f"{self.name} has two meanings")
        self.meaning.append(function)
        return function

    def spans(self, function: Callable) -> Callable:
        """Declare what the integers span: `(op, *ranges) -> Range | Span`, see `qir.ranges`."""
        if self.span:
            raise TypeError(f"{self.name} declares twice what its integers span")
        self.span.append(function)
        return function

    def evaluate(self, op: Op, *arrays: np.ndarray):
        """The numpy meaning of this node on arrays."""
        if not self.meaning:
            raise QirError(f"{self.name} has no numpy meaning", at=place_of(op))
        return self.meaning[0](op, *arrays)

    def __call__(self, *operands, location=(), **attributes):
        """Build a node, or a pattern if an operand is a pattern or `...`."""
        if any(isinstance(o, Pattern) or o is ... for o in operands):
            return node((self.name,), operands, attributes, self.commutative)
        while operands and operands[-1] is None:
            operands = operands[:-1]
        return self.build(_as_ops(self, operands), attributes, location=location)

    def build(self, operands: tuple[Op, ...], attributes: dict, location=()) -> Op:
        """A node of this op, typed; QirError says what does not fit."""
        try:
            self._check_count(len(operands))
            for operand in operands:
                require(not isinstance(operand.type, TupleType),
                        f"takes tensors, found the several results {operand.type}; "
                        "item(%t, index=0) is one of them")  # fmt: skip
            full = self._complete({k: v for k, v in attributes.items() if k != ATTRIBUTE})
            type = self.typing(*(o.type for o in operands), **full)
            _check_size(type)
            full |= _scheme(attributes)
        except Declined as declined:
            at = location[0] if location else next(filter(None, map(place_of, operands)), None)
            raise QirError(f"{self.name}: {declined}", at=at) from None
        return Op(self.name, tuple(operands), full, type, tuple(location))

    def _check_count(self, found: int) -> None:
        low, high = len(self.required), len(self.required) + len(self.optional)
        if found >= low and (self.variadic or found <= high):
            return
        names = ", ".join((*self.required, *(f"{n}?" for n in self.optional)))
        names += f", {self.variadic}..." if self.variadic else ""
        raise Declined(f"takes the operands ({names.strip(', ')}), found {found}")

    def _complete(self, given: dict) -> dict:
        for name in given:
            if name not in self.attributes:
                raise Declined(f"no attribute '{name}'; {suggestion(name, self.attributes)}")
        full = {}
        for name, (kind, default) in self.attributes.items():
            value = given.get(name, default)
            if value is inspect.Parameter.empty:
                raise Declined(f"the attribute '{name}' is missing")
            try:
                full[name] = coerce(value, kind) if value is not default else default
            except Declined as declined:
                raise Declined(f"attribute '{name}': {declined}") from None
            except QirError as error:
                raise Declined(f"attribute '{name}': {error.message}") from None
        return full

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self):
        return _definition, (self.name,)


def _scheme(given: dict) -> dict[str, str]:
    """The attribute that every op may have, where it was given."""
    name = given.get(ATTRIBUTE)
    if name is None:
        return {}
    require(name in SCHEMES if isinstance(name, str) else False,
            f"attribute '{ATTRIBUTE}': there is no scheme '{name}'; "
            f"{suggestion(str(name), SCHEMES)}")  # fmt: skip
    return {ATTRIBUTE: name}


def _check_size(type: Type | TupleType) -> None:
    for each in type.items if isinstance(type, TupleType) else (type,):
        large = max(each.size, *each.shape, 0) > LARGEST
        require(not large, f"a result of {each} has more than {LARGEST:,} elements")


def _definition(name: str) -> OpDefinition:
    return OPS[name]


def _as_ops(definition: OpDefinition, operands) -> tuple[Op, ...]:
    """Operands as nodes; numbers and arrays of reals take the storage of the reals they meet."""
    met = (o.type for o in operands if isinstance(o, Op) and not isinstance(o.type, TupleType))
    storage = next((type.dtype for type in met if type.is_float), DTYPES["f32"])
    return tuple(_as_op(definition, operand, storage) for operand in operands)


def _as_op(definition: OpDefinition, operand, storage: DType) -> Op:
    if isinstance(operand, Op):
        return operand
    if isinstance(operand, (int, float, np.ndarray, np.generic)):
        array = np.asarray(operand)
        real = isinstance(operand, (int, float)) or array.dtype.kind in "fV"
        return const(array, Type(storage, array.shape)) if real else const(array)
    raise QirError(f"{definition.name}: an operand must be a value of the graph or an array, "
                   f"found {type(operand).__name__}")  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """A family of ops under one name; `dialect.op` declares one."""

    name: str
    doc: str = ""

    def op(self, function: Callable | None = None, *, grid: RoleTable = keeps_float,
           commutative=False, pointwise=False, moves=False, on_storage=False,
           name=None):  # fmt: skip
        """Declare an op by its typing function; the function's name is the op's."""

        def declare(typing: Callable) -> OpDefinition:
            full = f"{self.name}.{name or typing.__name__.rstrip('_')}"
            if full in OPS:
                raise TypeError(f"the op {full} is declared twice")
            required, optional, variadic, attributes = _signature(typing, full)
            definition = OpDefinition(
                full, typing, required, optional, variadic, attributes, grid, commutative,
                pointwise, moves, on_storage or moves,
            )  # fmt: skip
            OPS[full] = definition
            return definition

        return declare(function) if function is not None else declare


def _signature(typing: Callable, full: str):
    required, optional, variadic, attributes = [], [], None, {}
    for parameter in inspect.signature(typing).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = parameter.name
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if not is_kind(parameter.annotation):
                raise TypeError(f"{full}: '{parameter.name}' needs a kind of qir.attributes")
            attributes[parameter.name] = (parameter.annotation, parameter.default)
        elif parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            optional.append(parameter.name)
    return tuple(required), tuple(optional), variadic, attributes


def definition(name: str) -> OpDefinition:
    """The op of that full name; QirError with a suggestion if there is none."""
    if name not in OPS:
        raise QirError(f"unknown op '{name}'", help=with_left_out(suggestion(name, OPS)))
    return OPS[name]


def items(op: Op) -> tuple[Op, ...]:
    """All results of an op, one or several."""
    if not isinstance(op.type, TupleType):
        return (op,)
    return tuple(item(op, i) for i in range(len(op.type.items)))
