"""Reproducers: graph, pipeline, samples and files of a run that failed, in one text."""

from .alike import blanked, signature
from .capture import Drawn, captured
from .record import Reproducer, record_of, reproducer_text
from .rerun import rerun, unpacked

__all__ = [
    "Drawn", "Reproducer", "blanked", "captured", "record_of", "reproducer_text", "rerun",
    "signature", "unpacked",
]  # fmt: skip
