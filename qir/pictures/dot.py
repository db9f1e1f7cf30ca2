"""A graph as Graphviz text: `dot -Tsvg`, or any viewer of dot files, draws it."""

from ..interchange import View
from ..ir import Module
from .chart import Arrow, Box
from .look import INK, look_of, viewed


def dot_text(module: Module, suffix: str, view: View) -> str:
    """The one function of a module as a digraph, of any size."""
    chart = viewed(module, view)
    lines = [
        f"digraph {_quoted(module.main.name)} {{",
        f'  graph [label={_quoted(chart.title)}, labelloc=t, fontname="monospace", fontsize=12];',
        f'  node [shape=box, style="rounded,filled", fontname="monospace", fontsize=9, '
        f'fontcolor="{INK}", margin="0.12,0.06"];',
        '  edge [fontname="monospace", fontsize=8, arrowsize=0.6];',
        *(f"  n{i} [{_box(box)}];" for i, box in enumerate(chart.boxes)),
        *(f"  n{arrow.start} -> n{arrow.end} [{_arrow(arrow)}];" for arrow in chart.arrows),
        "}",
        "",
    ]
    return "\n".join(lines)


def _box(box: Box) -> str:
    look = look_of(box)
    style = "rounded,filled,dashed" if look.dashed else "rounded,filled"
    text = "".join(f"{line}\\l" for line in map(_escaped, (_head(box), *box.lines)))
    shown = {"label": f'"{text}"', "fillcolor": f'"{look.fill}"', "color": f'"{look.line}"'}
    shown |= {"style": f'"{style}"'} if look.dashed else {}
    shown |= {"tooltip": _quoted(box.place)} if box.place else {}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _head(box: Box) -> str:
    return "  ".join(filter(None, (box.title, box.name)))


def _arrow(arrow: Arrow) -> str:
    look = look_of(arrow)
    shown = {"color": f'"{look.line}"'} | ({"style": "dashed"} if look.dashed else {})
    shown |= {"taillabel": _quoted(arrow.tail)} if arrow.tail else {}
    shown |= {"headlabel": _quoted(arrow.head)} if arrow.head else {}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
