"""Plugins: installed packages that bring dialects, passes, pipelines or targets by entry points.

Their code may fail in any way. What fails is left out, remembered with its reason, and named to
whoever asks for something that is not there; nothing of it takes the tool down.
"""

import pkgutil
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from types import ModuleType

from .errors import QirError
from .tables import entered_whole, inside

GROUPS = ("qir.dialects", "qir.passes", "qir.pipelines", "qir.targets")


@dataclass(frozen=True)
class LeftOut:
    """Something of a plugin that is not there for use: what it is, and why."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what} was left out: {self.reason}"


@dataclass(frozen=True)
class Brought:
    """What one entry point brings.

    plugin: its distribution and what it names, for messages. package: the outermost package of
    the plugin's code. modules: the one it names, and if that is a package those in it, as far as
    they can be imported. whole: whether all of them can.
    """

    plugin: str
    package: str
    modules: tuple[ModuleType, ...]
    whole: bool


_LEFT_OUT: dict[LeftOut, None] = {}


def leave_out(what: str, reason: str) -> None:
    """Remember that something of a plugin cannot be used."""
    _LEFT_OUT[LeftOut(what, reason)] = None


def left_out() -> tuple[LeftOut, ...]:
    """What has been left out so far; `registry.failed_plugins` looks at all plugins first."""
    return tuple(_LEFT_OUT)


def with_left_out(help: str) -> str:
    """Help for a name that nobody knows, and what was left out, for the name may be in there."""
    return "\n  help: ".join([help, *(str(each).partition("\n")[0] for each in left_out())])


def brought(group: str) -> Iterator[Brought]:
    """What the entry points of `qir.<group>` bring, in the order of their distributions' names.

    A module that fails to import is left out with all that it has entered in tables; its
    neighbours are not.
    """
    for entry in _entry_points():
        if entry.group != f"qir.{group}":
            continue
        name = entry.value.partition("[")[0].strip()
        if all(part.isidentifier() for part in name.split(".")):
            found = list(_modules(entry, name))
            kept = tuple(module for module in found if module is not None)
            yield Brought(_label(entry, name), name.partition(".")[0], kept, None not in found)
        else:
            leave_out(_label(entry, entry.value),
                      "this is no module; an entry point names a module or a package")  # fmt: skip


def check_groups() -> None:
    """Leave out what plugins bring to groups that do not exist; a misspelt one brings nothing."""
    for entry in _entry_points():
        if entry.group not in GROUPS:
            leave_out(_label(entry, entry.value), f"this is none of the groups {', '.join(GROUPS)}")


def _modules(entry: metadata.EntryPoint, name: str) -> Iterator[ModuleType | None]:
    """The module of that name and those directly in it, None for one that fails."""
    first = _imported(entry, name)
    yield first
    inner = pkgutil.iter_modules(getattr(first, "__path__", ()))
    for short in sorted(info.name for info in inner if info.name != "__main__"):
        yield _imported(entry, f"{name}.{short}")


def _imported(entry: metadata.EntryPoint, name: str) -> ModuleType | None:
    package = name.partition(".")[0]
    try:
        with entered_whole(package):
            return import_module(name)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        leave_out(_label(entry, name), reason_of(error, package))
        return None


def reason_of(error: BaseException, package: str | None = None) -> str:
    """What went wrong, and where in the plugin's own code, if any of it has run."""
    if isinstance(error, QirError):
        return str(error)
    frames = traceback.walk_tb(error.__traceback__)
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in frames
              if package and inside(frame.f_globals.get("__name__", ""), package)]  # fmt: skip
    where = f", at {places[-1]}" if places else ""
    return f"{type(error).__name__}: {error}{where}"


@cache
def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    """The entry points for qir, in the order of their distributions' names.

    Where a distribution is installed twice the one found first counts, as it does for imports.
    """
    found: dict[str, list[metadata.EntryPoint]] = {}
    for distribution in metadata.distributions():
        try:
            entries = [each for each in distribution.entry_points if each.group.startswith("qir.")]
        except Exception as error:  # one that cannot be read hides no other
            reason = f"its entry points cannot be read: {type(error).__name__}: {error}"
            leave_out(f"the package {_name(distribution)}", reason)
            continue
        if entries:
            name = re.sub(r"[-_.]+", "-", _name(distribution)).lower()
            found.setdefault(name, sorted(entries, key=lambda each: (each.name, each.value)))
    return tuple(each for name in sorted(found) for each in found[name])


def _name(distribution: metadata.Distribution) -> str:
    return distribution.metadata["Name"] or "without a name"


def _label(entry: metadata.EntryPoint, name: str) -> str:
    return f"the plugin {_name(entry.dist)} ({entry.group}: {name})"
