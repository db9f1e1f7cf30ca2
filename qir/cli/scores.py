"""What is measured of a model on data: accuracy, signal to noise, latency, memory, size, floats."""

import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .. import api
from ..arrays import by_parameter, read_arrays, result_labels, samples_in
from ..drift import difference
from ..errors import QirError, suggestion
from ..floats import float_ops
from ..ir import Func, Op
from ..rounding import quantize_array, real
from ..samples import filled_batches
from .bench import interleaved
from .models import traced_model

FIFTH = 5
"""Top-5 accuracy is told of more than twice as many classes."""
_WEIGHTS = re.compile(r'weights\("([^"\n]+)"\)')
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Data:
    """Data to evaluate on: reals by input name, and the class of each sample where it is known."""

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    path: str


@dataclass(frozen=True)
class Scores:
    """What was measured of one model.

    top_1, top_5: shares of samples, None without labels. snr: dB against the float model, latency
    and float_latency: median seconds of a call, the two timed in turn; None without that model.
    peak: bytes this process held until the model had run over the data. size: bytes on disk.
    """

    samples: int
    batch: int | None
    top_1: float | None
    top_5: float | None
    snr: float | None
    latency: float
    float_latency: float | None
    peak: int
    size: int
    float_ops: int
    ops: int

    def record(self) -> dict[str, object]:
        """What is known as a JSON object; an infinite signal to noise is a word in it."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        if "snr" in known and not np.isfinite(known["snr"]):
            known["snr"] = str(known["snr"])
        return known


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model to be run: its function, what starts that on arrays in order, the graph to count in.

    start: from the function, for some batch, and the inputs of a first call. counted: as the model
    was saved; what makes the kernels of TensorFlow Lite out of its operators is no op of the model.
    """

    func: Func
    start: Callable[[Func, Sequence[np.ndarray]], Callable]
    counted: Func

    def with_batch(self, batch: int | None) -> Func:
        """The function for that batch, None for its own."""
        return self.func if batch is None else self.func.with_batch(batch)


def loaded(model: str, target: str, runtime: str, kernels: str = "xnnpack", inputs=()) -> Loaded:
    """A model of any kind: saved, or traced from its function."""
    if runtime == "litert":
        return _for_litert(model, kernels)

    def start(func: Func, arrays):
        return api.compile(func, target)

    if not model.endswith((".qir", ".tflite")):
        func = traced_model(model, None, inputs).main
        return Loaded(func, start, func)
    func = api.load(model, target, kernels).module.main
    return Loaded(func, start, api.read_model(model).main if api.is_tflite(model) else func)


def _for_litert(model: str, kernels: str) -> Loaded:
    from ..targets.tflite.interpreter import in_this_process

    if not model.endswith(".tflite"):
        raise QirError("LiteRT runs .tflite models alone", at=model,
                       help="qir translate MODEL.qir -o MODEL.tflite")  # fmt: skip
    func = api.read_model(model).main

    def start(wanted: Func, arrays):
        if wanted is not func:
            raise QirError("LiteRT runs a .tflite model with the batch it was written for",
                           at="--batch")  # fmt: skip
        call = in_this_process(Path(model).read_bytes(), kernels, arrays)
        return lambda *given: tuple(call(given))

    return Loaded(func, start, func)


def read_data(path: str, func: Func, wanted: str | None) -> Data:
    """The inputs and labels in a file.

    wanted: the name of the labels, else they are the one array there that is no input.
    """
    arrays = read_arrays(path)
    names = [p.attributes["name"] for p in func.parameters]
    if wanted is not None and (wanted in names or wanted not in arrays):
        found = "is an input, no labels" if wanted in names else "is not in the file"
        raise QirError(f"--labels: '{wanted}' {found}", at=path,
                       help=suggestion(wanted, set(arrays) - set(names)))  # fmt: skip
    others = [name for name in arrays if name not in names]
    if wanted is None and set(names) <= set(arrays) and others:
        if len(others) > 1:
            raise QirError(f"{', '.join(others)} are no inputs of @{func.name}", at=path,
                           help=f"say which holds the labels: --labels {others[0]}")  # fmt: skip
        wanted = others[0]
    labels = None if wanted is None else arrays.pop(wanted)
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise QirError(f"'{wanted}' is no input of @{func.name}, and no labels: it is "
                       f"{labels.dtype}{list(labels.shape)}", at=path,
                       help="labels are the number of a class for each sample: int32[N]")
    found = by_parameter(arrays, func, path)
    reals = {p.attributes["name"]: _reals(p, found[p.attributes["name"]]) for p in func.parameters}
    return Data(reals, labels, path)


