"""Bring a lowered graph into the form that a target runs."""

from qir.attributes import ReadFile
from qir.errors import QirError
from qir.forms import complaints
from qir.graph_pass import graph_pass
from qir.ir import Func, Op, kept, place_of, transform
from qir.registry import target_named
from qir.rewrite import recorded, rewrite
from qir.schemes import scheme_of, with_scheme
from qir.target import Target


def rules_known(func: Func, *, target: str = "xla", profile: ReadFile | None = None) -> None:
    """QirError for a target that takes no profile, and for a file that is none."""
    target_named(target).legalization(profile)


@graph_pass("mixed -> {target}", ahead=rules_known)
def legalize(func: Func, *, target: str = "xla", profile: ReadFile | None = None) -> Func:
    """Apply the rules of a target; QirError lists every op that it does not take, and why.

    profile: a file of kernels that `qir tune` measured fastest, for targets that have several.
    Schemes of ops have had their effect, and are left out.
    """
    found = target_named(target)
    func = transform(func, _without_scheme) if any(map(scheme_of, func.ops)) else func
    with recorded() as firings:
        func = rewrite(func, *found.legalization(profile))
    illegal = list(complaints(func, found.form))
    if not illegal:
        return func
    declined: dict[Op, dict[str, None]] = {}
    for each in firings:
        if not each.fired:
            declined.setdefault(each.op, {})[each.reason] = None
    lines = [f"  {op.kind} : {op.type}  {'; '.join(declined.get(op, [reason]))}, "
             f"at {place_of(op) or 'an unknown place'}" for op, reason in illegal]  # fmt: skip
    raise QirError(f"{len(illegal)} ops are not for the target '{target}':\n" + "\n".join(lines),
                   at=place_of(illegal[0][0]),
                   help=_help({op.kind for op, _ in illegal}, found))  # fmt: skip


def _without_scheme(op: Op, operands: tuple[Op, ...]) -> Op:
    node = kept(op, operands)
    return node if scheme_of(op) is None else with_scheme(node, None)


def _help(kinds: set[str], target: Target) -> str | None:
    """What to do where an illegal op is the integer form of one that is taken apart in time."""
    apart = {kind for rule in target.decomposition() for p in rule.patterns for kind in p.kinds}
    names = {kind.partition(".")[2] for kind in apart}
    found = sorted(kind for kind in kinds if kind.partition(".")[2] in names)
    if not found:
        return None
    return (f"quantize with target={target.name}: its 'decompose' takes apart, before they are "
            f"quantized, what became {', '.join(found)}")  # fmt: skip
