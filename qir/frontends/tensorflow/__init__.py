"""The TensorFlow frontend: Keras models, functions, SavedModels and frozen graphs as graphs."""

import os

# TensorFlow's greetings on stderr are none of ours; what it has to say is raised
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from .trace import trace  # noqa: E402

__all__ = ["trace"]
