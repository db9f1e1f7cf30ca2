"""Equinox: modules are traced for inference, their states are constants."""

import sys
from collections.abc import Callable, Sequence

import jax


def is_module(value) -> bool:
    """Whether a value is a module of Equinox, which nobody has if it is not loaded."""
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(value, equinox.Module)


def in_inference(module) -> Callable:
    """A module with its dropouts off and its batch norms on what they have learned."""
    return sys.modules["equinox"].nn.inference_mode(module)


def without_states(function: Callable, names: Sequence[str], arguments: Sequence):
    """A function of the arguments that hold no state, their names and they themselves.

    States among the arguments are constants of the graph; states that come back are no results.
    """
    nn = sys.modules.get("equinox.nn")
    if nn is None:
        return function, names, arguments

    def is_state(value):
        return isinstance(value, nn.State)

    given = [is_state(argument) for argument in arguments]

    def of_inputs(*inputs):
        left = iter(inputs)
        whole = (a if state else next(left) for a, state in zip(arguments, given, strict=True))
        results = function(*whole)
        return jax.tree.map(lambda v: None if is_state(v) else v, results, is_leaf=is_state)

    def kept(values):
        return tuple(v for v, state in zip(values, given, strict=True) if not state)

    return of_inputs, kept(names), kept(arguments)
