"""What there is: dialects, passes, pipelines and targets, found by folder and by entry point.

Nothing is loaded before it is asked for. What is wrong with a plugin is reported, not fatal; where
it brings a name that is taken, qir's own keeps it, else the one that was found first.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType

from . import plugins
from .errors import QirError, suggestion
from .forms import FORMS
from .graph_pass import GraphPass
from .plugins import LeftOut, brought, leave_out, with_left_out
from .project import project_pipelines
from .tables import inside
from .target import Target
from .text.syntax import PipelineText, Source, parse_pipelines

COMBINATORS = ("fixpoint", "only")
"""What steps may name beside passes and pipelines."""

Found = dict[str, tuple[object, str]]
"""What was found by name, and where; None stands for something of another sort."""


@cache
def load_dialects() -> tuple[str, ...]:
    """Import every dialect, so that OPS holds every op; gives the names of their modules."""
    own = list(_own("dialects"))
    theirs = [module for each in brought("dialects") for module in each.modules]
    return tuple(module.__name__ for module in (*own, *theirs))


@cache
def passes() -> dict[str, GraphPass]:
    """Every pass by name."""
    load_dialects()
    own = [each for module in _own("passes") for each in _passes_in(module, module.__name__)]
    found: Found = {each.name: (each, each.function.__module__) for each in own}
    theirs = list(_searched("passes", "pass", _passes_in))
    if theirs:
        found |= _taken({name: source.file for name, (_, source) in _own_pipelines().items()})
    for plugin, each in theirs:
        _enter(found, "pass", each.name, each, each.function.__module__, plugin)
    return _values(found)


@cache
def targets() -> dict[str, Target]:
    """Every target by name."""
    load_dialects()
    found: Found = {each.name: (each, module.__name__)
                    for module in _own("targets") for each in _targets_in(module)}  # fmt: skip
    for plugin, each in _searched("targets", "TARGET", _targets_in):
        if {each.name, each.form} <= FORMS.keys():
            _enter(found, "target", each.name, each, plugin, plugin)
        else:
            leave_out(f"the target '{each.name}' of {plugin}",
                      f"it declares no form '{each.name}'; qir.forms.form does")  # fmt: skip
    return _values(found)


def pipelines() -> dict[str, tuple[PipelineText, Source]]:
    """Every named pipeline, with the text it stands in; those of the project at hand too."""
    own, installed = project_pipelines(Path.cwd()), _installed_pipelines()
    for name, (_, source) in own.items():
        if name in installed or name in passes() or name in COMBINATORS:
            raise QirError(f"the name '{name}' is taken by a pass or pipeline", at=source.file,
                           help="give it another name")  # fmt: skip
    return dict(sorted({**installed, **own}.items())) if own else installed


@cache
def _installed_pipelines() -> dict[str, tuple[PipelineText, Source]]:
    found: Found = {name: (each, each[1].file) for name, each in _own_pipelines().items()}
    found |= _taken({name: each.function.__module__ for name, each in passes().items()})
    for plugin, file in _searched("pipelines", "file NAME.pipe", _pipeline_files):
        try:
            texts = list(_pipelines_in(str(file), file.read_text(encoding="utf-8")))
        except (QirError, OSError, UnicodeError) as error:
            leave_out(f"{file.name} of {plugin}", plugins.reason_of(error))
            continue
        for record, source in texts:
            _enter(found, "pipeline", record.name, (record, source), source.file, plugin)
    return _values(found)


@cache
def failed_plugins() -> tuple[LeftOut, ...]:
    """What plugins bring that cannot be used, once all of them have been looked at."""
    load_dialects(), passes(), targets(), pipelines()
    plugins.check_groups()
    return plugins.left_out()


def pass_named(name: str) -> GraphPass:
    """The pass of that name; QirError with a suggestion."""
    if name not in passes():
        known = suggestion(name, [*passes(), *pipelines()])
        raise QirError(f"unknown pass '{name}'", help=with_left_out(known))
    return passes()[name]


def target_named(name: str) -> Target:
    """The target of that name; QirError with a suggestion."""
    if name not in targets():
        raise QirError(f"unknown target '{name}'", help=with_left_out(suggestion(name, targets())))
    return targets()[name]


def _own(folder: str) -> Iterator[ModuleType]:
    package = import_module(f"qir.{folder}")
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        yield import_module(f"qir.{folder}.{name}")


@cache
def _own_pipelines() -> dict[str, tuple[PipelineText, Source]]:
    files = (f for f in resources.files("qir.pipelines").iterdir() if f.name.endswith(".pipe"))
    texts = {f"pipelines/{file.name}": file.read_text(encoding="utf-8") for file in files}
    found = (pair for name in sorted(texts) for pair in _pipelines_in(name, texts[name]))
    return {record.name: (record, source) for record, source in found}


def _searched(group: str, what: str, things_in: Callable) -> Iterator[tuple[str, object]]:
    """What plugins bring to a group, each thing with its plugin; those without any are left out."""
    for each in brought(group):
        things = [thing for module in each.modules for thing in things_in(module, each.package)]
        if each.whole and not things:
            leave_out(each.plugin, f"it holds no {what}")
        for thing in things:
            yield each.plugin, thing


def _passes_in(module: ModuleType, package: str) -> list[GraphPass]:
    """The passes of a module that are defined in the package, not just used from elsewhere."""
    found = [each for each in vars(module).values() if isinstance(each, GraphPass)]
    return [each for each in found if inside(each.function.__module__, package)]


def _targets_in(module: ModuleType, package: str = "") -> list[Target]:
    target = getattr(module, "TARGET", None)
    return [target] if isinstance(target, Target) else []


def _pipeline_files(module: ModuleType, package: str) -> list:
    if not hasattr(module, "__path__"):
        return []
    files = (file for file in resources.files(module).iterdir() if file.name.endswith(".pipe"))
    return sorted(files, key=lambda file: file.name)


def _pipelines_in(file: str, text: str) -> Iterator[tuple[PipelineText, Source]]:
    source = Source(text, file)
    for record in parse_pipelines(source):
        if record.name is None:
            raise QirError("a pipeline file must name its pipelines", at=file)
        yield record, source


def _taken(names: Mapping[str, str]) -> Found:
    """Names that things of another sort have, and where; those of the combinators too."""
    words = dict.fromkeys(COMBINATORS, "the language of pipelines")
    return {name: (None, where) for name, where in {**names, **words}.items()}


def _enter(found: Found, what: str, name: str, value, where: str, plugin: str) -> None:
    """Enter what a plugin brings under its name, unless something else has it."""
    if name not in found:
        found[name] = (value, where)
    elif found[name][0] is not value:
        leave_out(f"the {what} '{name}' of {plugin}", f"its name is taken by {found[name][1]}")


def _values(found: Found) -> dict:
    return {name: value for name, (value, _) in sorted(found.items()) if value is not None}
