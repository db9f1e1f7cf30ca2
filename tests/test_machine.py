"""The machine: graph, types, patterns, and the rewrite driver with what went wrong before."""

import copy
import pickle

import numpy as np
import pytest
import toy as ops

from qir.errors import QirError, require
from qir.evaluate import evaluate
from qir.ir import Func, Module, Op, const, item, parameter, walk
from qir.pattern import C, V, either
from qir.rewrite import recorded, restricted, rewrite, rule
from qir.types import Grid, Type, per_tensor, tensor
from qir.verify import verify

F = tensor("f32", (4,))


def func(*results: Op, name="main") -> Func:
    parameters = tuple(op for op in walk(results) if op.kind == "parameter")
    return Func(name, parameters, results)


def kinds(f: Func) -> list[str]:
    return [op.kind.removeprefix("toy.") for op in f.ops]


def x(name="x", type: Type = F) -> Op:
    return parameter(name, type)


# The graph


def test_walks_come_operands_first_and_reach_no_dead_op():
    a = x()
    b = ops.neg(a)
    ops.neg(b)  # nobody reads it
    f = func(ops.add(b, a))
    assert kinds(f) == ["parameter", "neg", "add"]


def test_equality_is_identity():
    a = x()
    assert ops.neg(a) != ops.neg(a)


def test_uses_count_operand_slots_and_results():
    a = x()
    b = ops.neg(a)
    f = func(ops.add(b, b), b)
    assert f.uses[b] == 3 and f.uses[a] == 1


def test_items_are_one_node_per_index():
    pair = ops.halves(x())
    assert item(pair, 0) is item(pair, 0) and item(pair, 1) is not item(pair, 0)
    with pytest.raises(QirError, match="no item 2"):
        item(pair, 2)
    with pytest.raises(QirError, match="has one result"):
        item(ops.neg(x()), 0)


def test_ill_typed_ops_cannot_be_built():
    with pytest.raises(QirError, match="operands differ"):
        ops.add(x(), x("y", tensor("f32", (5,))))
    with pytest.raises(QirError, match=r"takes the operands \(x, w, b\?\), found 1"):
        ops.conv(x())
    with pytest.raises(QirError, match="no attribute 'stride'; did you mean 'strides'"):
        ops.conv(x(), x("w"), stride=2)
    with pytest.raises(QirError, match="the attribute 'by' is missing"):
        ops.scale(x())
    with pytest.raises(QirError, match="attribute 'times': expected an integer, found 1.5"):
        ops.scale(x(), by=1, times=1.5)
    with pytest.raises(QirError, match="an operand must be a value of the graph or an array"):
        ops.neg("x")


def test_deep_graphs_are_walked_printed_pickled_and_copied_without_recursion():
    op = x()
    for _ in range(20_000):
        op = ops.neg(op)
    f = func(op)
    assert len(f.ops) == 20_001
    assert len(repr(op)) < 80
    again = pickle.loads(pickle.dumps(f))
    assert len(again.ops) == 20_001
    assert pickle.loads(pickle.dumps(op)).type == op.type
    assert copy.deepcopy(op) is op
    assert str(f).count("toy.neg") == 20_000


def test_pickling_keeps_constants_items_and_locations():
    pair = ops.halves(const(np.arange(4), name="w"), location=("model.py:3",))
    f = func(ops.sub(item(pair, 0), item(pair, 1)), item(pair, 0))
    again = pickle.loads(pickle.dumps(f))
    assert str(again) == str(f)
    assert again.results[1] is again.results[0].operands[0]
    assert again.ops[1].location == ("model.py:3",)


def test_constants_are_frozen_copies():
    array = np.ones(3, np.float32)
    held = const(array)
    array[0] = 5
    assert held.value.tolist() == [1, 1, 1]
    with pytest.raises(ValueError):
        held.value[0] = 2
    with pytest.raises(QirError, match="cannot have the type"):
        const(array, tensor("f32", (4,)))


