"""The shape of the project: who imports whom, how large things are, what must have a test."""

import ast
import importlib
import logging
import re
import tomllib
from pathlib import Path

import pytest
from lark import Lark, logger

from qir import registry
from qir.ir import OPS
from qir.rewrite import recorded
from qir.testing.cases import read_cases
from qir.testing.coverage import refusals_in, rules_in, unexercised
from qir.testing.run import run_case

ROOT = Path(__file__).resolve().parent.parent
OURS = ("qir", "dialects", "passes", "pipelines")
SOURCES = sorted(p for folder in OURS for p in (ROOT / folder).rglob("*.py"))
CASES = sorted((ROOT / "tests").rglob("*.qir"))
FILE, FUNCTION, LINE = 400, 60, 100

ORDER = [
    *("errors", "garbage", "journal", "timing", "tables", "plugins"),
    *("types", "packing", "rounding", "windows", "shapes", "special", "ir", "trained", "ranges"),
    *("pattern", "attributes", "roles", "schemes", "dialect", "integer_forms", "rewrite"),
    *("quantizable", "text", "selectors", "recipes"),
    *("verify", "evaluate", "variables", "expansions", "segments", "arrays", "observers"),
    *("samples", "mincut"),
    *("labelling", "decisions", "forms", "capabilities", "graph_pass", "target", "project"),
    *("registry", "progress", "pipeline", "dry_run", "origin", "partial", "drift", "sensitivity"),
    *("noise", "excerpt"),
    *("bisection", "floats", "report", "explain", "api", "training", "reproducer", "reduction"),
    *("difference", "interchange", "pictures", "cli", "testing", "pytest_plugin"),
]
"""The layers of the machine, lowest first; each imports only what stands before it."""

FOR_DIALECTS = {*ORDER[: ORDER.index("integer_forms") + 1], "expansions"} - {"pattern"}

FRAMEWORKS = {
    *("jax", "jaxlib", "flax", "tensorflow", "networkx", "sklearn", "tqdm", "ml_dtypes"),
    *("igraph", "matplotlib", "flatbuffers", "ai_edge_litert", "equinox"),
}
DRAWING = ("qir/pictures/draw.py", "qir/pictures/layout.py", "qir/pictures/scatter.py")
HOME = {
    "jax": ("qir/frontends/jax", "qir/targets/xla", "qir/targets/native"),
    "jaxlib": ("qir/targets/xla",),
    "tensorflow": ("qir/frontends/tensorflow",),
    "igraph": DRAWING,
    "matplotlib": DRAWING,
}

ENTRIES = {"form", "imports", "lowers"}
"""Decorators that put a function into a table, where its key says what it is."""


def module_of(path: Path) -> str:
    """`passes/cse.py` is `qir.passes.cse`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "qir" else ("qir", *parts))


def imports(path: Path, top_only=False) -> set[str]:
    """The full names of the modules a file imports, anywhere or when it is loaded."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    package = module_of(path).split(".")[: None if path.stem == "__init__" else -1]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{start}.{alias.name}" for alias in node.names}
    return found


def nothing(found) -> None:
    """Fail with a line for each thing found."""
    found = list(found)
    assert not found, "\n".join(["", *map(str, found)])


def inside(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def offences(path: Path) -> list[str]:
    """What a file imports that its layer may not."""
    name, found = module_of(path), []
    own = ".".join(name.split(".")[:3])
    for other in sorted(imports(path)):
        home = HOME.get(other.partition(".")[0])
        if home and not path.relative_to(ROOT).as_posix().startswith(home):
            found.append(f"{name} imports {other}")
    for other in sorted(imports(path, top_only=True)):
        if other.partition(".")[0] in FRAMEWORKS - set(HOME):
            found.append(f"{name} imports {other} when it is loaded")
        if not inside(other, "qir") or inside(other, own):
            continue
        part = other.split(".")[1] if "." in other else ""
        if inside(name, "qir.dialects"):
            # What TensorFlow Lite's operators come to is said in the other dialects.
            mirror = inside(name, "qir.dialects.tfl") and part == "dialects"
            mirror |= inside(name, "qir.dialects.hybrid") and inside(other, "qir.dialects.nn")
            wrong = part not in FOR_DIALECTS and not mirror
        elif inside(name, "qir.passes", "qir.frontends", "qir.targets"):
            common = ("qir.frontends.values", "qir.frontends.loops")
            shared = inside(name, "qir.frontends") and inside(other, *common)
            shared |= inside(name, "qir.targets.xla") and inside(other, "qir.targets.native")
            wrong = not shared and inside(other, "qir.passes", "qir.targets", "qir.frontends",
                                          "qir.cli")  # fmt: skip
        elif name in ("qir", "qir.__main__") or other == "qir.__version__":
            wrong = False
        else:
            wrong = part not in ORDER[: ORDER.index(name.split(".")[1]) + 1]
        if wrong:
            found.append(f"{name} imports {other}, a layer above or beside it")
    return found


def test_every_module_of_the_machine_has_a_layer():
    present = {module_of(p).split(".")[1] for p in (ROOT / "qir").rglob("*.py")
               if module_of(p) != "qir"}  # fmt: skip
    nothing(present - set(ORDER) - {"frontends", "targets", "__main__"})


def test_layers():
    nothing(text for path in SOURCES for text in offences(path))


def functions(path: Path):
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]


