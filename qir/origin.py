"""What made a saved graph, written above it: `origin(version=..., pipeline=..., model=...)`.

The same model, pipeline, version and ranges give the same file, byte for byte; where two files
differ, their origins say in what. There is no time and no path in them.
"""

import hashlib
from collections.abc import Mapping, Sequence

from . import __version__
from .ir import Module
from .pipeline import Done, Steps
from .text import content_hash


def origin(module: Module, steps: Steps, ranges: Sequence[str] = ()) -> Mapping[str, object]:
    """The header of what `steps` make of a module.

    version: of qir. pipeline: the steps with their options, as `qir opt -p` takes them. model:
    hash of the module they began with. ranges: hash of those that `ranges_in` gave on the way.
    """
    made = {"version": __version__, "pipeline": ", ".join(map(str, steps))}
    made["model"] = content_hash(module)
    if ranges:
        made["ranges"] = f"sha256:{hashlib.sha256(''.join(ranges).encode()).hexdigest()}"
    return made


def ranges_in(done: Done) -> list[str]:
    """The ranges that a step has found, a line each; none of a step that looks for none."""
    if done.step.action.after != "calibrated":
        return []
    found = (op.attributes for op in done.after.ops if op.kind == "quant.stats")
    return [f"{a['name']} {a['lo']!r} {a['hi']!r}\n" for a in found]