def test_another_batch_is_inferred_anew_or_refused():
    a, b = x("a", tensor("f32", (2, 3))), x("b", tensor("f32", (2, 4)))
    f = func(ops.neg(ops.concat(a, b, axis=1)))
    assert f.with_batch(5).results[0].type == tensor("f32", (5, 7))
    number = x("n", tensor("f32", ()))
    both = func(ops.neg(a), ops.neg(number)).with_batch(5)
    assert [p.shape for p in both.parameters] == [(5, 3), ()]
    frozen = func(ops.reshape(x("a", tensor("f32", (2, 3))), shape=[2, 3]))
    with pytest.raises(QirError, match="serves batch 2 only"):
        frozen.with_batch(4)
    one = func(ops.reshape(x("a", tensor("f32", (1, 3))), shape=[1, 3]))
    with pytest.raises(QirError, match="you need, or with two rows: of one row a framework"):
        one.with_batch(4)


def test_to_networkx_has_ops_and_operand_edges():
    a = x()
    graph = func(ops.add(a, a)).to_networkx()
    assert graph.number_of_nodes() == 2 and graph.number_of_edges() == 2


def test_a_module_without_main_starts_at_its_first_function():
    first, second = func(ops.neg(x()), name="f"), func(ops.neg(x()), name="main")
    assert Module((first,)).main is first and Module((first, second)).main is second
    with pytest.raises(QirError, match="no function @g"):
        Module((first,))["g"]


# Types


def test_grids_compare_by_content_and_refuse_nonsense():
    assert per_tensor(0.1, 3) == per_tensor(np.float32(0.1), 3)
    assert hash(per_tensor(0.1)) == hash(per_tensor(0.1))
    assert Grid([0.1, 0.2], 0, axis=1) != Grid([0.1, 0.2], 0, axis=0)
    for scale in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(QirError, match="positive and finite"):
            per_tensor(scale)
    with pytest.raises(QirError, match="2 scales need one axis"):
        Grid([0.1, 0.2], 0)
    with pytest.raises(QirError, match="2 scales but 3 zero points"):
        Grid([0.1, 0.2], [1, 2, 3], axis=0)


def test_types_print_grid_between_element_and_shape():
    assert str(tensor("i8", (1, 4), per_tensor(0.06, -128))) == "i8<0.06:-128>[1,4]"
    assert str(tensor("i8", (3, 2), Grid([0.1, 0.2], 0, axis=1))) == "i8<[0.1,0.2]:0 @1>[3,2]"
    assert str(tensor("i8", (), per_tensor(0.5, 0, narrow=True))) == "i8<0.5:0 narrow>[]"
    assert tensor("i8", (2,), per_tensor(0.5, 0, narrow=True)).lo == -127


def test_a_block_of_a_grid_repeats_its_scale():
    scale, _ = Grid([[1.0, 2.0], [3.0, 4.0]], 0, axis=1, block=2).expanded(2)
    assert scale.tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


# Evaluation


def test_evaluation_by_order_and_by_name():
    f = func(ops.sub(x("a"), x("b")))
    a, b = np.float32([1, 2, 3, 4]), np.float32([4, 3, 2, 1])
    assert evaluate(f, [a, b])[0].tolist() == evaluate(f, {"b": b, "a": a})[0].tolist()
    for wrong, message in (
        ([a], "takes 2 inputs"),
        ({"a": a, "c": b}, r"takes the inputs \['a', 'b'\]"),
        ([a, b[:2]], "the input 'b' has shape"),
        ([a, b.astype(complex)], "the input 'b' holds complex128"),
    ):
        with pytest.raises(QirError, match=message):
            evaluate(f, wrong)


def test_verify_finds_what_a_pass_broke():
    a = x()
    wrong = ops.neg(a).located(("m.py:1",))
    object.__setattr__(wrong, "type", tensor("f32", (7,)))
    with pytest.raises(QirError, match="after broken, toy.neg has the type f32.7., its operands"):
        verify(func(wrong), "broken")
    with pytest.raises(QirError, match="is no parameter of it"):
        verify(Func("main", (), (ops.neg(a),)), "broken")


# Rules and the driver


@rule(ops.neg(ops.neg(V.x)))
def twice_negated(x):
    """Two negations are none."""
    return x


@rule(ops.sub(V.a, V.b))
def difference_is_sum(a, b):
    """A difference is the sum with a negative."""
    return ops.add(a, ops.neg(b))


def test_a_rule_replaces_and_leaves_the_rest():
    a = x()
    f = rewrite(func(ops.neg(ops.neg(ops.neg(a)))), twice_negated)
    assert kinds(f) == ["parameter", "neg"]


