"""`--bless`: CHECK lines rewritten to what the output is now, with the diff to be read."""

import difflib
import re
from pathlib import Path

from .cases import Case

_BY_HAND = re.compile(r"CHECK-(DAG|NOT|COUNT-\d+|LABEL|SAME)|\{\{|\[\[\$?[#A-Za-z_]")
_SPECIAL = re.compile(r"(\{\{|\[\[(?=\$?[#A-Za-z_]))")


def blessed(case: Case, output: str) -> str | None:
    """The case's text with CHECK lines for the whole output, in the place of the old ones.

    None where the checks were written by hand (variables, expressions, CHECK-NOT and the like):
    they say what matters, and only their author can say it anew.
    """
    lines = case.text.splitlines()
    if any(_BY_HAND.search(lines[i]) for i in case.checks):
        return None
    while lines and not lines[-1].strip():
        lines.pop()
    at = case.checks[0] if case.checks else len(lines)
    rest = [line for i, line in enumerate(lines) if i not in case.checks]
    return "\n".join([*rest[:at], *check_lines(output), *rest[at:], ""])


def check_lines(output: str) -> list[str]:
    """CHECK lines that an output passes, line after line."""
    found, gap = [], True
    for line in output.strip("\n").splitlines():
        if not line.strip():
            gap = True
            continue
        text = _SPECIAL.sub(lambda m: "{{" + re.escape(m.group()) + "}}", line.rstrip())
        found.append(f"// CHECK{'' if gap else '-NEXT'}: {text}")
        gap = False
    return found


def rewritten(file: Path, changes: dict[int, tuple[str, str]]) -> tuple[str, str]:
    """The new text of a file and the diff; changes: old and new case text by first line."""
    old = file.read_text(encoding="utf-8")
    lines = old.splitlines(keepends=True)
    for first, (before, after) in sorted(changes.items(), reverse=True):
        count = len(before.splitlines())
        lines[first - 1 : first - 1 + count] = after.splitlines(keepends=True)
    new = "".join(lines)
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), str(file), str(file),
                                lineterm="")  # fmt: skip
    return new, "\n".join(diff)
