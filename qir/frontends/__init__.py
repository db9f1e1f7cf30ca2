"""Frontends: each turns a framework's programs into graphs, by a table of imports."""
