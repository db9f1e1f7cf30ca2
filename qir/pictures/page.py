"""A page of HTML that needs no other file: a table, a picture, notes."""

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
h1 { font-size: 1.3em }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .25em .9em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child, td.failed { text-align: left }
td.failed { color: #a00 }
p { color: #555; margin: .2em 0 }
svg { max-width: 100%; height: auto }"""


def page(title: str, header: Sequence[str], rows: Sequence[Sequence[str]],
         failed: Mapping[str, str], notes: Sequence[str], svg: str) -> str:  # fmt: skip
    """A title, a table and a picture; failed: by a row's first cell, what stands in place of it."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(_row(row, len(header), failed.get(row[0])) for row in rows)
    said = "\n".join(f"<p>{escape(note)}</p>" for note in notes)
    picture = svg[svg.index("<svg") :]  # without what makes it a document of its own
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(title)}</title>
<style>
{_STYLE}
</style></head>
<body>
<h1>{escape(title)}</h1>
<table>
<tr>{head}</tr>
{body}
</table>
{said}
{picture}</body>
</html>
"""


def _row(cells: Sequence[str], width: int, error: str | None) -> str:
    texts = [f"<td>{escape(cell)}</td>" for cell in (cells[:1] if error else cells)]
    if error:
        texts.append(f'<td class="failed" colspan="{width - 1}">{escape(error)}</td>')
    return f"<tr>{''.join(texts)}</tr>"
