"""A pipeline run in part: its first steps, and of the last of them its rules' first firings.

Steps are counted as they run on one function, so each round of a `fixpoint` counts its steps anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .errors import QirError
from .ir import Func, Module
from .pipeline import Block, Done, Listener, Step, Steps, check_start, run_steps
from .progress import begun
from .rewrite import limited


@dataclass(frozen=True)
class Part:
    """How far to go: so many steps, of the last one only so many firings (None: all of them)."""

    steps: int
    firings: int | None = None


def run_part(steps: Steps, module: Module, part: Part,
             resources: Mapping[str, object] | None = None,
             listen: Listener | None = None) -> Module:  # fmt: skip
    """Run part of a pipeline on every function of a module.

    What a pass promises is not checked after firings that were cut short.
    """
    resources = begun(steps, module, resources)
    for func in module.funcs:
        check_start(func, steps)
    funcs = (_run(steps, func, part, resources, listen) for func in module.funcs)
    return Module(tuple(funcs))


def first_firings(action: Callable[..., Func], func: Func, firings: int,
                  keywords: Mapping[str, object]) -> Func:  # fmt: skip
    """What a pass makes of a function by so many firings, later matches left as they are.

    Where the pass refuses what it could not finish, as `legalize` does, the graph is what its last
    rewrite left.
    """
    with limited(firings) as limit:
        try:
            return action(func, **keywords)
        except QirError:
            if limit.left or limit.func is None or not _one_signature(limit.func, func):
                raise
            return limit.func


class _Reached(Exception):
    """The run has come as far as it is to go; func: the graph there."""

    def __init__(self, func: Func):
        self.func = func
        super().__init__()


def _run(steps: Steps, func: Func, part: Part, resources, listen) -> Func:
    ran = 0

    def told(done: Done) -> None:
        nonlocal ran
        ran += 1
        if listen is not None:
            listen(done)
        if ran == part.steps:
            raise _Reached(done.after)

    def cut_short(step: Step) -> Step:
        def function(func: Func, **keywords) -> Func:
            if ran + 1 < part.steps:
                return step.action.function(func, **keywords)
            after = first_firings(step.action.function, func, part.firings, keywords)
            told(Done(step, func, after))  # which ends the run
            raise AssertionError

        return replace(step, action=replace(step.action, function=function))

    try:
        return run_steps(steps if part.firings is None else _each(steps, cut_short), func,
                         resources, told)  # fmt: skip
    except _Reached as reached:
        return reached.func


def _each(steps: Steps, change: Callable[[Step], Step]) -> Steps:
    """The same pipeline with every step changed, blocks kept."""
    return tuple(
        replace(step, steps=_each(step.steps, change)) if isinstance(step, Block) else change(step)
        for step in steps
    )


def _one_signature(a: Func, b: Func) -> bool:
    return (a.name, a.parameters) == (b.name, b.parameters) and (
        [r.type for r in a.results] == [r.type for r in b.results]
    )
