"""A whole function typed anew: what `--verify-each` runs after each pass."""

from .errors import QirError
from .ir import OPS, Func, Op, place_of

_OWN = ("parameter", "const", "item")


def verify(func: Func, after: str) -> None:
    """QirError if an op does not have the type that its operands and attributes give it.

    after: the pass to blame. Two parameters of one name, and a parameter the signature does not
    list, are errors too.
    """
    names = [p.attributes["name"] for p in func.parameters]
    if len(set(names)) < len(names):
        raise QirError(f"after {after}, two parameters of @{func.name} have one name: {names}")
    known = set(func.parameters)
    for op in func.ops:
        if op.kind == "parameter" and op not in known:
            raise QirError(f"after {after}, %{op.attributes['name']} is used in @{func.name} and "
                           "is no parameter of it", at=place_of(op))  # fmt: skip
        if op.kind not in _OWN:
            _check(op, after)


def _check(op: Op, after: str) -> None:
    if op.kind not in OPS:
        raise QirError(f"after {after}, there is the unknown op '{op.kind}'", at=place_of(op))
    try:
        again = OPS[op.kind].build(op.operands, dict(op.attributes), location=op.location)
    except QirError as error:
        raise QirError(f"after {after}, {error.message}", at=error.at) from None
    if again.type != op.type:
        raise QirError(f"after {after}, {op.kind} has the type {op.type}, its operands give "
                       f"{again.type}", at=place_of(op))  # fmt: skip
