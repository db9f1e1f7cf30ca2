"""The text form: one grammar for graphs and pipelines, a reader and a printer."""

from .read import random_array, read_module, read_value
from .syntax import Source, parse_pipelines
from .weights import decoded, encoded, write_atomically
from .write import (
    header_text,
    load_module,
    option_text,
    print_func,
    print_module,
    save_module,
    whole_text,
)

__all__ = [
    "Source", "decoded", "encoded", "header_text", "load_module", "option_text", "parse_pipelines",
    "print_func", "print_module", "random_array", "read_module", "read_value", "save_module",
    "whole_text", "write_atomically",
]  # fmt: skip
