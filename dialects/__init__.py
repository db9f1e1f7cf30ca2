"""The dialects: one vocabulary each, ops only."""
