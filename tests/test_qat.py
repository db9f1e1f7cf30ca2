"""Quantization-aware training: traces with variables, gradients, and what training hands back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from xla_compare import fresh_dialects  # noqa: F401

import qir
from qir.evaluate import evaluate
from qir.targets.xla.trainable import in_range
from qir.variables import variables
