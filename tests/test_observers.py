"""Calibration statistics against numpy on the whole data, and their text against vandalism."""

import os
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qir.errors import Place, QirError
from qir.observers import (
    BINS,
    METHODS,
    MOMENTUM,
    Statistics,
    empty,
    first_bad,
    from_text,
    load,
    merge,
    options_of,
    quantile,
    save,
    solve,
    to_text,
    update,
)

QUANTILES = [0.0, 1e-4, 0.001, 0.01, 0.25, 0.5, 0.731, 0.9, 0.999, 0.9999, 1.0]
F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def stream(arrays):
    return reduce(update, arrays, empty())


@st.composite
def batches(draw):
    """A stream whose batches differ in size, scale and offset by many orders of magnitude."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        size = draw(st.sampled_from([1, 2, 7, 100, 1000]))
        scale = 10.0 ** draw(st.integers(-44, 37))
        shift = draw(st.one_of(st.just(0.0), F32))
        kind = draw(st.sampled_from(["normal", "uniform", "constant", "relu", "integer"]))
        data = {
            "normal": rng.standard_normal(size),
            "uniform": rng.uniform(0, 1, size),
            "constant": np.ones(size),
            "relu": np.maximum(rng.standard_normal(size), 0),
            "integer": rng.integers(-100, 100, size),
        }[kind]
        largest = np.finfo(np.float32).max
        found.append(np.clip(data * scale + shift, -largest, largest).astype(np.float32))
    return found


def assert_quantiles(stats, data):
    data = data.astype(np.float64).ravel()
    bound = (data.max() - data.min()) / 2048
    for q in QUANTILES:
        # The allowance is for the rounding of np.quantile itself.
        slack = 1e-12 * np.abs(data).max()
        assert abs(quantile(stats, q) - np.quantile(data, q)) <= bound + slack, q


ADVERSARIAL = {
    "tiny batch, then a huge range": [[1e-40, 2e-40], [-3e38, 3e38], [0.5, 1.0, 2.0]],
    "huge range, then tiny": [[-3e38, 3e38], [1e-40, 2e-40]],
    "ends of f32": [np.finfo(np.float32).max * np.array([-1.0, 1.0, 0.5])],
    "denormals": [np.arange(5000) * 1.4e-45],
    "far from zero": [np.linspace(1000, 1001, 5000), np.linspace(1000.2, 1000.3, 50)],
    "constant": [[3.3] * 10, [3.3] * 5],
    "one element": [[-7.25]],
    "zeros, then denormals": [[0.0] * 9, [1.4e-45] * 9, [2.8e-45, 1e-44]],
    "across a power of two": [np.nextafter(np.float32(2), np.float32([0, 2, 4]))],
    "grows by steps": [np.linspace(0, 3.7**i, 99) for i in range(40)],
    "walks away": [np.linspace(i, i + 1, 99) for i in range(0, 3000, 17)],
}


@pytest.mark.parametrize("arrays", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_quantiles_of_adversarial_streams(arrays):
    arrays = [np.array(a, np.float32) for a in arrays]
    stats = stream(arrays)
    assert_quantiles(stats, np.concatenate(arrays))
    assert histogram(stats) == histogram(stream(arrays[::-1]))
    assert len(stats.counts) <= BINS


@settings(max_examples=150, deadline=None)
@given(batches())
def test_quantile_error_is_within_1_of_2048_of_the_range(arrays):
    assert_quantiles(stream(arrays), np.concatenate(arrays))


@settings(max_examples=100, deadline=None)
@given(st.lists(F32, min_size=1, max_size=30))
def test_quantiles_of_few_arbitrary_numbers(numbers):
    data = np.array(numbers, np.float32)
    assert_quantiles(stream([data]), data)


def histogram(stats):
    return stats.exponent, stats.start, stats.counts.tolist()


@settings(max_examples=150, deadline=None)
@given(batches(), st.data())
def test_any_chunking_merges_to_the_stream(arrays, data):
    whole = stream(arrays)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrays)), max_size=4)))
    edges = [0, *cuts, len(arrays)]
    chunks = [stream(arrays[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    left = reduce(merge, chunks)
    right = reduce(lambda b, a: merge(a, b), reversed(chunks))
    everything = np.concatenate(arrays)
    scale = np.abs(everything.astype(np.float64)).max()
    for merged in (left, right):
        for name in ("samples", "elements", "zeros", "min", "max", "first_min", "first_max"):
            assert getattr(merged, name) == getattr(whole, name)
        assert histogram(merged) == histogram(whole)
        assert merged.ema_min == pytest.approx(whole.ema_min, rel=1e-12, abs=1e-12 * scale)
        assert merged.ema_max == pytest.approx(whole.ema_max, rel=1e-12, abs=1e-12 * scale)
    assert (whole.min, whole.max) == (everything.min(), everything.max())
    assert whole.zeros == np.sum(everything == 0)
    # The histogram is that of all the data at once, and of the data in any order.
    assert histogram(stream([everything])) == histogram(stream(arrays[::-1])) == histogram(whole)


def test_ema_is_the_recurrence_and_depends_on_the_order():
    arrays = [np.array([-i, 3.0 * i * i]) for i in (5, 1, 4, 2)]
    low, high = -5.0, 75.0
    for array in arrays[1:]:
        low = MOMENTUM * low + (1 - MOMENTUM) * array[0]
        high = MOMENTUM * high + (1 - MOMENTUM) * array[1]
    a, b = stream(arrays[:2]), stream(arrays[2:])
    assert solve(merge(a, b), "ema") == pytest.approx((low, high), rel=1e-14)
    assert solve(merge(b, a), "ema") == pytest.approx(solve(stream(arrays[2:] + arrays[:2]), "ema"))
    assert solve(merge(b, a), "ema")[1] < 60 < solve(merge(a, b), "ema")[1]


def test_ema_of_a_constant_is_that_constant():
    assert solve(stream([np.float32([-0.1, 0.7])] * 50), "ema") == (
        float(np.float32(-0.1)),
        float(np.float32(0.7)),
    )


def test_ema_ends_never_cross():
    for low in np.random.default_rng(0).uniform(0.1, 1, 200):
        stats = stream([[low, np.nextafter(low, 2)], [low / 3, low / 3]] * 3)
        assert stats.ema_min <= stats.ema_max
    edited = EXAMPLE.replace("first_max 2.0", "first_max 90").replace("ema_min 0.0", "ema_min 1")
    stats = from_text(edited)["conv 1/relu"]
    assert from_text(to_text({"a": merge(stats, stats)}))


def test_memory_does_not_grow_with_the_data():
    rng = np.random.default_rng(0)
    stats = empty()
    for i in range(300):
        stats = update(stats, rng.standard_normal(1000) * 1.1**i)
        assert len(stats.counts) <= BINS and stats.counts.dtype == np.int64
    assert stats.elements == stats.counts.sum() == 300_000


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "float64"])
def test_any_real_dtype_counts(dtype):
    data = np.array([[0, 1, 1], [0, 1, 100]]).astype(dtype)
    stats = update(empty(), data.T)
    assert (stats.min, stats.max) == (0.0, float(data.max()))
    assert (stats.elements, stats.zeros, stats.samples) == (6, 2, 1)
    assert quantile(stats, 0.5) == pytest.approx(1.0, abs=float(data.max()) / 2048)


def test_bfloat16_counts():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert solve(update(empty(), np.array([-2, 0.5], bfloat16))) == (-2.0, 0.5)
    assert first_bad(np.array([1, np.nan], bfloat16))[0] == (1,)


def test_scalars_count_and_arrays_without_elements_do_not():
    stats = update(empty(), 3)
    assert (stats.samples, stats.elements, stats.max) == (1, 1, 3.0)
    assert update(stats, np.zeros((0, 4), np.float32)) == stats
    assert merge(stats, empty()) == merge(empty(), stats) == stats
    assert update(empty(), [-0.0]) == update(empty(), [0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_what_f32_cannot_hold_is_refused(bad):
    data = np.zeros((3, 4))
    data[1, 2] = bad
    index, value = first_bad(data)
    assert index == (1, 2) and (value == bad or np.isnan(bad))
    with pytest.raises(QirError, match=r"^conv1: error: holds .* at index \[1, 2\]"):
        update(empty(), data, name="conv1")
    assert first_bad(np.nan_to_num(data, nan=0, posinf=0, neginf=0) % 7) is None
    assert first_bad(np.float16([1, np.inf, 2])) == ((1,), np.inf)


@pytest.mark.parametrize("array", [[1j], ["a"], [None], np.zeros(2, "i4,i4"), ["2020"]])
def test_what_is_no_real_number_is_refused(array):
    with pytest.raises(QirError, match="not real numbers"):
        update(empty(), np.array(array))


def test_statistics_do_not_share_what_can_change():
    with pytest.raises(ValueError):
        update(empty(), [1.0, 2.0]).counts[0] = 5


def quantized_error(data, low, high, symmetric=False):
    """The mean squared error of int8 quantization, independent of the code under test."""
    if symmetric:
        scale, zero = high / 127, 0
    else:
        scale = (high - low) / 255
        zero = np.clip(np.rint(-128 - low / scale), -128, 127)
    q = np.clip(np.rint(data / scale) + zero, -128, 127)
    return np.mean(((q - zero) * scale - data) ** 2)


def distributions(n=40_000):
    rng = np.random.default_rng(7)
    normal, wild = rng.standard_normal(n), 25 * rng.standard_normal(n // 1000)
    silu = 3 * normal / (1 + np.exp(-3 * normal))
    found = {
        "gaussian": normal,
        "laplace": rng.laplace(size=n),
        "uniform": rng.uniform(-2, 1, n),
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(4 * normal, 0, 6),
        "silu": silu,
        "student": rng.standard_t(3, n),
        "negative": -np.abs(normal),
        "far": rng.uniform(1000, 1001, n),
        "gaussian with outliers": np.concatenate([normal, wild]),
        "relu with outliers": np.maximum(np.concatenate([normal, wild]), 0),
        "laplace with outliers": np.concatenate([rng.laplace(size=n), 2 * wild]),
        "integers": rng.integers(0, 256, n).astype(float),
    }
    return {name: data.astype(np.float32).astype(np.float64) for name, data in found.items()}


DATA = distributions()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", DATA)
def test_mse_is_never_worse_than_minmax_and_near_the_best(name, symmetric):
    data = DATA[name]
    stats = stream(np.array_split(data, 5))
    chosen = quantized_error(data, *solve(stats, "mse", symmetric=symmetric), symmetric)
    low, high = solve(stats, symmetric=symmetric)
    assert chosen <= quantized_error(data, low, high, symmetric)
    factors = np.linspace(0.1, 1, 40)
    best = min(quantized_error(data, low * f, high * f, symmetric) for f in factors)
    assert chosen <= 1.03 * best


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DATA)
def test_ranges_include_zero_and_lie_in_the_data(name, method):
    data = DATA[name]
    stats = stream(np.array_split(data, 5))
    low, high = solve(stats, method)
    assert type(low) is type(high) is float
    assert min(data.min(), 0) <= low <= 0 <= high <= max(data.max(), 0)
    if data.min() >= 0:
        assert low == 0.0 < high
    if data.max() <= 0:
        assert low < 0.0 == high
    low, high = solve(stats, method, symmetric=True, lo=-127)
    assert low == -high < 0 and high <= np.abs(data).max()


def test_minmax_is_exact():
    for data in DATA.values():
        assert solve(stream([data])) == (min(data.min(), 0), max(data.max(), 0))


@pytest.mark.parametrize("method", ["percentile", "entropy"])
@pytest.mark.parametrize("name", [name for name in DATA if "outliers" in name])
def test_outliers_are_clipped(name, method):
    data = DATA[name]
    options = {"keep": 0.999} if method == "percentile" else {}
    low, high = solve(stream([data]), method, **options)
    assert high < 0.6 * data.max()
    assert np.mean((data >= low) & (data <= high)) > 0.995


@pytest.mark.parametrize("zeros", [0, 1_000, 1_000_000])
def test_entropy_does_not_depend_on_the_spike_of_a_relu(zeros):
    data = np.abs(np.random.default_rng(3).standard_normal(50_000)).astype(np.float32)
    data[0] = 40.0
    low, high = solve(stream([np.concatenate([data, np.zeros(zeros, np.float32)])]), "entropy")
    assert low == 0.0 and 3.0 < high < 5.0


def test_entropy_keeps_most_of_few_elements():
    """All of them in one bin at the end of a range would have no divergence at all."""
    data = np.float32([-1.08, -1.0, -0.9, -0.81, -0.262, -0.26, -0.26, -0.22, -0.12, 0.46, 0.5])
    low, high = solve(stream([data]), "entropy")
    assert np.mean((data >= low) & (data <= high)) >= 0.5


def test_entropy_leaves_what_fills_its_range():
    for name in ("uniform", "relu6", "integers", "far"):
        data = DATA[name]
        low, high = solve(stream([data]), "entropy")
        assert high - low >= 0.97 * (max(data.max(), 0) - min(data.min(), 0)), name


def test_percentile_keeps_what_it_says():
    data = DATA["gaussian"]
    stats = stream([data])
    for keep in (0.5, 0.9, 0.999):
        low, high = solve(stats, "percentile", keep=keep)
        assert np.mean((data >= low) & (data <= high)) == pytest.approx(keep, abs=0.002)
    assert solve(stats, "percentile", keep=1) == solve(stats, "minmax")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [[0.0], [0.0, 0.0], [1e-45], [-1e-45, 0], [3e38, -3e38], [5e-324]])
@pytest.mark.parametrize("symmetric", [False, True])
def test_degenerate_data_has_a_range(data, method, symmetric):
    low, high = solve(update(empty(), data), method, symmetric=symmetric)
    assert low <= min(data) and max(data) <= high or method == "percentile"


@settings(max_examples=40, deadline=None)
@given(batches(), st.sampled_from(list(METHODS)), st.booleans(), st.sampled_from([-127, -128, -8]))
def test_every_method_answers_on_every_stream(arrays, method, symmetric, lo):
    low, high = solve(stream(arrays), method, lo=lo, hi=-lo - 1, symmetric=symmetric)
    assert np.isfinite([low, high]).all() and low <= 0 <= high
    assert not symmetric or low == -high


@pytest.mark.parametrize(
    "method, options, message, help",
    [
        ("entrpy", {}, "unknown method 'entrpy'", "did you mean 'entropy'?"),
        ("percentile", {"kep": 0.9}, "percentile has no option 'kep'", "did you mean 'keep'?"),
        ("minmax", {"keep": 0.9}, "minmax has no option 'keep'", "there are none"),
        ("percentile", {"keep": "all"}, "option keep='all' is not a float", None),
        ("percentile", {"keep": True}, "option keep=True is not a float", None),
        ("percentile", {"keep": 99.9}, "keep=99.9 is not in (0, 1]", "such as keep=0.999"),
        ("percentile", {"keep": float("nan")}, "keep=nan is not in (0, 1]", "such as"),
        ("mse", {"lo": 5, "hi": 5}, "no grid to quantize to", None),
    ],
)
def test_errors_of_solve(method, options, message, help):
    with pytest.raises(QirError) as caught:
        solve(update(empty(), [1.0]), method, **options)
    assert message in caught.value.message
    assert help is None or help in caught.value.help


def test_no_data_has_no_range():
    with pytest.raises(QirError, match="no data was observed"):
        solve(empty())


def test_options_are_known():
    assert {method: options_of(method) for method in METHODS} == {
        "minmax": {},
        "ema": {},
        "percentile": {"keep": 0.9999},
        "entropy": {},
        "mse": {},
    }


EXAMPLE = """\
qir-statistics 1

