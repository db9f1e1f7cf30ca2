"""`qir explain`: the stories of values, and the descent that they are told from."""

import re
import textwrap

import numpy as np
import pytest

import qir
from qir.cli import cli, status
from qir.explain import followed, story
from qir.text.write import op_printer

LOWERED = "propagate_types, requantize, lower_int8, canonicalize, cse"


@pytest.fixture
def explain(capsys, monkeypatch, tmp_path):
    """Run `qir explain` on a graph given as text; gives what it prints, or its message."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *words: str, pipeline: str = LOWERED) -> str:
        (tmp_path / "net.qir").write_text(textwrap.dedent(text))
        code = status(cli, ["explain", "net.qir", "-p", pipeline, *words], "qir")
        printed = capsys.readouterr()
        assert code == (0 if printed.out else 1), printed.err
        return printed.out or printed.err

    return run


def told(text: str) -> str:
    """The text without its indentation; a backslash goes on in the next line."""
    return re.sub(r"\\\n *", "", textwrap.dedent(text)).lstrip("\n")


def since(title: str, story: str) -> str:
    """A story from a section on."""
    return textwrap.dedent(story[story.index(f"  {title}\n") :])


# Activations

RESIDUAL = """
    func @main(%a: f32[1,4], %b: f32[1,4]) -> (f32[1,8], sum: f32[1,4]) {
      %0 = quant.stats(%a, name=a, lo=-1.0, hi=1.0) loc("net.py:1")
      %1 = quant.stats(%b, name=b, lo=-16.0, hi=16.0) loc("net.py:2")
      %2 = lax.concatenate(%0, %1, axis=1) loc("block/join (net.py:3)")
      %3 = nn.add(%0, %1) loc("block/skip (net.py:4)")
      %4 = quant.stats(%3, name=sum, lo=-17.0, hi=17.0) loc("block/skip (net.py:4)")
      return %2, %4
    }
