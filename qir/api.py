"""The Python API: trace, quantize, load, save, compile."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np

from . import registry
from .arrays import result_labels
from .errors import QirError
from .evaluate import as_array, checked_input
from .forms import complaints
from .ir import Func, Module
from .journal import recorded
from .origin import origin, ranges_in
from .pipeline import Done, Listener, compose, run_module, run_steps, takes
from .report import report_text
from .sensitivity import Ranking, ranking_lines
from .text import load_module, save_module
from .timing import span
from .types import Type


def trace(f, *example_args, **options) -> Module:
    """A model as a graph, from the framework that it is written in.

    f: a JAX function, a Flax module (nnx, or linen bound to variables), an Equinox module; a Keras
    model, tf.function or concrete function, a SavedModel, a frozen GraphDef, or the path of either.
    example_args: arrays or shapes with dtypes, pytrees of them; their leading extent is the batch.
    TensorFlow's models state shapes of their own. options: of the frontend; for TensorFlow `batch`
    for an open first extent, 1 if not said, and `signature` of a SavedModel. QirError lists every
    primitive that has no import, with its place.
    """
    framework = framework_of(f)
    if framework not in EXTRAS:
        raise QirError(f"the model is of Keras on {framework}",
                       help="set KERAS_BACKEND to jax or tensorflow before keras is imported")
    try:
        frontend = import_module(f"qir.frontends.{framework}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != framework:
            raise
        raise QirError(f"this model takes {framework}, which is not installed",
                       help=f"pip install 'qir[{EXTRAS[framework]}]'") from None  # fmt: skip
    return frontend.trace(f, *example_args, **options)


EXTRAS = {"jax": "jax", "tensorflow": "tf"}
"""By framework: the extra that installs it."""


def framework_of(model) -> str:
    """The framework that a model is written in, by where its class comes from."""
    places = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "keras" in places:
        return sys.modules["keras"].backend.backend()
    return "tensorflow" if isinstance(model, (str, Path)) or "tensorflow" in places else "jax"


def run_pipeline(module: Module | Func, pipeline: str, samples=None,
                 parameters: Mapping[str, object] | None = None, listen: Listener | None = None,
                 emit: Callable = print, run: Callable | None = None) -> Module:  # fmt: skip
    """Run a pipeline text, or a named pipeline with parameters, on every function of a module."""
    registry.load_dialects()
    module = Module((module,)) if isinstance(module, Func) else _module_of(module)
    if not isinstance(pipeline, str):
        raise QirError(f"a pipeline is a name or a text, found {type(pipeline).__name__}")
    resources = {"run": run or _xla_run, "compile": _compile_for, "emit": emit}
    if samples is not None:
        resources["samples"] = samples
    with span("compose"):
        steps = compose(pipeline, parameters=parameters, resources=list(resources))
    return run_module(steps, module, resources, listen)


def quantize(model, example_args=None, calibration=None, pipeline: str = "ptq_int8",
             target: str = "xla", listen: Listener | None = None,
             **parameters) -> "Quantized":  # fmt: skip
    """Quantize a model and give it back as a callable.

    model: what `trace` takes (with `example_args`), a `Module`, a `Func`, or the path of a graph or
    a `.tflite` model. example_args: one array
    or a tuple of arguments; the first calibration item where it is left out. calibration: an
    iterable of items or a callable that gives one; an item is an array, a list in input order or a
    dict by input name. pipeline: a name or a text. parameters: the pipeline's own.
    """
    module, calibration = _traced(model, example_args, calibration)
    lowered: dict[str, Func] = {}
    used: dict[str, object] = {}
    ranges: list[str] = []

    def watch(done: Done) -> None:
        ranges.extend(ranges_in(done))
        if done.step.action.name == "legalize":
            lowered[done.before.name] = done.before
            used.update(done.step.options)
        if listen is not None:
            listen(done)

    given = {"target": target, **parameters} if takes(pipeline, "target") else parameters
    with recorded(Ranking) as rankings:
        result = run_pipeline(module, pipeline, calibration, given, watch)
    made_by = origin(module, compose(pipeline, parameters=given), ranges)
    kept = Module(tuple(lowered.get(f.name, f) for f in result.funcs), {"origin": made_by})
    return Quantized(kept, used.get("target", target), pipeline, float_module=module, final=result,
                     rankings=tuple(rankings), profile=used.get("profile"))  # fmt: skip


def load(path: str | Path, target: str = "xla", kernels: str = "xnnpack",
         profile: str | None = None) -> "Quantized":  # fmt: skip
    """A saved model as a callable: a graph of qir, or a `.tflite` file that anybody made.

    kernels: whose arithmetic a `.tflite` model is to have, `tflite_reference`, `tflite_builtin` or
    `xnnpack`; other graphs state theirs. profile: a file of `qir tune`.
    """
    registry.load_dialects()
    registry.target_named(target)
    module = read_model(path)
    if is_tflite(path):
        steps = compose(f"expand_tfl(kernels={kernels}), canonicalize")
        module = Module(tuple(run_steps(steps, func) for func in module.funcs), module.headers)
    return Quantized(module, target, profile=profile)


def read_model(path: str | Path) -> Module:
    """The module in a file: a graph of qir, or a `.tflite` model in the tfl dialect."""
    registry.load_dialects()
    if is_tflite(path):
        return import_module("qir.targets.tflite.read").read(path)
    return load_module(path)


def read_float_model(path: str | Path) -> Module:
    """The module in a file as one to quantize: of a `.tflite` model what it is in reals."""
    module = read_model(path)
    if not is_tflite(path):
        return module
    steps = compose("dequantize_tfl, expand_tfl")
    return Module(tuple(run_steps(steps, func) for func in module.funcs), module.headers)


def is_tflite(path: str | Path) -> bool:
    """Whether a file is TensorFlow Lite's, by its name."""
    return Path(path).suffix == ".tflite"


