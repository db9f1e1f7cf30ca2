"""Arrays in `.npz` files: inputs, results, calibration samples."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from .errors import QirError
from .ir import Func
from .text import random_array, write_atomically

RANDOM = 8
"""How many samples `random` without a number stands for."""


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name, a lone `.npy` array under `""`."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile):
        raise QirError("this holds no arrays as numpy.savez writes them", at=str(path)) from None
    except OSError as error:
        raise QirError(f"cannot read: {error.strerror or error}", at=str(path)) from None


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an `.npz` file in one go; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def by_parameter(arrays: Mapping[str, np.ndarray], func: Func, path: str) -> dict[str, np.ndarray]:
    """The arrays by parameter name: named so, or `arr_0, arr_1, ...` in order, or a lone one."""
    names = [p.attributes["name"] for p in func.parameters]
    if set(arrays) == set(names):
        return {name: arrays[name] for name in names}
    positional = [f"arr_{i}" for i in range(len(names))]
    if set(arrays) == set(positional):
        return {name: arrays[key] for name, key in zip(names, positional, strict=True)}
    if len(arrays) == len(names) == 1:
        return dict(zip(names, arrays.values(), strict=True))
    found = ", ".join(sorted(arrays)) or "none"
    raise QirError(f"@{func.name} takes the inputs {', '.join(names)}, the file holds {found}",
                   at=path, help="name the arrays after the inputs")  # fmt: skip


def samples_from(wanted: str, func: Func):
    """Calibration samples: a callable giving them anew each time, dicts by input name.

    wanted: an `.npz` file with the samples of each input along the first axis, each of the
    input's shape, or to be taken in slices as long as the input's first axis, the last one as
    short as it comes; or `random` or `random:N`, normally distributed numbers of a fixed seed.
    """
    kind, _, count = wanted.partition(":")
    if kind == "random":
        if count and not count.isdigit():
            raise QirError(f"'{wanted}' is no number of samples, it is written random:16")
        return lambda: _random(func, int(count or RANDOM))
    return samples_in(by_parameter(read_arrays(wanted), func, wanted), func, wanted)


def samples_in(arrays: Mapping[str, np.ndarray], func: Func, path: str):
    """The samples in arrays by parameter name, as `samples_from` has them; path: for messages."""
    shapes = {p.attributes["name"]: p.shape for p in func.parameters}
    counts = {name: _count(arrays[name], shape) for name, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise QirError(f"the inputs have different numbers of samples: {found}", at=path)
    return lambda: _samples(arrays, shapes, next(iter(counts.values()), 0))


def random_inputs(func: Func, seed: str) -> dict[str, np.ndarray]:
    """An array for each input by name: normal for floats, all stored values for integers."""
    return {
        p.attributes["name"]: random_array(p.type, f"{seed}.{p.attributes['name']}")
        for p in func.parameters
    }


def result_labels(func: Func) -> tuple[str, ...]:
    """The names of the results; `result_0`, `result_1` and so on where not all have one."""
    if func.result_names and all(func.result_names):
        return func.result_names
    return tuple(f"result_{i}" for i in range(len(func.results)))


def described(name: str, array: np.ndarray) -> str:
    """A result in one line: its name, dtype, shape and range."""
    start = f"{name}: {array.dtype}{list(array.shape)}"
    if array.size == 0:
        return start
    return f"{start} from {array.min():.6g} to {array.max():.6g}, mean {array.mean():.6g}"


def _random(func: Func, count: int) -> Iterator[dict[str, np.ndarray]]:
    for i in range(count):
        yield random_inputs(func, f"sample.{i}")


def _count(array: np.ndarray, shape: tuple[int, ...]) -> int:
    """Samples in an array; whether each has the right shape is for calibration to say."""
    if array.ndim == 0:
        return 0
    return -(-len(array) // _slice(array, shape))


def _slice(array: np.ndarray, shape: tuple[int, ...]) -> int:
    return shape[0] if array.ndim == len(shape) > 0 and shape[0] > 0 else 1


def _samples(arrays, shapes, count: int) -> Iterator[dict[str, np.ndarray]]:
    for i in range(count):
        sample = {}
        for name, shape in shapes.items():
            array, step = arrays[name], _slice(arrays[name], shape)
            whole = array.ndim == len(shape)
            sample[name] = array[i * step : (i + 1) * step] if whole else array[i]
        yield sample
