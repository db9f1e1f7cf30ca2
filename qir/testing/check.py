"""CHECK lines against an output, by the filecheck package in this process."""

import contextlib
import io
import re

from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser, pattern_for_opts

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def mismatch(text: str, output: str, file: str, first_line: int) -> str | None:
    """What filecheck has to say against the output, None if all CHECK lines of the text match."""
    options = Options(match_filename=file, input_file="the output", allow_empty=True)
    lines = io.StringIO("\n" * (first_line - 1) + text)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        matcher = Matcher(options, FInput("the output", output),
                          Parser(options, lines, *pattern_for_opts(options)))  # fmt: skip
        code = matcher.run()
    return _COLOUR.sub("", said.getvalue()) if code else None
