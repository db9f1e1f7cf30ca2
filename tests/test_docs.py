"""The documentation: every block of every page runs, and the pages can be built."""

import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks_of, failures

PAGES = sorted((ROOT / "docs").glob("*.md"))
RUN = [page for page in PAGES if blocks_of(page)]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page, tmp_path):
    wrong = failures(page, tmp_path)
    assert not wrong, "\n\n".join(wrong)


def test_the_pages_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "trees",
               ROOT / "docs", tmp_path / "html"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "html/reference/passes.html").read_text()
    assert 'id="propagate-types"' in html and "Find the range of every observed value" in html


def test_every_guide_is_in_the_table_of_contents():
    index = (ROOT / "docs/index.md").read_text()
    missing = {page.stem for page in PAGES} - {"index"} - set(index.split())
    assert not missing


def test_a_block_that_does_not_hold_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\ntwo\n```\n\n```qir\nfunc\n```\n\n```\nx\n```\n")
    first, second, third = failures(page, tmp_path)
    assert first == "page.md:2: echo one\nwanted:\ntwo\nfound:\none\n"
    assert "<stdin>:1:5: error: syntax error" in second
    assert "needs a caption" in third
    assert Path(tmp_path / "work").is_dir()
