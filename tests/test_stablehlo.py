"""The program that XLA runs, exported: run again where there is no qir, with the same bits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")

import toy  # noqa: E402, F401
from jaxlib.mlir import ir  # noqa: E402
from jaxlib.mlir.dialects import stablehlo  # noqa: E402

from qir import api, registry  # noqa: E402
from qir.arrays import random_inputs  # noqa: E402
from qir.errors import QirError  # noqa: E402
from qir.evaluate import evaluate  # noqa: E402
from qir.interchange import content, save  # noqa: E402
from qir.ir import Module  # noqa: E402
from qir.testing.sampling import draw_network  # noqa: E402
from qir.testing.sampling.checks import draw_normal  # noqa: E402
from qir.text import read_module  # noqa: E402

registry.load_dialects()
ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = """
import sys
import numpy as np
import jax

for name in sys.argv[1:]:
    with open(name + ".jax", "rb") as file:
        program = jax.export.deserialize(bytearray(file.read()))
    with np.load(name + ".in.npz") as inputs:
        results = program.call(*inputs.values())
    if isinstance(results, dict):
        np.savez(name + ".out.npz", **results)
    else:
        np.savez(name + ".out.npz", *(results if isinstance(results, tuple) else (results,)))
assert not [name for name in sys.modules if name.partition(".")[0] == "qir"]
"""
"""A program that has JAX and the files, and nothing of qir."""

WIDE = """func @main(%q: i8<0.1:3>[2], %p: f32[2]) -> (sum: i16<0.001:0>[2], cast: i8<0.3:0>[2]) {
  %0 = quant.requantize(%q, to=i16<0.001:0>)
  %1 = quant.quantize(%p, to=i8<0.3:0>)
  return %0, %1
}"""


def quantized_network(seed: int) -> Module:
    rng = np.random.default_rng([41, seed])
    func = draw_network(rng)
    samples = [draw_normal(rng, func) for _ in range(2)]
    return api.run_pipeline(Module((func,)), "ptq_int8", samples, run=evaluate)


def test_programs_give_the_same_bits_without_qir(tmp_path):
    graphs = {f"network{seed}": quantized_network(seed) for seed in range(2)}
    graphs["wide"] = read_module(WIDE)
    for name, module in graphs.items():
        save(module, tmp_path / f"{name}.jax", "stablehlo")
        np.savez(tmp_path / f"{name}.in.npz", **random_inputs(module.main, name))
    done = subprocess.run([sys.executable, "-I", "-c", ELSEWHERE, *graphs], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, module in graphs.items():
        results = api.compile(module)(*random_inputs(module.main, name).values())
        with np.load(tmp_path / f"{name}.out.npz") as there:
            names = module.main.result_names or [f"arr_{i}" for i in range(len(results))]
            assert sorted(there.files) == sorted(names)
            for key, ours in zip(names, results, strict=True):
                assert there[key].dtype == np.asarray(ours).dtype
                np.testing.assert_array_equal(there[key], ours, err_msg=name)


def test_text_and_bytes_are_programs_of_stablehlo_and_the_same_every_time():
    module = quantized_network(3)
    text, data = content(module, "stablehlo"), content(module, "stablehlo", ".mlirbc")
    context = ir.Context()
    stablehlo.register_dialect(context)
    read = stablehlo.deserialize_portable_artifact(context, data)
    assert read.operation.verify() and read.operation.get_asm() == text
    assert ir.Module.parse(text, context).operation.verify()
    for suffix in (".stablehlo", ".mlirbc", ".jax"):
        once, again = (content(module, "stablehlo", suffix) for _ in range(2))
        assert once == again
        found = once.encode() if isinstance(once, str) else once
        assert str(ROOT).encode() not in found and b"site-packages" not in found


def test_the_package_that_serializes_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    monkeypatch.delitem(sys.modules, "jax._src.export.serialization", raising=False)
    with pytest.raises(QirError) as caught:
        content(read_module("func @main(%x: f32[2]) -> (f32[2]) {\n  return %x\n}"), "stablehlo",
                ".jax")  # fmt: skip
    assert str(caught.value) == (
        "error: jax.export writes with flatbuffers, which is not installed\n"
        "  help: pip install 'qir[jax]'")  # fmt: skip


def test_what_cannot_be_exported_is_an_error():
    toys = read_module("func @main(%x: f32[2]) -> (f32[2]) {\n"
                       '  %0 = toy.neg(%x) loc("m.py:3")\n  return %0\n}')  # fmt: skip
    with pytest.raises(QirError, match=r"toy.neg.* at m.py:3"):
        content(toys, "stablehlo")
    both = Module((*read_module(WIDE).funcs, toys.main))
    with pytest.raises(QirError) as caught:
        content(both, "stablehlo")
    assert str(caught.value) == (
        "error: stablehlo holds one function, this module has 2: @main, @main\n"
        "  help: choose one: --func @NAME")  # fmt: skip
