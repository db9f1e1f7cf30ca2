"""Pipelines: composed from text or Python, checked before anything runs, then run step by step."""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from . import registry, timing
from .attributes import Call
from .errors import Declined, Place, QirError, suggestion
from .forms import FORMS, check_form, complaints, implies, known_form
from .garbage import paused
from .graph_pass import GraphPass, missing_resource
from .ir import Func, Module, place_of
from .plugins import with_left_out
from .progress import begun, progress_now
from .recipes import choices
from .rewrite import restricted
from .text.read import read_value
from .text.syntax import (
    CallText,
    MappingText,
    PipelineText,
    Ref,
    Source,
    bare,
    depth_checked,
    parse_pipelines,
)

ROUNDS = 20


@dataclass(frozen=True)
class Step:
    """One pass with its options; place is where it stands, for messages."""

    action: GraphPass
    options: Mapping[str, object] = field(default_factory=dict)
    place: Place | None = None

    def __str__(self) -> str:
        from .text.write import option_text

        inside = ", ".join(f"{k}={option_text(v)}" for k, v in self.options.items())
        return f"{self.action.name}({inside})" if inside else self.action.name


@dataclass(frozen=True)
class Block:
    """A combinator around steps: `fixpoint(...)` or `only(..., match=...)`."""

    name: str
    steps: tuple["Step | Block", ...]
    match: str | None = None

    def __str__(self) -> str:
        from .text.write import option_text

        inside = [str(step) for step in self.steps]
        inside += [] if self.match is None else [f"match={option_text(self.match)}"]
        return f"{self.name}({', '.join(inside)})"


Steps = tuple[Step | Block, ...]


def compose(text: str, file: str = "<pipeline>", parameters: Mapping[str, object] | None = None,
            resources: Sequence[str] | None = None, form: str | None = None) -> Steps:  # fmt: skip
    """The steps a pipeline text stands for, every pass, option, resource and arrow checked.

    text: steps, or the definition of one pipeline. parameters: settings of that pipeline, or of a
    single step that names one. resources: the names at hand, None to leave them unchecked. form:
    the form of the graph to come, None to take what the first step wants.
    """
    with depth_checked(file):
        steps = _composed(Source(text, file), dict(parameters or {}))
        check_arrows(steps, form)
        check_schemes(steps)
        if resources is not None:
            check_resources(steps, resources)
        return steps


def takes(text: str, parameter: str) -> bool:
    """Whether a pipeline text has a parameter of that name which it leaves open."""
    if not isinstance(text, str):
        return False
    with depth_checked("<pipeline>"):
        found = parse_pipelines(Source(text, "<pipeline>"))
    if len(found) != 1 or found[0].name is not None:
        return len(found) == 1 and parameter in found[0].settings
    only, known = found[0].steps[0], registry.pipelines()
    if len(found[0].steps) > 1 or only.name not in known or parameter in only.kwargs:
        return False
    return parameter in known[only.name][0].settings


def _composed(source: Source, given: dict[str, object]) -> Steps:
    found = parse_pipelines(source)
    if len(found) != 1:
        raise QirError(f"expected one pipeline, found {len(found)}", at=source.file)
    record = found[0]
    if record.name is None and len(record.steps) == 1 and given:
        only = record.steps[0]
        if only.name in registry.pipelines():
            record, source = registry.pipelines()[only.name]
            given = {**{k: read_value(v, source) for k, v in only.kwargs.items()}, **given}
    return _Composer(source, _settings(record, given, source)).steps(record.steps)


def _settings(record: PipelineText, given: Mapping[str, object], source: Source, at=None) -> dict:
    for key in given:
        if key not in record.settings:
            whose = f"the pipeline '{record.name}'" if record.name else "a list of steps"
            raise QirError(f"{whose} has no parameter '{key}'", at=at,
                           help=suggestion(key, record.settings))  # fmt: skip
    defaults = {key: read_value(value, source) for key, value in record.settings.items()}
    return {**defaults, **given}


