"""Write the graph to a file."""

from collections.abc import Callable
from pathlib import Path

from qir.attributes import WrittenFile
from qir.errors import QirError
from qir.graph_pass import graph_pass
from qir.ir import Func, Module
from qir.text import save_module

WRITERS: dict[str, Callable[[Func, Path], None]] = {
    ".qir": lambda func, path: save_module(Module((func,)), path),
}
"""What writes a function to a file, by the file's suffix."""


@graph_pass("any -> any")
def export(func: Func, *, path: WrittenFile) -> Func:
    """Write the graph to `path`, in the format that its suffix names.

    A function that is not called `main` goes to `path` with its name before the suffix, so that
    the functions of a module do not overwrite each other. QirError for an unknown suffix and for
    a folder that cannot be written.
    """
    file = Path(path)
    if file.suffix not in WRITERS:
        raise QirError(f"export: no format is called '{file.suffix}'", at=path,
                       help=f"known: {', '.join(sorted(WRITERS))}")  # fmt: skip
    if func.name != "main":
        file = file.with_suffix(f".{func.name}{file.suffix}")
    WRITERS[file.suffix](func, file)
    return func
