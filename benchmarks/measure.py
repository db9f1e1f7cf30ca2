"""What every benchmark measures with: the machine, signal to noise, sizes, tables."""

import os
import platform
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

from qir.api import Quantized, save
from qir.cli.bench import WARM_UP, finish, interleaved
from qir.text import write_atomically

RESULTS = Path(__file__).with_name("results")
CPU_FEATURES = {
    "AMX int8": "amx_int8",
    "AVX-512 VNNI": "avx512_vnni",
    "AVX VNNI": "avx_vnni",
    "AVX-512": "avx512f",
    "AVX2": "avx2",
}
BASELINE = (
    "XLA's f32 is a weak baseline on CPUs: on a 2-core Sapphire Rapids machine LiteRT runs "
    "ResNet-50 in f32 in 31 ms and MobileNetV2 in 2.3 ms with 2 threads, where XLA took 64 and "
    "10 ms. Read a ratio over float as one over XLA's float, not over the best float there is."
)


def machine() -> str:
    """One line: processor, threads at hand, the features int8 kernels use, versions."""
    cpu = _cpu_info()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    have = [name for name, flag in CPU_FEATURES.items() if flag in flags]
    lack = [name for name in list(CPU_FEATURES)[:2] if name not in have]
    name = cpu.get("model name", platform.machine())
    without = f", without {' and '.join(lack)}" if lack else ""
    return (f"{name}, {threads()} threads, {', '.join(have) or 'no known features'}{without}; "
            f"Python {platform.python_version()}, jax {version('jax')}, numpy {version('numpy')}")


def threads() -> int:
    """How many processors this process may run on, which is how many XLA:CPU uses."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def signal_to_noise(reference, found) -> float:
    """Power of `reference` over that of `found - reference`, in dB; inf where they are equal."""
    reference, found = (np.asarray(x, np.float64) for x in (reference, found))
    noise = np.mean((found - reference) ** 2)
    return 10 * np.log10(np.mean(reference**2) / noise) if noise else np.inf


def sizes_on_disk(quantized: Quantized) -> tuple[int, int]:
    """Bytes of the weights files of a model: the traced one's and the quantized one's."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.qir" for name in ("float", "int8")]
        save(quantized.float_module, paths[0])
        quantized.save(paths[1])
        found = [path.parent.glob(f"{path.name}.*.safetensors") for path in paths]
        return tuple(sum(file.stat().st_size for file in files) for files in found)


def products(rows: int = 1024, depth: int = 768, outputs: int = 3072) -> tuple[float, float]:
    """Billions of operations a second in one matrix product on XLA, f32 and int8."""
    integers = np.random.default_rng(0).integers(-127, 128, (rows + outputs, depth), np.int8)
    a, b = jnp.split(jnp.asarray(integers), [rows])
    multiply = jax.jit(partial(jnp.einsum, "mk,nk->mn", preferred_element_type=jnp.int32))
    floats = a.astype(jnp.float32), b.astype(jnp.float32)
    times = interleaved(partial(jax.jit(partial(jnp.einsum, "mk,nk->mn")), *floats),
                        partial(multiply, a, b), rounds=20)  # fmt: skip
    return tuple(2e-9 * rows * depth * outputs / seconds for seconds in times)


SECONDS = 0.003
"""How long the calls of one turn take at least: short ones are repeated."""


def in_turns(runs: Mapping[Hashable, Callable], rounds: int) -> dict[Hashable, float]:
    """Median seconds of a call of each, whose turns alternate, so that noise hits all."""
    for run in runs.values():
        _seconds(run, WARM_UP)
    calls = {name: max(1, int(SECONDS / _seconds(run, 1))) for name, run in runs.items()}
    spent = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(_seconds(run, calls[name]))
    return {name: median(each) for name, each in spent.items()}


def _seconds(run: Callable, calls: int) -> float:
    started = perf_counter()
    for _ in range(calls):
        finish(run())
    return (perf_counter() - started) / calls


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned columns, the first row a header and the first column to the left."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:],
                                                                      strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """Rows as a markdown table, the first one its header."""
    header, *body = [[str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_results(name: str, title: str, parts: Iterable[str]) -> Path:
    """Write `results/NAME.md`: the title, the machine, then the parts, at once or not at all."""
    path = RESULTS / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, "\n\n".join([f"# {title}", f"Machine: {machine()}.", *parts]) + "\n")
    return path


def _cpu_info() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo, empty where there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
