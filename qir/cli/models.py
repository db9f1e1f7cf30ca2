"""`qir quantize` and `qir run`: from a model to an int8 graph, and the graph on data."""

import importlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import traceback
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from .depfile import check_depfile, depfile_option, write_depfile
from .opt import (
    Wishes,
    check_folder,
    drift_options,
    dry_run_option,
    pipeline_text,
    quickest_run,
    settings,
)
from .reproducers import BY_DEFAULT, kept_when_it_fails, reproducer_option

_NOT_THEIRS = ("<", str(Path(__file__).resolve().parent.parent), sysconfig.get_path("stdlib"),
               sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))  # fmt: skip
"""How the files start that a user's model is not in."""
_TYPE = re.compile(r"([a-z]+\d*)\[([\d,\s]*)\]$")

MODEL_HELP = """MODEL is a saved graph (model.qir), a TensorFlow Lite model (model.tflite), a
SavedModel (folder, or folder:signature), a frozen graph (model.pb) or a function:
package.module:function or path.py:function. A function without arguments is called for the
model, or the model and an example."""


def pipeline_options(command):
    """The options of every command that runs a pipeline over a model."""
    for option in reversed((
        click.argument("model"),
        click.option("--calibration", metavar="FILE.npz|random[:N]",
                     help="Samples by input name along the first axis, or N random ones."),
        click.option("--input", "inputs", multiple=True, metavar="f32[1,28,28,1]",
                     help="An input's type, one for each; else the calibration data shows it."),
        click.option("-p", "--pipeline", default="ptq_int8", show_default=True,
                     metavar="TEXT|FILE"),
        click.option("--param", multiple=True, metavar="KEY=VALUE",
                     help="A parameter of the pipeline."),
    )):  # fmt: skip
        command = option(command)
    return command


def model_options(command):
    """The options of every command that takes a model to quantize."""
    return pipeline_options(click.option("--target", default="xla", show_default=True)(command))


@click.command("quantize", epilog=MODEL_HELP)
@model_options
@click.option("-o", "--output", metavar="FILE.qir", help="Write the graph, its weights beside it.")
@drift_options
@depfile_option
@reproducer_option
@dry_run_option
@click.option("--timing", is_flag=True, help="Print the seconds of each pass and rule, as a tree.")
def quantize(model, calibration, inputs, pipeline, param, target, output, drift, drift_budget,
             depfile, reproducer, dry_run, timing) -> None:  # fmt: skip
    """Quantize a model and report what became of it."""
    from ..timing import span
    from .account import accounted

    def measure(module):
        from ..pipeline import compose
        from .drift import command_words, drift_listener

        if drift is None and not drift_budget:
            return None
        aim = () if target == "xla" else (f"target={target}",)
        words = command_words(model, pipeline, (*param, *aim), calibration, inputs)
        steps = compose(*pipeline_text(pipeline), settings(param))
        note = partial(click.echo, err=True)
        return drift_listener(drift, drift_budget, module, steps, quickest_run, note, words)

    check_folder(output)
    check_folder(reproducer)
    check_depfile(depfile, output)
    if dry_run:
        click.echo("\n".join(_dry(model, calibration, inputs, pipeline, param, target)))
        return
    with accounted(timing, False, partial(click.echo, err=True)):
        _, quantized = quantized_model(model, calibration, inputs, pipeline, param, target, measure,
                                       reproducer or BY_DEFAULT)  # fmt: skip
        if output:
            with span("write"):
                quantized.save(output)
        if depfile:
            write_depfile(depfile, output)
        with span("report"):
            click.echo(quantized.report())


def _dry(model, calibration, inputs, pipeline, param, target):
    """What the selectors of the pipeline mean for the model, line by line."""
    from ..dry_run import dry_run
    from ..pipeline import compose, takes

    module = traced_model(model, calibration, inputs)
    text, place = pipeline_text(pipeline)
    aim = {"target": target} if takes(text, "target") else {}
    return dry_run(compose(text, place, {**aim, **settings(param)}), module)


@click.command("run")
@click.argument("model")
@click.option("--inputs", metavar="FILE.npz", help="An array for each input, by name.")
@click.option("-o", "--output", metavar="FILE.npz", help="Write the results here, by name.")
@click.option("--target", default="xla", show_default=True)
@click.option("--kernels", default="xnnpack", show_default=True,
              type=click.Choice(["tflite_reference", "tflite_builtin", "xnnpack"]),
              help="Whose arithmetic a .tflite model has.")  # fmt: skip
def run(model, inputs, output, target, kernels) -> None:
    """Run a saved graph on arrays (random ones by default) and show or write the results."""
    from .. import api
    from ..arrays import by_parameter, described, random_inputs, read_arrays, write_arrays

    check_folder(output)
    loaded = api.load(model, target, kernels)
    func = loaded.module.main
    arrays = random_inputs(func, "run")
    if inputs is not None:
        arrays = by_parameter(read_arrays(inputs), func, inputs)
    results = by_name(loaded(arrays))
    if output:
        write_arrays(output, results)
    for name, array in results.items():
        click.echo(described(name, array))


