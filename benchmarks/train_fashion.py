"""Train the small network of models/fashion_cnn.py on Fashion-MNIST and save its variables."""

import argparse
import gzip
import os
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .models.fashion_cnn import FashionCNN, save

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("QIR_DATA", ROOT.parent / "shared" / "data"))
VARIABLES = ROOT / "build" / "fashion_cnn.npz"


def fashion_mnist(data: str | Path = DATA) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, then test images and labels, of the folder `data`/fashion_mnist.

    Images are f32[n,28,28,1] in 0..1, labels i32[n] in 0..9; 60,000 for training, 10,000 for tests.
    Raises FileNotFoundError, saying what to do, where a file is missing.
    """
    folder = Path(data) / "fashion_mnist"
    arrays = []
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
        arrays.append(images[..., None].astype(np.float32) / 255)
        arrays.append(read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int32))
    return tuple(arrays)


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of bytes: 0, 0, type 8, the rank, the big-endian sizes, the data."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: put the four files of Fashion-MNIST into {path.parent}, "
            f"or name the folder above it with --data or QIR_DATA"
        )
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} starts with {content[:3]!r}, an IDX file of bytes with 00 00 08")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def train(images: np.ndarray, labels: np.ndarray, *, epochs: int, batch: int = 128, seed: int = 0):
    """The variables of a FashionCNN after `epochs` passes of AdamW, one-cycle learning rate."""
    model, steps = FashionCNN(), len(images) // batch
    variables = model.init(jax.random.key(seed), images[:1])
    optimizer = optax.adamw(optax.cosine_onecycle_schedule(epochs * steps, 1e-2), weight_decay=1e-4)
    state = variables["params"], variables["batch_stats"], optimizer.init(variables["params"])
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        start = time.perf_counter()
        for chosen in rng.permutation(len(images))[: steps * batch].reshape(steps, batch):
            state, loss = step(model, optimizer, state, images[chosen], labels[chosen])
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: loss of the last batch {loss:.3f}, {seconds:.0f} s", flush=True)
    return {"params": state[0], "batch_stats": state[1]}


@partial(jax.jit, static_argnums=(0, 1))
def step(model, optimizer, state, images, labels):
    """One step of training: the new (parameters, statistics, optimizer state) and the loss."""
    params, statistics, momenta = state

    def loss_of(params):
        variables = {"params": params, "batch_stats": statistics}
        logits, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), updated["batch_stats"]

    (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, momenta = optimizer.update(gradients, momenta, params)
    return (optax.apply_updates(params, updates), statistics, momenta), loss


def accuracy(f, images: np.ndarray, labels: np.ndarray, batch: int = 500) -> float:
    """The share of `images` whose largest output of `f` is the label's."""
    correct = 0
    for start in range(0, len(images), batch):
        outputs = f(images[start : start + batch])
        correct += int((jnp.argmax(outputs, -1) == labels[start : start + batch]).sum())
    return correct / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DATA, help="folder that holds fashion_mnist/ (QIR_DATA)")
    parser.add_argument("--out", default=VARIABLES, help="where the variables go, an .npz")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training images")
    arguments = parser.parse_args()
    try:
        train_x, train_y, test_x, test_y = fashion_mnist(arguments.data)
    except FileNotFoundError as error:
        parser.exit(2, f"error: {error}\n")
    start = time.perf_counter()
    variables = train(train_x, train_y, epochs=arguments.epochs)
    seconds = time.perf_counter() - start
    reached = accuracy(jax.jit(partial(FashionCNN().apply, variables)), test_x, test_y)
    save(variables, arguments.out)
    print(f"test accuracy {100 * reached:.2f} % after {seconds:.0f} s, saved to {arguments.out}")


if __name__ == "__main__":
    main()