def save(module: Module | Func, path: str | Path) -> None:
    """Write a graph as text with its weights beside it, both atomically."""
    save_module(Module((module,)) if isinstance(module, Func) else _module_of(module), path)


def compile(model, target: str = "xla", profile: str | None = None) -> Callable:
    """A jitted callable for a function or module, legalized for the target if it is not yet.

    It takes the inputs in order and gives a tuple of results, for the batch of the function's type.
    profile: a file of `qir tune`.
    """
    registry.load_dialects()
    func = model if isinstance(model, Func) else _module_of(model).main
    return _compile_for(func, target, profile)


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model: call it like the model it came from; it serves any batch.

    module: the lowered graph, before it is legalized. float_module: the traced one, if known.
    rankings: what each op was found to lose, where the pipeline has measured it. profile: the file
    of `qir tune` that says its kernels, None for none.
    """

    module: Module
    target: str = "xla"
    pipeline: str = ""
    float_module: Module | None = None
    final: Module | None = None
    rankings: tuple[Ranking, ...] = ()
    profile: str | None = None
    _compiled: dict = field(default_factory=dict)

    @property
    def func(self) -> Func:
        """The entry function as the pipeline left it, legalized."""
        return (self.final or self.module).main

    @property
    def inputs(self) -> dict[str, Type]:
        """The types of the inputs by name; where integers are stored, `scale` and `zero` of each
        say what they stand for: real = scale * (stored - zero)."""
        return {p.attributes["name"]: p.type for p in self.module.main.parameters}

    @property
    def outputs(self) -> dict[str, Type]:
        """The types of the results by name, `result_0` and on where not all have one."""
        func = self.module.main
        return dict(zip(result_labels(func), (r.type for r in func.results), strict=True))

    def __call__(self, *inputs):
        """Run on arrays, in input order or as one dict by name; compiled once per batch.

        Gives one array, a dict where every result has a name, else a tuple. QirError if the graph
        cannot serve the batch.
        """
        arrays = _flat_inputs(self.module.main, inputs)
        run, func = self._for_batch(_batch_of(self.module.main, arrays))
        arrays = [checked_input(p, a) for p, a in zip(func.parameters, arrays, strict=True)]
        results = run(*arrays)
        if func.result_names and all(func.result_names):
            return dict(zip(func.result_names, results, strict=True))
        return results[0] if len(results) == 1 else results

    def _for_batch(self, batch: int | None):
        func = self.module.main
        own = {p.shape[0] for p in func.parameters if p.type.rank}
        if batch is None or own == {batch}:
            batch = None
        if batch not in self._compiled:
            func = func if batch is None else func.with_batch(batch)
            self._compiled[batch] = (_compile_for(func, self.target, self.profile), func)
        return self._compiled[batch]

    def save(self, path: str | Path) -> None:
        """Write the lowered graph, which `qir.load` legalizes for its target again."""
        save_module(self.module, path)

    def export_tflite(self, path: str | Path) -> None:
        """Write the model as a `.tflite` file; QirError lists what TensorFlow Lite has no op for.

        Its kernels round in their own ways; `qir.load(path, kernels=...)` computes as they do.
        """
        import_module("qir.interchange").save(self.module, path, "tflite")

    def report(self) -> str:
        """What became of the model: ops, float ops and why, weights, rankings, kernels here."""
        before = self.float_module.main if self.float_module is not None else None
        lines = [line for ranking in self.rankings for line in ranking_lines(ranking)]
        layers = registry.target_named(self.target).layer_lines(self.func)
        return "\n".join((report_text(self.module.main, before, self.func), *lines, *layers))

    def __repr__(self) -> str:
        return f"<quantized {self.module.main!r} for {self.target}>"


def _module_of(model) -> Module:
    if isinstance(model, Quantized):
        return model.module
    if not isinstance(model, Module):
        raise QirError(f"expected a function of qir or a module, found {type(model).__name__}",
                       help="trace the model first: qir.trace(f, example)")  # fmt: skip
    return model


def _traced(model, example_args, calibration):
    if isinstance(model, (Module, Func)):
        return (model if isinstance(model, Module) else Module((model,))), calibration
    if isinstance(model, Quantized):
        raise QirError("this model is quantized already")
    if isinstance(model, (str, Path)) and Path(model).suffix in (".qir", ".tflite"):
        return read_float_model(model), calibration
    tensorflow = framework_of(model) == "tensorflow"
    if not callable(model) and not tensorflow:
        raise QirError(f"expected a function or a graph, found {type(model).__name__}")
    if example_args is None and not tensorflow:
        example_args, calibration = _example_from(calibration)
    if example_args is None:
        return trace(model), calibration
    args = example_args if isinstance(example_args, (tuple, list)) else (example_args,)
    return trace(model, *args), calibration


def _example_from(calibration):
    """The first calibration item as example, and calibration data that still holds it."""
    if calibration is None:
        raise QirError("no example to trace the model with",
                       help="give example_args=... or calibration data")  # fmt: skip
    if not callable(calibration) and iter(calibration) is calibration:
        calibration = list(calibration)  # a one-way iterator would lose the item we look at
    items: Iterable = calibration() if callable(calibration) else calibration
    first = next(iter(items), None)
    if first is None:
        raise QirError("the calibration data is empty")
    if isinstance(first, Mapping):
        return tuple(first.values()), calibration
    return (tuple(first) if isinstance(first, (list, tuple)) else (first,)), calibration


def _flat_inputs(func: Func, inputs) -> list[np.ndarray]:
    names = [p.attributes["name"] for p in func.parameters]
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        if set(inputs[0]) != set(names):
            raise QirError(f"the model takes the inputs {names}, found {sorted(inputs[0])}")
        inputs = [inputs[0][name] for name in names]
    if len(inputs) != len(names):
        raise QirError(f"the model takes {len(names)} inputs ({', '.join(names)}), "
                       f"found {len(inputs)}")  # fmt: skip
    return [as_array(name, x) for name, x in zip(names, inputs, strict=True)]


def _batch_of(func: Func, arrays: list[np.ndarray]) -> int | None:
    """The batch of the inputs; None where comparing them with the traced shapes says more."""
    pairs = [(p, a) for p, a in zip(func.parameters, arrays, strict=True) if p.type.rank]
    sizes = {p.attributes["name"]: a.shape[0] for p, a in pairs if a.ndim == p.type.rank}
    if len({p.shape[0] for p, _ in pairs}) != 1 or not sizes:
        return None
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise QirError(f"the inputs differ in their leading extent, the batch: {found}")
    return next(iter(sizes.values()))


def _xla_run(func: Func, arrays):
    return import_module("qir.targets.xla.evaluator").evaluate(func, arrays)


def _compile_for(func: Func, target: str, profile: str | None = None) -> Callable:
    return registry.target_named(target).compile(legalized(func, target, profile))


def legalized(func: Func, target: str, profile: str | None = None) -> Func:
    """The function in the form of a target, by a profile if there is one; itself if it is in it
    already."""
    form = registry.target_named(target).form
    if next(complaints(func, form), None) is None and not _unlegalized(func):
        return func
    chosen_by = "" if profile is None else f", profile={json.dumps(str(profile))}"
    return run_steps(compose(f"legalize(target={target}{chosen_by})"), func)


def _unlegalized(func: Func) -> bool:
    return any(op.kind.startswith(("int8.", "nn.", "quant.")) for op in func.ops)
