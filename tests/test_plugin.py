"""examples/plugin as its users have it: installed beside qir into an environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "examples" / "plugin"
OFFLINE = re.compile("NewConnectionError|NameResolutionError|ReadTimeoutError|ProxyError|SSLError")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_one_command_installs_lists_runs_and_tests_it(tmp_path):
    """On a machine whose compiler fails: qir is installed without its kernels in C++."""
    fresh = tmp_path / "fresh"
    command = ["make", "plugin", f"FRESH={fresh}", f"PYTHON={sys.executable}"]
    without = {**os.environ, "CC": "false", "CXX": "false"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=without)
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("no package index can be reached, and pip needs one to build and install")
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    installed = re.findall(rf"^{fresh}/.*/site-packages/(\w+)/__init__.py$", said, re.MULTILINE)
    assert installed == ["qir", "kestrel"]
    assert "\nraise_prelu()  [float -> float]\n" in said
    assert "= kestrel.prelu_int8(" in said and "int8.dense" not in said
    assert not list(fresh.glob("lib/*/site-packages/qir/targets/native/_kernels*"))
    assert re.search(r"\d+ passed", said) and not re.search("skipped|failed|warning", said)
    assert all(f"tests/{file.name} ." in said for file in PLUGIN.glob("tests/*.qir"))


def test_its_lit_configuration_is_two_lines():
    text = (PLUGIN / "tests" / "lit.cfg.py").read_text()
    assert [line.partition(" ")[0] for line in text.splitlines()] == ["from", 'configure(config,']


def test_it_brings_something_to_every_group():
    from qir.plugins import GROUPS

    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    assert set(project["entry-points"]) == set(GROUPS)


def test_its_rules_are_fuzzed_with_qirs_own_under_names_of_their_own(tmp_path):
    info = tmp_path / "qir_kestrel-1.0.dist-info"
    info.mkdir()
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    groups = ("\n".join([f"[{group}]", *(f"{k} = {v}" for k, v in entries.items())])
              for group, entries in project["entry-points"].items())  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(groups))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: qir-kestrel\nVersion: 1.0\n")
    paths = os.pathsep.join(map(str, (ROOT, PLUGIN, tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "qir.testing.sampling", "--match", "kestrel", "--seeds", "60",
         "--ops", "20", "--target", "kestrel"],
        cwd=tmp_path, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert "kestrel.difference_is_sum" in done.stdout and "60 fired" in done.stdout
    assert done.stderr == "" and " wrong" not in done.stdout
