"""Forms: named states of a graph on its way from a trace to integers, each with its predicate.

A pass declares an arrow between two of them. `A` implies `B` when every graph in form A is also in
form B. Arrows are checked when a pipeline is composed, predicates after each pass has run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import QirError, suggestion
from .ir import OPS, Func, Op, place_of
from .tables import table
from .types import TupleType


@dataclass(frozen=True)
class Form:
    """A named state: one line of help, the forms it implies, what is wrong with an op, if anything.

    complaint: from an op to the reason why it may not stand in a graph of this form, or None.
    """

    name: str
    doc: str
    implies: tuple[str, ...]
    complaint: Callable[[Op], str | None]


FORMS: dict[str, Form] = table(lambda form: form.complaint)


def form(name: str, doc: str, implies: tuple[str, ...] = ()):
    """Declare a form by its complaint function; a target declares its own when it is loaded."""

    def declare(complaint: Callable[[Op], str | None]) -> Form:
        if name in FORMS:
            raise TypeError(f"the form {name} is declared twice")
        FORMS[name] = Form(name, doc, implies, complaint)
        return FORMS[name]

    return declare


def implies(name: str, other: str) -> bool:
    """Whether a graph in the first form is in the second one too."""
    return name == other or any(implies(up, other) for up in FORMS[name].implies)


def known_form(name: str) -> Form:
    """The form of that name; QirError with a suggestion."""
    if name not in FORMS:
        raise QirError(f"unknown form '{name}'", help=suggestion(name, FORMS))
    return FORMS[name]


def complaints(func: Func, name: str) -> Iterator[tuple[Op, str]]:
    """Every op that may not stand in a graph of this form, with the reason."""
    names = [name, *_above(name)]
    for op in func.ops:
        for each in names:
            reason = FORMS[each].complaint(op)
            if reason is not None:
                yield op, reason
                break


def check_form(func: Func, name: str, after: str) -> None:
    """QirError if the function is not in the form the pass `after` promised, with the first op."""
    found = list(complaints(func, name))
    if not found:
        return
    op, reason = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise QirError(f"{after} promised the form '{name}': {op.kind} {reason}{more}", at=place_of(op))


def _above(name: str) -> list[str]:
    return [n for up in FORMS[name].implies for n in (up, *_above(up))]


def _dialect(op: Op) -> str:
    return op.kind.partition(".")[0]


def _types(op: Op):
    return op.type.items if isinstance(op.type, TupleType) else (op.type,)


def _graph_op(op: Op) -> bool:
    return op.kind in ("parameter", "const", "item")


def _moves(op: Op) -> bool:
    return op.kind in OPS and OPS[op.kind].on_storage


_QUANT_STAGES = {
    "quant.observe": "observed",
    "quant.stats": "calibrated",
    "quant.quantize": "qdq",
    "quant.dequantize": "qdq",
    "quant.requantize": "qdq",
    **dict.fromkeys(("quant.widen", "quant.dense", "quant.take"), "mixed"),
}


@form("traced", "as a frontend wrote it: lax and nn ops on plain tensors")
def traced(op: Op) -> str | None:
    if _dialect(op) in ("int8", "xla", "tfl") or _QUANT_STAGES.get(op.kind) is not None:
        return "belongs to a later form"
    return None


@form("float", "nn ops and what lax remains, nothing quantized yet", implies=("traced",))
def float_(op: Op) -> str | None:
    return None


@form("observed", "float with quant.observe where a range is needed, or quant.stats of training")
def observed(op: Op) -> str | None:
    stage = _QUANT_STAGES.get(op.kind)
    if _dialect(op) in ("int8", "xla", "tfl") or stage not in (None, "observed", "calibrated"):
        return "belongs to a later form"
    return None


@form("calibrated", "float with quant.stats, every range known")
def calibrated(op: Op) -> str | None:
    if _dialect(op) in ("int8", "xla", "tfl"):
        return "belongs to a later form"
    stage = _QUANT_STAGES.get(op.kind)
    return None if stage in (None, "calibrated") else f"belongs to the form '{stage}'"


@form("corrected", "calibrated, its biases no longer those of the float function but what "
      "brings the quantized one near to it", implies=("calibrated",))  # fmt: skip
def corrected(op: Op) -> str | None:
    return None


@form("qdq", "float ops between quantize and dequantize, every grid chosen")
def qdq(op: Op) -> str | None:
    if _dialect(op) in ("int8", "xla", "tfl"):
        return "belongs to a later form"
    stage = _QUANT_STAGES.get(op.kind)
    return None if stage in (None, "qdq") else f"belongs to the form '{stage}'"


@form("mixed", "integer islands, float ops only between casts")
def mixed(op: Op) -> str | None:
    if _QUANT_STAGES.get(op.kind) in ("observed", "calibrated"):
        return "belongs to an earlier form"
    return None


@form("stored", "mixed, weights of ops in float stored in fewer bits, which rounds them",
      implies=("mixed",))  # fmt: skip
def stored(op: Op) -> str | None:
    return None


@form("int8", "integer ops alone between the casts at the boundary", implies=("mixed",))
def int8(op: Op) -> str | None:
    if _graph_op(op) or _dialect(op) == "int8" or op.kind == "quant.requantize":
        return None
    if op.kind in ("quant.quantize", "quant.dequantize"):
        return None
    if _moves(op) and not any(t.is_float for t in _types(op)):
        return None
    if not any(t.is_float for t in _types(op)) and not any(
        t.is_float for o in op.operands for t in _types(o)
    ):
        return None
    return "computes in float"
