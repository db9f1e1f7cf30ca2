"""`qir compare`: a model under several pipelines, each measured in a process of its own."""

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from .evaluate import data_options
from .models import MODEL_HELP, traced_model
from .opt import check_folder, pipeline_text

FLOAT = "float"
"""The name of the first row, the model as it is."""
PLOTS = (".png", ".svg", ".html")


@click.command("compare", epilog=MODEL_HELP)
@click.argument("model")
@click.option("-p", "--pipelines", required=True, multiple=True, metavar="TEXT|FILE,...",
              help="Pipelines to compare, each a name, with options where it has any, or a .pipe "
                   "file: \"dynamic_range, ptq_int8(method=mse)\".")  # fmt: skip
@click.option("--calibration", metavar="FILE.npz|random[:N]",
              help="Samples by input name along the first axis, or N random ones.")  # fmt: skip
@data_options
@click.option("--plot", multiple=True, metavar="FILE.png|svg|html",
              help="Draw size against accuracy, or signal to noise; html has the table too.")
@click.option("-o", "--output", metavar="FOLDER", help="Keep the models there.")
def compare(model, pipelines, calibration, data, labels, result, inputs, target, runtime,
            batch, rounds, as_json, plot, output) -> None:  # fmt: skip
    """Quantize a model by several pipelines and measure each beside the float model.

    A pipeline that fails is a row with its error; the others are measured, the exit status is 1.
    """
    from . import scores

    check_plots(plot)
    check_runtime(runtime, target)
    schemes = read_schemes(pipelines)
    module = traced_model(model, calibration, inputs)
    read = scores.read_data(data, module.main, labels)
    scores.check_labels(module.main, scores.result_number(module.main, result), read)
    words = ["--data", data, "--rounds", str(rounds), "--runtime", runtime]
    for name, value in (("--labels", labels), ("--result", result), ("--batch", batch)):
        words += [] if value is None else [name, str(value)]
    with TemporaryDirectory() if output is None else nullcontext(output) as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        origin = _float_model(module, runtime, Path(folder))
        rows = measured(module, origin, schemes, calibration, target, words)
    runs = ", run by LiteRT" if runtime == "litert" else ""
    about = f"{rows[0]['samples']} samples, target {target}{runs}"
    head = f"{model} on {data}: {about}"
    if as_json:
        click.echo(json.dumps({"model": model, "data": data, "target": target, "runtime": runtime,
                               "rounds": rounds, "rows": rows}))  # fmt: skip
    else:
        click.echo("\n".join([head, *table_lines(rows), *notes(rows, rounds)]))
    for path in plot:
        write_plot(path, f"{Path(model).name} on {Path(data).name}: {about}", rows, rounds)
    if any("error" in row for row in rows):
        raise click.exceptions.Exit(1)


def read_schemes(texts) -> dict[str, str]:
    """The pipelines by the words that name them; QirError for one that cannot be composed."""
    from ..errors import QirError
    from ..pipeline import compose
    from ..registry import load_dialects

    load_dialects()
    found = {}
    for name in (part.strip() for text in texts for part in split_commas(text)):
        if not name or name in found:
            said = "a name is missing between commas" if not name else f"'{name}' is given twice"
            raise QirError(said, at="--pipelines")
        text, place = pipeline_text(name)
        compose(text, place)
        found[name] = text
    return found


def split_commas(text: str) -> list[str]:
    """The parts of a text between commas that stand in no brackets and no string."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "([") - (letter in ")]")
        if letter == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts if parts[-1].strip() or len(parts) == 1 else parts[:-1]


def check_runtime(runtime: str, target: str) -> None:
    """QirError where the runtime cannot run what the pipelines make."""
    from ..errors import QirError

    if runtime == "litert" and target != "tflite":
        raise QirError(f"LiteRT runs no model for the target '{target}'", at="--runtime",
                       help="--target tflite")  # fmt: skip


def _float_model(module, runtime: str, folder: Path) -> Path:
    """The float model, saved for what is to run it."""
    from .. import api, interchange

    if runtime == "xla":
        api.save(module, folder / f"{FLOAT}.qir")
        return folder / f"{FLOAT}.qir"
    path = folder / f"{FLOAT}.tflite"
    lowered = api.run_pipeline(module, "float_front, decompose(target=tflite), canonicalize, cse")
    interchange.save(lowered, path, "tflite")
    return path


def measured(module, origin: Path, schemes, calibration, target: str, words) -> list[dict]:
    """A row for the float model and for each pipeline: its scores or its error."""
    from .. import api
    from ..arrays import samples_from
    from ..errors import QirError

    samples = None if calibration is None else samples_from(calibration, module.main)
    runs_on = target if target != "tflite" else "xla"
    rows = [{"scheme": FLOAT, **_scores(origin, runs_on, words)}]
    if "error" in rows[0]:
        raise QirError(f"the float model cannot be measured: {rows[0]['error']}")
    taken = {origin.stem}
    for name, text in schemes.items():
        try:
            quantized = api.quantize(module, None, samples, text, target)
            path = _saved(quantized, origin.parent, name, taken)
        except Exception as error:  # whatever it is, the other pipelines are measured
            rows.append({"scheme": name, "error": _first_line(error)})
            continue
        against = ["--against", str(origin)]
        runs_on = quantized.target if path.suffix == ".qir" else "xla"
        rows.append({"scheme": name, **_scores(path, runs_on, [*words, *against])})
    return rows


def _first_line(error: Exception) -> str:
    from ..errors import QirError

    if isinstance(error, QirError):
        return error.message.splitlines()[0]
    said = str(error).partition("\n")[0]
    return f"a bug in qir, {type(error).__name__}: {said}"


def _saved(quantized, folder: Path, name: str, taken: set[str]) -> Path:
    """Write a model under a name made of its pipeline's; gives the path."""
    stem = start = re.sub(r"\W+", "-", name.removesuffix(".pipe")).strip("-")
    number = 1
    while stem in taken:
        number += 1
        stem = f"{start}-{number}"
    taken.add(stem)
    if quantized.target == "tflite":
        quantized.export_tflite(folder / f"{stem}.tflite")
        return folder / f"{stem}.tflite"
    quantized.save(folder / f"{stem}.qir")
    return folder / f"{stem}.qir"


