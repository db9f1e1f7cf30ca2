"""ResNet-50, MobileNetV2 and a BERT-base-shaped encoder: int8 against float on XLA, in one run.

`python -m benchmarks.large_models all` runs each model in a process of its own and writes
benchmarks/results/models.md; one name runs that model here.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import click
import jax
import numpy as np

import qir
from qir.cli.bench import interleaved
from qir.cli.scores import peak_memory
from qir.evaluate import evaluate, evaluate_op
from qir.floats import float_ops
from qir.ir import Op, place_of
from qir.targets.xla.compile import compile_func
from qir.types import TupleType

from . import measure
from .models import encoder, mobilenet_v2, resnet50
from .models.random_inputs import images, tokens

RECORDS = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
BATCHES = (1, 8)
LOW = 15.0


@dataclass(frozen=True)
class Subject:
    """A model to measure: how to build it, and more inputs of its kind `(count, seed=)`."""

    build: Callable
    inputs: Callable


def subjects(tiny: bool) -> dict[str, Subject]:
    """The models by name, in their real size or small enough for a test."""
    if tiny:
        small, words = {"size": 32, "classes": 10}, {"length": 8, "hidden": 16}
        return {
            "resnet50": Subject(partial(resnet50.build, width=8, stages=(1, 1), **small),
                                partial(images, size=32)),
            "mobilenet_v2": Subject(
                partial(mobilenet_v2.build, stages=((1, 8, 1, 1), (2, 8, 2, 2)), **small),
                partial(images, size=32)),
            "encoder": Subject(partial(encoder.build, layers=1, heads=2, intermediate=32, **words),
                               partial(tokens, length=8, width=16)),
        }  # fmt: skip
    return {
        "resnet50": Subject(resnet50.build, images),
        "mobilenet_v2": Subject(mobilenet_v2.build, images),
        "encoder": Subject(encoder.build, tokens),
    }


@dataclass(frozen=True)
class Record:
    """What was measured of one model: seconds, bytes, dB; latencies in ms, by batch."""

    model: str
    trace: float
    quantize: float
    compile: float
    ops: int
    float_ops: tuple[str, ...]
    noise_db: float
    amplified_db: float
    compared: int
    differing: tuple[str, ...]
    float_bytes: int
    int8_bytes: int
    float_ms: dict[str, float]
    int8_ms: dict[str, float]
    gigabytes: float


@click.command(help=__doc__)
@click.argument("model", type=click.Choice(["resnet50", "mobilenet_v2", "encoder", "all"]))
@click.option("--tiny", is_flag=True, help="Small models, to see that the benchmark works.")
@click.option("--rounds", default=30, show_default=True, help="Timed calls of each.")
@click.option("--samples", default=64, show_default=True, help="Inputs to calibrate with.")
@click.option("--records", default=RECORDS, type=Path, help="Where measurements are kept.")
def main(model, tiny, rounds, samples, records) -> None:
    if model != "all":
        record = record_of(model, subjects(tiny)[model], rounds, samples)
        click.echo(summary(record))
        records.mkdir(parents=True, exist_ok=True)
        (records / f"{model}.json").write_text(json.dumps(asdict(record), indent=1))
        return
    found = []
    for name in subjects(tiny):
        command = [sys.executable, "-m", "benchmarks.large_models", name, f"--rounds={rounds}",
                   f"--samples={samples}", f"--records={records}", *["--tiny"] * tiny]  # fmt: skip
        subprocess.run(command, check=True, cwd=Path(__file__).resolve().parent.parent)
        found.append(Record(**json.loads((records / f"{name}.json").read_text())))
    parts = tables(found, rounds, samples)
    click.echo("\n\n".join(parts))
    if not tiny:
        path = measure.write_results("models", "Models, int8 against float", parts)
        click.echo(f"written to {path}")


def record_of(name: str, subject: Subject, rounds: int, samples: int) -> Record:
    """Trace, quantize, compile and run one model; compare it with float and with numpy."""
    model, example = subject.build()
    calibration = [x[None] for x in subject.inputs(samples, seed=1000)]
    started = perf_counter()
    traced = qir.trace(model, example)
    after_trace = perf_counter()
    quantized = qir.quantize(traced, None, calibration)
    after_quantize = perf_counter()
    np.asarray(quantized(example))
    after_compile = perf_counter()
    jitted = jax.jit(model)
    held_out = subject.inputs(8, seed=2000)
    expected = jitted(held_out)
    noise = measure.signal_to_noise(expected, quantized(held_out))
    amplified = measure.signal_to_noise(expected, jitted(disturbed(held_out)))
    func = quantized.module.main
    compared, differing = compare_with_numpy(quantized, held_out[:1])
    float_ms, int8_ms = {}, {}
    for batch in BATCHES:
        x = subject.inputs(batch, seed=3000)
        seconds = interleaved(partial(jitted, x), partial(quantized, x), rounds=rounds)
        float_ms[str(batch)], int8_ms[str(batch)] = (1e3 * s for s in seconds)
    return Record(
        name, after_trace - started, after_quantize - after_trace, after_compile - after_quantize,
        sum(op.kind not in ("parameter", "const", "item") for op in func.ops),
        tuple(f"{op.kind} at {place_of(op)}" for op in float_ops(func)),
        noise, amplified, compared, differing, *measure.sizes_on_disk(quantized), float_ms, int8_ms,
        peak_memory() / 1e9,
    )  # fmt: skip


def disturbed(x: np.ndarray, db: float = 40.0) -> np.ndarray:
    """Inputs with white noise so many dB below them: how much of it the float model makes."""
    noise = np.random.default_rng(0).standard_normal(x.shape, np.float32)
    return x + noise * x.std() * np.float32(10 ** (-db / 20))


def compare_with_numpy(quantized, x: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """How many ops were compared bit for bit with XLA on one input, and those that differ.

    Both graphs, as lowered and as legalized: XLA computes every value, then numpy each op from
    XLA's operands, so that an error shows where it arises. The compiled model itself, fused as it
    runs, must equal numpy's result of the lowered graph.
    """
    compared, differing = 0, []
    for func in (quantized.module.main, quantized.func):
        ops = [op for op in func.ops if not (op.is_const or isinstance(op.type, TupleType))]
        values = dict(zip(ops, compile_func(func.with_results(ops))(x), strict=True))
        values |= {op: op.value for op in func.ops if op.is_const}
        for op in ops[len(func.parameters) :]:
            compared += 1
            if numpy_value(op, values).tobytes() != np.asarray(values[op]).tobytes():
                differing.append(f"{op.kind} : {op.type} at {place_of(op)}")
    (expected,) = evaluate(quantized.module.main, [x])
    if np.asarray(quantized(x)).tobytes() != expected.tobytes():
        differing.append("the compiled model")
    return compared, tuple(differing)


def numpy_value(op: Op, values: Mapping[Op, object]) -> np.ndarray:
    """What numpy makes of an op's operands; of an item, what it makes of those of its tuple."""
    if op.kind == "item":
        return numpy_value(op.operands[0], values)[op.attributes["index"]]
    return evaluate_op(op, [np.asarray(values[operand]) for operand in op.operands])