@dataclass(frozen=True)
class _Composer:
    """Elaborates the steps of one pipeline text under its settings."""

    source: Source
    settings: Mapping[str, object]
    above: tuple[str, ...] = ()

    def fail(self, message: str, offset: int, width: int, help: str | None = None):
        raise QirError(message, at=self.source.place(offset, width), help=help)

    def steps(self, calls: Sequence[CallText]) -> Steps:
        return tuple(step for call in calls for step in self.step(call))

    def step(self, call: CallText) -> Steps:
        if call.repeated:
            self.fail(f"'{call.repeated}' is given twice",
                      call.keyword_offsets[call.repeated], len(call.repeated))  # fmt: skip
        if call.name in registry.COMBINATORS:
            return (self.block(call),)
        if call.name in registry.passes():
            return (self.pass_step(call),)
        if call.name in registry.pipelines():
            return self.pipeline_steps(call)
        known = [*registry.passes(), *registry.pipelines(), *registry.COMBINATORS]
        return self.fail(f"unknown pass or pipeline '{call.name}'", call.offset, len(call.name),
                         with_left_out(suggestion(call.name, known)))  # fmt: skip

    def block(self, call: CallText) -> Block:
        inner = []
        for arg in call.args:
            if isinstance(arg, (str, CallText)):
                inner += self.step(arg if isinstance(arg, CallText) else bare(arg))
            else:
                self.fail(f"{call.name} takes steps", call.offset, len(call.name))
        if not inner:
            self.fail(f"{call.name} takes steps", call.offset, len(call.name))
        match = self.value(call.kwargs.get("match"))
        if set(call.kwargs) - ({"match"} if call.name == "only" else set()):
            self.fail(f"{call.name} has no such option", call.offset, len(call.name),
                      "only(steps, match=\"regex\"), fixpoint(steps)")  # fmt: skip
        if call.name == "only" and not isinstance(match, str):
            self.fail("only needs match=\"...\", a regular expression on locations", call.offset, 4)
        try:
            re.compile(match or "")
        except re.error as error:
            self.fail(f"'{match}' is no regular expression: {error}",
                      call.keyword_offsets["match"], 5)  # fmt: skip
        return Block(call.name, tuple(inner), match)

    def pass_step(self, call: CallText) -> Step:
        action = registry.passes()[call.name]
        if call.args:
            self.fail(f"the options of {call.name} are given by name", call.offset, len(call.name),
                      action.signature or "it has none")  # fmt: skip
        options = {key: self.value(value) for key, value in call.kwargs.items()}
        try:
            options = action.checked_options(options)
        except Declined as declined:
            wrong = next((k for k in options if f"'{k}'" in str(declined)), None)
            offset = call.keyword_offsets.get(wrong, call.offset)
            message, _, help = str(declined).partition("; ")
            self.fail(message, offset, len(wrong or call.name), help or None)
        return Step(action, options, self.source.place(call.offset, len(call.name)))

    def pipeline_steps(self, call: CallText) -> Steps:
        if call.name in self.above:
            self.fail(f"the pipeline '{call.name}' contains itself", call.offset, len(call.name))
        record, source = registry.pipelines()[call.name]
        given = {key: self.value(value) for key, value in call.kwargs.items()}
        settings = _settings(record, given, source, self.source.place(call.offset, len(call.name)))
        return _Composer(source, settings, (*self.above, call.name)).steps(record.steps)

    def value(self, value):
        if isinstance(value, Ref) and value.mark == "$":
            if value.name not in self.settings:
                self.fail(f"no parameter ${value.name}", value.offset, len(value.name) + 1,
                          suggestion(value.name, self.settings))  # fmt: skip
            return self.settings[value.name]
        if isinstance(value, list):
            return tuple(self.value(v) for v in value)
        if isinstance(value, CallText) and not value.repeated:
            named = {key: self.value(v) for key, v in value.kwargs.items()}
            return Call(value.name, tuple(self.value(v) for v in value.args), named)
        if isinstance(value, MappingText) and not value.repeated:
            return {key: self.value(v) for key, v in value.entries.items()}
        return read_value(value, self.source)


def title(step: Step | Block) -> str:
    """What a step is called in reports: the pass without its options, or the combinator."""
    if isinstance(step, Step):
        return step.action.name
    return f'only(match="{step.match}")' if step.name == "only" else step.name


def flat(steps: Steps) -> list[Step]:
    """The passes of a pipeline in order, combinators opened."""
    return [
        inner
        for step in steps
        for inner in ([step] if isinstance(step, Step) else flat(step.steps))
    ]


def has_fixpoint(steps: Steps) -> bool:
    """Whether some steps run as often as they change something."""
    blocks = [step for step in steps if isinstance(step, Block)]
    return any(block.name == "fixpoint" or has_fixpoint(block.steps) for block in blocks)


def check_arrows(steps: Steps, form: str | None = None) -> str | None:
    """Follow the forms through the steps; QirError where they do not meet. Gives the last form."""
    for step in flat(steps):
        before = step.action.before
        if before != "any" and form is not None and not implies(form, known_form(before).name):
            raise QirError(f"{step.action.name} takes a graph in the form '{before}', here it is "
                           f"in the form '{form}'", at=step.place,
                           help=_bridge(form, before))  # fmt: skip
        if form is None and before != "any":
            form = before
        if form is not None:
            form = step.action.form_after(form, step.options)
            if form not in FORMS:
                registry.targets()  # a target declares its form when it is loaded
            if form not in FORMS and "{" in step.action.after:
                raise QirError(f"{step.action.name}: unknown target '{form}'", at=step.place,
                               help=with_left_out(suggestion(form, registry.targets())))
            if form not in FORMS:
                raise QirError(f"{step.action.name} leads to the unknown form '{form}'",
                               at=step.place, help=suggestion(form, FORMS))  # fmt: skip
    return form


