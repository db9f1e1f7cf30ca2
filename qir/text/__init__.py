"""The text form: one grammar for graphs and pipelines, a reader and a printer."""

from .read import random_array, read_module, read_value
from .syntax import Source, parse_pipelines
from .weights import decoded, encoded, write_atomically
from .write import (
    content_hash,
    header_text,
    lines_of,
    load_module,
    option_text,
    print_func,
    print_module,
    save_module,
    value_names,
    whole_text,
)

__all__ = [
    "Source", "content_hash", "decoded", "encoded", "header_text", "lines_of", "load_module",
    "option_text", "parse_pipelines", "print_func", "print_module", "random_array", "read_module",
    "read_value", "save_module", "value_names", "whole_text", "write_atomically",
]  # fmt: skip
