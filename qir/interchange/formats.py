"""The formats that graphs are written in, by name: one table for `qir translate` and `export`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from ..api import legalized
from ..difference import Difference
from ..errors import QirError, suggestion
from ..ir import Func, Module, Op
from ..text import print_module, write_atomically


@dataclass(frozen=True)
class View:
    """What to show of a function: all of it, what is near one value, or what differs.

    around: the value in the middle, with what is at most `depth` steps away from it. difference:
    two functions instead of one. names: of values, where they are not to be numbered. labels: what
    the two functions are called.
    """

    around: Op | None = None
    depth: int = 3
    difference: Difference | None = None
    names: Mapping[Op, str] = field(default_factory=dict)
    labels: tuple[str, str] = ("old", "new")


@dataclass(frozen=True)
class Format:
    """One format: what it is, the suffixes that name it (the first of them stands for all).

    writer: `module:function`, (module, suffix) -> its text or bytes; the module is imported when
    the format is first written. binary: suffixes whose content is bytes, no text for a terminal.
    saver: `module:function`, (module, path), for a format of several files. one_func: whether it
    holds a single function. target: what the graph is legalized for before it is written. needs:
    the extra of qir that brings what the writer imports. views: whether the writer takes a `View`
    too. compares: whether it shows differences alone.
    """

    doc: str
    suffixes: tuple[str, ...]
    writer: str
    binary: tuple[str, ...] = ()
    saver: str | None = None
    one_func: bool = False
    target: str | None = None
    needs: str | None = None
    views: bool = False
    compares: bool = False


FORMATS: dict[str, Format] = {
    "qir": Format("qir's own text, its weights in a file beside it", (".qir",),
                  "qir.interchange.formats:qir_text", saver="qir.text:save_module"),
    "mlir": Format("MLIR's generic form with !quant types", (".mlir",),
                   "qir.interchange.mlir:mlir_text"),
    "tflite": Format("TensorFlow Lite's", (".tflite",), "qir.targets.tflite.write:written",
                     binary=(".tflite",), target="tflite", needs="tflite"),
    "stablehlo": Format("the program that XLA runs: StableHLO's text, .mlirbc for its portable "
                        "bytes, .jax for what jax.export.deserialize reads",
                        (".stablehlo", ".mlirbc", ".jax"), "qir.targets.xla.export:exported",
                        binary=(".mlirbc", ".jax"), one_func=True, target="xla", needs="jax"),
    "dot": Format("Graphviz", (".dot", ".gv"), "qir.pictures.dot:dot_text", one_func=True,
                  views=True),
    "svg": Format("a picture that scales", (".svg",), "qir.pictures.draw:drawn", one_func=True,
                  needs="picture", views=True),
    "png": Format("a picture in pixels", (".png",), "qir.pictures.draw:drawn",
                  binary=(".png",), one_func=True, needs="picture", views=True),
    "diff": Format("two graphs compared, as a unified diff", (".diff", ".patch"),
                   "qir.difference.text:diff_view", one_func=True, views=True, compares=True),
}  # fmt: skip
"""A format more is an entry here."""


def format_named(name: str | None, path: str | None) -> str:
    """The format of that name, or the one that the suffix of `path` says."""
    if name is not None:
        if name not in FORMATS:
            raise QirError(f"there is no format '{name}'", help=suggestion(name, FORMATS))
        return name
    suffix = Path(path or "").suffix
    for name, format in FORMATS.items():
        if suffix in format.suffixes:
            return name
    known = [suffix for format in FORMATS.values() for suffix in format.suffixes]
    raise QirError(f"no format has the suffix '{suffix}'", at=path, help=suggestion(suffix, known))


def content(module: Module, name: str, suffix: str = "", view: View | None = None) -> str | bytes:
    """The module in the format of that name; suffix: which of its encodings, its first without."""
    format = FORMATS[name]
    if format.one_func:
        one_func(module, name)
    if format.compares and (view is None or view.difference is None):
        raise QirError(f"{name} compares two graphs, this is one", help="name the other: --against")
    if suffix not in format.suffixes:
        suffix = format.suffixes[0]
    if format.target is not None:
        module = Module(tuple(legalized(func, format.target) for func in module.funcs))
    write = _loaded(format.writer, name, format.needs)
    return write(module, suffix, view or View()) if format.views else write(module, suffix)


def save(module: Module, path: str | Path, name: str, view: View | None = None) -> None:
    """Write the module to a file in that format; who reads it sees the old file or the new."""
    format = FORMATS[name]
    if format.saver is not None:
        _loaded(format.saver, name)(module, path)
    else:
        write_atomically(path, content(module, name, Path(path).suffix, view))


def one_func(module: Module, name: str) -> Func:
    """The one function of a module; QirError if there are several, which the format cannot hold."""
    if len(module.funcs) != 1:
        there = ", ".join(f"@{func.name}" for func in module.funcs) or "none"
        raise QirError(f"{name} holds one function, this module has {len(module.funcs)}: {there}",
                       help="choose one: --func @NAME" if module.funcs else None)  # fmt: skip
    return module.funcs[0]


def qir_text(module: Module, suffix: str = "") -> str:
    """The module in qir's own text, without its weights, which `save` puts beside it."""
    return print_module(module)


def _loaded(path: str, name: str, needs: str | None = None) -> Callable:
    """The function that `module:function` names; QirError where what it imports is missing."""
    module, _, function = path.partition(":")
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if needs is None or (error.name or "").startswith("qir"):
            raise
        raise QirError(f"{name} needs {error.name}, which is not installed",
                       help=f"pip install 'qir[{needs}]'") from None  # fmt: skip
