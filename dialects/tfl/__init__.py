"""TensorFlow Lite's builtin operators, one to one with the schema of `.tflite` files."""

from .convolutions import *  # noqa: F403
