"""Mutated files by the million: every one is read, or refused with a QirError, in little time.

Cases are numbered (`mutate.py` makes the bytes of each): graphs and what a pipeline makes of them,
pipelines, weights files and statistics. A worker reads them under a limit of memory 1 GiB above
where it starts and of 5 seconds a case. An exception that is no QirError, a case that takes
longer, memory beyond the limit, a process that ends, a text that is not read back as it was
written: each is a finding, its files kept in build/mutations. Done cases are kept, so that a run
can be continued.
"""

import json
import mmap
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from qir import observers
from qir.cli.opt import read_text
from qir.errors import QirError
from qir.evaluate import evaluate
from qir.expansions import KERNELS
from qir.ir import Module, Op
from qir.pipeline import compose, run_module
from qir.targets.tflite.read import read_bytes
from qir.text import load_module, print_module, save_module

from . import mutate
from .measure import columns, markdown, write_results

KEPT = Path(__file__).resolve().parent.parent / "build" / "mutations"
SECONDS, MEMORY = 5.0, 2**30
CHUNK = 20_000
STUCK = 30
"""Seconds after which a worker that does not come to its next case is ended."""
LOADING = -1
"""What stands in place of a worker's memory until it has come to its first case."""
PASSES = ("canonicalize, cse", "float_front", "ptq_int8", "lower_int8, canonicalize, legalize")
SMALL = 20_000
"""Elements of the largest value of a graph that is sent through passes."""


class Late(BaseException):
    """A case took too long."""


