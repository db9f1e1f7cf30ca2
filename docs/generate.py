"""Pages written from what there is: the grammar, the docstrings and the tables of qir.

`conf.py` calls `write` before Sphinx reads the pages; `docs/reference` is made anew each time.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module, resources
from pathlib import Path

from qir import registry
from qir.attributes import kind_text
from qir.dialect import OpDefinition
from qir.forms import FORMS
from qir.ir import OPS
from qir.rounding.contracts import CONTRACTS
from qir.testing.sampling import rules_everywhere
from qir.text import write_atomically
from qir.text.write import option_text

NONE = inspect.Parameter.empty


def write(folder: Path) -> None:
    """Write every generated page into a folder, a page a subject."""
    folder.mkdir(exist_ok=True)
    registry.load_dialects()
    pages = {"passes": passes, "pipelines": pipelines, "ops": ops, "rules": rules, "forms": forms,
             "targets": targets, "rounding": rounding, "grammar": grammar,
             "conformance": conformance, "frontends": frontends}  # fmt: skip
    for name, page in pages.items():
        text = "\n\n".join(page())
        file = folder / f"{name}.md"
        if not file.is_file() or file.read_text() != f"{text}\n":  # Sphinx builds what is newer
            write_atomically(file, f"{text}\n")


def frontends() -> Iterator[str]:
    """The operations of each framework and what becomes of them."""
    yield "# Imported operations"
    yield ("What the frontends make ops of. Calls are inlined, what no input reaches is "
           "evaluated, and whatever is not here is listed in one report with its places.")
    try:
        states = import_module("qir.frontends.jax.states").states()
        yield "## JAX primitives"
        yield ("Those that JAX exports and what becomes of each: *imported* as ops, *inlined* as "
               "a call, or *of constants alone*, evaluated; if an input reaches it, reported.")
        yield _table("primitive", "state", "limits", ((f"`{name}`", state, limits)
                     for name, (state, limits) in states.items()))  # fmt: skip
    except ImportError:  # a framework that is not installed where the pages are made
        pass
    try:
        module = import_module("qir.frontends.tensorflow.table")
        import_module("qir.frontends.tensorflow")
        yield "## TensorFlow operations"
        yield ", ".join(f"`{each}`" for each in sorted(module.IMPORTS, key=str.lower))
    except ImportError:
        pass


def conformance() -> Iterator[str]:
    """How many values differ from TensorFlow Lite's interpreter, by operator and kernel set."""
    table = Path(__file__).parent.parent / "benchmarks" / "results" / "conformance.md"
    yield table.read_text().rstrip("\n")


def passes() -> Iterator[str]:
    """Every pass with its arrow, its options and what it says of itself."""
    yield "# Passes"
    yield "What `qir passes` lists. An arrow names the form a pass takes and the one it leaves."
    for each in registry.passes().values():
        yield f"## {each.name}"
        yield f"`{each.arrow}`"
        yield each.doc
        if each.options:
            yield _table("option", "kind", "default", (
                (name, kind_text(kind), "" if default is NONE else option_text(default))
                for name, (kind, default) in each.options.items()
            ))  # fmt: skip


def pipelines() -> Iterator[str]:
    """The text of every pipeline that comes with qir."""
    yield "# Pipelines"
    yield "What `qir pipelines` lists, as it stands in `pipelines/*.pipe`."
    for file in sorted(resources.files("qir.pipelines").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".pipe"):
            yield f"## {file.name.removesuffix('.pipe')}"
            yield _code("text", file.read_text())


def ops() -> Iterator[str]:
    """Every op by dialect: its operands, attributes, traits and docstring."""
    yield "# Ops"
    yield ("An op is a typing function; its operands are positional, its attributes have names. "
           "`pointwise` ops may join a table, ops that `move` copy elements of any storage, those "
           "`on storage` mean the same on the integers of one grid.")  # fmt: skip
    dialects = sorted({name.partition(".")[0] for name in OPS})
    for dialect in dialects:
        yield f"## {dialect}"
        for name in sorted(n for n in OPS if n.startswith(f"{dialect}.")):
            yield from _op(OPS[name])


