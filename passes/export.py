"""Write the graph to a file."""

from pathlib import Path

from qir.attributes import WrittenFile
from qir.graph_pass import graph_pass
from qir.interchange import format_named, save
from qir.ir import Func, Module


@graph_pass("any -> any")
def export(func: Func, *, path: WrittenFile) -> Func:
    """Write the graph to `path`, in the format that its suffix names.

    `.qir`, `.mlir`, `.stablehlo`, `.dot`, `.svg` and so on, as `qir translate --help` lists them. A
    function that is not called `main` goes to `path` with its name before the suffix, so that the
    functions of a module do not overwrite each other. QirError for an unknown suffix and for a
    folder that cannot be written.
    """
    name, file = format_named(None, path), Path(path)
    if func.name != "main":
        file = file.with_suffix(f".{func.name}{file.suffix}")
    save(Module((func,)), file, name)
    return func