"""


def test_an_operand_that_another_reader_wants_on_another_grid(explain):
    assert explain(RESIDUAL, "%0") == told("""
        %0 = quant.quantize(%a, to=i8<0.007843138:-1>) : i8<0.007843138:-1>[1,4]
          net.py:1
          made from
            %0 = quant.stats : f32[1,4]  net.py:1
          by
            propagate_types  quant.stats -> quant.quantize
          range
            the graph that went in gives 'a' the range [-1, 1]
          grid
            i8<0.007843138:-1>, for its own range [-1, 1] alone
            to choose from were, by range:
              [-1, 1] was taken
              [-16, 16] is more than 4 times as wide as its range, and ops compute with it
          read on another grid by
            lax.concatenate at block/join (net.py:3): i8<0.1254902:-1>, \\
            made by %1 = int8.requantize
    """)


def test_the_requantize_that_resulted(explain):
    assert explain(RESIDUAL, "%1") == told("""
        %1 = int8.requantize(%0, to=i8<0.1254902:-1>, \\
        rescale=f32_half_even(scale=0.0625)) : i8<0.1254902:-1>[1,4]
          net.py:1
          made from
            %0 = quant.stats : f32[1,4]  net.py:1
          by
            propagate_types  quant.stats -> quant.quantize
            requantize       casts_are_one_requantize: \\
            quant.quantize, quant.dequantize -> quant.requantize
            lower_int8       integer_requantize: quant.requantize -> int8.requantize
          range
            the graph that went in gives 'a' the range [-1, 1]
          grid
            i8<0.007843138:-1>, for its own range [-1, 1] alone
            to choose from were, by range:
              [-1, 1] was taken
              [-16, 16] is more than 4 times as wide as its range, and ops compute with it
          change of grid
            from i8<0.007843138:-1> to i8<0.1254902:-1>, \\
            which lax.concatenate at block/join (net.py:3) reads
          grid there
            i8<0.1254902:-1>, for [-16, 16], the range of the 2 that share it
            lax.concatenate takes one grid for what it reads and makes:
              [-1, 1] of the input a, requantized from i8<0.007843138:-1>
              [-16, 16] of the input b
            shared with
              [-16, 16] of the input b, observed as 'b'
            to choose from were, by range:
              [-1, 1] does not cover its range
              [-16, 16] was taken
    """)


def test_a_sum_has_a_grid_of_its_own_and_a_result_that_of_what_it_casts(explain):
    story = told("""
          made from
            %3 = nn.add : f32[1,4]  block/skip (net.py:4)
            %4 = quant.stats : f32[1,4]  block/skip (net.py:4)
          by
            propagate_types  quant.stats -> quant.quantize
            lower_int8       integer_form: quant.quantize -> int8.add
          range
            the graph that went in gives 'sum' the range [-17, 17]
          grid
            i8<0.13333334:-1>, for its own range [-17, 17] alone
    """)
    cast = explain(RESIDUAL, "%6")
    assert cast.startswith(told("""
        %6 = quant.dequantize(%5) : f32[1,4]
          block/skip (net.py:4)
          result 1 (sum) of @main
          the reals of
            %5 = int8.add(%0, %2, to=i8<0.13333334:-1>
    """).rstrip())
    assert since("made from", cast) == story
    added = explain(RESIDUAL, "%5")
    assert since("made from", added) == story


def test_values_that_share_a_grid(explain):
    graph = """
        func @main(%a: f32[1,4], %b: f32[1,4]) -> (f32[1,8], f32[1,4]) {
          %0 = quant.stats(%a, name=a, lo=-1.0, hi=1.0)
          %1 = quant.stats(%b, name=b, lo=-2.0, hi=2.0)
          %2 = lax.concatenate(%0, %1, axis=1) loc("join (net.py:3)")
          %3 = nn.add(%0, %1)
          %4 = quant.stats(%3, name=sum, lo=-3.0, hi=3.0)
          return %2, %4
        }
    """
    assert explain(graph, "%a") == told("""
        %a: f32[1,4]
          at an unknown place
          quantized by
            %0 = quant.quantize(%a, to=i8<0.015686275:-1>) : i8<0.015686275:-1>[1,4]
          range
            the graph that went in gives 'a' the range [-1, 1]
          grid
            i8<0.015686275:-1>, for [-2, 2], the range of the 3 that share it; its own is [-1, 1]
            shared with
              [-2, 2] of lax.concatenate at join (net.py:3), \\
              which takes one grid for what it reads and makes
              [-2, 2] of the input b, observed as 'b'
    """)


def test_a_fixed_grid_and_a_value_that_takes_it(explain):
    graph = """
        func @main(%a: f32[1,4], %c: f32[1,4]) -> (f32[1,8]) {
          %0 = quant.stats(%a, name=a, lo=-1.0, hi=1.0)
          %1 = quant.stats(%c, name=c, lo=0.0, hi=0.9)
          %2 = nn.softmax(%0) loc("net.py:2")
          %3 = lax.concatenate(%2, %1, axis=1) loc("net.py:3")
          return %3
        }
    """
    softmax, given = explain(graph, "%2"), explain(graph, "%c")
    assert since("made from", softmax) == told("""
          made from
            %1 = nn.softmax : f32[1,4]  net.py:2
          by
            propagate_types  nn.softmax -> quant.quantize
            lower_int8       integer_form: quant.quantize -> int8.softmax
          grid
            i8<0.00390625:-128>, which nn.softmax prescribes for its results
            shared with
              [0, 0.9961] of lax.concatenate at net.py:3, \\
              which takes one grid for what it reads and makes
              [0, 0.9] of the input c, observed as 'c'
    """)
    assert since("grid", given) == told("""
          grid
            i8<0.00390625:-128>, which nn.softmax at net.py:2 prescribes; it covers [0, 0.9] as well
            shared with
              [0, 0.9961] of lax.concatenate at net.py:3, \\
              which takes one grid for what it reads and makes
              nn.softmax at net.py:2, which prescribes it
            to choose from were, by range:
              [0, 0.9961] would have cost 1 requantize more
              [0, 0.9961] of the prescribed i8<0.00390625:-128> was taken
    """)


def test_an_item_of_several_results(explain):
    graph = """
        func @main(%a: f32[4]) -> (f32[2], f32[2]) {
          %0 = nn.add(%a, %a) loc("net.py:1")
          %1 = quant.stats(%0, name=a, lo=-1.0, hi=1.0) loc("net.py:1")
          %2 = lax.split(%1, sizes=[2, 2], axis=0) loc("net.py:2")
          %3 = item(%2, index=0)
          %4 = item(%2, index=1)
          return %3, %4
        }
    """
    item = explain(graph, "%4", pipeline="propagate_types, requantize, lower_int8")
    assert since("made from", item) == told("""
          made from
            %2 = lax.split : (f32[2], f32[2])  net.py:2
            %3 = item : f32[2]  net.py:2
          by
            propagate_types  item -> quant.quantize
            lower_int8       move_onto_storage: quant.quantize -> item
          grid
            i8<0.007843138:-1>, for [-1, 1], the range of the 2 that share it
            lax.split takes one grid for what it reads and makes:
              [-1, 1] of nn.add at net.py:1
            shared with
              [-1, 1] of nn.add at net.py:1, observed as 'a'
    """)


# Layers and their constants

LAYER = """
    func @main(%x: f32[1,2]) -> (f32[1,3]) {
      %0 = quant.stats(%x, name=x, lo=-2.0, hi=1.984375)
      %w = const(value=[[1.0, -3.96875, 0.0000001], [-1.984375, 2.0, 0.0]]) \\
      : f32[2,3] loc("fc.kernel")
      %b = const(value=[1.0, -1.0, 1000000.0]) : f32[3] loc("fc.bias")
      %1 = nn.dense(%0, %w, %b) loc("fc (net.py:7)")
      %2 = quant.stats(%1, name=y, lo=-2.0, hi=5.96875)
      return %2
    }
"""


def test_a_weight_has_a_scale_for_each_channel(explain):
    assert explain(told(LAYER), "%1") == told("""
        %1 = const(value=[[64, -127, 0], [-127, 64, 0]]) : \\
        i8<[0.015625,0.03125,0.059604645]:0 @1 narrow>[2,3]
          fc.kernel
          made from
            %1 = const(#w) : f32[2,3]  fc.kernel
          grid
            i8<[0.015625,0.03125,0.059604645]:0 @1 narrow>, \\
            as a weight of nn.dense at fc (net.py:7)
            a scale is the largest magnitude in each of 3 channels / 127, so that 0 is stored as 0:
              1.984, 3.969, 1e-07
              1 scale raised, that the bias fits into half of 32 bits
    """)


def test_a_weight_on_the_grid_of_training_or_not(explain):
    graph = told(LAYER).replace("value=[[1.0", "trained=i8<0.03125:0 narrow>, value=[[1.0")
    assert since("grid", explain(graph, "%1")) == told("""
        grid
          i8<0.03125:0 narrow>, as a weight of nn.dense at fc (net.py:7)
          training rounded it to this grid
            1 scale raised, that the bias fits into half of 32 bits
    """).replace("0.03125:0", "[0.03125,0.03125,0.059604645]:0 @1")
    graph = graph.replace("1.0, -1.0, 1000000.0", "0.0, 0.0, 0.0").replace("0.03125", "0.015625")
    assert since("grid", explain(graph, "%1")) == told("""
        grid
          i8<[0.015625,0.03125,3.937008e-09]:0 @1 narrow>, \\
          as a weight of nn.dense at fc (net.py:7)
          not the grid that training rounded it to: \\
          it lies up to 254 steps from 0, and weights are stored within 127 of it
          a scale is the largest magnitude in each of 3 channels / 127, so that 0 is stored as 0:
            1.984, 3.969, 1e-07
    """)


def test_one_scale_for_a_whole_weight(explain):
    story = explain(told(LAYER).replace("1000000", "1"), "%1", pipeline=LOWERED.replace(
        "propagate_types", "propagate_types(weights=per_tensor)"))  # fmt: skip
    assert since("grid", story) == told("""
        grid
          i8<0.03125:0 narrow>, as a weight of nn.dense at fc (net.py:7)
          a scale is the largest magnitude / 127, so that 0 is stored as 0:
            3.969
    """)


def test_a_bias_stands_on_the_product_of_two_scales(explain):
    assert explain(told(LAYER), "%2") == told("""
        %2 = const(value=[4096, -2048, 1073741824]) : i32[3]
          fc.bias
          made from
            %2 = const(#b) : f32[3]  fc.bias
          by
            lower_int8  integer_form: quant.quantize -> int8.dense
          grid
            i32<[0.00024414062,0.00048828125,0.0009313226]:0 @0>, \\
            as a bias of nn.dense at fc (net.py:7)
            its scale is the product of those of input and weight, that it may be added to the sums:
              i8<0.015625:0> of the input, \\
              i8<[0.015625,0.03125,0.059604645]:0 @1 narrow> of the weight
    """)


def test_a_constant_operand_and_one_on_a_shared_grid(explain):
    graph = """
        func @main(%x: f32[1,2]) -> (f32[1,4], f32[1,2]) {
          %0 = quant.stats(%x, name=x, lo=-2.0, hi=2.0)
          %c = const(value=[[0.5, -1.0]]) : f32[1,2] loc("net.py:1")
          %1 = lax.concatenate(%0, %c, axis=1) loc("net.py:2")
          %2 = nn.add(%0, %c) loc("net.py:3")
          %3 = quant.stats(%2, name=y, lo=-3.0, hi=3.0)
          return %1, %3
        }
    """
    func = explain(graph)
    names = re.findall(r"(%\d) = const", func)
    stories = [explain(graph, name) for name in names]
    assert [since("grid", story) for story in stories] == [told("""
        grid
          i8<0.015686275:-1>, as an operand on the shared grid of lax.concatenate at net.py:2
          the grid is that of all which lax.concatenate reads and makes
    """), told("""
        grid
          i8<0.005882353:42>, as an operand of nn.add at net.py:3
          for its own range [-1, 0.5]
    """)]  # fmt: skip


def test_an_activation_fused_into_its_layer_and_calibrated(explain, tmp_path):
    graph = """
        func @main(%x: f32[1,4,4,1]) -> (f32[1,4,4,1]) {
          %w = const(value=[[[[3.0]]]]) : f32[1,1,1,1]
          %0 = nn.conv2d(%x, %w) loc("net/conv (net.py:3)")
          %1 = nn.relu6(%0) loc("net (net.py:4)")
          return %1
        }
    """
    x = np.linspace(-2, 2, 32, dtype=np.float32).reshape(2, 4, 4, 1)
    np.savez(tmp_path / "x.npz", x=x)
    words = ("--calibration", "x.npz", "--param", "method=percentile", "--param", "keep=0.9")
    assert explain(graph, "%3", *words, pipeline="ptq_int8") == told("""
        %3 = xla.dot(%0, %1, %2, to=i8<0.02117494:-128>, \\
        rescale=f32_half_even(scale=0.015742335), layout=nk) : i8<0.02117494:-128>[1,4,4,1]
          net/conv (net.py:3)
          net (net.py:4)
          made from
            %1 = nn.conv2d : f32[1,4,4,1]  net/conv (net.py:3)
            %2 = nn.relu6 : f32[1,4,4,1]  net (net.py:4)
          by
            fuse_activations  activation_becomes_clamp: nn.relu6, nn.conv2d -> nn.conv2d
            insert_observers  nn.conv2d -> quant.observe
            calibrate         quant.observe -> quant.stats
            propagate_types   quant.stats -> quant.quantize
            lower_int8        integer_form: quant.quantize -> int8.conv2d
            legalize          pointwise_convolution: int8.conv2d -> xla.dot
          range
            the observer 'net/conv/conv2d' saw 32 elements of 2 samples in [0, 6], 50 % of them 0
            percentile(keep=0.9) gives [0, 5.4], 6.25 % are clipped
          grid
            i8<0.02117494:-128>, for its own range [0, 5.4] alone
    """)


# Float


def test_an_op_left_in_float(explain):
    graph = """
        func @main(%x: f32[1,4], %w: f32[4,4]) -> (f32[1,4], f32[1,4]) {
          %0 = nn.add(%x, %x) loc("net.py:1")
          %1 = lax.cumsum(%0, axis=1) loc("net.py:2")
          %2 = nn.dense(%0, %w) loc("net.py:3")
          return %1, %2
        }
    """
    words = ("--calibration", "random:2")
    func = explain(graph, *words, pipeline="ptq_int8")
    (sums,) = re.findall(r"(%\d) = lax.cumsum", func)
    (dense,) = re.findall(r"(%\d) = nn.dense", func)
    assert since("made from", explain(graph, *words, sums, pipeline="ptq_int8")) == told("""
          made from
            %1 = lax.cumsum : f32[1,4]  net.py:2
          stays in float
            no scheme quantizes lax.cumsum
          to change that it takes
            another op in the model, or roles and an integer form for this one
    """)
    story = explain(graph, *words, dense, pipeline="ptq_int8")
    assert since("stays in float", story) == told("""
        stays in float
          operand 1, the weight, is computed
        to change that it takes
          a constant in its place
    """)


# Traced models


def test_a_traced_model_leads_back_to_its_layers_and_lines(capsys):
    pytest.importorskip("flax")
    words = ("explain", "examples.digits.model:load", "--calibration", "random:2")
    assert status(cli, [*words, "--at", r"Conv_2 |Dense_0\.kernel$"], "qir") == 0
    out = capsys.readouterr().out
    told_of = {story.split(" = ")[1].partition("(")[0]: story for story in out.split("\n\n")}
    assert out.count(" = const(value=#Conv_2.kernel") == 2 and len(told_of) == 2
    conv, dense = told_of["xla.dot"], told_of["const"]
    place = "(examples/digits/model.py:24)"
    layer, norm = f"DigitsNetwork/Conv_2 {place}", f"DigitsNetwork/BatchNorm_2 {place}"
    head, body = since("made from", conv).split("range\n")
    assert conv.split("\n")[1:3] == [f"  {layer}", f"  {norm}"]
    assert head == told(f"""
        made from
          %25 = lax.conv_general_dilated : f32[1,8,8,32]  {layer}
          %27 = lax.sub : f32[1,8,8,32]  {norm}
          %29 = lax.mul : f32[1,8,8,32]  {norm}
          %31 = lax.add : f32[1,8,8,32]  {norm}
        by
          canonicalize      constant_repeats: lax.sub, const -> lax.sub
          canonicalize      constant_repeats: lax.mul, const -> lax.mul
          canonicalize      constant_repeats: lax.add, const -> lax.add
          raise_nn          convolution_is_layer: lax.conv_general_dilated -> nn.conv2d
          raise_nn          arithmetic_of_floats: lax.sub -> nn.sub
          raise_nn          arithmetic_of_floats: lax.mul -> nn.mul
          raise_nn          arithmetic_of_floats: lax.add -> nn.add
          fold_bn           subtracted_constant_is_added: nn.sub, const -> nn.add
          fold_bn           shift_folds_into_bias: nn.add, nn.conv2d, const -> nn.conv2d (2 times)
          fold_bn           scale_folds_into_layer: nn.mul, nn.conv2d, const -> nn.conv2d
          insert_observers  nn.conv2d -> quant.observe
          calibrate         quant.observe -> quant.stats
          propagate_types   quant.stats -> quant.quantize
          lower_int8        integer_form: quant.quantize -> int8.conv2d
          legalize          pointwise_convolution: int8.conv2d -> xla.dot
    """)
    assert body.startswith("  the observer 'DigitsNetwork/Conv_2/conv2d' saw 4,096 elements of 2 ")
    assert "%71 = const(#Dense_0.kernel) : f32[256,10]  DigitsNetwork/Dense_0 (" in dense
    assert "as a weight of nn.dense at DigitsNetwork/Dense_0 (examples/digits/model.py:31)" in dense


@pytest.mark.parametrize("model", ["digits", "encoder"])
def test_every_value_has_a_descent_and_following_changes_nothing(model):
    pytest.importorskip("flax")
    from benchmarks.models import encoder
    from examples.digits.model import load

    sizes = {"layers": 1, "length": 8, "hidden": 32, "heads": 2, "intermediate": 64}
    f, example = load() if model == "digits" else encoder.build(**sizes)
    module = qir.trace(f, np.asarray(example))
    data = [np.asarray(example)]
    with followed() as follower:
        final = qir.quantize(module, None, data, listen=follower.listen).final.main
    assert str(final) == str(qir.quantize(module, None, data).final.main)
    history = follower.history(module.main)
    assert history.stages[-1] is final
    first, ops = set(module.main.ops), [op for stage in history.stages for op in stage.ops]
    lost = [op for op in ops if not first & history.lineage(op).keys()
            and op.kind != "quant.dequantize"]  # fmt: skip
    assert not lost
    printed = op_printer(final)
    stories = {op: story(history, len(history.stages) - 1, op, printed) for op in final.ops}
    on_grids = [op for op in final.ops if not op.is_const and getattr(op.type, "grid", None)]
    assert on_grids and all("\n  grid\n" in stories[op] for op in on_grids)
    assert all("no pass here chose it" not in text for text in stories.values())


def test_each_function_of_a_module_has_its_own_history(explain):
    text = RESIDUAL + RESIDUAL.replace("@main", "@other").replace("net.py", "other.py")
    assert explain(text, "%0", "--function", "other") == (
        explain(RESIDUAL, "%0").replace("net.py", "other.py"))  # fmt: skip


# The command


def test_graphs_after_a_pass_and_what_became_of_their_values(explain):
    assert "quant.stats" in explain(RESIDUAL, "--after", "0")
    assert explain(RESIDUAL, "--after", "1") == explain(RESIDUAL, "--after", "propagate_types")
    assert explain(RESIDUAL, "--after", "0", "%2").startswith(told("""
        %2 = lax.concatenate(%0, %1, axis=1) : f32[1,8]
          block/join (net.py:3)
          result 0 of @main
          became
            %3 = lax.concatenate(%1, %2, axis=1) : i8<0.1254902:-1>[1,8]
          grid
            i8<0.1254902:-1>, for [-16, 16], the range of the 2 that share it
    """))
    fixpoint = "propagate_types, fixpoint(requantize), only(lower_int8, match=\"net\")"
    assert "change of grid" in explain(RESIDUAL, "%1", pipeline=fixpoint)


def test_values_by_place_and_too_many_of_them(explain):
    joined = explain(RESIDUAL, "--at", "block/join")
    assert [line for line in joined.splitlines() if line[:1] == "%"] == [
        "%3 = lax.concatenate(%1, %2, axis=1) : i8<0.1254902:-1>[1,8]",
        "%4 = quant.dequantize(%3) : f32[1,8]",
    ]
    many = explain(RESIDUAL, "--at", "net", "--after", "propagate_types")
    assert many.startswith("12 values are there, name those to explain:\n%0 = quant.quantize(%a")


@pytest.mark.parametrize(("words", "message"), [
    (["%99"], "error: @main has no value %99\n"
              "  help: known: %0, %1, %2, %3, %4, %5, %6, %a, %b\n"),
    (["--at", "nowhere"], "--at: error: no value of @main is at 'nowhere'\n"
     "  help: its ops are at 4 places; --locations of qir opt shows them\n"),
    (["--at", "("], "--at: error: '(' is no regular expression: missing ), unterminated "
                    "subpattern at position 0\n"),
    (["--after", "9"], "error: --after 9: the pipeline has 5 steps\n"),
    (["--after", "legalise"], "error: --after: the pipeline has no pass 'legalise'\n"
     "  help: known: canonicalize, cse, lower_int8, propagate_types, requantize\n"),
    (["--function", "f"], "error: no function @f\n  help: there are ['main']\n"),
])  # fmt: skip
def test_what_is_wrong_with_a_question_is_said(explain, words, message):
    assert explain(RESIDUAL, *words) == message


def test_grids_that_came_with_the_graph(explain):
    graph = """
        func @main(%x: i8<0.5:0>[2]) -> (i8<0.5:0>[2]) {
          %0 = quant.dequantize(%x)
          %1 = nn.relu(%0)
          %2 = quant.quantize(%1, to=i8<0.5:0>)
          return %2
        }
    """
    assert since("grid", explain(graph, "%1", pipeline="lower_int8")) == told("""
        grid
          it came with the graph that went in, or with a constant: no pass here chose it
    """)


def test_stored_weights_say_how_they_are_stored(explain):
    graph = """
        func @main(%x: f32[1,4]) -> (f32[1,2]) {
          %w = const(value=[[127, 0], [1, 2], [-3, 254], [0, 0]]) : f32[4,2]
          %0 = nn.dense(%x, %w)
          return %0
        }
    """
    found = explain(graph, "%0", pipeline="quantize_weights(min_elements=1, clip=mse)")
    assert since("grid", found) == told("""
        grid
          i8<[1.0,2.0]:0 @1 narrow>, as a weight of nn.dense
          the last integer stands for what mse finds in each part that has a scale
    """)


def test_a_weight_that_training_rounded_says_so(explain):
    graph = """
        func @main(%x: f32[1,2]) -> (f32[1,1]) {
          %t = const(value=[[1.5], [-1.0]], trained=i8<0.5:0>) : f32[2,1]
          %0 = nn.dense(%x, %t)
          return %0
        }
    """
    found = explain(graph, "%0", pipeline="quantize_weights(min_elements=1)")
    assert since("grid", found) == told("""
        grid
          i8<0.5:0>, as a weight of nn.dense
          training rounded it to this grid
    """)
