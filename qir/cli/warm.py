"""`qir opt` again and again without its start: a process that has all loaded, and forks.

Each command runs in a child of its own, so that none sees what another left; a child that hangs or
crashes takes nothing along. The parent never loads jax, whose threads do not survive a fork.
"""

import gc
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..reduction.command import Ended, Runner, by_shell, on_file

_WORDS = r"""(?:[\w./:,@%+=-]|'[^']*'|"[^"$`\\!]*"|\{\})+"""
_PLAIN = re.compile(rf"\s*{_WORDS}(?:[ \t]+{_WORDS})*\s*")
"""Commands that mean the same without a shell."""
_TICK = 2e-3


def runner_for(command: str) -> tuple[Runner, object]:
    """What runs a command as the shell does, and the process to end afterwards, None if none."""
    words = _own_words(command)
    if words is None or not hasattr(os, "fork"):
        return by_shell, None
    flags = ["-P"] if words[0] == "script" else []  # a script does not import from where it runs
    process = subprocess.Popen([sys.executable, *flags, "-m", "qir.cli.warm"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    if process.stdout.readline() != "ready\n":
        end(process)
        return by_shell, None

    def run(command: str, path: Path, seconds: float | None) -> Ended:
        _, program, arguments = _own_words(on_file(command, path))
        try:
            print(json.dumps([program, arguments, seconds]), file=process.stdin, flush=True)
            return Ended(*json.loads(process.stdout.readline()))
        except (OSError, ValueError):  # it has gone
            return by_shell(command, path, seconds)

    return run, process


def end(process) -> None:
    """End the process and what it runs."""
    if process is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def _own_words(command: str) -> tuple[str, str, list[str]] | None:
    """How a plain call of this very qir starts, its program and its arguments; else None."""
    if not _PLAIN.fullmatch(command):
        return None
    words = shlex.split(command)
    found = shutil.which(words[0])
    if found is None:
        return None
    beside = Path(found).resolve().parent == Path(sys.executable).parent.resolve()
    own = _origin(found) if words[0] in ("qir", "qir-opt") else None
    if words[0] in ("qir", "qir-opt") and (beside or own == Path(sys.executable).absolute()):
        return "script", words[0], words[1:]
    python = Path(found).absolute() == Path(sys.executable).absolute()
    if python and words[1:3] == ["-m", "qir"]:
        return "module", "qir", words[3:]
    return None


def _origin(script: str) -> Path | None:
    """The interpreter that a script names in its first line."""
    with open(script, "rb") as file:
        first = file.readline(1024).decode(errors="replace").strip()
    return Path(first.removeprefix("#!").strip()) if first.startswith("#!") else None


def serve() -> None:
    """Load all that `qir opt` needs, then run the commands that are written to stdin."""
    from .. import registry
    from ..text import parse_pipelines
    from ..text.syntax import Source
    from . import opt  # noqa: F401

    registry.failed_plugins()
    parse_pipelines(Source("cse"))
    if any(name.partition(".")[0] in ("jax", "jaxlib") for name in sys.modules):
        return
    gc.freeze()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())  # not without its child
    orders, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in orders:
        program, arguments, seconds = json.loads(line)
        with tempfile.TemporaryFile() as said:
            status = _in_child(program, arguments, seconds, said.fileno())
            said.seek(0)
            text = said.read().decode(errors="replace")
        print(json.dumps([status, text]), file=answers, flush=True)


def _in_child(program: str, arguments: list[str], seconds: float | None, said: int) -> int | None:
    """The exit status of a command run in a fork of this process, None if it took too long."""
    child = os.fork()
    if child == 0:
        _run(program, arguments, said)
    stop = None if seconds is None else time.monotonic() + seconds
    try:
        while stop is None or time.monotonic() < stop:
            found, status = os.waitpid(child, 0 if stop is None else os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(_TICK)
        return None
    finally:
        for kill in (os.kill, os.killpg):  # it may not lead a group yet
            with suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _run(program: str, arguments: list[str], said: int) -> None:
    """Be the command: its own session, nothing to read, all that it writes into one file."""
    code = 2
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        from . import cli, opt, status

        command = cli if program == "qir" else opt
        sys.argv = [program, *arguments]
        code = status(command, arguments, program)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
