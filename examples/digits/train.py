"""Train the digits network and write its weights: `python -m examples.digits.train`."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from .model import WEIGHTS, DigitsNetwork, digits

EPOCHS, BATCH, SEED = 30, 64, 0


def main() -> None:
    train_x, train_y, test_x, test_y = digits()
    start = time.perf_counter()
    variables = train(train_x, train_y)
    seconds = time.perf_counter() - start
    predicted = jax.jit(partial(DigitsNetwork().apply, variables))(test_x).argmax(-1)
    flat = flatten_dict(variables, sep="/")
    save_file({name: np.array(array) for name, array in flat.items()}, WEIGHTS)
    print(f"test accuracy {100 * np.mean(predicted == test_y):.1f} % after {seconds:.0f} s, "
          f"{WEIGHTS.stat().st_size:,} bytes in {WEIGHTS.name}")


def train(images: np.ndarray, labels: np.ndarray) -> dict:
    """The variables of a DigitsNetwork trained by AdamW, images shifted at random by a pixel."""
    variables = DigitsNetwork().init(jax.random.key(SEED), images[:1])
    steps = len(images) // BATCH
    optimizer = optax.adamw(optax.cosine_onecycle_schedule(EPOCHS * steps, 1e-2), weight_decay=1e-4)
    state = variables["params"], variables["batch_stats"], optimizer.init(variables["params"])
    rng = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        shifted = shift(images, rng)
        for chosen in rng.permutation(len(images))[: steps * BATCH].reshape(steps, BATCH):
            state = step(optimizer, state, shifted[chosen], labels[chosen])
    return {"params": state[0], "batch_stats": state[1]}


def shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by -1, 0 or 1 pixel in each direction, with zeros moving in."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), axis=(1, 2))
    rows, columns = rng.integers(0, 3, (2, len(images)))
    return np.moveaxis(windows[np.arange(len(images)), rows, columns], 1, -1)


@partial(jax.jit, static_argnums=0)
def step(optimizer, state, images, labels):
    """One step of training: the new (parameters, batch statistics, optimizer state)."""
    params, statistics, momenta = state

    def loss_of(params):
        variables = {"params": params, "batch_stats": statistics}
        probabilities, updated = DigitsNetwork().apply(
            variables, images, train=True, mutable=["batch_stats"]
        )
        chosen = jnp.take_along_axis(probabilities, labels[:, None], axis=-1)
        return -jnp.log(chosen + 1e-7).mean(), updated["batch_stats"]

    gradients, statistics = jax.grad(loss_of, has_aux=True)(params)
    updates, momenta = optimizer.update(gradients, momenta, params)
    return optax.apply_updates(params, updates), statistics, momenta


if __name__ == "__main__":
    main()
