"""What may become of one op, by the name that recipes and the attribute `scheme=` give it.

An op without the attribute gets what its pipeline does to all ops. Passes that quantize look at it:
`qir.quantizable` keeps ops in float whose activations are, `store_weights` stores what is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

ATTRIBUTE = "scheme"
"""The attribute that every op may have, whatever its dialect."""


@dataclass(frozen=True)
class Scheme:
    """What becomes of an op.

    doc: in a few words. activations: what its operands and result are stored in, None where these
    stay reals. asks: what it asks of a target (`Target.schemes`), None where that is another pass's
    to ask or nothing is asked.
    """

    doc: str
    activations: str | None = None
    asks: str | None = None


SCHEMES: Mapping[str, Scheme] = {
    "int8": Scheme("activations and weights of 8 bits", "i8"),
    "int16x8": Scheme("activations of 16 bits, weights of 8", "i16", "int16_per_channel"),
    "dynamic_range": Scheme("weights of 8 bits, inputs put on a grid in each call",
                            asks="dynamic_range"),
    "weight_only_i8": Scheme("weights stored in 8 bits", asks="weight_only_i8"),
    "weight_only_i4": Scheme("weights stored in 4 bits", asks="weight_only_i4"),
    "weight_only_i2": Scheme("weights stored in 2 bits", asks="weight_only_i2"),
    "float16": Scheme("constants stored as f16", asks="weight_only_f16"),
    "bfloat16": Scheme("constants stored as bf16", asks="weight_only_bf16"),
    "float": Scheme("stays as it is"),
}  # fmt: skip
"""By name; what they stand for in pipelines of one scheme is said in docs/schemes.md."""


def scheme_of(op) -> str | None:
    """The scheme that an op was given, None if none was."""
    return op.attributes.get(ATTRIBUTE)


def with_scheme(op, name: str | None):
    """The same op with a scheme, or without one; nothing else changes."""
    attributes = {key: value for key, value in op.attributes.items() if key != ATTRIBUTE}
    attributes |= {} if name is None else {ATTRIBUTE: name}
    return replace(op, attributes=attributes, items=None)


def activations_of(op, ordinary: str = "i8") -> str | None:
    """What the activations of an op are to be stored in, None for reals; ordinary: without a
    scheme of its own."""
    name = scheme_of(op)
    return ordinary if name is None else SCHEMES[name].activations
