"""What recovery passes win back on networks that are hard to quantize.

A depthwise-separable network whose channels are up to 1000 times apart, as folded batch norms may
leave them, and a transformer block whose norms give three channels 40 times as large as the others:
both compute what their even twins do, only their ranges are bad. Then the network of
models/fashion_cnn.py on real images, if one is trained.
"""

from pathlib import Path

import click
import jax
import numpy as np
from qir.dialects import lax, nn

import qir
from qir.evaluate import evaluate
from qir.ir import Func, parameter
from qir.types import Type, dtype

from .fashion_mnist import calibration_images
from .measure import columns, markdown, signal_to_noise, write_results
from .models import fashion_cnn
from .train_fashion import DATA, VARIABLES, accuracy, fashion_mnist

SPREAD, OUTLIER = 1000.0, 40.0
BATCHES = 16
STEPS = ("float_front, {before} decompose(target=xla), insert_observers, calibrate, {after} "
         "propagate_types(weights={weights}), requantize, lower_int8, canonicalize, cse, "
         "legalize(target=xla)")  # fmt: skip
EQUALIZE, CORRECT = "equalize_channels", "correct_bias"


@click.command(help=__doc__)
@click.option("--data", default=DATA, help="Folder that holds fashion_mnist/ (QIR_DATA).")
@click.option("--variables", default=VARIABLES, type=Path, help="The trained network, an .npz.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data, variables, write) -> None:
    tables = {
        "A depthwise-separable network, channels up to 1000 times apart": separable_rows(),
        "A transformer block, three channels of its norms 40 times as large": block_rows(),
    }
    if variables.exists():
        tables["Fashion-MNIST"] = fashion_rows(data, variables)
    else:
        click.echo(f"{variables} is not there, so Fashion-MNIST is left out: "
                   "python -m benchmarks.train_fashion trains it")  # fmt: skip
    parts = [f"{BATCHES} batches of random numbers calibrate, as many others count. SNR: signal to "
             "noise of the results. Mean error: of each channel over all of them, its magnitude "
             "averaged over the channels. Of Fashion-MNIST 200 training images calibrate, 10,000 "
             "test images count. Even: the same function without what makes it hard."]
    for title, rows in tables.items():
        click.echo(f"{title}\n{columns(rows)}\n")
        parts += [f"## {title}", markdown(rows)]
    if write:
        click.echo(f"written to {write_results('recovery', 'Recovery of accuracy', parts)}")


def steps(weights: str, *passes: str) -> str:
    """The steps of `ptq_int8` with recovery passes where they belong."""
    before = [f"{name}," for name in passes if name != CORRECT]
    after = f"correct_bias(weights={weights})," if CORRECT in passes else ""
    return STEPS.format(before=" ".join(before), after=after, weights=weights)


def separable_rows() -> list[tuple]:
    """Signal to noise and mean errors of the separable network, a row a way."""
    func, even = separable(), separable(spread=1.0)
    rows = [("weights", "passes", "SNR dB", "mean error")]
    for weights in ("per_tensor", "per_channel"):
        for passes in ((), (CORRECT,), (EQUALIZE,), (EQUALIZE, CORRECT)):
            found = _shown(func, steps(weights, *passes))
            rows.append((weights, " and ".join(passes) or "none", *found))
        rows.append((weights, "none, even", *_shown(even, steps(weights))))
    return rows


def block_rows() -> list[tuple]:
    """Signal to noise and mean errors of the transformer block, a row a way."""
    func, even = block(), block(outlier=1.0)
    rows = [("weights", "passes", "SNR dB", "mean error")]
    for weights in ("per_tensor", "per_channel"):
        for alpha in (None, 0.25, 0.5, 0.75):
            passes = () if alpha is None else (f"smooth_quant(alpha={alpha})",)
            rows.append((weights, " ".join(passes) or "none",
                         *_shown(func, steps(weights, *passes))))  # fmt: skip
        rows.append((weights, "none, even", *_shown(even, steps(weights))))
    return rows


def fashion_rows(data, variables) -> list[tuple]:
    """Accuracy of the trained network, a row a way."""
    images, _, test, labels = fashion_mnist(data)
    model, example = fashion_cnn.load(variables)
    calibration = calibration_images(images, 200)
    reference = accuracy(jax.jit(model), test, labels)
    rows = [("weights", "passes", "accuracy %", "drop")]
    rows.append(("float", "", f"{100 * reference:.2f}", ""))
    for weights in ("per_tensor", "per_channel"):
        for passes in ((), (CORRECT,), (EQUALIZE,), (EQUALIZE, CORRECT)):
            found = qir.quantize(model, example, calibration, steps(weights, *passes))
            reached = accuracy(found, test, labels)
            rows.append((weights, " and ".join(passes) or "none", f"{100 * reached:.2f}",
                         f"{100 * (reference - reached):+.2f}"))  # fmt: skip
    return rows


def _shown(func: Func, pipeline: str) -> tuple[str, str]:
    snr, error = measured(func, pipeline, data(func, BATCHES, 1), data(func, BATCHES, 2))
    return f"{snr:.1f}", f"{error:.2g}"


def separable(spread: float = SPREAD, seed: int = 0, width: int = 24, blocks: int = 3) -> Func:
    """A network of depthwise and pointwise convolutions, f32[8,16,16,3] to f32[8,10].

    Every channel between two layers is multiplied by a factor and divided by it again: factors
    between 1 / sqrt(spread) and sqrt(spread), as apart as `spread`.
    """
    rng = np.random.default_rng(seed)
    x = reals = parameter("x", Type(dtype("f32"), (8, 16, 16, 3)))
    relu = {"clamp": (0.0, np.inf)}
    factor = np.ones(3)
    for number in range(2 * blocks + 1):
        depthwise, old = number % 2 == 1, factor
        shape = (3, 3, width, 1) if depthwise else (1, 1, width, width)
        shape = (3, 3, 3, width) if number == 0 else shape
        factor = spread ** rng.uniform(-0.5, 0.5, width)
        w = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        b = rng.normal(0, 0.1, width) * factor
        if depthwise:
            w *= np.sqrt(width) * (factor / old)[:, None]
            x = nn.depthwise_conv2d(x, w, b, **relu)
        else:
            x = nn.conv2d(x, w * factor / old[:, None], b, **relu)
    pooled = nn.mean(x, axes=(1, 2))
    w = rng.normal(0, 1 / np.sqrt(width), (width, 10)) / factor[:, None]
    return Func("separable", (reals,), (nn.dense(pooled, w, np.zeros(10)),))


def block(outlier: float = OUTLIER, seed: int = 0, width: int = 64, heads: int = 4) -> Func:
    """A transformer block, f32[2,16,64] to the same, whose norms have three loud channels.

    They are `outlier` times as loud as the others, and the dense layers listen as much less.
    """
    rng = np.random.default_rng(seed)
    x = reals = parameter("x", Type(dtype("f32"), (2, 16, width)))
    loud = np.ones(width)
    loud[rng.choice(width, 3, replace=False)] = outlier

    def dense(x, inputs, outputs, heard=1.0):
        w = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))
        return nn.dense(x, w / np.reshape(heard, (-1, 1)), rng.normal(0, 0.1, outputs))

    def norm(x):
        gamma, beta = rng.uniform(0.5, 1.5, width) * loud, rng.normal(0, 0.1, width) * loud
        return nn.layer_norm(x, gamma, beta, epsilon=1e-5)

    def split(x):
        parts = lax.reshape(x, shape=(-1, 16, heads, width // heads))
        return lax.transpose(parts, permutation=(0, 2, 1, 3))

    y = norm(x)
    q, k, v = (split(dense(y, width, width, loud)) for _ in range(3))
    scores = nn.mul(nn.matmul(q, k, adjoint_b=True), float(np.sqrt(heads / width)))
    mixed = lax.transpose(nn.matmul(nn.softmax(scores), v), permutation=(0, 2, 1, 3))
    x = nn.add(x, dense(lax.reshape(mixed, shape=(-1, 16, width)), width, width))
    hidden = nn.gelu(dense(norm(x), width, 4 * width, loud), approximate=True)
    return Func("block", (reals,), (nn.add(x, dense(hidden, 4 * width, width)),))


def data(func: Func, count: int, seed: int) -> list[np.ndarray]:
    """Batches of normal numbers for a function of one input."""
    rng = np.random.default_rng(seed)
    shape = func.parameters[0].shape
    return [rng.normal(0, 1, shape).astype(np.float32) for _ in range(count)]


def measured(func: Func, pipeline: str, calibration, test, **parameters) -> tuple[float, float]:
    """Signal to noise in dB, and the mean over channels of the magnitude of their mean errors."""
    quantized = qir.quantize(func, calibration=calibration, pipeline=pipeline, **parameters)
    wanted = np.concatenate([evaluate(func, [x])[0] for x in test])
    found = np.concatenate([np.asarray(quantized(x)) for x in test])
    errors = (found - wanted).reshape(-1, wanted.shape[-1]).mean(axis=0)
    return signal_to_noise(wanted, found), float(np.abs(errors).mean())


if __name__ == "__main__":
    main()