def _op(op: OpDefinition) -> Iterator[str]:
    operands = [*op.required, *(f"{n}?" for n in op.optional)]
    operands += [f"{op.variadic}..."] if op.variadic else []
    attributes = (f"{name}: {kind_text(kind)}" + ("" if d is NONE else f" = {option_text(d)}")
                  for name, (kind, d) in op.attributes.items())  # fmt: skip
    yield f"### {op.name}"
    yield _code("text", f"{op.name}({', '.join([*operands, *attributes])})")
    traits = {"commutative": op.commutative, "pointwise": op.pointwise, "moves": op.moves,
              "on storage": op.on_storage}  # fmt: skip
    held = ", ".join(name for name, holds in traits.items() if holds)
    yield op.doc + (f" *({held})*" if held else "")


def rules() -> Iterator[str]:
    """Every rule with its pattern, by the module it stands in."""
    yield "# Rules"
    yield ("What `--explain` speaks of, by module. `V.x` binds any value, `C.w` the array of a "
           "constant; a rule may decline with a reason.")  # fmt: skip
    found: dict[str, list] = {}
    for rule in rules_everywhere().values():
        found.setdefault(rule.build.__module__, []).append(rule)
    for module, those in sorted(found.items()):
        yield f"## {module.removeprefix('qir.')}"
        for rule in sorted(those, key=lambda rule: rule.name):
            yield f"### {rule.name}"
            patterns = list(dict.fromkeys(map(str, rule.patterns)))
            more = [f"... and {len(patterns) - 6} more"] if len(patterns) > 6 else []
            yield _code("text", "\n".join([*patterns[:6], *more]))
            yield rule.doc


def forms() -> Iterator[str]:
    """The forms of a graph on its way."""
    registry.targets()
    yield "# Forms"
    yield ("A pass declares an arrow between two of them; a pipeline whose arrows do not meet is "
           "refused before anything runs, and what a pass promised is checked "
           "after it ran.")  # fmt: skip
    rows = ((name, each.doc, ", ".join(each.implies)) for name, each in FORMS.items())
    yield _table("form", "a graph is", "and also", rows)


def targets() -> Iterator[str]:
    """Every target with its schemes, rounding contracts and limits."""
    yield "# Targets"
    for each in registry.targets().values():
        yield f"## {each.name}"
        yield f"{each.doc}. `legalize` brings a graph into its form `{each.form}`."
        if each.schemes is not None:
            yield f"It takes the schemes {', '.join(f'`{name}`' for name in each.schemes)}."
        yield _table("op", "rounding", ((k or "all others", v) for k, v in each.roundings.items()))
        if each.limits:
            yield _table("limit", "", each.limits.items())
        yield _table("rule", "", ((r.name, r.doc.partition("\n")[0]) for r in each.legalization()))


def rounding() -> Iterator[str]:
    """Every rounding contract with its numbers and source."""
    yield "# Rounding contracts"
    yield ("How an accumulator becomes a stored value is written beside the op that does it, "
           "`rescale=tflite_reference(multiplier=1518500250, shift=-3)`. numpy "
           "(`qir/rounding/contracts.py`) and XLA (`qir/targets/xla/rescale.py`) compute each "
           "bit for bit alike. The target chooses; `lower_int8(rounding=...)` overrules "
           "it.")  # fmt: skip
    for name, each in CONTRACTS.items():
        yield f"## {name}"
        what = "one operand" if each.operands == 1 else "the sum of two operands"
        yield f"For {what}. {each.doc}"
        yield _table("number", "dtype", "from", "to", (
            (key, n.dtype.__name__, n.lo, n.hi) for key, n in each.numbers.items()
        ))  # fmt: skip


def grammar() -> Iterator[str]:
    """The grammar file itself."""
    yield "# Grammar"
    yield ("One file serves graphs and pipelines, and the parser is made from it "
           "(`qir/text/syntax.lark`, in the notation of lark).")  # fmt: skip
    yield _code("text", (resources.files("qir.text") / "syntax.lark").read_text())


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _table(*parts) -> str:
    """A table of its column titles and, last, its rows."""
    *titles, rows = parts
    lines = [titles, ["---"] * len(titles), *rows]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
