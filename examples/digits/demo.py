"""Quantize the shipped digits network to int8 and show what became of it: `make demo`."""

import re
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np

import qir
from qir.cli.bench import interleaved
from qir.ir import Func, Op, kept, parameter

from .model import digits, load

BUILD = Path(__file__).resolve().parents[2] / "build" / "digits"
BLOCK = r"\bConv_[12]\b"  # the depthwise convolution and the 1x1 of the first residual block
CALIBRATION = 200
BATCHES = (1, 32)
ROUNDS = 200


def main() -> None:
    warnings.filterwarnings("ignore")  # the demo is read, not debugged
    model, example = load()
    train_x, _, test_x, test_y = digits()
    before = {}

    def listen(done) -> None:
        before[done.step.action.name] = done.after

    calibration = [train_x[i : i + 1] for i in range(CALIBRATION)]
    quantized = qir.quantize(model, example, calibration, listen=listen)
    print("A residual block (depthwise, 1x1, addition) as the model has it, batch norms folded:\n")
    print(block(before["fuse_activations"]))
    print("The same in integers, lowered by the pipeline ptq_int8:\n")
    print(block(quantized.module.main))
    BUILD.mkdir(parents=True, exist_ok=True)
    float_path, int8_path = BUILD / "float.qir", BUILD / "int8.qir"
    qir.save(quantized.float_module, float_path)
    quantized.save(int8_path)
    rows = measured(jax.jit(model), qir.load(int8_path), test_x, test_y)
    rows.insert(1, ("weights on disk", weights_size(float_path), weights_size(int8_path)))
    for name, of_float, of_int8 in [(f"{len(test_x)} test images", "float", "int8"), *rows]:
        print(f"{name:<20}{of_float:>14}{of_int8:>14}")
    print("\nFloat is the JAX function under jax.jit, int8 the saved model loaded again.\n"
          "XLA's f32 on a CPU is a weak baseline: hand-tuned float kernels are faster.\n"
          f"The saved model: {int8_path} and its weights beside it; qir.load reads it.")


def block(func: Func) -> str:
    """The text of the ops from the layers of BLOCK and of what adds their result."""
    inside = {op for op in func.ops if any(re.search(BLOCK, at) for at in op.location)}
    inside |= {user for op in inside for user in func.users[op]
               if user.kind in ("nn.add", "int8.add")}  # fmt: skip
    new: dict[Op, Op] = {}
    inputs: list[Op] = []
    for op in func.ops:
        if op not in inside or op.is_const:
            continue
        for operand in op.operands:
            if operand.is_const:
                new[operand] = operand
            elif operand not in new:
                new[operand] = parameter(f"x{len(inputs)}" if inputs else "x", operand.type)
                inputs.append(new[operand])
        new[op] = kept(op, tuple(new[operand] for operand in op.operands))
    ends = [new[op] for op in new if op in inside and not inside & {*func.users[op]}]
    return str(Func("block", tuple(inputs), tuple(ends)))


def measured(float_model, int8_model, images, labels) -> list[tuple[str, str, str]]:
    """Accuracy and latency of both models, as rows of a table."""
    models = (float_model, int8_model)
    right = [np.mean(np.argmax(f(images), -1) == labels) for f in models]
    rows = [("accuracy", *(f"{100 * r:.1f} %" for r in right))]
    for batch in BATCHES:
        x = images[:batch]
        seconds = interleaved(partial(float_model, x), partial(int8_model, x), rounds=ROUNDS)
        rows.append((f"latency, batch {batch}", *(f"{1e3 * s:.3f} ms" for s in seconds)))
    return rows


def weights_size(path: Path) -> str:
    """How large the weights file of a saved graph is."""
    (weights,) = path.parent.glob(f"{path.name}.*.safetensors")
    return f"{weights.stat().st_size:,} B"


if __name__ == "__main__":
    main()
