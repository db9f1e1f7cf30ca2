"""How far a pipeline has come, for whoever wants to know it after an error."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from .ir import Func, Module

Resources = Mapping[str, object]


@dataclass(eq=False)
class Progress:
    """What a pipeline runs over, and where it is.

    steps, module: those of the last pipeline that began, None before. trail: the step that runs
    and the blocks round it, outermost first: the index of each in what it stands in, and the
    function as it met it. hand: from the resources of the pipeline to those that it is given.
    """

    hand: Callable[[Resources], Resources] = lambda resources: resources
    steps: tuple = ()
    module: Module | None = None
    resources: Resources = field(default_factory=dict)
    trail: list[tuple[int, Func]] = field(default_factory=list)


_PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def followed(progress: Progress) -> Iterator[Progress]:
    """Inside the block pipelines keep `progress`; after an error it says where that was."""
    token = _PROGRESS.set(progress)
    try:
        yield progress
    finally:
        _PROGRESS.reset(token)


def progress_now() -> Progress | None:
    """What is to be kept, if anybody follows."""
    return _PROGRESS.get()


def begun(steps: tuple, module: Module, resources: Resources | None) -> Resources:
    """Tell whoever follows that steps run over a module; gives the resources for them."""
    progress, given = _PROGRESS.get(), resources or {}
    if progress is None:
        return given
    progress.steps, progress.module, progress.resources = steps, module, given
    progress.trail.clear()
    return progress.hand(given)
