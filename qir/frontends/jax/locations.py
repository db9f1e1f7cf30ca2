"""Where an equation came from: the line of the user's model and the name of the layer."""

import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

FRAMEWORKS = ("jax", "jaxlib", "flax", "equinox", "jaxtyping")


@dataclass(frozen=True)
class Location:
    """A line, the name of the layer, and whether the equation calls library code."""

    line: str
    layer: str = ""
    library: bool = False

    def __str__(self) -> str:
        return f"{self.layer} ({self.line})" if self.layer else self.line


class Locations:
    """Locations of one trace; equations share tracebacks, each of which is read once."""

    def __init__(self, default: str):
        self.default = default
        self.here = f"{Path.cwd()}/"
        self.frameworks = _framework_folders()
        self.stdlib = f"{sysconfig.get_path('stdlib')}/"
        self.lines: dict[object, str | None] = {}
        self.foreign: dict[str, bool] = {}

    def of(self, equation, outer: Location | None) -> Location:
        """An equation's location; one inside a call of library code is where the call is.

        Library functions are traced once for all their calls, so that only the call itself knows
        its line.
        """
        info = equation.source_info
        layer = str(info.name_stack)
        if outer is not None and outer.layer:
            layer = f"{outer.layer}/{layer}" if layer else outer.layer
        if outer is not None and outer.library:
            return replace(outer, library=False)
        line = self.line(info.traceback)
        if line is None:
            line = outer.line if outer is not None else self.default
        return Location(line, layer)

    def line(self, traceback) -> str | None:
        """`file:line` of the innermost frame that no framework owns."""
        if traceback is None:
            return None
        if traceback not in self.lines:
            frames = (f for f in traceback.frames if not self.is_library(f.file_name))
            frame = next(frames, None)
            self.lines[traceback] = frame and f"{self.short(frame.file_name)}:{frame.line_num}"
        return self.lines[traceback]

    def short(self, file: str) -> str:
        """A file relative to the working directory, or its name alone if it lies elsewhere."""
        return file.removeprefix(self.here) if file.startswith(self.here) else Path(file).name

    def is_library(self, file: str) -> bool:
        """Whether a file belongs to a framework, the standard library or this package."""
        if file not in self.foreign:
            standard = file.startswith(self.stdlib) and "-packages/" not in file
            self.foreign[file] = standard or file.startswith(self.frameworks) or file[:1] == "<"
        return self.foreign[file]

    def inside(self, location: Location, jaxpr) -> Location:
        """The location of a call as seen from the equations of its body."""
        file = getattr(jaxpr.debug_info, "func_filename", None)
        return replace(location, library=file is None or self.is_library(file))


def _framework_folders() -> tuple[str, ...]:
    loaded = (sys.modules.get(name) for name in FRAMEWORKS)
    folders = [Path(module.__file__).parent for module in loaded if module is not None]
    return tuple(f"{folder}/" for folder in (*folders, Path(__file__).parents[2]))
