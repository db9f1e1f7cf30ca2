"""check_ranges on whole networks, before and after they are legalized, and the limits it reads."""

import warnings

import numpy as np
import pytest
from qir.dialects import int8

import qir
from qir import registry
from qir.api import run_pipeline
from qir.errors import QirError, QirWarning
from qir.evaluate import each_value, evaluate
from qir.ir import Func, Module, const, parameter
from qir.ranges import spans
from qir.rounding import Rescale
from qir.target import Target
from qir.testing.sampling import draw_network, outside
from qir.testing.sampling.checks import draw_normal
from qir.types import DTYPES, Element, per_tensor, tensor

registry.load_dialects()
registry.targets()
RESCALE = Rescale("f32_half_even", scale=1e-3)


def quantized(name: str, *shape: int, zero=0):
    return parameter(name, tensor("i8", shape, per_tensor(0.02, zero)))


def element(scale: float, zero: int) -> Element:
    return Element(DTYPES["i8"], per_tensor(scale, zero))


def lowered(seed: int, settings: str = "") -> tuple[Func, Func, np.random.Generator]:
    """A random network in integers, before and after it is legalized."""
    rng = np.random.default_rng([9, seed])
    func = draw_network(rng)
    samples = [draw_normal(rng, func) for _ in range(4)]
    kept = []
    after = run_pipeline(Module((func,)), f"ptq_int8({settings})", samples, run=evaluate,
                         listen=lambda done: kept.append(done.before))  # fmt: skip
    return kept[-1], after.main, rng


def sums(func: Func) -> list[tuple[int, int]]:
    """The ends of all accumulators."""
    return sorted(each.range.ends for span in spans(func).values() for each in span.accumulators)


SETTINGS = ("", "rounding=tflite_reference", "rounding=single, weights=per_tensor")


@pytest.mark.parametrize("seed", range(24))
def test_networks_pass_and_keep_to_their_ranges_before_and_after_legalization(seed):
    before, after, rng = lowered(seed, SETTINGS[seed % 3])
    assert sums(before) == sums(after)
    inputs = [np.clip(8 * x, -1e3, 1e3) for x in draw_normal(rng, before)]
    for func in (before, after):
        with warnings.catch_warnings():
            warnings.simplefilter("error", QirWarning)
            passed = run_pipeline(func, "check_ranges(clip_rate=1.0)", emit=print).main
        assert passed.results == func.results
        complaint = outside(spans(func), dict(each_value(func, inputs)))
        assert complaint is None, complaint


def test_the_digits_network_passes_without_a_warning():
    from examples.digits.model import digits, load

    model, example = load()
    samples = [x[None] for x in digits()[0][:50]]
    module = run_pipeline(qir.trace(model, example), "ptq_int8", samples, run=evaluate)
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", QirWarning)
        run_pipeline(module, "check_ranges(report=true, clip_rate=0.15)", emit=said.append)
    assert said[0].startswith("integers of @main, in bits with the sign; an accumulator has 32:")


def test_each_op_is_warned_of_even_if_it_is_like_another():
    x, w = quantized("x", 2, 64), np.full((64, 3), 100, np.int8)
    weight = const(w, tensor("i8", w.shape, per_tensor(0.01)))
    rescale = Rescale("f32_half_even", scale=0.02)
    twins = [int8.dense(x, weight, to=element(0.01, 0), rescale=rescale, location=(f"net.py:{n}",))
             for n in (1, 2)]  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        run_pipeline(Func("main", (x,), tuple(twins)), "check_ranges", emit=print)
    assert [each.message.at for each in caught] == ["net.py:1", "net.py:2"]
    (text,) = {str(each.message) for each in caught}
    assert text == (
        "int8.dense : i8<0.01:0>[2,3]: 85.1 % of its results are predicted beyond the ends of its "
        "grid, most of all in channel 0; compare the range it was calibrated to with its values"
    )


def test_numbers_beyond_the_limits_of_a_target_are_told(monkeypatch):
    limits = {"accumulator_bits": 24, "multiplier_bits": {"": 16, "fixed15": 32},
              "shift_range": {"": (-20, 0)}}  # fmt: skip
    small = Target("small", "a small machine", "mixed", {"": "single"}, limits=limits)
    monkeypatch.setitem(registry.targets(), "small", small)
    x = quantized("x", 2, 3)
    wide = int8.requantize(x, to=element(0.1, 0), location=("net.py:1",),
                           rescale=Rescale("single", 1518500250, 3))  # fmt: skip
    fine = int8.requantize(wide, to=element(0.1, 0), location=("net.py:2",),
                           rescale=Rescale("single", 2**14, -20))  # fmt: skip
    total = int8.add(fine, fine, to=element(0.1, 0), location=("net.py:3",),
                     rescale=Rescale("fixed15", [2**20, 5], 15))  # fmt: skip
    func = Func("main", (x,), (total,))
    assert run_pipeline(func, "check_ranges(clip_rate=1.0)", emit=print).main.results == (total,)
    with pytest.raises(QirError) as caught:
        run_pipeline(func, "check_ranges(target=small, clip_rate=1.0)", emit=print)
    remedy = "lower it with another rounding, or to a grid of another scale"
    assert str(caught.value) == (
        "<pipeline>:1:1: error: 2 ops are beyond the limits of the target 'small':\n"
        "  int8.requantize : i8<0.1:0>[2,3]  at net.py:1\n"
        f"    the multiplier of single is 1518500250, small takes 16 bits; {remedy}\n"
        f"    the shift of single is 3, small takes -20 to 0; {remedy}\n"
        "  int8.add : i8<0.1:0>[2,3]  at net.py:3\n"
        f"    the shift of fixed15 is 15, small takes -20 to 0; {remedy}\n"
        "  check_ranges(target=small, clip_rate=1.0)\n  ^^^^^^^^^^^^"
    )


def test_a_target_without_limits_leaves_the_bits_that_an_op_has(monkeypatch):
    free = Target("free", "no limits", "mixed", {"": "single"})
    monkeypatch.setitem(registry.targets(), "free", free)
    x = quantized("x", 1, 70_000, zero=-128)
    w = const(np.full((70_000, 1), 127, np.int8), tensor("i8", (70_000, 1), per_tensor(0.01)))
    func = Func("main", (x,), (int8.dense(x, w, to=element(0.1, 0), rescale=RESCALE),))
    with pytest.raises(QirError, match="33 bits of 32"):
        run_pipeline(func, "check_ranges(target=free)", emit=print)


