"""Run the graph on a target, in the middle of a pipeline."""

import numpy as np

from qir.arrays import (
    by_parameter,
    described,
    random_inputs,
    read_arrays,
    result_labels,
    write_arrays,
)
from qir.attributes import ReadFile, WrittenFile
from qir.evaluate import checked_inputs
from qir.graph_pass import Compile, Emit, graph_pass
from qir.ir import Func


@graph_pass("any -> any")
def execute(func: Func, *, target: str = "xla", inputs: ReadFile | None = None,
            outputs: WrittenFile | None = None, compile: Compile,
            emit: Emit) -> Func:  # fmt: skip
    """Compile the graph for `target` and run it once.

    inputs: an `.npz` file with an array for each input, by name; random ones where left out.
    outputs: an `.npz` file to write the results to; a line on each is shown where left out.
    """
    if inputs is None:
        arrays = random_inputs(func, "execute")
    else:
        arrays = by_parameter(read_arrays(inputs), func, inputs)
    found = [np.asarray(r) for r in compile(func, target)(*checked_inputs(func, arrays))]
    results = dict(zip(result_labels(func), found, strict=True))
    if outputs is not None:
        write_arrays(outputs, results)
    else:
        for name, array in results.items():
            emit(f"// {described(name, array)}")
    return func
