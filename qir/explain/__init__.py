"""Explanations: where the type and scale of a value come from, told from what passes decided."""

from .history import Follower, History, followed
from .story import story

__all__ = ["Follower", "History", "followed", "story"]
