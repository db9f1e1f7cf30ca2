"""What the activations of each op are stored in, where schemes of ops differ.

An op with a scheme is stored as that says. What only shares a grid with what it reads, a movement
or a maximum, follows its operands, else its readers; a value from outside follows its readers, to
the widest of them. Where an op reads a value that is stored in another way, it is requantized.
"""

from collections.abc import Iterable, Mapping

from qir.errors import QirError
from qir.ir import OPS, Func, Op, place_of
from qir.quantizable import takes_part
from qir.roles import Roles
from qir.schemes import SCHEMES, activations_of, scheme_of

from ...dialects import quant
from .constants import STORAGES, Storage

BY_DTYPE = {storage.activation.name: storage for storage in STORAGES.values()}


def storages_of(func: Func, roles: Mapping[Op, Roles], ordinary: Storage) -> dict[Op, Storage]:
    """The storage of each op and observed value that is not the ordinary one."""
    if all(_told(op) in (None, ordinary) for op in roles):
        return {}
    found = {op: told for op in roles if (told := _told(op)) is not None}
    for op in func.ops:
        if op in roles and op not in found and not _follows(op, roles):
            found[op] = ordinary
        elif op not in found and (op in roles or op.kind == quant.stats.name):
            makers = [found[m] for m in map(_maker, op.operands) if m in found and
                      takes_part(roles[m].result)]  # fmt: skip
            found |= {op: _widest(makers)} if makers else {}
    for op in reversed(func.ops):
        if op not in found and (op in roles or op.kind == quant.stats.name):
            readers = [found[r] for r in func.users[op] if r in found]
            found[op] = _widest(readers) if readers else ordinary
    return {op: storage for op, storage in found.items() if storage != ordinary}


def refuse_others(func: Func, storage: Storage) -> None:
    """QirError for an op whose scheme stores activations in another way than this one."""
    own = storage.activation.name
    for op in func.ops:
        wanted = activations_of(op, own) if op.kind in OPS else None
        if wanted not in (None, own):
            raise QirError(f"the scheme of {op.kind} is '{scheme_of(op)}', and propagate_types "
                           f"stores activations in {own}", at=place_of(op),
                           help="float for it, or no scheme")  # fmt: skip


def _told(op: Op) -> Storage | None:
    name = scheme_of(op)
    dtype = None if name is None else SCHEMES[name].activations
    return None if dtype is None else BY_DTYPE[dtype]


def _follows(op: Op, roles: Mapping[Op, Roles]) -> bool:
    return roles[op].result.kind == "same"


def _maker(value: Op) -> Op:
    while value.kind in ("item", quant.stats.name):
        value = value.operands[0]
    return value


def _widest(storages: Iterable[Storage]) -> Storage:
    return max(storages, key=lambda storage: storage.activation.bits)
