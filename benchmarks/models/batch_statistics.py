"""Batch-norm statistics from a pass over data, so that random weights give live activations."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
from flax import linen
from flax.traverse_util import flatten_dict, unflatten_dict


def with_statistics(model: linen.Module, variables: Mapping, batches: Iterable) -> dict:
    """`variables` with the `batch_stats` of the data, for inference with running averages.

    `model` takes `train=True` and has a field `momentum` that its batch norms use: at momentum 0
    the updated statistics are those of the batch alone. Batches (equally large) are merged by the
    law of total variance, so one pass gives what a running average converges to. Raises
    ValueError when there is no batch.
    """
    measured = model.clone(momentum=0.0)

    @jax.jit
    def statistics(batch):
        return measured.apply(variables, batch, train=True, mutable=["batch_stats"])[1]

    collected = [flatten_dict(statistics(batch)["batch_stats"]) for batch in batches]
    if not collected:
        raise ValueError("batch statistics need at least one batch of data, found none")
    merged = {}
    for *layer, kind in collected[0]:
        if kind == "mean":
            means = jnp.stack([batch[*layer, "mean"] for batch in collected])
            variances = jnp.stack([batch[*layer, "var"] for batch in collected])
            merged[*layer, "mean"] = means.mean(0)
            merged[*layer, "var"] = variances.mean(0) + means.var(0)
    return {**variables, "batch_stats": unflatten_dict(merged)}


def signal(outputs) -> float:
    """How much outputs [n,features] differ between inputs, as a share of how much they vary.

    About 0 says that every input gives the same output (a collapsed network), about 1 that each
    gives its own.
    """
    outputs = jnp.asarray(outputs)
    return float(outputs.std(axis=0).mean() / outputs.std())