def summary(record: Record) -> str:
    """What one model's process says."""
    left = [f"  {text}" for text in record.float_ops]
    wrong = [f"  {text}" for text in record.differing]
    return "\n".join([
        f"{record.model}: traced in {record.trace:.1f} s, quantized in {record.quantize:.1f} s, "
        f"compiled in {record.compile:.1f} s, {record.gigabytes:.1f} GB at most",
        f"float ops left: {len(left)} of {record.ops}", *left,
        f"signal to noise: int8 {noise_text(record)} dB; "
        f"float with noise 40 dB below the input {record.amplified_db:.1f} dB",
        f"numpy against XLA: {record.compared} ops compared, {len(wrong)} differ", *wrong,
        f"weights on disk: {record.float_bytes:,} -> {record.int8_bytes:,} bytes",
        *(f"batch {b}: float {record.float_ms[b]:.2f} ms, int8 {record.int8_ms[b]:.2f} ms, "
          f"{record.float_ms[b] / record.int8_ms[b]:.2f} times faster" for b in record.float_ms),
    ])  # fmt: skip


def noise_text(record: Record) -> str:
    """The signal-to-noise ratio, marked where it is low."""
    low = record.noise_db < LOW
    return f"{record.noise_db:.1f}{f' (low, below {LOW:g})' if low else ''}"


def tables(records: list[Record], rounds: int, samples: int) -> list[str]:
    """The tables of all models in markdown, and what they mean."""
    columns = [f"{what} b{b}" for b in BATCHES for what in ("float ms", "int8 ms", "ratio")]
    speed = [("model", *columns)]
    quality = [("model", "ops", "float ops left", "signal to noise dB", "float, noisy input dB",
                "compared with numpy", "differing", "float MB", "int8 MB", "smaller")]  # fmt: skip
    effort = [("model", "trace s", "quantize s", "compile s", "memory GB")]
    for r in records:
        cells = []
        for b in map(str, BATCHES):
            before, after = r.float_ms[b], r.int8_ms[b]
            cells += [f"{before:.2f}", f"{after:.2f}", f"{before / after:.2f}"]
        speed.append((r.model, *cells))
        quality.append((r.model, r.ops, len(r.float_ops), noise_text(r),
                        f"{r.amplified_db:.1f}", r.compared, len(r.differing),
                        f"{r.float_bytes / 1e6:.2f}", f"{r.int8_bytes / 1e6:.2f}",
                        f"{r.float_bytes / r.int8_bytes:.2f}"))  # fmt: skip
        effort.append((r.model, f"{r.trace:.1f}", f"{r.quantize:.1f}", f"{r.compile:.1f}",
                       f"{r.gigabytes:.1f}"))  # fmt: skip
    return [
        f"Latency: medians of {rounds} calls, float and int8 in turn, {measure.threads()} threads. "
        f"Float is the unmodified model under `jax.jit`. {measure.BASELINE}",
        "What XLA's own products of matrices give here, which bounds the ratios of models made of "
        "them: f32 {:.0f} and int8 {:.0f} GOP/s.".format(*measure.products()),
        measure.markdown(speed),
        "Quality: signal to noise of int8 against float on 8 inputs held out, and of float with "
        "noise 40 dB below its input (how much the model itself amplifies); every op's result on "
        "XLA against its numpy meaning, bit for bit, on one input, in the lowered and in the "
        "legalized graph; weights as saved.",
        measure.markdown(quality),
        f"Effort: calibration with {samples} inputs; memory is the peak of the whole process.",
        measure.markdown(effort),
    ]


if __name__ == "__main__":
    main()