def _reals(parameter: Op, array: np.ndarray) -> np.ndarray:
    """An array of samples as one along the input's first axis, integers of a grid as reals."""
    shape, type = parameter.shape, parameter.type
    if array.ndim == len(shape) + 1 > 1 and array.shape[1:] == shape:
        array = array.reshape(-1, *shape[1:])
    on_grid = type.grid is not None and not type.grid.dynamic and array.dtype.kind in "iu"
    return real(type, array).astype(np.float32) if on_grid else array


def _stored(parameter: Op, array: np.ndarray) -> np.ndarray:
    """Samples as the input stores them."""
    type = parameter.type
    if type.grid is None or type.grid.dynamic:
        return array
    stored = quantize_array(array, *type.grid.expanded(type.rank), type.lo, type.hi)
    return stored.astype(type.dtype.numpy)


def result_number(func: Func, wanted: str | None) -> int:
    """The number of the result that is judged."""
    known = result_labels(func)
    if wanted is None and len(known) == 1:
        return 0
    if wanted not in known:
        said = f"@{func.name} has the results {', '.join(known)}"
        said = said if wanted is None else f"there is no result '{wanted}'"
        raise QirError(said, at="--result", help=suggestion(wanted or "", known))
    return known.index(wanted)


def check_labels(func: Func, number: int, data: Data) -> None:
    """QirError where labels and the classes that a result tells apart do not fit."""
    if data.labels is None:
        return
    type, name = func.results[number].type, result_labels(func)[number]
    rows = 1 if type.rank == 1 else type.shape[0] if type.rank else 0
    classes = type.size // rows if rows else 0
    if classes < 2 or type.shape[-1] != classes:
        raise QirError(f"labels are compared with one number for each class, {name} is {type}",
                       help="choose the result: --result NAME; or leave the labels out")
    samples = _count(func, number, data)
    if len(data.labels) != samples:
        raise QirError(f"there are {len(data.labels)} labels for {samples} samples", at=data.path)
    low, high = int(data.labels.min(initial=0)), int(data.labels.max(initial=0))
    if low < 0 or high >= classes:
        raise QirError(f"the labels are {low} to {high}, {name} has the classes 0 to {classes - 1}",
                       at=data.path)  # fmt: skip


