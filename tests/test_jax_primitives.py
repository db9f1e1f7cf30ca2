"""Every layout, mode and type in which JAX's primitives come, against JAX."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax_compare import close, ints, rand

from qir.errors import QirError
from qir.frontends.jax import trace


def axes_of(rank_a, rank_b):
    """Batch and contracted axes of two operands in every number, each at a few random places."""
    for batch, inner in itertools.product(range(min(rank_a, rank_b) + 1), repeat=2):
        if batch + inner <= min(rank_a, rank_b):
            rng = np.random.default_rng([rank_a, rank_b, batch, inner])
            for _ in range(3):
                a, b = (rng.permutation(n)[: batch + inner].tolist() for n in (rank_a, rank_b))
                yield (a[batch:], b[batch:]), (a[:batch], b[:batch])


@pytest.mark.parametrize("ranks", [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4)])
def test_dot_products_in_every_layout(ranks):
    for numbers in axes_of(*ranks):
        shape_a, shape_b = list(range(2, 2 + ranks[0])), list(range(5, 5 + ranks[1]))
        for ours, theirs in numbers:
            for i, j in zip(ours, theirs, strict=True):
                shape_b[j] = shape_a[i]
        a, b = rand(*shape_a), rand(*shape_b, seed=1)
        close(lambda a, b, numbers=numbers: lax.dot_general(a, b, numbers), a, b)


def convolutions(rank):
    """Layouts of image, filter and result, with strides, dilations, paddings and groups."""
    space, rng = "DHW"[3 - rank :], np.random.default_rng(rank)
    for _ in range(24):
        image, result = ("".join(rng.permutation(list(f"NC{space}"))) for _ in range(2))
        filters = "".join(rng.permutation(list(f"OI{space}")))
        groups, batch_groups = [(1, 1), (2, 1), (4, 1), (1, 2)][rng.integers(4)]
        sizes = {"N": 2, "C": 4, "O": 8, "I": 4 // groups}
        sizes |= {c: 5 + i for i, c in enumerate(space)}
        taps = sizes | {c: 2 + i % 2 for i, c in enumerate(space)}
        strides, left, right = (rng.integers(1, 3, rank).tolist() for _ in range(3))
        padding = [tuple(p) for p in rng.integers(-1, 3, (rank, 2)).tolist()]
        numbers = lax.ConvDimensionNumbers(*(
            tuple(spec.index(c) for c in f"{ends}{space}")
            for spec, ends in ((image, "NC"), (filters, "OI"), (result, "NC"))))  # fmt: skip
        yield ([sizes[c] for c in image], [taps[c] for c in filters],
               (strides, padding, left, right, numbers, groups, batch_groups))  # fmt: skip


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_convolutions_in_every_layout(rank):
    for image, filters, attributes in convolutions(rank):
        x, w = rand(*image), rand(*filters, seed=1)
        close(lambda x, w, at=attributes: lax.conv_general_dilated(x, w, *at), x, w)


HALVES = [jnp.bfloat16, jnp.float16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("wide", [None, jnp.float32])
def test_products_of_half_precision(dtype, wide):
    layout = ("NHWC", "HWIO", "NHWC")
    x, w = rand(2, 5, 6, 3).astype(dtype), rand(3, 3, 3, 4).astype(dtype)
    close(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout,
                                                preferred_element_type=wide),
          x, w, tolerance=1e-5 if wide else 1e-2)  # fmt: skip
    close(lambda x, w: jnp.einsum("nhwc,klco->nhwklo", x, w, preferred_element_type=wide),
          x, w, tolerance=1e-5 if wide else 1e-2)  # fmt: skip


def test_products_of_integers_into_wider_ones():
    x, w = ints(2, 5, 6, 3).astype(np.int8), ints(3, 3, 3, 4).astype(np.int8)
    layout = ("NHWC", "HWIO", "NHWC")
    close(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout,
                                                preferred_element_type=jnp.int32),
          x, w)  # fmt: skip


HALF = {
    "softmax": jax.nn.softmax, "gelu": jax.nn.gelu, "sum": lambda x: x.sum(1),
    "cumsum": lambda x: x.cumsum(1), "sort": lambda x: jnp.sort(x, 1), "top_k": lambda x:
    lax.top_k(x, 2), "where": lambda x: jnp.where(x > 0, x, -x), "power": lambda x: x**3,
    "matmul": lambda x: x @ x.swapaxes(1, 2), "var": lambda x: x.var(-1),
    "window": lambda x: lax.reduce_window(x, jnp.zeros((), x.dtype), lax.add, (1, 2, 2),
                                          (1, 1, 1), "SAME"),
    "cast": lambda x: x.astype(jnp.float32) * 2, "narrow": lambda x: lax.reduce_precision(x, 5, 2),
    "add": lambda x: x.at[:, jnp.array([1, 2])].add(1), "bits": lambda x:
    lax.bitcast_convert_type(x, jnp.int16), "logsumexp": lambda x: jax.nn.logsumexp(x, -1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", HALF)
def test_inputs_of_half_precision(name, dtype):
    close(HALF[name], rand(2, 5, 4).astype(dtype), tolerance=1e-2)


PLACES = {
    "inside": np.array([0, 3, 1, 2], np.int32), "outside": np.array([0, -1, 9, 2], np.int32),
    "twice": np.array([1, 1, 0, 1], np.int32),
}

READS = {
    "rows": lambda x, i: x[i % 4], "columns": lambda x, i: x[:, i % 6],
    "last": lambda x, i: x[..., i % 3], "pairs": lambda x, i: x[i % 4, i % 6],
    "apart": lambda x, i: x[i % 4, :, i % 3], "block": lambda x, i: x[i[:, None] % 4, i[None] % 4],
    "one": lambda x, i: x[:, i[0]], "flat": lambda x, i: jnp.take(x, i % 72),
    "many": lambda x, i: jnp.take(x, i.reshape(2, 2), axis=1, mode="clip"),
    "along": lambda x, i: jnp.take_along_axis(x, jnp.argsort(x, -1), -1),
    "clip": lambda x, i: jnp.take(x, i, axis=1, mode="clip"),
    "wrap": lambda x, i: jnp.take(x, i, axis=1, mode="wrap"),
    "fill": lambda x, i: jnp.take(x, i, axis=1, mode="fill", fill_value=3),
    "fill_zero": lambda x, i: x.at[i].get(mode="fill", fill_value=0),
    "fill_pairs": lambda x, i: x.at[i, i].get(mode="fill"),
    "fill_seven": lambda x, i: x.at[:, i].get(mode="fill", fill_value=7),
    "slice": lambda x, i: lax.dynamic_slice(x, (i[1], i[2], 0), (2, 3, 3)),
    "one_hot": lambda x, i: jax.nn.one_hot(i, 4) @ x[:, 0].astype(jnp.float32),
    "batch": lambda x, i: jax.vmap(lambda row, at: row[at])(x, i % 6),
}


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
@pytest.mark.parametrize("name", READS)
def test_reads_at_run_time_places(name, dtype, places):
    close(READS[name], np.abs(rand(4, 6, 3) * 9).astype(dtype), PLACES[places])


def test_a_lookup_outside_reads_the_nearest_end_where_jax_fills_in_nan():
    x, at = rand(4, 3), PLACES["outside"]
    found = close(lambda x, i: jnp.take(x, i, axis=0, mode="clip"), x, at)
    usual = trace(lambda x, i: jnp.take(x, i, axis=0), x, at).main
    assert [op.kind for op in usual.ops][-1] == [op.kind for op in found.ops][-1] == "lax.take"


WRITES = {
    "scalar": lambda x, i, u: x.at[i].set(0), "pairs": lambda x, i, u: x.at[i, i].add(2),
    "row": lambda x, i, u: x.at[0, i].set(2), "add": lambda x, i, u: x.at[:, i].add(u),
    "multiply": lambda x, i, u: x.at[:, i].multiply(u), "max": lambda x, i, u: x.at[:, i].max(u),
    "min": lambda x, i, u: x.at[:, i].min(u), "subtract": lambda x, i, u: x.at[:, i].subtract(u),
    "clip": lambda x, i, u: x.at[i].set(1, mode="clip"),
    "drop": lambda x, i, u: x.at[i].add(1, mode="drop"),
    "slice": lambda x, i, u: x.at[1:3].set(2), "part": lambda x, i, u: x.at[:, 1:3].add(u[:, :2]),
    "last": lambda x, i, u: x.at[:, -1].set(u[:, 0]),
    "steps": lambda x, i, u: x.at[:, ::2].multiply(u[:, :3]),
    "nowhere": lambda x, i, u: x.at[7].set(1, mode="drop"),
    "segments": lambda x, i, u: jax.ops.segment_sum(x, i, 5),
    "segment_max": lambda x, i, u: jax.ops.segment_max(x, i, 5),
    "count": lambda x, i, u: jnp.bincount(jnp.abs(i), length=6),
    "batch": lambda x, i, u: jax.vmap(lambda row, at: row.at[at].set(9))(x, i),
    "cache": lambda x, i, u: jax.vmap(lambda c, v, at: lax.dynamic_update_slice(c, v, (at, 0)))(
        x, u[:, :1], i),
    "block": lambda x, i, u: lax.dynamic_update_slice_in_dim(x, u[:, :2], i[0], 1),
}  # fmt: skip


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("name", WRITES)
def test_writes_at_run_time_places(name, dtype, places):
    x, updates = (rand(*shape) * 9 for shape in ((4, 6, 3), (4, 4, 3)))
    close(WRITES[name], x.astype(dtype), PLACES[places], updates.astype(dtype))


def test_a_write_to_one_known_place_is_an_update_of_a_slice():
    writes = (lambda x: x.at[1:3].add(2.0), lambda x: x.at[:].multiply(x),
              lambda x: x.at[1].max(0.0))  # fmt: skip
    for f in writes:
        kinds = {op.kind for op in close(f, rand(4, 6)).ops}
        assert "lax.dynamic_update_slice" in kinds and not any("scatter" in k for k in kinds)


def test_a_write_that_applies_a_function_is_refused():
    with pytest.raises(QirError, match="scatter .* it applies a function to what is there"):
        trace(lambda x, i: x.at[i].apply(jnp.sin), rand(4, 6), PLACES["inside"])


SEVERAL = "one of 2 values at once is not imported"
ORDERS = {
    "descending": lambda x: jnp.sort(x, 1, descending=True), "flat": lambda x: jnp.sort(x, None),
    "argsort": lambda x: jnp.argsort(x, 1, descending=True), "keys": lambda x: lax.sort(
        (jnp.round(x), x, -x), dimension=1, num_keys=2),
    "by_key": lambda x: lax.sort_key_val(jnp.round(x), x * 2, 1),
    "lexsort": lambda x: jnp.lexsort((x[:, 0, 0], jnp.round(x[:, 1, 1]))),
    "top_k": lambda x: [lax.top_k(x, 2, axis=axis) for axis in (0, 1, 2)],
    "approximate": lambda x: lax.approx_max_k(x, 2, reduction_dimension=1),
    "approximate_min": lambda x: lax.approx_min_k(x, 2),
    "argmax": lambda x: (jnp.argmax(x), jnp.argmin(x, 1), jnp.nanargmax(x, 2)),
    "cumulative": lambda x: [f(x, 1, reverse=back) for back in (False, True) for f in (
        lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp)],
    "associative": lambda x: lax.associative_scan(jnp.add, x, axis=1),
    "median": lambda x: (jnp.median(x, 1), jnp.quantile(x, 0.3, axis=1)),
    "searched": lambda x: jnp.searchsorted(jnp.linspace(-2, 2, 9), x),
    "interpolated": lambda x: jnp.interp(x, jnp.linspace(-2, 2, 9), jnp.arange(9.0)),
    "unique": lambda x: jnp.unique(jnp.round(x), size=4), "nonzero": lambda x: jnp.nonzero(
        x > 0, size=5),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_what_goes_by_order(name):
    close(ORDERS[name], rand(3, 5, 4))


@pytest.mark.parametrize("f", [
    jnp.sort, jnp.argsort, jnp.max, jnp.argmax, lambda x: lax.top_k(x, 3),
    lambda x: jnp.sort(x, descending=True), lambda x: lax.lt_to_p.bind(x, jnp.flip(x)),
])  # fmt: skip
def test_nan_and_zeros_of_both_signs_have_their_places(f):
    close(f, np.array([1, np.nan, -0.0, 0.0, -np.inf, np.inf, np.nan, 2], np.float32))


FOLDS = {
    "add": lambda x: lax.reduce(x, jnp.float32(1), lambda a, b: b + a, (1,)),
    "mul": lambda x: lax.reduce(x, jnp.float32(2), lambda a, b: a * b, (1,)),
    "parity": lambda x: lax.reduce(x > 0, False, lax.bitwise_xor, (1,)),
    "all": lambda x: lax.reduce(x > -1, True, lax.bitwise_and, (0, 2)),
    "mapped": lambda x: jax.vmap(lambda y: y - lax.pmean(y, "i") + lax.pmax(y, "i")
                                 + lax.axis_index("i"), axis_name="i")(x),
    "padded": lambda x: lax.pad(x, x[0, 0, 0], ((0, 0, 0), (1, -1, 0), (0, 1, 1))),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_reductions_with_computations_of_their_own(name):
    close(FOLDS[name], rand(3, 5, 4))


@pytest.mark.parametrize(("f", "message"), [
    (lambda x: lax.reduce((x, x), (jnp.float32(0), jnp.float32(0)),
                          lambda a, b: (a[0] + b[0], a[1] * b[1]), (1,)), SEVERAL),
    (lambda x: lax.reduce_window((x, x), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] + b[1]),
                                 (1, 2, 2), (1, 1, 1), "VALID"), SEVERAL),
    (lambda x: lax.reduce(x, jnp.float32(0), lambda a, b: a + a, (1,)), r"reduce of \['add'\]"),
    (lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2, 2), (1, 1, 1), "SAME"), r"of \['mul'\]"),
    (lambda x: lax.reduce(x.astype(int), 0, lax.bitwise_xor, (1,)), "not truth values"),
    (lambda x: lax.reduce_window(x, 1.0, lax.add, (1, 2, 2), (1, 1, 1), "SAME"), "start at 0"),
])  # fmt: skip
def test_computations_that_no_op_has_are_refused(f, message):
    with pytest.raises(QirError, match=message):
        trace(f, rand(3, 5, 4))


@pytest.mark.parametrize("bits", [(5, 10), (8, 7), (4, 3), (5, 2), (8, 10), (3, 0), (1, 1)])
def test_reduced_precision_is_that_of_xla(bits):
    numbers = np.concatenate([rand(99), rand(99) * 1e5, rand(99) * 1e-5, rand(99) * 1e-39])
    numbers = np.append(numbers, [np.nan, np.inf, -np.inf, 0.0, -0.0]).astype(np.float32)
    with np.errstate(over="ignore"):
        arrays = [numbers.astype(dtype) for dtype in (np.float32, *HALVES)]
    for array in arrays:
        close(lambda x: lax.reduce_precision(x, *bits), array, tolerance=0)


INTEGERS = {
    "shifts": lambda a, b: (a << b, a >> b, lax.shift_right_logical(a, b)),
    "beyond": lambda a, b: (lax.shift_left(a, b * 9), lax.shift_right_arithmetic(a, b * 9),
                            lax.shift_right_logical(a, -b)),
    "counts": lambda a, b: (lax.population_count(a), lax.clz(a), lax.clz(b)),
    "power": lambda a, b: jnp.power(a, b), "nibbles": lambda a, b: jnp.stack(
        [a.astype(jnp.uint8) & 15, a.astype(jnp.uint8) >> 4], -1),
    "bytes": lambda a, b: lax.bitcast_convert_type(a.astype(jnp.int32), jnp.int8),
    "words": lambda a, b: lax.bitcast_convert_type(a.astype(jnp.int8)[:, :4], jnp.int32),
    "bits": lambda a, b: jnp.unpackbits(a.astype(jnp.uint8), axis=1),
    "float": lambda a, b: lax.bitcast_convert_type(a.astype(jnp.int32), jnp.float32) + 1,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32])
@pytest.mark.parametrize("name", INTEGERS)
def test_bits_of_integers(name, dtype):
    close(INTEGERS[name], ints(4, 8).astype(dtype), np.abs(ints(4, 8, seed=1)).astype(dtype))


@jax.custom_jvp
def with_derivative(x):
    return jnp.sin(x) * 2


@jax.custom_vjp
def with_gradient(x, y):
    return x * y


with_derivative.defjvp(lambda primals, tangents: (with_derivative(*primals), tangents[0]))
with_gradient.defvjp(lambda x, y: (x * y, (x, y)), lambda kept, g: (g, g))

CALLS = {
    "custom_jvp": with_derivative, "custom_vjp": lambda x: with_gradient(x, x + 1),
    "both": jax.jit(jax.vmap(lambda row: with_gradient(with_derivative(row), row))),
    "remat": jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), "nested": jax.jit(lambda x: jax.jit(
        jnp.sin)(x) + 1),
    "gradient": jax.grad(lambda x: (jnp.tanh(x) ** 2).sum()),
    "tangent": lambda x: jax.jvp(jnp.sin, (x,), (x,)),
    "composite": lax.composite(lambda x: jnp.sin(x), "my.sin"), "map": lambda x: lax.map(
        jnp.sin, x),
    "platform": lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.sin),
    "sharded": lambda x: lax.with_sharding_constraint(
        x, jax.sharding.SingleDeviceSharding(jax.devices()[0])),
    "placed": lambda x: jax.device_put(x, jax.devices()[0]) + 1,
    "attention": lambda x: jax.nn.dot_product_attention(x[:, :, None], x[:, :, None],
                                                        x[:, :, None], is_causal=True),
    "lengths": lambda x: jax.nn.dot_product_attention(
        x[:, :, None], x[:, :, None], x[:, :, None], key_value_seq_lengths=jnp.array([3, 2, 5])),
    "heads": lambda x: jax.nn.dot_product_attention(
        *(x[:, :, None].repeat(n, 2) for n in (4, 2, 2)), local_window_size=2),
    "resized": lambda x: [jax.image.resize(x, (3, n, 8), way) for n in (3, 10) for way in (
        "bilinear", "nearest", "cubic")],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls_and_what_is_made_of_them(name):
    close(CALLS[name], rand(3, 5, 4))
