"""Graphs in other formats: MLIR's generic form, StableHLO, Graphviz, pictures."""

from .formats import FORMATS, Format, View, content, format_named, one_func, save

__all__ = ["FORMATS", "Format", "View", "content", "format_named", "one_func", "save"]
