"""The engines of `benchmarks.peers`: how each makes its 8-bit model, and how each runs a file.

What `prepare` writes into a folder, the loaders read: so that an engine can be timed from its file
on, in a process of its own. Every engine gets the same float weights and calibration data.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import qir
from qir import api

from .to_onnx import to_onnx

Run = Callable[[np.ndarray], np.ndarray]


def prepare(folder: Path, model, example, calibration: list[np.ndarray], is_transformer: bool):
    """Write the float and the 8-bit model of each engine; they are kept if they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "int8.tflite").exists():
        return
    module = qir.trace(model, example)
    qir.save(module, folder / "float.qir")
    to_onnx(module, folder / "float.onnx")
    quantized = qir.quantize(module, None, calibration)
    quantized.save(folder / "int8.qir")
    _onnx_runtime(folder, calibration)
    _openvino(folder, calibration, is_transformer)
    for_tflite = "ptq_int8(target=tflite)"
    qir.quantize(module, None, calibration, for_tflite).export_tflite(folder / "int8.tflite")


def _onnx_runtime(folder: Path, calibration) -> None:
    """QDQ, u8 activations and i8 weights by channel, as its documentation has it for x86."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self.rest = iter([{name: x} for x in calibration])

        def get_next(self):
            return next(self.rest, None)

    ready = folder / "ready.onnx"
    quant_pre_process(str(folder / "float.onnx"), str(ready), skip_symbolic_shape=True)
    q.quantize_static(ready, folder / "int8.onnx", Reader(_input_name(ready)),
                      quant_format=q.QuantFormat.QDQ, per_channel=True,
                      activation_type=q.QuantType.QUInt8,
                      weight_type=q.QuantType.QInt8)  # fmt: skip


def _input_name(path: Path) -> str:
    import onnx

    return onnx.load(path).graph.input[0].name


def _openvino(folder: Path, calibration, is_transformer: bool) -> None:
    import nncf
    import openvino

    model = openvino.convert_model(folder / "float.onnx")
    kind = nncf.ModelType.TRANSFORMER if is_transformer else None
    made = nncf.quantize(model, nncf.Dataset(calibration), model_type=kind,
                         subset_size=len(calibration))  # fmt: skip
    openvino.save_model(made, folder / "int8.xml", compress_to_fp16=False)


def _run_qir(path: Path, batch: int, threads: int) -> Run:
    """qir's kernels in C++, in as many threads as the process may have."""
    from qir.targets.xla.compile import compile_func

    func = api.legalized(api.read_model(path).main.with_batch(batch), "xla")
    run = compile_func(func)
    return lambda x: np.asarray(run(x)[0])


def _run_portable(path: Path, batch: int, threads: int) -> Run:
    """The same graph by XLA's own kernels."""
    from qir.targets.xla.compile import build

    func = api.legalized(api.read_model(path).main.with_batch(batch), "xla")
    run = build(func, native=False)
    return lambda x: np.asarray(run(x)[0])


def _run_litert(path: Path, batch: int, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(given["index"], [batch, *given["shape"][1:]])
    interpreter.allocate_tensors()

    def run(x):
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(found["index"])

    return run


def _run_onnx_runtime(path: Path, batch: int, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def _run_openvino(path: Path, batch: int, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    shape = model.input(0).partial_shape
    shape[0] = batch
    model.reshape(shape)
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if path.suffix == ".onnx":  # bf16 otherwise, where there is AMX
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(x):
        request.infer([x], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return run


@dataclass(frozen=True)
class Engine:
    """The file in a model's folder, the library that is needed, and what loads the file with it."""

    file: str
    library: str
    load: Callable[[Path, int, int], Run]


ENGINES = {
    "qir native": Engine("int8.qir", "jax", _run_qir),
    "qir portable": Engine("int8.qir", "jax", _run_portable),
    "LiteRT": Engine("int8.tflite", "ai_edge_litert.interpreter", _run_litert),
    "ONNX Runtime": Engine("int8.onnx", "onnxruntime", _run_onnx_runtime),
    "OpenVINO": Engine("int8.xml", "openvino", _run_openvino),
    "XLA f32": Engine("float.qir", "jax", _run_qir),
    "ONNX Runtime f32": Engine("float.onnx", "onnxruntime", _run_onnx_runtime),
    "OpenVINO f32": Engine("float.onnx", "openvino", _run_openvino),
}

FLOAT_OF = {
    "qir native": "XLA f32",
    "qir portable": "XLA f32",
    "LiteRT": "XLA f32",  # whose int8 file qir wrote
    "ONNX Runtime": "ONNX Runtime f32",
    "OpenVINO": "OpenVINO f32",
}


def use_threads(threads: int) -> None:
    """Keep this process, and what it loads from now on, to so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["QIR_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