def _scores(path: Path, target: str, words) -> dict[str, object]:
    """What `qir evaluate` says of a saved model in a process of its own, or its error."""
    done = subprocess.run([sys.executable, "-m", "qir", "evaluate", str(path), "--target", target,
                           "--json", "--diagnostics", "json", *words],
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode == 0:
        return json.loads(done.stdout)
    if done.returncode < 0:
        return {"error": f"the process that ran it was ended by signal {-done.returncode}"}
    lines = done.stderr.strip().splitlines()
    try:
        return {"error": json.loads(lines[-1])["message"].splitlines()[0]}
    except (IndexError, ValueError, KeyError, TypeError):
        return {"error": lines[-1] if lines else f"the process ended with {done.returncode}"}


HEADER = {"top_1": "top-1", "top_5": "top-5", "snr": "dB", "size": "size", "latency": "latency",
          "ratio": "ratio", "peak": "peak", "float_ops": "float ops"}  # fmt: skip


def table_cells(rows) -> tuple[list[str], list[list[str]]]:
    """The header of the table, and the cells of each row; one that failed has its name alone."""
    from .scores import size_text, time_text

    shown = [key for key in HEADER if key == "ratio" or any(key in row for row in rows)]
    texts = {
        "top_1": lambda row: f"{100 * row['top_1']:.2f} %",
        "top_5": lambda row: f"{100 * row['top_5']:.2f} %",
        "snr": lambda row: f"{float(row['snr']):.1f}" if "snr" in row else "",
        "size": lambda row: size_text(row["size"]),
        "latency": lambda row: time_text(row["latency"]),
        "ratio": lambda row: f"{row.get('float_latency', row['latency']) / row['latency']:.2f}",
        "peak": lambda row: size_text(row["peak"]),
        "float_ops": lambda row: f"{row['float_ops']} of {row['ops']}",
    }
    cells = [[row["scheme"], *(texts[key](row) for key in shown if "error" not in row)]
             for row in rows]  # fmt: skip
    return ["scheme", *(HEADER[key] for key in shown)], cells


def table_lines(rows) -> list[str]:
    """The table as lines; an error stands behind the name of what failed."""
    from .scores import columns

    header, cells = table_cells(rows)
    width = max(map(len, (header[0], *(row["scheme"] for row in rows))))
    whole = [[c[0].ljust(width), *c[1:]] for c in cells if len(c) > 1]
    lines = iter(columns([header, *whole]))
    first = next(lines)
    return [first, *(f"{row['scheme']:<{width}}  error: {row['error']}" if "error" in row
                     else next(lines) for row in rows)]  # fmt: skip


def notes(rows, rounds: int) -> list[str]:
    """What the columns are."""
    batch = rows[0].get("batch")
    call = "a call" if batch is None else f"a call with batch {batch}"
    return [f"latency: of {call}, median of {rounds} here; ratio: float / this, timed in turn in "
            "one process",
            "size: of the files; peak: memory of a process that ran the model alone, Python and "
            "compiler with it",
            "dB: signal to noise of the result against float"]  # fmt: skip


def check_plots(paths) -> None:
    """QirError for a plot that cannot be written, before anything is measured."""
    from importlib.util import find_spec

    from ..errors import QirError

    for path in paths:
        if Path(path).suffix not in PLOTS:
            raise QirError(f"a plot is written as {', '.join(PLOTS)}", at=path)
        check_folder(path)
    if paths and find_spec("matplotlib") is None:
        raise QirError("a plot needs matplotlib, which is not installed",
                       help="pip install 'qir[picture]'")  # fmt: skip


def write_plot(path: str, head: str, rows, rounds: int) -> None:
    """Draw the rows that were measured; the html has the table and the notes with the picture."""
    from ..pictures.page import page
    from ..pictures.scatter import Point, scatter
    from ..text import write_atomically

    good = [row for row in rows if "error" not in row]
    key = "top_1" if "top_1" in rows[0] else "snr"
    scale = 100 if key == "top_1" else 1
    points = [Point(row["scheme"], row["size"],
                    None if key not in row else scale * float(row[key]),
                    row["latency"] / row.get("float_latency", row["latency"]))
              for row in good]  # fmt: skip
    label = "top-1 accuracy (%)" if key == "top_1" else "signal to noise (dB)"
    suffix = Path(path).suffix
    drawn = scatter(points, head, label, ".svg" if suffix == ".html" else suffix)
    if suffix == ".html":
        header, cells = table_cells(rows)
        failed = {row["scheme"]: row["error"] for row in rows if "error" in row}
        drawn = page(head, header, cells, failed, notes(rows, rounds), drawn)
    write_atomically(path, drawn)
