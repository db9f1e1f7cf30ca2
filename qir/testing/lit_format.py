"""`.qir` files for lit, LLVM's test runner: every case a test, judged as pytest judges it.

A `lit.cfg.py` beside the files is two lines:

    from qir.testing.lit_format import configure
    configure(config)

Cases run in lit's own worker processes: a process each would cost a hundred times as much. RUN
lines are those that `qir.testing.cases` reads, all of which a shell takes too.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lit.Test import FAIL, PASS, UNRESOLVED, Result, Test

from ..errors import QirError
from .cases import Case, is_test_file, read_cases
from .run import failure, report, run_case


def configure(config, name: str = "qir") -> None:
    """Make lit run the `.qir` files in the folder of this configuration and below."""
    config.name = name
    config.suffixes = {".qir"}
    config.test_format = QirCases()


class QirCases:
    """The format; the names of its methods are lit's."""

    def getTestsInDirectory(self, suite, path_in_suite, lit_config, config) -> Iterator[Test]:
        """A test for each case in the files of a folder, its subfolders left to lit."""
        for file in sorted(Path(suite.getSourcePath(path_in_suite)).glob("*.qir")):
            path = (*path_in_suite, file.name)
            yield from self.getTestsForPath(suite, path, lit_config, config)

    def getTestsForPath(self, suite, path_in_suite, lit_config, config) -> Iterator[Test]:
        """A test for each case of a file; one for the file itself if it cannot be read."""
        file = Path(suite.getSourcePath(path_in_suite))
        if file.suffix in config.suffixes and file.name not in config.excludes:
            for name in _names(file) if is_test_file(file) else ():
                yield Test(suite, (*path_in_suite, *name), config, file_path=str(file))

    def execute(self, test: Test, lit_config) -> Result:
        """Run the case of a test."""
        file = Path(test.file_path)
        try:
            case = _cases(file)[test.path_in_suite[-1]]
        except QirError as error:
            return Result(UNRESOLVED, str(error))
        with TemporaryDirectory() as scratch:
            reason = failure(case, run_case(case, Path(scratch)))
        return Result(PASS) if reason is None else Result(FAIL, report(case, reason))


def _names(file: Path) -> list[tuple[str, ...]]:
    """What a test has in its path below the file: the case, nothing if the file is wrong."""
    try:
        return [(name,) for name in _cases(file)]
    except QirError:
        return [()]


@cache
def _cases(file: Path) -> dict[str, Case]:
    return {case.name: case for case in read_cases(file)}
