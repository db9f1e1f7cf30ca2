"""Quantization-aware training on Fashion-MNIST: how much it recovers of what calibration loses.

The network is hard on purpose: depthwise layers, one scale for each weight, and channels whose
sizes are spread by powers of two between layers, which changes nothing in float. It is trained in
float, calibrated on 200 training images, then trained on with the rounding in it.
"""

from functools import partial

import click
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import qir

from .fashion_mnist import calibration_images
from .measure import columns, markdown, write_results
from .train_fashion import DATA, accuracy, fashion_mnist, step

BATCH, CALIBRATION = 128, 200


class DepthwiseCNN(nn.Module):
    """Two depthwise separable blocks, f32[N,28,28,1] in 0..1 to logits f32[N,10]."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu(norm()(conv(16, (3, 3), (2, 2))(x)))
        for channels, strides in ((32, (2, 2)), (64, (1, 1))):
            grouped = conv(x.shape[-1], (3, 3), strides, feature_group_count=x.shape[-1])
            x = nn.relu(norm()(grouped(x)))
            x = nn.relu(norm()(conv(channels, (1, 1))(x)))
        return nn.Dense(10)(x.mean(axis=(1, 2)))


@click.command(help=__doc__)
@click.option("--data", default=DATA, help="Folder that holds fashion_mnist/ (QIR_DATA).")
@click.option("--images", default=60000, help="How many training images to use.")
@click.option("--epochs", default=4, help="Passes over them in float.")
@click.option("--qat-epochs", default=2, help="Passes over them with rounding.")
@click.option("--spread", default=2.0, help="Channels are spread by up to 2^this up and down.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data, images, epochs, qat_epochs, spread, write) -> None:
    train_x, train_y, test_x, test_y = fashion_mnist(data)
    train_x, train_y = train_x[:images], train_y[:images]
    variables = spread_channels(train(train_x, train_y, epochs), spread)
    infer = DepthwiseCNN().apply
    samples = calibration_images(train_x, CALIBRATION)

    def measured(model) -> float:
        return 100 * accuracy(model, test_x, test_y)

    reference = measured(jax.jit(partial(infer, variables)))
    click.echo(f"float {reference:.2f}")
    module = qir.trace(infer, variables, train_x[:BATCH], trainable=0)
    constants = qir.bind(module, variables)
    calibrated = measured(qir.quantize(constants, calibration=samples,
                                       pipeline="ptq_int8_per_tensor"))  # fmt: skip
    click.echo(f"calibrated {calibrated:.2f}")
    rounded = qir.run_pipeline(module, "qat_prepare", samples, {"weights": "per_tensor"})
    ranges, variables = train_on(rounded, variables, train_x, train_y, qat_epochs)
    bound = qir.bind(rounded, variables, ranges)
    trained = measured(qir.quantize(bound, pipeline="qat"))
    recovered = (trained - calibrated) / (reference - calibrated)
    rows = [("", "accuracy %", "drop"), ("float", f"{reference:.2f}", "")]
    rows += [(name, f"{reached:.2f}", f"{reference - reached:+.2f}") for name, reached in (
        ("int8, calibrated", calibrated), ("int8, trained on", trained))]  # fmt: skip
    click.echo(columns(rows))
    said = f"Training recovers {100 * recovered:.0f} % of what calibration loses."
    click.echo(said)
    if write:
        note = (f"{len(train_x)} training images, {epochs} passes in float and {qat_epochs} with "
                f"rounding; channels spread by 2^-{spread:g} to 2^{spread:g}; one scale for each "
                f"weight; {CALIBRATION} images calibrate, {len(test_x)} test images count.")
        write_results("qat_fashion", "Quantization-aware training on Fashion-MNIST",
                      [note, markdown(rows), said])  # fmt: skip
    if recovered < 0.5:
        raise click.ClickException("training recovers less than half of what calibration loses")


def batches(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int):
    """Shuffled full batches of so many passes."""
    rng, steps = np.random.default_rng(seed), len(images) // BATCH
    for _ in range(epochs):
        for chosen in rng.permutation(len(images))[: steps * BATCH].reshape(steps, BATCH):
            yield images[chosen], labels[chosen]


def train(images: np.ndarray, labels: np.ndarray, epochs: int):
    """The variables after training in float."""
    model, steps = DepthwiseCNN(), epochs * (len(images) // BATCH)
    variables = model.init(jax.random.key(0), images[:1])
    optimizer = optax.adamw(optax.cosine_onecycle_schedule(steps, 1e-2), weight_decay=1e-4)
    state = variables["params"], variables["batch_stats"], optimizer.init(variables["params"])
    for x, y in batches(images, labels, epochs, seed=0):
        state, _ = step(model, optimizer, state, x, y)
    return jax.tree.map(np.asarray, {"params": state[0], "batch_stats": state[1]})


def spread_channels(variables, spread: float):
    """The same function with the channels between layers scaled by powers of two.

    What a batch norm multiplies its channels by, the filter of the layer behind it is divided by.
    """
    params, rng = dict(variables["params"]), np.random.default_rng(0)
    for i in range(4):
        norm, conv = params[f"BatchNorm_{i}"], params[f"Conv_{i + 1}"]
        scale = np.exp2(rng.uniform(-spread, spread, norm["scale"].shape)).astype(np.float32)
        depthwise = conv["kernel"].shape[2] == 1
        by = scale if depthwise else scale[:, None]
        params[f"BatchNorm_{i}"] = {name: each * scale for name, each in norm.items()}
        params[f"Conv_{i + 1}"] = {"kernel": conv["kernel"] / by}
    return {**variables, "params": params}


def train_on(module, variables, images: np.ndarray, labels: np.ndarray, epochs: int):
    """Ranges and variables after training with rounding; the statistics stay as they are."""
    model, statistics = qir.to_jax(module), variables["batch_stats"]
    steps = epochs * (len(images) // BATCH)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    learned = model.ranges, variables["params"]

    @jax.jit
    def rounded_step(learned, state, x, y):
        def loss(learned):
            ranges, params = learned
            logits = model.apply(ranges, {"params": params, "batch_stats": statistics}, x)
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

        updates, state = optimizer.update(jax.grad(loss)(learned), state)
        return optax.apply_updates(learned, updates), state

    state = optimizer.init(learned)
    for x, y in batches(images, labels, epochs, seed=1):
        learned, state = rounded_step(learned, state, x, y)
    return learned[0], {"params": learned[1], "batch_stats": statistics}


if __name__ == "__main__":
    main()
