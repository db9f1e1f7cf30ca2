"""Making a failing graph, its pipeline and its data smaller, while they still fail."""

from .case import Case, case_of
from .reduce import Search, reduced

__all__ = ["Case", "Search", "case_of", "reduced"]
