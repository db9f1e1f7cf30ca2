"""legalize on graphs with ops that a target does not take."""

import pytest
from toy import neg

from qir.api import run_pipeline
from qir.errors import QirError
from qir.ir import Func, parameter
from qir.types import tensor


def test_every_illegal_op_is_listed_with_its_place():
    x = parameter("x", tensor("f32", (3,)))
    first = neg(x, location=("first (model.py:3)",))
    func = Func("main", (x,), (neg(first, location=("second (model.py:4)",)),))
    with pytest.raises(QirError) as caught:
        run_pipeline(func, "legalize(target=xla)")
    reason = "has no XLA lowering; declare one with qir.targets.xla.table.lowers"
    assert str(caught.value) == (
        "first (model.py:3): error: 2 ops are not for the target 'xla':\n"
        f"  toy.neg : f32[3]  {reason}, at first (model.py:3)\n"
        f"  toy.neg : f32[3]  {reason}, at second (model.py:4)"
    )
