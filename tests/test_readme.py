"""What README shows works as it stands there."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
PLAIN = [text for language, text in BLOCKS if not language]


def test_the_example_of_use_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("flax")
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(ROOT)
    (tmp_path / "build").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    assert "float ops left: 0" in capsys.readouterr().out


def test_the_pass_in_twenty_lines_is_one(tmp_path, monkeypatch):
    (tmp_path / "readme_pass.py").write_text(PYTHON[1])
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = __import__("readme_pass").drop_relus
    finally:
        sys.modules.pop("readme_pass", None)
    code = [line for line in PYTHON[1].splitlines() if line.strip()]
    assert len(code) <= 20
    case = next(text for text in PLAIN if "drop_relus" in text)
    from qir.text import read_module

    func = read_module(case).main
    kinds = [op.kind for op in found(func).ops]
    assert "nn.softmax" in kinds and "nn.relu" not in kinds
    assert found.arrow == "float -> float"


def test_the_pipeline_is_the_one_that_ships():
    text = next(text for text in PLAIN if text.startswith("pipeline"))
    assert text in (ROOT / "pipelines" / "ptq_int8.pipe").read_text()


def test_the_commands_are_there():
    commands = next(text for text in PLAIN if text.startswith("qir quantize"))
    from qir.cli import cli

    named = {line.split()[1] for line in commands.splitlines() if line.startswith("qir ")}
    assert named <= set(cli.commands)


def test_every_figure_stands_in_a_table_that_a_script_wrote():
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Figures") : text.index("## What is not there yet")]
    written = "".join(p.read_text() for p in (ROOT / "benchmarks" / "results").glob("*.md"))
    figures = re.findall(r"(?<![\w.])(?:\d+\.\d+|\d{3,})(?![\w.]*-)", section.replace(",", ""))
    figures.remove("128")  # the length of the sequence
    known = set(re.findall(r"\d+(?:\.\d+)?", written.replace(",", "")))
    assert len(figures) > 15 and not [f for f in figures if f not in known]