def test_a_function_nothing_fires_in_is_given_back_itself():
    f = func(ops.neg(x()))
    assert rewrite(f, twice_negated) is f


def test_what_a_rule_builds_is_settled_at_once():
    """A chain of hoists costs one sweep, whatever its length; by sweeps it would never end."""

    @rule(ops.neg(ops.scale(V.x).once() @ "s"))
    def neg_goes_below_scale(s, x):
        """A negation before a scale instead of after it."""
        return s.with_operands(ops.neg(x))

    op = x()
    for _ in range(300):
        op = ops.scale(op, by=2.0)
    f = rewrite(func(ops.neg(op)), neg_goes_below_scale)
    assert kinds(f)[:3] == ["parameter", "neg", "scale"] and len(f.ops) == 302


def test_a_rebuilt_node_inherits_its_use_count():
    """Pitfall: `.once()` passed wrongly after an operand had been rewritten."""

    @rule(ops.add(ops.neg(V.x).once(), V.y))
    def only_if_once(x, y):
        """The sum with a negative is a difference, if the negative has no other use."""
        return ops.sub(y, x)

    a, b = x("a"), x("b")
    shared = ops.neg(ops.neg(ops.neg(a)))  # becomes neg(a), read twice
    f = rewrite(func(ops.add(shared, b), shared), twice_negated, only_if_once)
    assert "sub" not in kinds(f)
    alone = ops.neg(ops.neg(ops.neg(a)))
    f = rewrite(func(ops.add(alone, b)), twice_negated, only_if_once)
    assert kinds(f) == ["parameter", "parameter", "sub"]


def test_a_death_upstream_frees_a_use():
    """The second reader of a node goes away by a rewrite; then `.once()` holds."""

    @rule(ops.sub(V.a, V.a))
    def nothing(a):
        """x - x is nothing."""
        return const(np.zeros(a.shape, np.float32))

    @rule(ops.scale(ops.neg(V.x).once()) @ "s")
    def single(s, x):
        """A scale takes a negation in, if it is the only reader."""
        return s.with_operands(x, by=-s.attributes["by"])

    negative = ops.neg(x())
    f = func(ops.scale(negative, by=2.0), ops.add(x("y"), ops.sub(negative, negative)))
    f = rewrite(f, nothing, single)
    assert [op.attributes["by"] for op in f.ops if op.kind == "toy.scale"] == [-2.0]
    assert "neg" not in kinds(f)


def test_items_count_as_uses_of_the_item():
    @rule(ops.neg(ops.neg(V.x).once()))
    def negations(x):
        """Two negations are none."""
        return x

    first = item(ops.halves(x()), 0)
    f = rewrite(func(ops.neg(ops.neg(first)), first), negations)
    assert kinds(f) == ["parameter", "halves", "item"]


def test_attributes_not_mentioned_match_anything_and_are_carried_along():
    """Pitfall: a dropped dilation can pass the type check."""

    @rule(ops.conv(ops.neg(V.x), V.w, strides=(2, 2)) @ "conv")
    def conv_takes_negation(conv, x, w):
        """A convolution of a negative is one with a negative filter."""
        return conv.with_operands(x, ops.neg(w))

    w = x("w")
    strided = ops.conv(ops.neg(x()), w, strides=2, dilation=3)
    plain = ops.conv(ops.neg(x()), w, dilation=3)
    (result,) = rewrite(func(strided), conv_takes_negation).results
    assert result.attributes == {"strides": (2, 2), "dilation": 3}
    f = func(plain)
    assert rewrite(f, conv_takes_negation) is f


def test_commutative_ops_match_either_way_and_others_do_not():
    @rule(ops.add(V.x, C.k), ops.sub(V.x, C.k))
    def gone(x, k):
        """Adding or subtracting nothing does nothing."""
        require(not k.any(), "the constant is not zero")
        return x

    zero, a = const(np.zeros(4, np.float32)), x()
    assert rewrite(func(ops.add(zero, a)), gone).results[0] is a
    f = func(ops.sub(zero, a))
    assert rewrite(f, gone) is f


def test_one_name_at_two_places_demands_one_value():
    @rule(ops.sub(V.x, V.x))
    def nothing(x):
        """x - x is nothing."""
        return const(np.zeros(x.shape, np.float32))

    a, b = x("a"), x("b")
    assert rewrite(func(ops.sub(a, a)), nothing).results[0].is_const
    f = func(ops.sub(a, b))
    assert rewrite(f, nothing) is f


