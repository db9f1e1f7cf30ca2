"""The program that XLA runs, as a file: StableHLO by jax.export.

It holds everything, weights and the integer arithmetic of every rescale, and needs no qir to run:
`jax.export.deserialize(data).call(x)`. Its functions are compiled for a CPU, which the kernels were
chosen for, and for the batch of the graph.
"""

from dataclasses import replace

import jax
from jax import export
from jaxlib.mlir import ir, passmanager
from jaxlib.mlir.dialects import stablehlo

from ...errors import QirError
from ...ir import Func, Module
from .compile import lowered, refuse_fork, require_lowerings
from .lower_quant import wide_program


def exported(module: Module, suffix: str) -> str | bytes:
    """The one function of a legalized module as XLA's program, in the encoding of the suffix.

    `.jax` is what `jax.export.deserialize` reads, `.mlirbc` the portable bytes that other runtimes
    of StableHLO read, all else the text. Inputs are positional; one result comes alone, several
    as a dict if all of them have names and as a tuple if not. The same graph gives the same bytes,
    wherever it is exported: where in qir an operation was made is left out.
    """
    program = _bare(_program(module.main))
    if suffix == ".jax":
        try:
            return bytes(program.serialize())
        except ImportError:
            raise QirError("jax.export writes with flatbuffers, which is not installed",
                           help="pip install 'qir[jax]'") from None  # fmt: skip
    return program.mlir_module_serialized if suffix == ".mlirbc" else _text(program)


def _program(func: Func) -> export.Exported:
    refuse_fork()
    require_lowerings(func.ops)
    named = func.result_names and all(func.result_names)

    def main(*inputs):
        results = lowered(func, inputs)
        if named:
            return dict(zip(func.result_names, results, strict=True))
        return results[0] if len(results) == 1 else results

    specs = [jax.ShapeDtypeStruct(p.shape, p.dtype.numpy) for p in func.parameters]
    with jax.enable_x64(wide_program(func)):
        return export.export(jax.jit(main), platforms=("cpu",))(*specs)


def _bare(program: export.Exported) -> export.Exported:
    """The program without where, in the files of this installation, JAX met its operations."""
    context, module = _module(program)
    with context:
        passmanager.PassManager.parse("builtin.module(strip-debuginfo)").run(module.operation)
        version = stablehlo.get_version_from_compatibility_requirement(
            stablehlo.StablehloCompatibilityRequirement.WEEK_4
        )
        data = stablehlo.serialize_portable_artifact(module, version)
    return replace(program, mlir_module_serialized=data)


def _text(program: export.Exported) -> str:
    context, module = _module(program)
    with context:
        return module.operation.get_asm()


def _module(program: export.Exported) -> tuple[ir.Context, ir.Module]:
    context = ir.Context()
    stablehlo.register_dialect(context)
    return context, stablehlo.deserialize_portable_artifact(context, program.mlir_module_serialized)