def test_sizes():
    found = []
    for path in (*SOURCES, *(ROOT / "tests").rglob("*.py")):
        lines, name = path.read_text().splitlines(), path.relative_to(ROOT)
        found += [f"{name}:{i} is {len(t)} columns wide" for i, t in enumerate(lines, 1)
                  if len(t) > LINE]  # fmt: skip
        if path in SOURCES and len(lines) > FILE:
            found.append(f"{name} has {len(lines)} lines")
        found += [f"{name}: {f.name} has {f.end_lineno - f.lineno + 1} lines"
                  for f in functions(path) if f.end_lineno - f.lineno >= FUNCTION]  # fmt: skip
    nothing(found)


def test_everything_public_says_what_it_is():
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for node in (tree, *tree.body):
            kinds = (ast.Module, ast.FunctionDef, ast.ClassDef)
            name = getattr(node, "name", "the module")
            if not isinstance(node, kinds) or name[0] == "_" or ast.get_docstring(node):
                continue
            tables = {ast.unparse(d).partition("(")[0] for d in getattr(node, "decorator_list", ())}
            if not tables & ENTRIES:
                found.append(f"{path.relative_to(ROOT)}: {name}")
    nothing(found)


def test_the_grammar_has_no_conflicts(caplog):
    grammar = (ROOT / "qir/text/syntax.lark").read_text()
    level = logger.level
    try:
        with caplog.at_level(logging.DEBUG, logger=logger.name):
            logger.setLevel(logging.DEBUG)
            Lark(grammar, parser="lalr", start=["module", "pipelines"], debug=True)
    finally:
        logger.setLevel(level)
    nothing(r.getMessage() for r in caplog.records if "onflict" in r.getMessage())


def test_every_package_is_packaged():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = {module_of(p) for p in SOURCES if p.name == "__init__.py"}
    assert set(listed) == present
    missing = {p.parent for p in SOURCES} - {p.parent for p in SOURCES if p.name == "__init__.py"}
    assert missing == set(), "folders without __init__.py"


def test_every_op_has_a_meaning_and_a_test():
    registry.load_dialects()
    registry.targets()
    text = "\n".join(path.read_text() for path in CASES)
    tested = set(re.findall(r"[a-z]\w*\.\w+", text))
    ours = {name: op for name, op in OPS.items() if op.typing.__module__.startswith("qir.")}
    nothing(sorted(name for name, op in ours.items() if not op.meaning))
    nothing(sorted(set(ours) - tested))


def test_every_pass_has_its_test_file():
    ours = [p.name for p in registry.passes().values() if p.function.__module__.startswith("qir.")]
    nothing(n for n in ours if not (ROOT / "tests/passes" / f"{n}.qir").is_file())


def rule_modules():
    """The modules of passes, and those of targets and dialects that hold rules or their guards."""
    for path in SOURCES:
        name = module_of(path)
        rules = inside(name, "qir.targets") and path.stem.startswith("rules")
        rules = rules or name == "qir.dialects.nn.channels"  # guards of passes
        if inside(name, "qir.passes") or rules:
            yield importlib.import_module(name)


@pytest.fixture(scope="module")
def firings(tmp_path_factory):
    """Every firing and refusal while all cases run."""
    scratch = tmp_path_factory.mktemp("cases")
    with recorded() as log:
        for path in CASES:
            for case in read_cases(path) if "RUN:" in path.read_text() else ():
                run_case(case, scratch)
    return log


def test_every_rule_fires_in_some_case(firings):
    fired = {firing.rule for firing in firings if firing.fired}
    nothing(sorted(set(rules_in(rule_modules())) - fired))


def test_every_refusal_is_exercised(firings):
    refusals = {}
    for module in rule_modules():
        refusals |= refusals_in(module)
    nothing(unexercised(refusals, firings))
