"""Say what became of the graph: ops, element types, sizes, float ops left."""

from collections import Counter

from qir.attributes import WrittenFile
from qir.graph_pass import Emit, graph_pass
from qir.ir import Func
from qir.report import report_text
from qir.text import write_atomically
from qir.types import TupleType


@graph_pass("any -> any")
def report(func: Func, *, path: WrittenFile | None = None, emit: Emit) -> Func:
    """Report ops, element types and sizes of weights, to the screen or to the text file `path`."""
    text = "\n".join((report_text(func), "values by storage:", *_storages(func)))
    if path is None:
        emit(text)
    else:
        write_atomically(path, text + "\n")
    return func


def _storages(func: Func) -> list[str]:
    counted = Counter()
    for op in func.ops:
        if isinstance(op.type, TupleType) or op.is_const:
            continue
        counted[f"{op.dtype}{' on a grid' if op.type.grid is not None else ''}"] += 1
    width = max(map(len, counted), default=0)
    return [f"  {name:<{width}}  {count}" for name, count in sorted(counted.items())]
