"""Models that others made: the MLPerf Tiny int8 ones, value for value as the interpreter's."""

import pytest

pytest.importorskip("ai_edge_litert")

from benchmarks.mlperf_tiny import KERNELS, MODELS, differing, inputs_of, model_path  # noqa: E402
from qir.targets.tflite.interpreter import Interpreter  # noqa: E402
from qir.targets.tflite.read import read, read_bytes  # noqa: E402
from qir.targets.tflite.write import written  # noqa: E402

pytestmark = pytest.mark.skipif(
    not model_path("ResNet-8").is_file(), reason="the models are not beside the checkout"
)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_interpreters(name, kernels):
    with Interpreter() as interpreter:
        wrong, values = differing(name, kernels, 20, interpreter)
    assert values and wrong == 0


@pytest.mark.parametrize("name", MODELS)
def test_reads_what_it_writes(name):
    module = read(model_path(name))
    again = read_bytes(written(module))
    assert str(again) == str(module)
    arrays = [[a[None]] for a in inputs_of(name, module.main, 5)]
    with Interpreter() as interpreter:
        theirs = interpreter.run(model_path(name).read_bytes(), "tflite_builtin", arrays)
        ours = interpreter.run(written(module), "tflite_builtin", arrays)
    assert all((a[0] == b[0]).all() for a, b in zip(theirs, ours, strict=True))
