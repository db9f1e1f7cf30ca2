"""Pictures of graphs, and of the difference between two: as Graphviz text, SVG or PNG."""

from .chart import Arrow, Box, Chart, chart_of, chart_of_difference, nearby

__all__ = ["Arrow", "Box", "Chart", "chart_of", "chart_of_difference", "nearby"]