def quantized_model(model, calibration, inputs, pipeline, param, target, measure=None,
                    reproducer=None):  # fmt: skip
    """The float module and the quantized model that the options of a command ask for.

    measure: from the float module to a listener for the pipeline, or None. reproducer: where to
    write one if the pipeline fails, None for nowhere.
    """
    from .. import api
    from ..arrays import samples_from
    from ..errors import QirError
    from ..timing import span

    text, _ = pipeline_text(pipeline)
    with span("trace"):
        module = traced_model(model, calibration, inputs)
    samples = None if calibration is None else samples_from(calibration, module.main)
    parameters = settings(param)
    if "target" in parameters:
        raise QirError("the target is an option of its own", at="--param",
                       help=f"--target {parameters['target']}")  # fmt: skip
    listen = None if measure is None else measure(module)
    wishes = Wishes(param=param, reproducer=reproducer)
    with kept_when_it_fails(wishes, module, text, partial(click.echo, err=True)):
        return module, api.quantize(module, None, samples, text, target, listen, **parameters)


def traced_model(model: str, calibration: str | None, inputs: tuple[str, ...]):
    """The module a saved graph holds, or that tracing a function gives, in reals."""
    from .. import api

    if model.endswith((".qir", ".tflite")):
        return api.read_float_model(model)
    saved = _saved_model(model)
    if saved is not None:
        path, signature = saved
        return api.trace(path, *(_example_of(text) for text in inputs), signature=signature)
    function, own = model_and_example(model)
    arguments = own if own and not inputs else example(model, calibration, inputs)
    shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arguments)
    with blamed_on_model(f"tracing {model} with {shapes}"):
        return api.trace(function, *arguments)


def _saved_model(model: str) -> tuple[Path, str | None] | None:
    """The path of a SavedModel and its signature, or of a frozen graph; None if it is neither."""
    for place, signature in ((model, None), (model.rpartition(":")[0], model.rpartition(":")[2])):
        if place and (Path(place) / "saved_model.pb").is_file():
            return Path(place), signature
    return (Path(model), None) if model.endswith(".pb") else None


def model_and_example(model: str) -> tuple:
    """The function that `package.module:name` or `path.py:name` stands for, and its example.

    A function that can be called without arguments makes the model: it gives a function, or a
    function and an example, an array or a tuple of them.
    """
    import numpy as np

    from ..errors import QirError

    found = function_named(model)
    if not callable(found):
        raise QirError(f"{model} is no function, it is of the type {type(found).__name__}")
    taken = inspect.signature(found).parameters.values()
    if any(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in taken):
        return found, ()
    with blamed_on_model(f"calling {model}"):
        made = found()
    if not isinstance(made, tuple):
        return made, ()
    function, arguments = made
    arguments = arguments if isinstance(arguments, (tuple, list)) else (arguments,)
    return function, tuple(np.asarray(a) for a in arguments)


def function_named(model: str):
    """The object `package.module:name` or `path.py:name` stands for."""
    from ..errors import QirError, suggestion

    place, colon, name = model.rpartition(":")
    if not colon or not place:
        raise QirError(f"'{model}' is no model", help=" ".join(MODEL_HELP.split()))
    module = _imported(place)
    for part in name.split("."):
        if not hasattr(module, part):
            public = (n for n, v in vars(module).items() if callable(v) and n[0] != "_")
            raise QirError(f"{place} has no '{name}'", help=suggestion(part, public))
        module = getattr(module, part)
    return module


def _imported(place: str):
    from ..errors import QirError

    if not place.endswith(".py"):
        sys.path.insert(0, "")
        with blamed_on_model(f"importing {place}"):
            return importlib.import_module(place)
    path = Path(place)
    if not path.is_file():
        raise QirError("cannot read: no such file", at=place)
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with blamed_on_model(f"importing {place}"):
        spec.loader.exec_module(module)
    return module


@contextmanager
def blamed_on_model(doing: str):
    """Turn whatever a user's own code raises into a QirError with the last line of that code."""
    from ..errors import QirError

    try:
        yield
    except QirError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [f for f in frames if not f.filename.startswith(_NOT_THEIRS)]
        at = f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else None
        raise QirError(f"{doing} raised {type(error).__name__}: {error}", at=at) from error


def example(model: str, calibration: str | None, inputs: tuple[str, ...]) -> list:
    """Arrays to trace a function with: of the given types, or the first calibration sample."""
    from ..arrays import read_arrays
    from ..errors import QirError

    if inputs:
        return [_example_of(text) for text in inputs]
    if calibration is None or calibration.startswith("random"):
        help = "give --input f32[1,28,28,1] for each (or --calibration, to quantize)"
        raise QirError(f"nothing says which inputs {model} takes", help=help)
    arrays = read_arrays(calibration)
    if any(array.ndim == 0 or len(array) == 0 for array in arrays.values()):
        raise QirError("the calibration data is empty", at=calibration)
    return [array[:1] for array in arrays.values()]


def _example_of(text: str):
    import numpy as np

    from ..errors import QirError
    from ..types import dtype

    found = _TYPE.match(text.strip())
    if found is None:
        raise QirError(f"'{text}' is no type of an input", help="it is written f32[1,28,28,1]")
    shape = [int(n) for n in found.group(2).split(",") if n.strip()]
    return np.zeros(shape, dtype(found.group(1)).numpy)


def by_name(results) -> dict:
    """The results of a call, by name or by number."""
    import numpy as np

    if not isinstance(results, dict):
        results = results if isinstance(results, tuple) else (results,)
        results = {f"result_{i}": array for i, array in enumerate(results)}
    return {name: np.asarray(array) for name, array in results.items()}
