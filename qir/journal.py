"""What the machine and its passes decide, written down for whoever listens.

An entry is a frozen dataclass that stands beside the code that decides: a firing of a rule, the
descent of an op, a range, a grid. Whoever wants entries names their kinds; of kinds that nobody
wants none are made.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_LISTENERS: ContextVar[Mapping[type, list]] = ContextVar(
    "listeners", default=MappingProxyType({})
)


@contextmanager
def recorded(*kinds: type) -> Iterator[list]:
    """Collect the entries of these kinds made inside the block, in order, into the list it gives.

    Blocks around it that want them have them when it ends.
    """
    log: list = []
    outer = _LISTENERS.get()
    token = _LISTENERS.set({**outer, **dict.fromkeys(kinds, log)})
    try:
        yield log
    finally:
        _LISTENERS.reset(token)
        for entry in log:
            if type(entry) in outer:
                outer[type(entry)].append(entry)


@contextmanager
def unheard() -> Iterator[None]:
    """Inside the block nobody around it listens: for what is tried and not done."""
    token = _LISTENERS.set({})
    try:
        yield
    finally:
        _LISTENERS.reset(token)


def listener(kind: type) -> list | None:
    """The list that entries of a kind go to, None where nobody listens."""
    return _LISTENERS.get().get(kind)


def note(kind: type, *fields: object) -> None:
    """Make an entry of a kind, where somebody listens for it."""
    log = _LISTENERS.get().get(kind)
    if log is not None:
        log.append(kind(*fields))
