"""Arrays in `.npz` files: calibration samples, inputs and results."""

import io
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import QirError
from ..ir import Func
from ..text import random_array, write_atomically

RANDOM = 8
"""How many samples `--calibration random` makes."""


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name, a lone `.npy` array under `""`."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise QirError("this holds no arrays as numpy.savez writes them", at=path) from None
    except OSError as error:
        raise QirError(f"cannot read: {error.strerror or error}", at=path) from None


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an `.npz` file in one go; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def by_parameter(arrays: Mapping[str, np.ndarray], names: list[str], path: str) -> dict:
    """The arrays by parameter name: named so, or `arr_0, arr_1, ...` or a lone one in order."""
    if set(arrays) == set(names):
        return {name: arrays[name] for name in names}
    positional = [f"arr_{i}" for i in range(len(names))]
    if set(arrays) == set(positional):
        return {name: arrays[key] for name, key in zip(names, positional, strict=True)}
    if len(arrays) == len(names) == 1:
        return dict(zip(names, arrays.values(), strict=True))
    found = ", ".join(sorted(arrays)) or "none"
    raise QirError(f"the model takes the inputs {', '.join(names)}, the file holds {found}",
                   at=path, help="name the arrays after the inputs")  # fmt: skip


def samples_from(wanted: str, func: Func):
    """Calibration samples: a callable giving them anew each time, dicts by input name.

    wanted: an `.npz` file with the samples of each input along the first axis, either each of
    the input's shape or to be taken in slices as long as the input's first axis; or `random` or
    `random:N`, normally distributed numbers of a fixed seed.
    """
    kind, _, count = wanted.partition(":")
    if kind == "random":
        if count and not count.isdigit():
            raise QirError(f"'{wanted}' is no number of samples, it is written random:16")
        return lambda: _random(func, int(count or RANDOM))
    names = [p.attributes["name"] for p in func.parameters]
    arrays = by_parameter(read_arrays(wanted), names, wanted)
    counts = {name: _count(arrays[name], p.shape) for name, p in zip(names, func.parameters)}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise QirError(f"the inputs have different numbers of samples: {found}", at=wanted)
    return lambda: _samples(func, arrays, next(iter(counts.values()), 0))


def _random(func: Func, count: int) -> Iterator[dict[str, np.ndarray]]:
    for i in range(count):
        yield {
            p.attributes["name"]: random_array(p.type, f"sample.{i}.{p.attributes['name']}")
            for p in func.parameters
        }


def _count(array: np.ndarray, shape: tuple[int, ...]) -> int:
    """Samples in an array; what shape they have is for calibration to judge."""
    if array.ndim == 0:
        return 0
    return len(array) // shape[0] if _sliced(array, shape) else len(array)


def _sliced(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    return array.ndim == len(shape) > 0 and shape[0] > 0


def _samples(func: Func, arrays, count: int) -> Iterator[dict[str, np.ndarray]]:
    for i in range(count):
        sample = {}
        for p in func.parameters:
            array, shape = arrays[p.attributes["name"]], p.shape
            step = shape[0] if _sliced(array, shape) else None
            part = array[i] if step is None else array[i * step : (i + 1) * step]
            sample[p.attributes["name"]] = part
        yield sample


