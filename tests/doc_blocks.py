"""The blocks of the documentation, run as a reader would: page by page, from top to bottom.

A block with a caption is a file that its text is written to. `console` blocks are commands behind
`$ ` and what they print, where `...` stands for anything. `python` blocks share their names within
a page. `qir` blocks are graphs that must be read, `pipe` blocks pipelines that must be composed.

`python tests/doc_blocks.py docs/PAGE.md ...` writes into the pages what commands print now.
"""

import doctest
import os
import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(
    r"^```(?P<language>[^\n]*)\n(?::caption: (?P<caption>[^\n]*)\n\n?)?"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_CHECKER, _FLAGS = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_SCRIPTS = {"qir": "qir.cli", "qir-opt": "qir.cli:main_opt", "pytest": "pytest",
            "pip": "pip._internal.cli.main"}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One block: its language, the file it is where it has a caption, its text and where."""

    language: str
    caption: str | None
    text: str
    start: int
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page in order."""
    source = page.read_text()
    found = []
    for fence in _FENCE.finditer(source):
        language = fence["language"].removeprefix("{code-block} ")
        if language.startswith("{"):  # a directive of the generator
            continue
        line = source.count("\n", 0, fence.start("text")) + 1
        found.append(Block(language, fence["caption"], fence["text"], fence.start("text"), line))
    return found


def fresh_environment(folder: Path) -> dict[str, str]:
    """A virtual environment that has qir and what is installed here, and takes more."""
    venv.create(folder)
    bin, python = folder / "bin", folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    here = [ROOT, *(path for path in sys.path if path.endswith("-packages"))]
    lines = [str(ROOT), *(f"import site; site.addsitedir({path!r})" for path in map(str, here[1:]))]
    (site / "here.pth").write_text("\n".join(lines) + "\n")
    for name, place in _SCRIPTS.items():
        module, _, function = place.partition(":")
        call = f"import sys; from {module} import {function or 'main'} as main; sys.exit(main())"
        (bin / name).write_text(f"#!{python}\n{call}\n")
        (bin / name).chmod(0o755)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    path = f"{bin}{os.pathsep}{os.environ['PATH']}"
    pip = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 is without
    return {**variables, **pip, "PATH": path, "VIRTUAL_ENV": str(folder), "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1"}  # fmt: skip


def failures(page: Path, folder: Path) -> list[str]:
    """What does not hold of a page when its blocks run in an empty folder, one after the other."""
    wrong = []
    for block, command, wanted, found in _run(page, folder):
        if not _CHECKER.check_output(wanted, found, _FLAGS):
            wrong.append(f"{page.name}:{block.line}: {command}\nwanted:\n{wanted}found:\n{found}")
    return wrong


def _run(page: Path, folder: Path):
    """Run a page; gives every command with the output it should have and the one it has."""
    env, work = fresh_environment(folder / "env"), folder / "work"
    work.mkdir()
    python = []
    for block in blocks_of(page):
        if block.caption is not None:
            file = work / block.caption
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        if block.language == "console":
            for command, wanted in _COMMAND.findall(block.text):
                yield block, command, wanted, _output(command, work, env)
        elif block.language == "python" and block.caption is None:
            python.append(block.text)  # what came before it on the page is known to it
            yield block, "python", "", _output("python -", work, env, "\n".join(python))
        elif block.caption is None:
            command = _READ.get(block.language, "echo a block of this language needs a caption")
            yield block, command, "", _output(command, work, env, block.text)


_READ = {
    "qir": "qir opt > /dev/null",
    "pipe": "python -c 'import sys; from qir.pipeline import compose; compose(sys.stdin.read())'",
}
"""What reads a block of a language that is neither a file nor a command."""


def _output(command: str, folder: Path, env: dict[str, str], said: str = "") -> str:
    done = subprocess.run(command, shell=True, cwd=folder, env=env, text=True, input=said,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return done.stdout.replace(f"{folder}/", "")


def bless(page: Path) -> None:
    """Write into the page what its commands print; an output with `...` that holds stays."""
    with tempfile.TemporaryDirectory() as folder:
        results = list(_run(page, Path(folder).resolve()))
    text = page.read_text()
    for block, command, wanted, found in reversed(results):
        if block.language != "console":
            sys.stdout.write(f"{page.name}:{block.line}: {found}" if found else "")
        elif not _CHECKER.check_output(wanted, found, _FLAGS):
            old = f"$ {command}\n{wanted}"
            at = text.rindex(old, block.start, block.start + len(block.text) + len(old))
            text = f"{text[:at]}$ {command}\n{found}{text[at + len(old):]}"
    page.write_text(text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        bless(Path(name))