def test_either_op_and_any_operands():
    @rule(either(ops.add, ops.sub)(...) @ "op")
    def negated_twice(op):
        """Never used as such; it declines."""
        require(False, f"saw {op.kind}")

    with recorded() as log:
        rewrite(func(ops.add(ops.sub(x(), x("y")), x("z"))), negated_twice)
    assert [firing.reason for firing in log] == ["saw toy.sub", "saw toy.add"]


def test_firings_and_refusals_are_recorded_in_nested_blocks_too():
    with recorded() as outer:
        with recorded() as inner:
            rewrite(func(ops.neg(ops.neg(x()))), twice_negated)
        assert [f.rule for f in inner] == ["twice_negated"] and inner[0].fired
    assert [f.rule for f in outer] == ["twice_negated"]


def test_a_replacement_keeps_the_type():
    @rule(ops.neg(V.x))
    def shorter(x):
        """A wrong rule."""
        return const(np.zeros(1, np.float32))

    with pytest.raises(QirError, match=r"rule shorter would change a type: f32.4. became f32.1."):
        rewrite(func(ops.neg(x())), shorter)


def test_rules_that_undo_each_other_are_named():
    @rule(ops.add(V.a, ops.neg(V.b)))
    def sum_is_difference(a, b):
        """The opposite of difference_is_sum."""
        return ops.sub(a, b)

    f = func(ops.sub(x("a"), x("b")))
    with pytest.raises(QirError, match="difference_is_sum, sum_is_difference"):
        rewrite(f, difference_is_sum, sum_is_difference)


def test_a_rule_that_feeds_itself_is_stopped():
    @rule(ops.neg(V.x))
    def more(x):
        """Builds what it matches."""
        return ops.neg(ops.neg(ops.neg(x)))

    with pytest.raises(QirError, match="more"):
        rewrite(func(ops.neg(x())), more)


def test_a_rule_must_bind_its_parameters_and_give_an_op():
    with pytest.raises(TypeError, match=r"no \['k'\]"):
        rule(ops.neg(V.x))(lambda x, k: x)
    with pytest.raises(TypeError, match="patterns whose root is an op"):
        rule(V.x)
    same = rule(ops.neg(V.x) @ "op")(lambda op: op)
    with pytest.raises(TypeError, match="gave back the node"):
        rewrite(func(ops.neg(x())), same)
    none = rule(ops.neg(V.x))(lambda x: None)
    with pytest.raises(TypeError, match="must give an op"):
        rewrite(func(ops.neg(x())), none)


def test_what_a_rule_builds_has_the_locations_of_what_it_matched_root_first():
    inner = ops.neg(x("b"), location=("m.py:1",))
    outer = ops.sub(x("a"), inner, location=("m.py:2",))
    (result,) = rewrite(func(outer), difference_is_sum).results
    assert result.location == ("m.py:2",)
    assert result.operands[1].location == ("m.py:2",)

    @rule(ops.sub(V.a, ops.neg(V.b)))
    def double_negative(a, b):
        """Minus a negative is plus."""
        return ops.add(a, b)

    (result,) = rewrite(func(outer), double_negative).results
    assert result.location == ("m.py:2", "m.py:1")


def test_only_ops_at_a_matching_place_are_rewritten():
    one = ops.sub(x("a"), x("b"), location=("layer_1",))
    two = ops.sub(one, one, location=("layer_2",))
    with restricted("layer_2"):
        f = rewrite(func(two), difference_is_sum)
    assert kinds(f) == ["parameter", "parameter", "sub", "neg", "add"]


def test_many_ops_are_rewritten_in_one_sweep_with_exact_results():
    op = x()
    for i in range(3000):
        op = ops.neg(ops.neg(op)) if i % 3 else ops.sub(op, const(np.full(4, i, np.float32)))
    f = func(op)
    g = rewrite(f, twice_negated, difference_is_sum)
    assert set(kinds(g)) == {"parameter", "const", "neg", "add"}
    data = [np.float32([1, 2, 3, 4])]
    assert evaluate(f, data)[0].tolist() == evaluate(g, data)[0].tolist()
