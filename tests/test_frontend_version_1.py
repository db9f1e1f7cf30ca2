"""Graphs of TensorFlow's first version: loops of frames, branches between Switch and Merge."""

import warnings

import numpy as np
import pytest

import qir
from qir.errors import QirError

tf = pytest.importorskip("tensorflow")
cells = pytest.importorskip("tensorflow.python.keras.layers.legacy_rnn.rnn_cell_impl")
v1 = tf.compat.v1
RNG = np.random.default_rng(0)
SEQUENCES = RNG.normal(0, 1, (2, 5, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def version_1():
    enabled = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    if enabled:
        v1.enable_control_flow_v2()


def built(build, shape, folder=None):
    """A graph on one input `x` as a frozen GraphDef, what runs it, and where it was saved."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, shape, name="x")
        results = [tf.identity(each, name=f"out{i}")
                   for i, each in enumerate(tf.nest.flatten(build(x)))]  # fmt: skip
        session = v1.Session(graph=graph)
        session.run(v1.global_variables_initializer())
    names = [each.op.name for each in results]
    if folder is not None:
        with graph.as_default():
            v1.saved_model.simple_save(session, str(folder), {"x": x},
                                       dict(zip(names, results, strict=True)))  # fmt: skip
    frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), names)
    return frozen, lambda array: session.run(results, {x: array})


def same(module, run, *arrays) -> None:
    """Fail where a graph has other results than the session."""
    for array in arrays:
        found = dict(zip(module.main.result_names, qir.compile(module)(array), strict=True))
        expected = run(array)
        assert len(found) == len(expected)
        for i, each in enumerate(expected):
            np.testing.assert_allclose(found[f"out{i}"], each, rtol=1e-5, atol=1e-5)


CELLS = {
    "rnn": lambda: cells.BasicRNNCell(4),
    "basic lstm": lambda: cells.BasicLSTMCell(4),
    "lstm": lambda: cells.LSTMCell(4, use_peepholes=True, num_proj=3),
    "gru": lambda: cells.GRUCell(4),
    "stack": lambda: cells.MultiRNNCell([cells.BasicLSTMCell(4), cells.GRUCell(5)]),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, (5, 3), (4, 2)])
def test_dynamic_rnn(cell, lengths, tmp_path):
    def build(x):
        return v1.nn.dynamic_rnn(CELLS[cell](), x, lengths, dtype=tf.float32)

    frozen, run = built(build, SEQUENCES.shape, tmp_path / "saved")
    for model in (frozen, tmp_path / "saved"):
        same(qir.trace(model), run, SEQUENCES)


@pytest.mark.parametrize("cell", ["rnn", "basic lstm"])
@pytest.mark.parametrize("lengths", [None, (5, 5), (4, 2)])
def test_bidirectional_dynamic_rnn(cell, lengths):
    def build(x):
        return v1.nn.bidirectional_dynamic_rnn(CELLS[cell](), CELLS[cell](), x, lengths,
                                               dtype=tf.float32)  # fmt: skip

    frozen, run = built(build, (None, *SEQUENCES.shape[1:]))
    same(qir.trace(frozen, batch=2), run, SEQUENCES)


@pytest.mark.parametrize("cell", ["basic lstm", "lstm"])
def test_a_dynamic_rnn_becomes_one_op_where_its_cell_is_known(cell):
    def build(x):
        return v1.nn.dynamic_rnn(CELLS[cell](), x, dtype=tf.float32)[0]

    module = qir.trace(built(build, SEQUENCES.shape)[0])
    kinds = [op.kind for op in qir.run_pipeline(module, "float_front").main.ops]
    assert ("nn.lstm" in kinds) == ("nn.sigmoid" not in kinds) == (cell == "basic lstm")


def test_an_unrolled_rnn_is_quantized():
    frozen, run = built(lambda x: v1.nn.dynamic_rnn(cells.BasicLSTMCell(8), x, dtype=tf.float32)[0],
                        SEQUENCES.shape)  # fmt: skip
    quantized = qir.quantize(qir.trace(frozen), calibration=[SEQUENCES])
    assert not {op.kind for op in quantized.module.main.ops if op.kind.startswith("nn.")}
    np.testing.assert_allclose(quantized(SEQUENCES)["out0"], run(SEQUENCES)[0], atol=0.05)


def _nested(x):
    p, q = tf.reduce_sum(x) > 0, x[0, 0] > x[1, 1]
    again = v1.cond(q, lambda: v1.cond(p, lambda: x, lambda: -x), lambda: x * 5)
    return v1.cond(p, lambda: v1.cond(q, lambda: x + 1, lambda: x * 3), lambda: again)


def _branch_in_a_loop(x):
    def body(i, v):
        inner = v1.cond(i > 1, lambda: v + 1.0, lambda: v - 1.0)
        return i + 1, v1.cond(tf.reduce_sum(v) > tf.cast(i, tf.float32), lambda: v * 0.5,
                              lambda: inner)  # fmt: skip

    return v1.while_loop(lambda i, v: i < 4, body, [0, x])


def _loop_in_a_loop(x):
    def body(i, v):
        return i + 1, v1.while_loop(lambda j, u: j < i, lambda j, u: (j + 1, u + v), [0, v])[1]

    return v1.while_loop(lambda i, v: i < 4, body, [0, x])[1]


def _loop_in_a_branch(x):
    def loop():
        return v1.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), [0, x])[1]

    return v1.cond(tf.reduce_sum(x) > 0, loop, lambda: -x)


def _growing(x):
    array = v1.TensorArray(tf.float32, size=0, dynamic_size=True)
    _, array = v1.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(
        i, x * tf.cast(i, tf.float32))), [0, array])  # fmt: skip
    return array.stack(), array.size()


GRAPHS = {
    "unknown": lambda x: v1.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: tf.ones((2, 3))),
    "known": lambda x: v1.cond(tf.constant(True), lambda: x * 2,
                               lambda: x + tf.linalg.det(x @ tf.transpose(x))),
    "constants": lambda x: v1.cond(x[0, 0] > 0, lambda: 1.0, lambda: 2.0),
    "case": lambda x: v1.case([(x[0, 0] > 1, lambda: x), (x[0, 1] > 0, lambda: x * 2)],
                              default=lambda: x * 3),
    "nested": _nested,
    "branch in a loop": _branch_in_a_loop,
    "loop in a loop": _loop_in_a_loop,
    "loop in a branch": _loop_in_a_branch,
    "growing": _growing,
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_control_flow(name):
    frozen, run = built(GRAPHS[name], (2, 3))
    array = RNG.normal(0, 1, (4, 2, 3)).astype(np.float32)
    same(qir.trace(frozen), run, *array, *-array)


def test_forty_branches_in_a_row_take_no_longer_than_forty():
    def build(x):
        for i in range(40):
            x = v1.cond(x[0, 0] > i / 20 - 1, lambda x=x: x * 1.01, lambda x=x: x * 0.99)
        return x

    frozen, run = built(build, (2, 3))
    same(qir.trace(frozen), run, SEQUENCES[0, :2])


def refused(build) -> list[str]:
    """The lines of the report on a graph."""
    with pytest.raises(QirError) as caught:
        qir.trace(built(build, (2, 2))[0])
    return str(caught.value).splitlines()


def test_a_loop_whose_end_an_input_decides_is_refused():
    assert refused(lambda x: v1.while_loop(lambda v: v[0, 0] < 9, lambda v: v * 2 + 1, [x])) == [
        "error: 1 TensorFlow operation is not imported:",
        "  LoopCond (once) at while/LoopCond: how often the loop runs depends on an input",
    ]


def test_what_has_no_import_is_reported_from_inside_loops_and_branches():
    def build(x):
        y = v1.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.linalg.inv(v)), [0, x])[1]
        z = v1.cond(x[0, 0] > 0, lambda: tf.linalg.cholesky(x), lambda: x)
        return y, z

    assert refused(build) == [
        "error: 2 TensorFlow operations are not imported:",
        "  Cholesky (once) at cond/Cholesky",
        "  MatrixInverse (3 times) at while/MatrixInverse",
        '  help: declare @imports("Cholesky") in a file of qir/frontends/tensorflow/',
    ]


def test_an_array_read_before_it_is_written_is_refused():
    lines = refused(lambda x: v1.TensorArray(tf.float32, size=2).read(0) + x)
    assert lines[1:] == ["  TensorArrayReadV3 (once) at TensorArrayReadV3: "
                         "an element of an array is read before it is written"]  # fmt: skip


def test_lengths_that_an_input_computes_are_refused():
    lines = refused(lambda x: tf.reverse_sequence(x, tf.cast(x[:, 0], tf.int32), seq_axis=1))
    assert lines[1:] == ["  ReverseSequence (once) at ReverseSequence: "
                         "the lengths of the sequences are computed from an input"]  # fmt: skip
