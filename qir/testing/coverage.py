"""Which rules and refusals exist, so that a test can demand that each has been exercised."""

import ast
import inspect
import re
from collections.abc import Iterable
from types import ModuleType

from ..rewrite import Firing, Rule


def rules_in(modules: Iterable[ModuleType]) -> dict[str, Rule]:
    """Every rule that the modules define, by name; two of one name are an error."""
    found: dict[str, Rule] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Rule) and value.build.__module__ == module.__name__:
                if found.get(value.name, value) is not value:
                    raise ValueError(f"two rules are called {value.name}")
                found[value.name] = value
    return found


def refusals_in(module: ModuleType) -> dict[str, re.Pattern]:
    """Every `require` of a module, as place and source text, and what its reason looks like."""
    tree = ast.parse(inspect.getsource(module))
    return {
        f"{module.__name__}:{node.lineno}: {ast.unparse(node.args[1])}": re.compile(
            _expression(node.args[1]), re.DOTALL
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "require"
    }


def _expression(reason: ast.expr) -> str:
    """What the text of a reason looks like: its constant parts, anything between them."""
    if isinstance(reason, ast.JoinedStr):
        return "".join(_expression(part) for part in reason.values)
    if isinstance(reason, ast.Constant):
        return re.escape(str(reason.value))
    return ".*"


def unexercised(refusals: dict[str, re.Pattern], firings: Iterable[Firing]) -> list[str]:
    """The refusals that no rule gave as its reason."""
    reasons = {firing.reason for firing in firings if not firing.fired}
    return [
        place
        for place, expression in refusals.items()
        if not any(expression.fullmatch(reason) for reason in reasons)
    ]
