"""Tables that imports fill (ops, forms, lowerings), and how a failed import leaves none of them.

A module enters its ops, forms and so on while it runs. One that fails half-way has entered half of
what it brings, a dialect that nobody can rely on; inside `entered_whole` it is all or nothing.
"""

import sys
from collections.abc import Callable
from contextlib import contextmanager

_TABLES: list[tuple[dict, Callable]] = []


def table(function_of: Callable) -> dict:
    """An empty table that `entered_whole` knows of.

    function_of: from a value of the table to the function it was declared with, whose module is
    the one that entered it. An entry is made once and never replaced.
    """
    entries: dict = {}
    _TABLES.append((entries, function_of))
    return entries


def inside(module: str, package: str) -> bool:
    """Whether a module is a package or lies in it, by their full names."""
    return module == package or module.startswith(f"{package}.")


@contextmanager
def entered_whole(package: str):
    """Import a module of a package inside the block; if that fails, it has entered nothing.

    What other packages have entered meanwhile stays, and so does what this one entered before. Its
    modules loaded on the way are forgotten, so that a later import enters all of them anew.
    """
    known = [set(entries) for entries, _ in _TABLES]
    loaded = set(sys.modules)
    try:
        yield
    except BaseException:
        for i, (entries, function_of) in enumerate(_TABLES):
            before = known[i] if i < len(known) else set()
            for key in entries.keys() - before:
                if inside(_module_of(function_of(entries[key])), package):
                    del entries[key]
        for name in sorted(sys.modules.keys() - loaded, reverse=True):
            if inside(name, package):
                _forget(name)
        raise


def _module_of(function: Callable) -> str:
    return getattr(function, "__module__", None) or ""


def _forget(name: str) -> None:
    """Take a module out of sys.modules, and out of the package that holds it as an attribute."""
    module = sys.modules.pop(name)
    above, _, short = name.rpartition(".")
    if getattr(sys.modules.get(above), short, None) is module:
        delattr(sys.modules[above], short)
