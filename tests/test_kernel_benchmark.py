"""The kernels' benchmark compares like with like, and what it draws its thresholds from holds."""

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import kernel_cases, kernels
from qir.targets.xla.choice import choose_conv, choose_dot, merged_groups

SMALL = {
    "convolution": (1, 12, 3, 5, 5, 2),
    "grouped": (1, 8, 8, 8, 3, 1, 1, 4),
    "depthwise": (1, 8, 6, 12, 3, 2, 1, 6),
    "transposed": (5, 4, 3, 3, 2),
    "dot": (1, 20, 6),
    "attention": (2, 3, 5, 8, False),
    "max_pool": (9, 3, 3, 2),
    "average_pool": (9, 3, 3, 2),
    "sum": ((2, 3, 4, 5), (1, 2)),
    "table": (300,),
    "softmax": (4, 17),
    "layer_norm": (4, 17),
}


@pytest.mark.parametrize("subject", kernel_cases.SUBJECTS)
def test_integer_candidates_compute_the_same(subject):
    build, shapes = kernel_cases.SUBJECTS[subject]
    assert shapes
    case = build(*SMALL[subject])
    results = {
        name: np.asarray(jax.jit(run)(*case.arguments)) for name, run in case.candidates.items()
    }
    chosen = results[case.chosen]
    for name in results.keys() - {"float", "division"}:
        np.testing.assert_array_equal(results[name], chosen, name)
    if "division" in results:
        assert np.abs(results["division"].astype(int) - chosen).max() <= 1


def test_a_line_marks_the_chosen_and_the_fastest():
    case = kernel_cases.dense(500, 8, 8)
    text = kernels.line(case, {"nk": 2.0, "kn": 1.0})
    assert text.split() == [
        "500x8", "by", "8x8", "0.1", "G/s", "nk", "2.000", "[kn]", "1.000*",
    ]  # fmt: skip


def test_an_unknown_subject_is_refused():
    result = CliRunner().invoke(kernels.main, ["dots"])
    assert result.exit_code == 2
    assert "'dots' is not one of" in result.output


@pytest.mark.parametrize(
    ("x", "w", "attributes", "kernel"),
    [
        ((1, 224, 224, 3), (7, 7, 3, 64), {"strides": (2, 2)}, "space_to_depth"),
        ((1, 224, 224, 3), (3, 3, 3, 32), {"strides": (2, 2)}, "row_windows"),
        ((1, 224, 224, 3), (7, 7, 3, 16), {"strides": (2, 2)}, "row_windows"),
        ((1, 28, 28, 3), (3, 3, 3, 32), {"dilation": (2, 2)}, "valid"),
        ((1, 58, 58, 64), (3, 3, 64, 64), {}, "same"),
        ((1, 56, 56, 64), (3, 3, 64, 64), {"strides": (2, 2)}, "valid"),
        ((1, 14, 14, 256), (3, 3, 256, 256), {"pads": ((1, 1), (1, 1))}, "slices"),
        ((1, 15, 15, 256), (3, 3, 256, 256), {"pads": ((1, 1), (1, 1))}, "same"),
        ((1, 56, 56, 16), (3, 3, 16, 16), {}, "slices"),
        ((1, 56, 56, 16), (3, 3, 16, 24), {}, "same"),
        ((1, 56, 56, 256), (1, 1, 256, 512), {"strides": (2, 2)}, "pointwise"),
        ((1, 56, 56, 128), (3, 3, 4, 128), {"groups": 32}, "grouped"),
        ((1, 56, 56, 128), (3, 3, 32, 128), {"groups": 4}, "same"),
        ((1, 14, 14, 64), (3, 3, 2, 64), {"groups": 32}, "slices"),
        ((1, 56, 56, 128), (3, 3, 1, 256), {"groups": 128}, "depthwise"),
    ],
)
def test_choices(x, w, attributes, kernel):
    assert choose_conv(x, w, **attributes) == kernel


def test_other_choices():
    assert [choose_dot(rows) for rows in (1, 400, 401)] == ["nk", "nk", "kn"]
    assert [merged_groups(*case) for case in [(128, 32), (512, 32), (12, 4), (30, 10)]] == [
        4,
        1,
        4,
        10,
    ]
