"""Dense layers of BERT-base on stored weights: made real once, or fused into the product.

    python -m benchmarks.weight_only [--layers 12] [--batches 1,8,128] [--rounds 15]

A chain of feed-forward layers (768 to 3072 and back) on random weights, run by XLA in f32, with
weights made real when the program is compiled, and with weights that stay as they are stored.
Counts milliseconds a call, the median of calls made in turn; the memory of weights while it runs,
and what the program needs beside them; the bytes on disk of the weights file and the `.tflite`
file; and signal to noise against f32.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import click
import jax
import numpy as np

import qir
from qir.api import Quantized
from qir.errors import QirError

from . import measure

HIDDEN, INNER, WARM_UP = 768, 3072, 2
WAYS = {
    "f32": ("float_front", {}),
    "8 bits, once": ("weight_only", {}),
    "8 bits, fused": ("weight_only", {"fused": True}),
    "8 bits in blocks of 32, fused": ("weight_only", {"block": 32, "fused": True}),
    "4 bits, fused": ("weight_only", {"bits": 4, "clip": "mse", "fused": True}),
    "4 bits in blocks of 32, fused": ("weight_only", {"bits": 4, "block": 32, "fused": True}),
    "2 bits, fused": ("weight_only", {"bits": 2, "clip": "octav", "fused": True}),
    "float16, once": ("float16", {}),
    "float16, fused": ("float16", {"fused": True}),
    "bfloat16, fused": ("bfloat16", {"fused": True}),
    "bfloat16, computed": ("bfloat16", {"compute": "half"}),
}  # fmt: skip


def network(layers: int) -> Callable:
    """So many feed-forward layers, one after the other."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 1.4 / np.sqrt(n), (n, m)).astype(np.float32)
               for n, m in [(HIDDEN, INNER), (INNER, HIDDEN)] * layers]  # fmt: skip

    def model(x):
        for up, down in zip(weights[::2], weights[1::2], strict=True):
            x = jax.nn.relu(x @ up) @ down
        return x

    return model


def stored_bytes(model: Quantized) -> tuple[int, int | None]:
    """Bytes on disk, of the weights file and of the `.tflite` file where there can be one."""
    with TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.qir")
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        path = Path(folder) / "m.tflite"
        try:
            model.export_tflite(path)
        except QirError:
            return size, None
        return size, path.stat().st_size


def running_bytes(model: Quantized) -> int:
    """What the constants take while XLA runs them: those of 4 and 2 bits a byte each."""
    made = {o for op in model.func.ops if op.kind in ("quant.dequantize", "quant.widen")
            for o in op.operands}  # fmt: skip
    held = 0
    for op in model.func.ops:
        if op.is_const:
            held += op.type.size * (4 if op in made else op.dtype.numpy.itemsize)
            held += 0 if op.type.grid is None or op in made else op.type.grid.scale.nbytes
    return held


def measured(layers: int, batches: list[int], rounds: int) -> list[list[str]]:
    """The rows of the table."""
    function = network(layers)
    example = np.zeros((1, HIDDEN), np.float32)
    models = {name: _model(function, example, *way) for name, way in WAYS.items()}
    rng = np.random.default_rng(1)
    inputs = {n: rng.normal(size=(n, HIDDEN)).astype(np.float32) for n in batches}
    wanted = np.asarray(function(inputs[batches[0]]))
    times = {n: _times(models, inputs[n], rounds) for n in batches}
    floats = stored_bytes(models["f32"])
    table = []
    for name, model in models.items():
        sizes = stored_bytes(model)
        ratios = [f"{a / b:.2f}" if b else "-" for a, b in zip(floats, sizes, strict=True)]
        noise = measure.signal_to_noise(wanted, model(inputs[batches[0]]))
        ms = [f"{times[n][name]:.2f} ({times[n]['f32'] / times[n][name]:.2f})" for n in batches]
        table.append([name, *ms, f"{running_bytes(model) / 1e6:.0f}", *ratios,
                      "-" if np.isinf(noise) else f"{noise:.1f}"])  # fmt: skip
    return table


def _model(function, example, pipeline: str, parameters) -> Quantized:
    if pipeline == "float_front":
        return Quantized(qir.run_pipeline(qir.trace(function, example), pipeline))
    return qir.quantize(function, example, pipeline=pipeline, **parameters)


def _times(models: dict[str, Quantized], x: np.ndarray, rounds: int) -> dict[str, float]:
    """Median milliseconds of a call of each, made in turn, each behind another call of its own.

    So that none pays for the caches that the one before it has filled.
    """
    spent: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + WARM_UP):
        for name, model in models.items():
            jax.block_until_ready(model(x))
            started = perf_counter()
            jax.block_until_ready(model(x))
            if turn >= WARM_UP:
                spent[name].append(1e3 * (perf_counter() - started))
    return {name: median(each) for name, each in spent.items()}


@click.command(help=__doc__)
@click.option("--layers", default=12, show_default=True, help="Feed-forward layers in a row.")
@click.option("--batches", default="1,8,128", show_default=True, help="Rows of a call, to time.")
@click.option("--rounds", default=15, show_default=True, help="Calls of each.")
def main(layers, batches, rounds) -> None:
    sizes = [int(n) for n in batches.split(",")]
    header = ("weights", *(f"ms at batch {n} (speed over f32)" for n in sizes), "MB while running",
              "weights file, times smaller", ".tflite, times smaller", "dB")  # fmt: skip
    table = [header, *measured(layers, sizes, rounds)]
    click.echo(measure.columns(table))
    note = (f"{layers} feed-forward layers of BERT-base ({HIDDEN} to {INNER} and back) on random "
            "weights. MB while running: constants as the compiled program holds them; those of 4 "
            "and 2 bits take a byte each there. dB: signal to noise against f32.")  # fmt: skip
    path = measure.write_results("weight_only", "Stored weights",
                                 [note, measure.BASELINE, measure.markdown(table)])  # fmt: skip
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