def check_schemes(steps: Steps) -> None:
    """QirError for the first step that asks a scheme of a target which does not take it."""
    asked: list[tuple[Step, str]] = []
    for step in flat(steps):
        asked += [(step, scheme) for scheme in step.action.schemes_asked(step.options)]
        if step.action.after != "{target}":
            continue
        target = registry.target_named(step.action.form_after("", step.options))
        for asking, scheme in asked:
            if target.schemes is not None and scheme not in target.schemes:
                raise QirError(f"{asking.action.name} asks for the scheme '{scheme}', which the "
                               f"target '{target.name}' does not take", at=asking.place,
                               help=suggestion(scheme, target.schemes))  # fmt: skip


def _bridge(start: str, goal: str) -> str | None:
    """The shortest list of passes from one form to another, as advice."""
    queue, seen = deque([(start, ())]), {start}
    while queue:
        form, path = queue.popleft()
        if implies(form, goal):
            return f"insert {', '.join(path)} before it" if path else None
        for name, each in registry.passes().items():
            if "any" in (each.before, each.after) or not implies(form, each.before):
                continue
            after = each.form_after(form, {})
            if after in FORMS and after not in seen:
                seen.add(after)
                queue.append((after, (*path, name)))
    return f"no sequence of passes leads from '{start}' to '{goal}'"


def check_resources(steps: Steps, at_hand: Sequence[str]) -> None:
    """QirError for the first step that needs a resource which is not at hand."""
    for step in flat(steps):
        for name in step.action.needs(step.options):
            if name not in at_hand:
                error = missing_resource(name, step.action.name)
                raise QirError(error.message, at=step.place, help=error.help)


def check_start(func: Func, steps: Steps) -> None:
    """QirError if a function is not in the form the first step with a form takes.

    And for what a later step can say of it before anything has run.
    """
    for step in flat(steps):
        if step.action.ahead is None:
            continue
        try:
            step.action.ahead(func, **step.options)
        except QirError as error:
            error.at = error.at or step.place
            raise
    for step in flat(steps):
        if step.action.before == "any":
            continue
        for op, reason in complaints(func, step.action.before):
            raise QirError(f"{step.action.name} takes a graph in the form '{step.action.before}': "
                           f"{op.kind} {reason}", at=place_of(op) or step.place)  # fmt: skip
        return


@dataclass(frozen=True)
class Done:
    """A step that has run: the function before and after it."""

    step: Step
    before: Func
    after: Func


Listener = Callable[[Done], None]


def run_steps(steps: Steps, func: Func, resources: Mapping[str, object] | None = None,
              listen: Listener | None = None, verify: bool = True) -> Func:  # fmt: skip
    """Run the steps on one function; each pass's promise is checked after it, `listen` is told."""
    progress = progress_now()
    for number, step in enumerate(steps):
        row = title(step), "step", (number, title(step))
        if progress is not None:
            progress.trail.append((number, func))
        func = _run_one(step, func, resources or {}, listen, verify, row)
        if progress is not None:
            progress.trail.pop()
    return func


def run_module(steps: Steps, module: Module, resources: Mapping[str, object] | None = None,
               listen: Listener | None = None, verify: bool = True) -> Module:  # fmt: skip
    """Run the steps on every function of a module, all in the form that the first step takes."""
    resources = begun(steps, module, resources)
    for func in module.funcs:
        check_start(func, steps)
    return Module(tuple(run_steps(steps, f, resources, listen, verify) for f in module.funcs))


def _run_one(step: Step | Block, func: Func, resources, listen, verify, row) -> Func:
    if isinstance(step, Step):
        with timing.span(*row):
            after = _run_pass(step, func, resources, verify)
        if listen is not None:
            with timing.span("listeners"):
                listen(Done(step, func, after))
        return after
    with timing.span(*row):
        return _run_block(step, func, resources, listen, verify)


def _run_block(step: Block, func: Func, resources, listen, verify) -> Func:
    if step.name == "only":
        with restricted(step.match):
            return run_steps(step.steps, func, resources, listen, verify)
    for _ in range(ROUNDS):
        before = func
        func = run_steps(step.steps, func, resources, listen, verify)
        timing.count("rounds")
        if func is before:
            return func
    names = ", ".join(s.action.name for s in flat(step.steps))
    raise QirError(f"fixpoint({names}) still changes @{func.name} after {ROUNDS} rounds")


def _run_pass(step: Step, func: Func, resources, verify) -> Func:
    action = step.action
    handed = {name: resources[name] for name in action.resources if name in resources}
    missing = [n for n in action.needs(step.options) if n not in handed]
    if missing:
        error = missing_resource(missing[0], action.name)
        raise QirError(error.message, at=step.place, help=error.help)
    choices(action.name, step.options, func, step.place)  # those that mean nothing are told here
    # Data may come from anywhere and leave cycles behind; what only makes ops leaves none.
    with nullcontext() if "samples" in action.resources else paused():
        try:
            after = action(func, **step.options, **handed)
        except QirError as error:
            error.at = error.at or step.place
            raise
    if verify and action.after != "any":
        with timing.span("check of the form"):
            check_form(after, action.form_after(action.before, step.options), action.name)
    return after
