"""Take the ranges that training has left in a graph for all there are."""

from qir.errors import QirError
from qir.graph_pass import graph_pass
from qir.ir import Func, place_of

from ..dialects import quant


@graph_pass("observed -> calibrated")
def use_trained_ranges(func: Func) -> Func:
    """Demand that every observed value has a range from training; no samples are read."""
    missing = [op for op in func.ops if op.kind == quant.observe.name]
    if not missing:
        return func
    shown = ", ".join(f"'{op.attributes['name']}'" for op in missing[:8])
    more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
    raise QirError(f"training left no range for {shown}{more}", at=place_of(missing[0]),
                   help="give samples to pipeline=ptq_int8, which keeps the ranges there are, or "
                        "put a fake quantization of 8 bits behind the values")  # fmt: skip
