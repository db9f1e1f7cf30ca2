"""Reproducers: graph, pipeline, samples and files of a run that failed, in one text."""

from .alike import blanked, raised_in, signature
from .capture import Drawn, captured, error_text, steps_text, uses_samples
from .record import Reproducer, record_of, reproducer_text
from .rerun import rerun, unpacked

__all__ = [
    "Drawn", "Reproducer", "blanked", "captured", "error_text", "raised_in", "record_of",
    "reproducer_text", "rerun", "signature", "steps_text", "unpacked", "uses_samples",
]  # fmt: skip
