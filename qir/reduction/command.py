"""The check of a reduction: a shell command, what it says of a file, and whether it still fails."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import QirError
from ..reproducer import blanked

PLACE = "{}"
SHOWN = 20
"""How many of a command's last lines a message shows."""
CANNOT = (126, 127)
"""The exit statuses of a shell for what it cannot run or cannot find."""
_ERROR = re.compile(r"(?i)\b(\w*error: .*)")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, None if it ran out of time, and all that it wrote."""

    status: int | None
    said: str


Runner = Callable[[str, Path, float | None], Ended]
"""Runs a command on a file for at most so many seconds, None for as long as it takes."""


def on_file(command: str, path: Path) -> str:
    """The command with the file's path in place of `{}`, at its end where there is none."""
    quoted = shlex.quote(str(path))
    return command.replace(PLACE, quoted) if PLACE in command else f"{command} {quoted}"


def by_shell(command: str, path: Path, seconds: float | None) -> Ended:
    """Run a command by the shell, in a session of its own that ends with it."""
    process = subprocess.Popen(on_file(command, path), shell=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)  # fmt: skip
    try:
        said, _ = process.communicate(timeout=seconds)
        return Ended(process.returncode, said.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        return Ended(None, "")
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_error(said: str) -> str | None:
    """The last error that a command tells of, without names and numbers; None if it tells none."""
    found = [match.group(1) for match in map(_ERROR.search, said.splitlines()) if match]
    return blanked(found[-1]) if found else None


@dataclass(frozen=True)
class Failure:
    """What a run must have in common with the first one to be the same failure.

    status: its exit status, None for one that runs out of time. error: its last error, None for
    any. match: what it must say besides, None for anything.
    """

    status: int | None
    error: str | None = None
    match: re.Pattern | None = None

    def is_of(self, ended: Ended) -> bool:
        """Whether a run failed so."""
        if ended.status != self.status:
            return False
        if self.match is not None:
            return self.match.search(ended.said) is not None
        return self.error is None or last_error(ended.said) == self.error


def failure_of(ended: Ended, command: str, match: str | None, any_failure: bool) -> Failure:
    """The failure of a first run; QirError where it did not fail, or not so that it matches."""
    if ended.status == 0:
        raise QirError("the command does not fail on this graph", at=command,
                       help="it must end with another exit status than 0, as grep -q and "
                            "test do where something is not so")  # fmt: skip
    if ended.status in CANNOT:
        raise QirError("the shell cannot run the command", at=command,
                       help=ended.said.strip() or "is it installed, and may it be run?")
    if match is None:
        error = None if any_failure else last_error(ended.said)
        return Failure(ended.status, error)
    found = Failure(ended.status, match=_pattern(match))
    if not found.is_of(ended):
        last = "\n".join(ended.said.splitlines()[-SHOWN:])
        raise QirError(f"the command fails, and says nothing that matches '{match}'", at=command,
                       help=f"it said\n{last}" if last else "it said nothing")  # fmt: skip
    return found


def _pattern(match: str) -> re.Pattern:
    try:
        return re.compile(match, re.MULTILINE)
    except re.error as error:
        raise QirError(f"'{match}' is no regular expression: {error}", at="--match") from None
