"""The command line as tests call it: in this process, in a folder of its own."""

import io
import sys

import pytest

from qir.cli import cli, status

GRAPH = """func @main(%x: f32[1,4]) -> (f32[1,4]) {
  %0 = lax.neg(%x) : f32[1,4]
  %1 = lax.neg(%0) : f32[1,4]
  return %1
}
"""
"""What the fixture `call` writes to g.qir."""


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `qir` with words in an empty folder; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.qir").write_text(GRAPH)

    def run(*words: str, stdin: str | None = None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = status(cli, list(words), "qir")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
