"""Passes: functions from graph to graph, declared with an arrow between forms.

Keyword-only parameters are options when their kind is one of `qir.attributes`, resources when it
is one of the kinds below: what a pass needs that no text can hold, handed in by the runner.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NewType, get_args

from .attributes import coerce, is_kind, kind_text
from .errors import Declined, QirError, suggestion
from .ir import Func

Samples = NewType("Samples", object)
"""Calibration data: an iterable of items, or a callable that gives one."""
Run = NewType("Run", Callable)
"""An evaluator: `(func, arrays) -> arrays`."""
Compile = NewType("Compile", Callable)
"""`(func, target name) -> callable on arrays`."""
Emit = NewType("Emit", Callable)
"""Where a sink writes lines of text."""

RESOURCES = {Samples: "samples", Run: "run", Compile: "compile", Emit: "emit"}


@dataclass(frozen=True, eq=False)
class GraphPass:
    """A pass: its name, its arrow, its options by name (kind, default) and its resources.

    before, after: forms; `any` keeps whatever form it is given. after may name an option in
    braces. replaced_by: for a resource, the option that makes it unnecessary; needed_by: options
    that make one necessary which has a default. ahead: what can be
    said of a function before any step of a pipeline has run: `(func, **options)`, raising QirError.
    scheme: what its output asks of a target, which says what it takes; options in braces too, or a
    function from the options to all that is asked.
    """

    name: str
    function: Callable
    before: str
    after: str
    options: Mapping[str, tuple[object, object]]
    resources: Mapping[str, object]
    replaced_by: Mapping[str, str] = field(default_factory=dict)
    needed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ahead: Callable | None = None
    scheme: str | Callable | None = None

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def arrow(self) -> str:
        return f"{self.before} -> {self.after}"

    @property
    def signature(self) -> str:
        """Options as help shows them: `method=minmax|ema, keep=0.999`."""
        parts = []
        for name, (kind, default) in self.options.items():
            shown = "" if default is inspect.Parameter.empty else f" = {_shown(default)}"
            parts.append(f"{name}: {kind_text(kind)}{shown}")
        return ", ".join(parts)

    def __call__(self, func: Func, **keywords) -> Func:
        """Run it; a resource that a given option replaces may be left out."""
        for name in self.needs(keywords):
            if name not in keywords:
                raise missing_resource(name, self.name)
        replaced = {name: None for name in self.replaced_by if name not in keywords}
        return self.function(func, **replaced, **keywords)

    def checked_options(self, given: Mapping[str, object]) -> dict[str, object]:
        """The options in their kinds; Declined says which one is unknown, missing or wrong."""
        for name in given:
            if name not in self.options:
                raise Declined(f"{self.name} has no option '{name}'; "
                               f"{suggestion(name, self.options)}")  # fmt: skip
        checked = {}
        for name, (kind, default) in self.options.items():
            if name not in given and default is inspect.Parameter.empty:
                raise Declined(f"{self.name} needs the option '{name}'")
            if name not in given:
                continue
            try:
                checked[name] = coerce(given[name], kind)
            except Declined as declined:
                raise Declined(f"{self.name}: option '{name}': {declined}") from None
        return checked

    def form_after(self, before: str, options: Mapping[str, object]) -> str:
        """The form the pass leaves, given the one it met."""
        return before if self.after == "any" else self.after.format(**self.settled(options))

    def schemes_asked(self, options: Mapping[str, object]) -> tuple[str, ...]:
        """The schemes it asks of a target under these options."""
        if callable(self.scheme):
            return self.scheme(self.settled(options))
        return () if self.scheme is None else (self.scheme.format(**self.settled(options)),)

    def settled(self, options: Mapping[str, object]) -> dict[str, object]:
        """Every option, those that are not given at their defaults."""
        return {**{name: default for name, (_, default) in self.options.items()}, **options}

    def needs(self, options: Mapping[str, object]) -> list[str]:
        """The resources it cannot do without, under these options."""
        given = {n for n, option in self.replaced_by.items() if options.get(option) is not None}
        asked = {n for n, those in self.needed_by.items()
                 if any(options.get(option) is not None for option in those)}  # fmt: skip
        return [
            name
            for name, (kind, default) in self.resources.items()
            if name in asked or default is inspect.Parameter.empty and name not in given
        ]


def graph_pass(arrow: str, ahead: Callable | None = None, scheme: str | Callable | None = None,
               needed_by: Mapping[str, tuple[str, ...]] | None = None,
               **replaced_by: str) -> Callable[[Callable], GraphPass]:  # fmt: skip
    """Declare a pass: `@graph_pass("float -> float")`; `samples="stats"` says that the option
    `stats`, when given, stands in for the resource `samples`; `needed_by={"samples": ("most",)}`
    that `most`, when given, asks for one that has a default."""
    before, _, after = (part.strip() for part in arrow.partition("->"))
    if not (before and after):
        raise TypeError(f"an arrow is written 'float -> float', found '{arrow}'")

    def declare(function: Callable) -> GraphPass:
        options, resources = {}, {}
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            kind, entry = parameter.annotation, (parameter.annotation, parameter.default)
            resource = _resource_kind(kind)
            if resource is not None:
                resources[parameter.name] = (resource, parameter.default)
            elif is_kind(kind):
                options[parameter.name] = entry
            else:
                raise TypeError(f"{function.__name__}: '{parameter.name}' needs a kind of "
                                "qir.attributes or qir.graph_pass")  # fmt: skip
        said = scheme if isinstance(scheme, str) else ""
        for what, text in (("arrow", after), ("scheme", said)):
            for name in re.findall(r"\{(.*?)\}", text):
                if name not in options:
                    raise TypeError(f"{function.__name__}: the {what} names an option '{name}', "
                                    "which there is not")  # fmt: skip
        return GraphPass(function.__name__, function, before, after, options, resources,
                         replaced_by, needed_by or {}, ahead, scheme)  # fmt: skip

    return declare


def _resource_kind(annotation):
    for kind in (annotation, *get_args(annotation)):
        if kind in RESOURCES:
            return kind
    return None


def _shown(value) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def missing_resource(name: str, step: str) -> QirError:
    """The error for a pipeline whose step lacks a resource."""
    helps = {
        "samples": "give calibration data (--calibration data.npz, or calibration=iterable)",
        "run": "the runner must bring an evaluator",
        "compile": "the runner must bring a compiler",
    }
    return QirError(f"{step} needs {name} and none were given", help=helps.get(name))
