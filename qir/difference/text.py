"""A difference as a unified diff: the ops of both graphs in one order, matched ones named alike."""

from collections.abc import Iterator
from difflib import unified_diff

from ..ir import Op
from ..text import lines_of, value_names
from .merge import Difference

CONTEXT = 3
"""Lines shown round what differs."""


def diff_view(module, suffix: str, view) -> str:
    """`diff_text` of a view (`qir.interchange.View`)."""
    return diff_text(view.difference, *view.labels)


def diff_text(found: Difference, old_name: str, new_name: str) -> str:
    """The difference as a unified diff, empty where there is none.

    Values are called what they are in the old graph; those of the new one alone are numbered on.
    """
    funcs = (found.old, [e.old for e in found.entries if e.old is not None]), \
            (found.new, [e.new for e in found.entries if e.new is not None])  # fmt: skip
    names = value_names(found.old)
    old, new = lines_of(funcs, (names, dict(_new_names(found, names))))
    lines = unified_diff(old, new, old_name, new_name, n=CONTEXT, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _new_names(found: Difference, names: dict[Op, str]) -> Iterator[tuple[Op, str]]:
    taken = {*names.values(), *(f"%{p.attributes['name']}" for p in found.new.parameters)}
    number = len(found.old.ops)
    for entry in found.entries:
        if entry.new is None:
            continue
        if entry.new.kind == "parameter":
            yield entry.new, f"%{entry.new.attributes['name']}"
        elif entry.old is not None:
            yield entry.new, names[entry.old]
        else:
            while f"%{number}" in taken:
                number += 1
            yield entry.new, f"%{number}"
            number += 1