def _count(func: Func, number: int, data: Data) -> int:
    """The samples in the data: rows of the result, where it has a row for each of the input."""
    leading = next((p for p in func.parameters if p.type.rank and p.shape[0]), None)
    if leading is None:
        return max((len(a) for a in data.arrays.values() if a.ndim), default=0)
    rows = len(data.arrays[leading.attributes["name"]])
    return rows if _has_rows(func, number, data) else -(-rows // leading.shape[0])


def _has_rows(func: Func, number: int, data: Data) -> bool:
    """Whether a result has a row for each of the inputs; classes of one axis are of one sample."""
    shape = func.results[number].shape
    extents = {p.shape[0] for p in func.parameters if p.type.rank}
    return len(shape) > (data.labels is not None) and extents == {shape[0]}


def evaluated(model: Loaded, data: Data, result: str | None, rounds: int, size: int,
              against: Callable[[], Loaded] | None = None, batch: int | None = None) -> Scores:
    """Run a model over data and measure it; its memory before the float model is loaded."""
    func = model.with_batch(batch)
    number = result_number(func, result)
    check_labels(func, number, data)
    found, first = _run(model, func, number, data)
    peak = peak_memory()
    snr = theirs = None
    if against is None:
        (latency,) = interleaved(first, rounds=rounds)
    else:
        float_model = against()
        origin = float_model.with_batch(batch)
        _check_alike(func, origin)
        wanted, other = _run(float_model, origin, number, data)
        snr = difference(wanted, found, 0).snr
        theirs, latency = interleaved(other, first, rounds=rounds)
    top = {1: None, FIFTH: None} if data.labels is None else _tops(found, data.labels)
    ops = sum(op.kind not in ("parameter", "const", "item") for op in model.counted.ops)
    leading = {p.shape[0] for p in func.parameters if p.type.rank}
    return Scores(_count(func, number, data), leading.pop() if len(leading) == 1 else None, top[1],
                  top[FIFTH], snr, latency, theirs, peak, size, len(float_ops(model.counted)), ops)


def _run(model: Loaded, func: Func, number: int, data: Data) -> tuple[np.ndarray, Callable]:
    """One result over all the data, as reals, a row for each sample; and a call to be timed."""
    first = next(_batches(func, data))
    call = model.start(func, first)
    parts = [np.asarray(call(*arrays)[number]) for arrays in _batches(func, data)]
    type, count = func.results[number].type, _count(func, number, data)
    parts = parts if _has_rows(func, number, data) else [part[None] for part in parts]
    return np.concatenate([real(type, part) for part in parts])[:count], partial(call, *first)


def _check_alike(func: Func, origin: Func) -> None:
    for what, ours, theirs in (("inputs", func.parameters, origin.parameters),
                               ("results", func.results, origin.results)):  # fmt: skip
        shapes = [[list(op.shape) for op in ops] for ops in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise QirError(f"the model's {what} have the shapes {shapes[0]}, those of the float "
                           f"model {shapes[1]}: they cannot be compared", at="--against")


def _batches(func: Func, data: Data):
    """The data as the function stores it, batch by batch, the last one filled up."""
    named = zip(func.parameters, data.arrays.values(), strict=True)
    arrays = {p.attributes["name"]: _stored(p, array) for p, array in named}
    return filled_batches(func, samples_in(arrays, func, data.path), "evaluation")


def _tops(scores: np.ndarray, labels: np.ndarray) -> dict[int, float | None]:
    """The shares of samples whose class has the largest number, or one of the five largest.

    Of equal numbers the first one counts as the larger.
    """
    scores = scores.reshape(len(scores), -1)
    own = np.take_along_axis(scores, labels[:, None].astype(np.int64), 1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    place = ((scores > own) | ((scores == own) & before)).sum(1)
    place = np.where(np.isnan(own[:, 0]), scores.shape[1], place)
    fifth = float(np.mean(place < FIFTH)) if scores.shape[1] > 2 * FIFTH else None
    return {1: float(np.mean(place < 1)), FIFTH: fifth}


def peak_memory() -> int:
    """The most bytes that this process has held at once.

    What a process tells of its resources begins, on Linux, with what the one that started it held;
    the status of its memory does not.
    """
    try:
        found = _PEAK.search(Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def disk_size(model: str, func: Func) -> int:
    """The bytes of a saved model, its weights with it; of a traced one as `qir` saves it."""
    path = Path(model)
    if path.suffix not in (".qir", ".tflite"):
        with TemporaryDirectory() as folder:
            saved = Path(folder) / "model.qir"
            api.save(func, saved)
            return sum(file.stat().st_size for file in Path(folder).iterdir())
    size = path.stat().st_size
    if path.suffix == ".qir":
        with open(path, encoding="utf-8") as file:
            named = _WEIGHTS.match(file.readline())
        if named and not named[1].startswith("data:"):
            size += (path.parent / named[1]).stat().st_size
    return size


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines


def time_text(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{1e3 * seconds:.{3 if seconds >= 1e-4 else 4}f} ms"


def size_text(count: float) -> str:
    """Bytes with a unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