value "conv 1/relu"
  samples 2
  elements 6
  zeros 2
  min 0.0
  max 2.0
  ema_min 0.0
  ema_max 1.9
  first_min 0.0
  first_max 2.0
  width 2^-10
  bins 0: 3
  bins 2048: 3

value "unused"
  samples 0
  elements 0
"""


def example():
    return from_text(EXAMPLE, "s.stats")


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.one_of(st.just([]), batches()), max_size=3))
def test_text_round_trips_byte_for_byte(streams):
    stats = {name: stream(arrays) for name, arrays in streams.items()}
    text = to_text(stats)
    assert from_text(text) == stats
    assert to_text(from_text(text)) == text
    text.encode()
    assert max(map(len, text.split("\n"))) < 1000


def test_text_is_what_it_says():
    assert to_text(example()) == EXAMPLE
    assert to_text(dict(reversed(example().items()))) == EXAMPLE
    data = [0.0, 1.0, 1.0, 1.0, 5.0, 7.0]
    assert "width 2^-9\n  bins 0: 1\n  bins 512: 3\n" in to_text({"a": update(empty(), data)})
    many = np.repeat(np.arange(40), [1, 2, 0, 0, 0, 3, 3, 3] * 5)
    row = "1 2 0*3 3*3"
    stats = update(empty(), np.append(many, 3000))
    assert f"bins 0: {row} {row} {row} {row}\n  bins 32: {row}\n" in to_text({"a": stats})


def test_text_changes_only_where_the_statistics_do():
    data = np.random.default_rng(0).standard_normal(10_000)
    stats = update(empty(), data)
    before = to_text({"a": stats}).split("\n")
    after = to_text({"a": update(stats, [data[0]])}).split("\n")
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 5  # counted, ema, one row


def test_text_may_be_edited():
    edited = EXAMPLE.replace("max 2.0", "max 1.5", 1).replace("min 0.0", "  min -1 ", 1)
    edited = edited.replace("  zeros", "// by hand\n\n\t zeros").replace("\n", "\r\n")
    stats = from_text(edited)["conv 1/relu"]
    assert solve(stats) == (-1.0, 1.5)
    assert all(solve(stats, method)[1] <= 1.5 for method in METHODS if method != "ema")
    assert merge(stats, stats).elements == 12


@pytest.mark.parametrize(
    "old, new, line, caret, message",
    [
        ("qir-statistics 1", "qir-statistics 2", 1, "qir-statistics", "no statistics file"),
        ("\n\nvalue", "\nfoo\nvalue", 2, "foo", "'foo' before the first value"),
        ('"conv 1/relu"', "conv", 3, "conv", "this is no name"),
        ('"conv 1/relu"', '"conv\\q"', 3, '"conv\\q"', "this is no name"),
        ('"conv 1/relu"', "", 3, "value", "this is no name"),
        ('"unused"', '"conv 1/relu"', 17, '"conv 1/relu"', "a second value"),
        ("zeros 2", "zeroes 2", 6, "zeroes", "unknown key 'zeroes'"),
        ("  zeros 2\n", "", 3, '"conv 1/relu"', "lacks 'zeros'"),
        ("  bins 0: 3\n  bins 2048: 3\n", "", 3, '"conv 1/relu"', "lacks 'bins'"),
        ("zeros 2", "zeros 2\n  zeros 2", 7, "zeros", "'zeros' was given before"),
        ("zeros 2", "zeros two", 6, "two", "'two' is no count"),
        ("zeros 2", "zeros -2", 6, "-2", "'-2' is no count"),
        ("zeros 2", "zeros", 6, "zeros", "'zeros' has 0 values"),
        ("zeros 2", "zeros 2 3", 6, "3", "'zeros' has 2 values"),
        ("zeros 2", "zeros 4", 6, "4", "bin 0 holds 3 elements"),
        ("max 2.0", "max nan", 8, "nan", "'nan' is no finite number"),
        ("max 2.0", "max 1e999", 8, "1e999", "'1e999' is no finite number"),
        ("max 2.0", "max 1_0", 8, "1_0", "'1_0' is no finite number"),
        ("min 0.0", "min 2.5", 7, "2.5", "min 2.5 is above max 2.0"),
        ("ema_min 0.0", "ema_min 3", 9, "3", "ema_min 3.0 is above ema_max 1.9"),
        ("samples 2", "samples 0", 4, "0", "6 elements cannot be 0 samples"),
        ("elements 6", "elements 7", 5, "7", "the bins hold 6 elements, not 7"),
        ("2^-10", "0.001", 13, "0.001", "'0.001' is no width"),
        ("2^-10", "2^999", 13, "2^999", "'2^999' is no width"),
        ("bins 0: 3", "bins 7: 3", 14, "7:", "no number of a bin"),
        ("bins 0: 3", "bins", 14, "bins", "no number of a bin"),
        ("bins 0: 3", "bins 0: x", 14, "x", "'x' is no count"),
        ("bins 0: 3", "bins 0: 3*40", 14, "3*40", "more than 32 bins in a line"),
        ("bins 2048:", "bins 0:", 15, "0:", "bin 0 after bin 0"),
        ("bins 2048:", "bins 4096:", 15, "4096:", "more than 4096 bins from 0 on"),
        ("bins 2048:", "bins 32000000000000000:", 15, "32000000000000000:", "beyond f32"),
        ("bins 0: 3\n  bins 2048: 3", "bins 0: 0", 14, "bins", "all bins are empty"),
    ],
)
def test_malformed_text_is_pointed_at(old, new, line, caret, message):
    text = EXAMPLE.replace(old, new, 1)
    with pytest.raises(QirError) as caught:
        from_text(text, "s.stats")
    at = caught.value.at
    assert isinstance(at, Place) and (at.file, at.line) == ("s.stats", line)
    assert at.text[at.column - 1 : at.column - 1 + at.width] == caret
    assert message in caught.value.message


def test_unknown_keys_are_guessed():
    with pytest.raises(QirError, match="did you mean 'zeros'"):
        from_text(EXAMPLE.replace("zeros", "zeroes"))


@pytest.mark.parametrize("text", ["", "\n", "// only this\n", "\0", "\ufeff"])
def test_what_is_no_statistics_file_says_so(text):
    with pytest.raises(QirError, match="this is no statistics file"):
        from_text(text)


PIECES = [*EXAMPLE.split(), "", " ", "\n", "\t", '"', "\\", "//", "-", "*", "nan", "1e999", "0*33"]
PIECES += ["9" * 25, "2^-1000", "2^128", "-64:", "\x00", "\ud800", "²", "٣", "[" * 5000, "1e-400"]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_text_loads_or_is_a_clear_error(data):
    text = EXAMPLE
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.integers(0, 12)))
        piece = data.draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)))
        text = text[:start] + piece + text[stop:]
    try:
        found = from_text(text, "s.stats")
    except QirError as error:
        assert str(error).startswith("s.stats:") and isinstance(error.at, Place)
        return
    assert from_text(to_text(found)) == found
    for stats in found.values():
        if stats.elements:
            assert from_text(to_text({"a": merge(stats, stats)}))["a"].elements
            for method in METHODS:
                low, high = solve(stats, method)
                assert np.isfinite([low, high]).all() and low <= 0 <= high


def test_files_round_trip_and_are_replaced_whole(tmp_path):
    path = tmp_path / "model.stats"
    save(path, {})
    assert load(str(path)) == {}
    save(path, example())
    assert path.read_text() == EXAMPLE and load(path) == example()
    with pytest.raises(AttributeError):
        save(path, {"a": None})
    assert path.read_text() == EXAMPLE
    assert os.listdir(tmp_path) == ["model.stats"]


def test_files_that_cannot_be_used_say_so(tmp_path):
    with pytest.raises(QirError, match="cannot read the statistics: No such file"):
        load(tmp_path / "missing.stats")
    with pytest.raises(QirError, match="cannot read the statistics: Is a directory"):
        load(tmp_path)
    (tmp_path / "binary").write_bytes(b"qir-statistics 1\xff")
    with pytest.raises(QirError, match="byte 16 is not UTF-8"):
        load(tmp_path / "binary")
    (tmp_path / "bad").write_text("qir-statistics 1\nfoo\n")
    with pytest.raises(QirError, match=r"bad:2:1: error: 'foo' before"):
        load(tmp_path / "bad")
    for path in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(QirError, match="cannot write the statistics"):
            save(path, example())
    assert sorted(os.listdir(tmp_path)) == ["bad", "binary"]


def test_statistics_of_nothing_equal_only_themselves():
    assert empty() == Statistics() != update(empty(), [0.0])
    assert empty() != "nothing"
