"""`--depfile`: which files a run has read, as a rule that make, ninja and CMake understand.

Python tells of every file that it opens and of every module that it has loaded. Of these the files
of the machine, of Python, of installed packages and of qir itself are left out; what native code
opens by itself is not seen.
"""

import os
import re
import stat
import sys
import sysconfig
from contextvars import ContextVar
from pathlib import Path

import click

from ..errors import QirError

_OPENED: ContextVar[dict[str, None] | None] = ContextVar("files opened", default=None)
_HOOKED: list[bool] = []  # a hook cannot be taken away again, so that there is one at most
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib")
_INSTALLED = re.compile(r"/(site|dist)-packages/|\.(egg|dist)-info/|\.pyc$")


def depfile_option(command):
    """The option of every command that writes a file."""
    return click.option("--depfile", metavar="FILE", callback=_begin, is_eager=True,
                        help="Write what the output depends on, as a rule of make.")(command)


def write_depfile(file: str, output: str) -> None:
    """Write the rule `output: every file that was read`; paths are relative where they can be."""
    from ..text import write_atomically

    words = [_escaped(path) for path in dependencies(output, file)]
    write_atomically(file, f"{_escaped(output)}: {' '.join(words)}\n")


def dependencies(*outputs: str) -> list[str]:
    """The files that the run has read so far, in order of their names, without its outputs."""
    opened = _OPENED.get() or {}
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    found = {os.path.realpath(name) for name in (*opened, *filter(None, loaded))}
    found -= {os.path.realpath(output) for output in outputs}
    here = f"{os.getcwd()}{os.sep}"
    return sorted(name.removeprefix(here) for name in found if _matters(name))


def check_depfile(file: str | None, output: str | None) -> None:
    """QirError if there is no output whose dependencies the file could hold."""
    if file is not None and output is None:
        raise QirError("--depfile tells what an output depends on", help="name it with -o FILE")


def _begin(context, parameter, file: str | None) -> str | None:
    if file is None:
        return None
    _OPENED.set({})
    if not _HOOKED:
        _HOOKED.append(True)
        sys.addaudithook(_opened)
    return file


def _opened(event: str, arguments: tuple) -> None:
    if event != "open":
        return
    names, (name, mode, flags) = _OPENED.get(), arguments
    if names is None or not isinstance(name, (str, bytes)):
        return
    writes = set(mode) & set("wax+") if isinstance(mode, str) else (flags or 0) & os.O_ACCMODE
    if not writes:
        names[os.path.abspath(os.fsdecode(name))] = None


def _matters(name: str) -> bool:
    if name.startswith(_not_theirs()) or _INSTALLED.search(name):
        return False
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except OSError:  # it was there for a while only
        return False


def _not_theirs() -> tuple[str, ...]:
    import qir

    kinds = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    python = map(sysconfig.get_path, kinds)
    ours = [Path(path) / part for path in qir.__path__ for part in ("dialects", "passes",
            "pipelines")]  # fmt: skip
    folders = {os.path.realpath(f) for f in (*python, Path(qir.__file__).parent, *ours)}
    return (*_SYSTEM, *(f"{folder}{os.sep}" for folder in folders))


def _escaped(path: str) -> str:
    return path.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")
