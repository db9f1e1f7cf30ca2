"""The JAX frontend: functions and Flax models, traced and imported primitive by primitive."""

from .trace import trace

__all__ = ["trace"]
