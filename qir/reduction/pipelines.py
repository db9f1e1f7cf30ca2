"""Smaller pipelines: without some steps, blocks or options.

Each of them is told by its path: the indices that lead to it, an option's name at the end.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from ..pipeline import Block, Steps

Path = tuple


def steps_in(steps: Steps, above: Path = ()) -> Iterator[Path]:
    """The paths of all steps, those inside of blocks too."""
    for i, step in enumerate(steps):
        if isinstance(step, Block):
            yield from steps_in(step.steps, (*above, i))
        else:
            yield (*above, i)


def blocks_in(steps: Steps, above: Path = ()) -> Iterator[Path]:
    """The paths of all blocks, which without them leave what they hold."""
    for i, step in enumerate(steps):
        if isinstance(step, Block):
            yield (*above, i)
            yield from blocks_in(step.steps, (*above, i))


def options_in(steps: Steps, above: Path = ()) -> Iterator[Path]:
    """The paths of all options."""
    for i, step in enumerate(steps):
        if isinstance(step, Block):
            yield from options_in(step.steps, (*above, i))
        else:
            yield from ((*above, i, name) for name in step.options)


def without(steps: Steps, gone: Collection[Path], above: Path = ()) -> Steps:
    """The steps without what the paths lead to; a block that is left empty goes too."""
    made = []
    for i, step in enumerate(steps):
        path = (*above, i)
        if isinstance(step, Block):
            inner = without(step.steps, gone, path)
            made += inner if path in gone else [replace(step, steps=inner)] if inner else []
        elif path not in gone:
            kept = {k: v for k, v in step.options.items() if (*path, k) not in gone}
            made.append(replace(step, options=kept))
    return tuple(made)
