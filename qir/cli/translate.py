"""`qir translate`: a graph in another format, its picture, or how it differs from another one."""

import click

from .depfile import check_depfile, depfile_option, write_depfile
from .opt import check_folder, read_text

HELP = """FORMAT is one of

\b
  qir        qir's own text, its weights in a file beside it (.qir)
  mlir       MLIR's generic form with !quant types (.mlir)
  tflite     a TensorFlow Lite model (.tflite)
  stablehlo  the program that XLA runs: as text (.stablehlo), as portable
             bytes (.mlirbc), for jax.export.deserialize (.jax)
  dot        Graphviz (.dot, .gv)
  svg, png   a picture (.svg, .png)
  diff       two graphs compared, with --against (.diff, .patch)

and follows from the suffix of OUT where it is left out."""


@click.command("translate", epilog=HELP)
@click.argument("file", default="-", metavar="[FILE]")
@click.option("--to", metavar="FORMAT", help="The format to write.")
@click.option("-o", "--output", metavar="OUT", help="Write here, not to stdout.")
@click.option("--func", "wanted", metavar="@NAME", help="Of several functions only this one.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="For a batch of N.")
@click.option("--against", metavar="OLD.qir",
              help="Show what differs from this graph: as a picture, or as a diff.")  # fmt: skip
@click.option("--around", metavar="%VALUE", help="Of a picture only what is near this value.")
@click.option("--depth", type=click.IntRange(0), default=3, show_default=True, metavar="N",
              help="How many steps near is.")  # fmt: skip
@depfile_option
def translate(file, to, output, wanted, batch, against, around, depth, depfile) -> None:
    """Write a graph in another format, draw it, or compare it with another one.

    FILE is a .qir text or a .tflite model; nothing or - is a text from stdin.
    """
    from ..errors import QirError
    from ..interchange import FORMATS, content, format_named, save

    check_folder(output)
    check_depfile(depfile, output)
    if to is None and output is None and against is None:
        raise QirError("nothing says which format to write", help="--to mlir, or -o FILE.mlir")
    to = "diff" if to is None and output is None else format_named(to, output)
    for option, given, able in (
        ("--against", against, [name for name, format in FORMATS.items() if format.views]),
        ("--around", around, [n for n, f in FORMATS.items() if f.views and not f.compares]),
    ):
        if given is not None and to not in able:
            raise QirError(f"{option} goes with {', '.join(able)}, not with {to}")
    names: dict = {}
    module = _read(file, wanted, batch, names)
    view = None
    if FORMATS[to].views:
        view = _view(module, to, (against, file), batch, around, depth, names)
    if output is not None:
        save(module, output, to, view)
        if depfile:
            write_depfile(depfile, output)
    elif FORMATS[to].suffixes[0] in FORMATS[to].binary:
        raise QirError(f"{to} is no text for a terminal", help=f"-o FILE{FORMATS[to].suffixes[0]}")
    else:
        click.echo(content(module, to, view=view), nl=False)


def _read(file: str, wanted: str | None, batch: int | None, names: dict):
    """The module of a file, or its one function that is wanted; `names` takes those of values."""
    from ..api import is_tflite, read_model
    from ..ir import Module
    from ..registry import load_dialects
    from ..text import read_module

    load_dialects()
    if is_tflite(file):
        module = read_model(file)
    else:
        module = read_module(read_text(file), "<stdin>" if file == "-" else file, names=names)
    if wanted is not None:
        module = Module((module[wanted.removeprefix("@")],), module.headers)
    if batch is None:
        return module
    funcs = tuple(func.with_batch(batch) for func in module.funcs)
    for before, after in zip(module.funcs, funcs, strict=True):
        pairs = zip(before.ops, after.ops, strict=True)
        names |= {new: names[old] for old, new in pairs if old in names}
    return Module(funcs, module.headers)


def _view(module, to: str, files, batch: int | None, around: str | None, depth: int, names: dict):
    """What to show; a difference is summed up on stderr.

    files: the one to compare with, of whose functions the one of our name is meant unless it has
    but one; and ours. names: of our values, to be joined by those of the other file.
    """
    from ..difference import difference
    from ..interchange import View, one_func

    func, against, known = one_func(module, to), None, dict(names)
    if files[0] is not None:
        other = _read(files[0], None, batch, names)
        alone = len(other.funcs) == 1
        against = difference(other.funcs[0] if alone else other[func.name], func)
        click.echo(f"@{func.name}: {against}", err=True)
    middle = None if around is None else _value(around, known)
    return View(middle, depth, against, names, files)


def _value(name: str, names: dict):
    """The value of that name in the text; QirError with a suggestion."""
    from ..errors import QirError, suggestion

    wanted = f"%{name.removeprefix('%')}"
    found = {text: op for op, text in names.items()}
    if wanted not in found:
        known = suggestion(wanted, found)
        raise QirError(f"no value is called {wanted}", at="--around", help=known)
    return found[wanted]
