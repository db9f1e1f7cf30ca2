"""The pytest plugin: `.qir` files as tests, one a case; `--bless` rewrites CHECK lines."""

from pathlib import Path

import pytest

BLESS = pytest.StashKey[dict]()


def pytest_addoption(parser):
    """Add `--bless`."""
    parser.getgroup("qir").addoption(
        "--bless", action="store_true", help="rewrite changed CHECK lines of .qir tests"
    )


def pytest_configure(config):
    """Prepare for blessing, which rewrites files at the end and so runs in one process."""
    if config.getoption("bless") and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--bless runs in one process, leave -n out")
    config.stash[BLESS] = {}


def pytest_collect_file(file_path: Path, parent):
    """Collect a `.qir` file that has a RUN line; others are models and data."""
    if file_path.suffix != ".qir":
        return None
    from .testing.cases import is_test_file

    return QirFile.from_parent(parent, path=file_path) if is_test_file(file_path) else None


class QirFile(pytest.File):
    """A test file; its cases are its items."""

    def collect(self):
        from .errors import QirError
        from .testing.cases import read_cases

        try:
            cases = read_cases(self.path)
        except QirError as error:
            raise self.CollectError(str(error)) from None
        for case in cases:
            yield QirItem.from_parent(self, name=case.name, case=case)


class CaseFailed(Exception):
    """A case that fails; its string is the whole report."""


class QirItem(pytest.Item):
    """A case as a test."""

    def __init__(self, *, case, **keywords):
        super().__init__(**keywords)
        self.case = case

    def runtest(self):
        from .testing.bless import blessed
        from .testing.run import failure, report, run_case

        scratch = self.config._tmp_path_factory.mktemp("qir") if self._writes else Path("/nowhere")
        outcome = run_case(self.case, scratch)
        reason = failure(self.case, outcome)
        if reason is None:
            return
        wanted = self.config.getoption("bless") and not outcome.differences
        new = blessed(self.case, outcome.output) if wanted else None
        if new is None or reason.startswith("error: EVAL"):
            raise CaseFailed(report(self.case, reason))
        changes = self.config.stash[BLESS].setdefault(self.path, {})
        changes[self.case.line] = (self.case.text, new)

    @property
    def _writes(self) -> bool:
        return any("%t" in word for word in self.case.run)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, self.case.line - 1, f"{self.path.name}::{self.name}"


def pytest_terminal_summary(terminalreporter, config):
    """Write what was blessed and show the diffs."""
    from .testing.bless import rewritten

    for file, changes in config.stash[BLESS].items():
        text, diff = rewritten(file, changes)
        file.write_text(text, encoding="utf-8")
        terminalreporter.section(f"blessed {file.name}, to be read before it is committed")
        terminalreporter.write_line(diff)
