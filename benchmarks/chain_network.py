"""A network of any length, to time passes: residual blocks of 1x1 convolutions, bias, relu6."""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np

# of one block, calls inlined: conv add max min conv add add max min
OPS_PER_BLOCK = 9


def blocks_for(ops: int) -> int:
    """The fewest blocks with at least `ops` ops, constants and their broadcasts not counted."""
    return -(-ops // OPS_PER_BLOCK)


def build(
    blocks: int = blocks_for(15_000), seed: int = 0, *, size: int = 4, channels: int = 8
) -> tuple[Callable, np.ndarray]:
    """A JAX function of `blocks` residual blocks and an example f32[1,size,size,channels].

    Every block has weights of its own. The branch is weak beside the shortcut and the sum is
    clipped to 0..6, so that activations neither die nor grow over thousands of blocks.
    """
    rng = np.random.default_rng(seed)
    spread = 0.3 / np.sqrt(channels)
    weights = spread * rng.standard_normal((blocks, 2, 1, 1, channels, channels), np.float32)
    biases = 0.1 * rng.standard_normal((blocks, 2, channels), np.float32)

    def chain_network(x):
        for (first, second), (first_bias, second_bias) in zip(weights, biases, strict=True):
            y = jax.nn.relu6(pointwise(x, first) + first_bias)
            y = pointwise(y, second) + second_bias
            x = jax.nn.relu6(x + y)
        return x

    return chain_network, 6 * rng.random((1, size, size, channels), np.float32)


def pointwise(x, w):
    """A 1x1 convolution, NHWC by HWIO."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=layout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", type=int, default=15_000, help="ops the trace holds at least")
    blocks = blocks_for(parser.parse_args().ops)
    for count in (blocks, 2 * blocks):
        f, example = build(count)
        start = time.perf_counter()
        equations = jax.make_jaxpr(f)(example).jaxpr.eqns
        seconds = time.perf_counter() - start
        print(f"{count} blocks: {count * OPS_PER_BLOCK} ops in {len(equations)} equations, "
              f"traced in {seconds:.1f} s")


if __name__ == "__main__":
    main()