@click.command(help=__doc__)
@click.option("--cases", default=1_000_000, show_default=True)
@click.option("--start", default=0, help="The first case.")
@click.option("--only", type=int, help="Run this case alone, its traceback shown.")
@click.option("--kind", type=click.Choice(["tflite"]), help="Just such, for their own results.")
@click.option("--worker", is_flag=True, hidden=True)
@click.option("--fresh", is_flag=True, help="Forget what an earlier run has done.")
@click.option("--kept", default=KEPT, type=Path, help="Where findings and what is done are kept.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(cases, start, only, kind, worker, fresh, kept, write) -> None:
    kept = kept / kind if kind and not worker else kept
    kept.mkdir(parents=True, exist_ok=True)
    if worker:
        sys.exit(work(start, start + cases, kept, kind))
    if only is not None:
        mutate.ready()
        with TemporaryDirectory() as folder:
            click.echo(look(mutate.case(only, kind), Path(folder)))
        return
    state_file = kept / "state.json"
    if fresh:
        state_file.unlink(missing_ok=True)
    state = {"done": start, "outcomes": {}, "found": {}, "seconds": 0.0}
    if state_file.is_file():
        state = json.loads(state_file.read_text())
    while state["done"] < start + cases:
        began = time.perf_counter()
        supervise(state, min(CHUNK, start + cases - state["done"]), kept, kind)
        state["seconds"] += time.perf_counter() - began
        state_file.write_text(json.dumps(state, indent=1))
        rate = (state["done"] - start) / state["seconds"]
        click.echo(f"{state['done']:,} cases, {rate:.0f} a second, {len(state['found'])} findings")
    rows = table(state)
    click.echo(columns(rows))
    for number, what in state["found"].items():
        click.echo(f"{number}: {what}")
    if write:
        what = f" --kind {kind}" if kind else ""
        said = (f"`python -m benchmarks.mutations{what} --cases {cases}`: {state['done']:,} "
                "cases, each read in a process that may take 1 GiB more than it starts with and 5 "
                f"seconds a case. Findings: {len(state['found'])}.")  # fmt: skip
        parts = [said, markdown(rows)]
        name, title = ("malformed", "Mutated `.tflite` files") if kind else ("mutations",
                                                                            "Mutated files")
        click.echo(f"written to {write_results(name, title, parts)}")


def supervise(state: dict, count: int, kept: Path, kind: str | None) -> None:
    """Let a worker do the next cases; what ends it is a finding, and the next one goes on."""
    first, progress = state["done"], kept / "progress"
    progress.write_bytes(struct.pack("<qq", first, LOADING))
    command = [sys.executable, "-m", "benchmarks.mutations", "--worker", f"--start={first}",
               f"--cases={count}", f"--kept={kept}", *([f"--kind={kind}"] if kind else [])]
    with open(kept / "said", "w") as said:
        process = subprocess.Popen(command, stdout=said)
        _until_done(process, progress)
    lines = (kept / "said").read_text().splitlines()
    at, peak = struct.unpack("<qq", progress.read_bytes())
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "outcome":
            name, number = rest.split(" ")
            state["outcomes"][name] = state["outcomes"].get(name, 0) + int(number)
        elif kind == "found":
            number, _, what = rest.partition(" ")
            state["found"][number] = what
    state["peak"] = max(state.get("peak", 0), peak)  # KiB, 0 of a worker that was ended
    state["done"] = at
    if process.returncode:
        state["found"][str(at)] = f"the process ended with {process.returncode}"
        _keep_files(mutate.case(at, kind), kept)
        state["done"] = at + 1


def _until_done(process, progress: Path) -> None:
    """Wait for a worker; one that stands still is ended."""
    last, since = None, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        at = progress.read_bytes()
        if at != last:
            last, since = at, time.monotonic()
        elif time.monotonic() - since > STUCK and struct.unpack("<qq", at)[1] != LOADING:
            process.kill()


def work(first: int, stop: int, kept: Path, kind: str | None) -> int:
    """Look at these cases; findings and counts go to stdout, progress into a file."""
    warnings.simplefilter("ignore")
    mutate.ready()
    _limit_memory()
    signal.signal(signal.SIGALRM, _late)
    counts = Counter()
    with open(kept / "progress", "r+b") as file, TemporaryDirectory(dir=_scratch()) as folder:
        shown = mmap.mmap(file.fileno(), 16)
        shown[8:] = struct.pack("<q", 0)
        for number in range(first, stop):
            shown[:8] = struct.pack("<q", number)
            case = mutate.case(number, kind)
            try:
                outcome = _timed(case, Path(folder))
                counts[f"{case.kind}:{outcome}"] += 1
            except BaseException as error:  # whatever it is, it is a finding
                if isinstance(error, KeyboardInterrupt):
                    raise
                place = traceback.extract_tb(error.__traceback__)[-1]
                said = " ".join(str(error).split())[:200]
                what = f"{type(error).__name__}: {said} ({place.filename}:{place.lineno})"
                counts[f"{case.kind}:wrong"] += 1
                print(f"found {number} {what}", flush=True)
                _keep_files(case, kept)
        shown[:] = struct.pack("<qq", stop, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    for name, number in counts.items():
        print(f"outcome {name} {number}", flush=True)
    return 0


def _timed(case, folder: Path) -> str:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return look(case, folder)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _late(number, frame) -> None:
    raise Late(f"more than {SECONDS:g} s")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _scratch() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _keep_files(case, kept: Path) -> None:
    (kept / f"{case.number}.{case.kind}").write_bytes(case.content)
    if case.text:
        (kept / f"{case.number}.qir").write_bytes(case.text)


def look(case, folder: Path) -> str:
    """Read a case as its user would: `read` or `refused`; any other exception is a finding."""
    try:
        _READERS[case.kind](case, folder)
    except QirError as error:
        if not str(error).startswith(("error", "\n")) and ": error: " not in str(error):
            raise AssertionError(f"no message: {error!s}") from error
        return "refused"
    return "read"


def _graph(case, folder: Path) -> None:
    path = folder / "case.qir"
    path.write_bytes(case.content)
    module = load_module(path)
    _printed(module, folder)
    _passes(module, case.number)


def _weights(case, folder: Path) -> None:
    path = folder / "weights.qir"
    path.write_bytes(case.text)
    (folder / "w.safetensors").write_bytes(case.content)
    module = load_module(path)
    for op in module.main.ops:
        if op.is_const:
            np.asarray(op.value).sum()
    _printed(module, folder)


def _model(case, folder: Path) -> None:
    """A file of TensorFlow Lite: what is read is printed, and what is small computed."""
    module = read_bytes(case.content, "case.tflite")
    print_module(module, locations=True)
    if any(_largest(func) > SMALL or len(func.ops) > 200 for func in module.funcs):
        return
    kernels = KERNELS[case.number % len(KERNELS)]
    after = run_module(compose(f"expand_tfl(kernels={kernels})"), module, {})
    for func in after.funcs:
        if any(_wide(op) for op in func.ops):  # a window of a million pixels takes its time
            continue
        evaluate(func, [np.zeros(p.shape, p.type.dtype.numpy) for p in func.parameters])


def _wide(op: Op) -> bool:
    numbers = (n for value in op.attributes.values() if isinstance(value, tuple) for n in value)
    return any(isinstance(n, int) and abs(n) > 1000 for n in numbers)


def _printed(module: Module, folder: Path) -> None:
    """A module that was read is written and read back as the same text."""
    if any(_largest(func) > SMALL for func in module.funcs):
        print_module(module, locations=True)
        return
    saved = folder / "saved.qir"
    save_module(module, saved)
    again = print_module(load_module(saved), locations=True)
    for old in folder.glob("saved.qir*"):
        old.unlink()
    if again != print_module(module, locations=True):
        raise AssertionError("printed otherwise after it was read back")


def _passes(module: Module, number: int) -> None:
    """What is small goes through passes, which may refuse it, and is evaluated."""
    small = module.funcs and all(_largest(func) <= SMALL and len(func.ops) < 200
                                 for func in module.funcs)  # fmt: skip
    if not small:
        return
    rng = np.random.default_rng(number)
    arrays = [rng.normal(size=p.shape) if p.type.is_float else np.zeros(p.shape)
              for p in module.main.parameters]  # fmt: skip
    arrays = [a.astype(p.type.dtype.numpy) for a, p in zip(arrays, module.main.parameters,
                                                           strict=True)]  # fmt: skip
    steps = compose(PASSES[number % len(PASSES)])
    after = run_module(steps, module, {"samples": [arrays], "run": evaluate})
    evaluate(after.main, arrays)


def _largest(func) -> int:
    return max((_size(op) for op in func.ops), default=0)


def _size(op: Op) -> int:
    types = getattr(op.type, "items", None) or (op.type,)
    return max((type.size for type in types), default=0)


def _pipeline(case, folder: Path) -> None:
    path = folder / "case.pipe"
    path.write_bytes(case.content)
    for step in compose(read_text(str(path)), str(path)):
        str(step)


def _statistics(case, folder: Path) -> None:
    path = folder / "case.stats"
    path.write_bytes(case.content)
    found = observers.load(path)
    text = observers.to_text(found)
    if observers.to_text(observers.from_text(text)) != text:
        raise AssertionError("statistics are written otherwise after they were read back")
    for each in found.values():
        for method in ("minmax", "percentile", "entropy", "mse"):
            try:
                observers.solve(each, method)
            except QirError:
                continue


_READERS = {"qir": _graph, "pipe": _pipeline, "safetensors": _weights, "statistics": _statistics,
            "tflite": _model}  # fmt: skip


def table(state: dict) -> list[tuple]:
    """Cases by kind and outcome."""
    rows = [("kind", "read", "refused", "wrong")]
    counts = Counter(state["outcomes"])
    for kind in dict.fromkeys(name.partition(":")[0] for name in sorted(counts)):
        rows.append((kind, *(f"{counts[f'{kind}:{o}']:,}" for o in ("read", "refused", "wrong"))))
    return rows


if __name__ == "__main__":
    main()
