"""LiteRT's interpreter, run in a process of its own: an abort of it is a result, no end of ours."""

import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import QirError

RESOLVERS = {"tflite_reference": "BUILTIN_REF", "xnnpack": "AUTO",
             "tflite_builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}  # fmt: skip
"""How its API calls the kernel sets."""


@dataclass(frozen=True)
class Failure:
    """A model that the interpreter did not run: what it said, or the signal that ended it."""

    reason: str
    aborted: bool = False


class Interpreter:
    """A process that runs models; started when first used, and anew after an abort."""

    def __init__(self):
        self.process: subprocess.Popen | None = None

    def run(self, model: bytes, kernels: str, calls: Sequence[Sequence[np.ndarray]]):
        """The outputs of a model for each call, one list of arrays a call, or a `Failure`.

        kernels: a kernel set. calls: for each, the inputs in order; variables are as they were
        at the start before each.
        """
        if self.process is None or self.process.poll() is not None:
            self.process = _started()
        try:
            _send(self.process.stdin, (model, RESOLVERS[kernels], calls))
            found = _receive(self.process.stdout)
        except (BrokenPipeError, EOFError, struct.error):
            code = self.process.wait()
            self.process = None
            return Failure(f"the process ended with {code}", aborted=True)
        return Failure(found) if isinstance(found, str) else found

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(self, *raised) -> None:
        self.close()


def _started() -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", "from qir.targets.tflite.interpreter import serve; serve()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        ready = _receive(process.stdout)
    except (EOFError, struct.error):
        raise QirError("LiteRT's interpreter does not start",
                       help="pip install 'qir[tflite]'") from None  # fmt: skip
    if ready != "ready":
        raise QirError(ready, help="pip install 'qir[tflite]'")
    return process


def _send(stream, value) -> None:
    data = pickle.dumps(value)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream):
    (size,) = struct.unpack("<Q", stream.read(8))
    return pickle.loads(stream.read(size))


def serve() -> None:
    """What the process does: read a model and calls, answer outputs or the text of an error."""
    import os

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the runtime prints must not stand among the answers
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        _send(answers, f"LiteRT is not installed: {error}")
        return
    _send(answers, "ready")
    while True:
        try:
            job = _receive(sys.stdin.buffer)
        except struct.error:
            return
        try:
            answer = _run(interpreter, *job)
        except (ValueError, RuntimeError) as error:
            answer = str(error)
        _send(answers, answer)


def _run(litert, model: bytes, resolver: str, calls):
    call = _caller(litert, model, resolver)
    return [call(arrays) for arrays in calls]


def _caller(litert, model: bytes, resolver: str) -> Callable:
    kind = getattr(litert.OpResolverType, resolver)
    runner = litert.Interpreter(model_content=model, num_threads=1,
                                experimental_op_resolver_type=kind)  # fmt: skip
    runner.allocate_tensors()
    inputs = [each["index"] for each in runner.get_input_details()]
    outputs = [each["index"] for each in runner.get_output_details()]

    def call(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        runner.reset_all_variables()
        for index, array in zip(inputs, arrays, strict=True):
            runner.set_tensor(index, array)
        runner.invoke()
        return [runner.get_tensor(index) for index in outputs]

    return call


def in_this_process(model: bytes, kernels: str, arrays: Sequence[np.ndarray]) -> Callable:
    """A function from the inputs in order to the list of outputs, in this process, to be timed.

    arrays: inputs of one call, on which a process of its own proves that the model runs. QirError
    where LiteRT refuses it, or ends the process.
    """
    with Interpreter() as apart:
        found = apart.run(model, kernels, [arrays])
    if isinstance(found, Failure):
        did = "aborts" if found.aborted else "refuses the model"
        raise QirError(f"LiteRT's interpreter {did}: {found.reason}")
    from ai_edge_litert import interpreter

    return _caller(interpreter, model, RESOLVERS[kernels])
