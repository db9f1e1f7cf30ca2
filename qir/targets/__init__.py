"""Targets: what each machine takes, how a graph is brought to it, and how it runs there."""
