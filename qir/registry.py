"""What there is: dialects, passes, pipelines and targets, found by folder and by entry point.

Nothing is loaded before it is asked for. A plugin that fails to import is reported, not fatal.
"""

import pkgutil
from functools import cache
from importlib import import_module, metadata, resources
from pathlib import Path

from .errors import QirError, suggestion
from .graph_pass import GraphPass
from .target import Target
from .text.syntax import PipelineText, Source, parse_pipelines


@cache
def load_dialects() -> tuple[str, ...]:
    """Import every dialect, so that OPS holds every op; gives the names of their modules."""
    return tuple(name for name, _ in _modules("dialects"))


@cache
def passes() -> dict[str, GraphPass]:
    """Every pass by name."""
    load_dialects()
    found = {}
    for _, module in _modules("passes"):
        for each in vars(module).values():
            if isinstance(each, GraphPass) and each.function.__module__ == module.__name__:
                found[each.name] = each
    return dict(sorted(found.items()))


@cache
def targets() -> dict[str, Target]:
    """Every target by name."""
    found = {}
    for _, module in _modules("targets"):
        target = getattr(module, "TARGET", None)
        if isinstance(target, Target):
            found[target.name] = target
    return dict(sorted(found.items()))


@cache
def pipelines() -> dict[str, tuple[PipelineText, Source]]:
    """Every named pipeline, with the text it stands in."""
    found = {}
    for name, text in _pipeline_texts():
        source = Source(text, name)
        for record in parse_pipelines(source):
            if record.name is None:
                raise QirError("a pipeline file must name its pipelines", at=name)
            found[record.name] = (record, source)
    return dict(sorted(found.items()))


@cache
def failed_plugins() -> tuple[tuple[str, str], ...]:
    """Plugins that could not be loaded: the entry point and its error."""
    load_dialects(), passes(), targets(), pipelines()
    return tuple(_FAILED)


_FAILED: list[tuple[str, str]] = []


def pass_named(name: str) -> GraphPass:
    """The pass of that name; QirError with a suggestion."""
    if name not in passes():
        raise QirError(f"unknown pass '{name}'", help=suggestion(name, [*passes(), *pipelines()]))
    return passes()[name]


def target_named(name: str) -> Target:
    """The target of that name; QirError with a suggestion."""
    if name not in targets():
        raise QirError(f"unknown target '{name}'", help=suggestion(name, targets()))
    return targets()[name]


def _modules(folder: str):
    package = import_module(f"qir.{folder}")
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        yield info.name, import_module(f"qir.{folder}.{info.name}")
    yield from _plugins(folder)


def _plugins(folder: str):
    for entry in metadata.entry_points(group=f"qir.{folder}"):
        try:
            yield entry.name, entry.load()
        except Exception as error:  # a plugin may fail in any way; the tool goes on without it
            _FAILED.append((f"{entry.group}: {entry.value}", f"{type(error).__name__}: {error}"))


def _pipeline_texts():
    folder = resources.files("qir.pipelines")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".pipe"):
            yield f"pipelines/{file.name}", file.read_text(encoding="utf-8")
    for _, module in _plugins("pipelines"):
        for path in getattr(module, "__path__", ()):
            for file in sorted(Path(path).glob("*.pipe")):
                yield str(file), file.read_text(encoding="utf-8")
