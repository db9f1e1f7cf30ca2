"""How Sphinx builds these pages: `make docs` writes them to build/docs."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402
from lexer import QirLexer  # noqa: E402

import qir  # noqa: E402

project = "qir"
author = "the authors of qir"
version = release = qir.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"qir {release}"
exclude_patterns = []
highlight_language = "text"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

generate.write(HERE / "reference")


def setup(app) -> None:
    """Teach the generator to colour graphs and pipelines."""
    for name in QirLexer.aliases:
        app.add_lexer(name, QirLexer)
