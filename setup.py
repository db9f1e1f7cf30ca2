"""The optional extension: kernels in C++, built where there are a compiler and XLA's headers."""

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("qir/targets/native/src")


def extensions() -> list[Extension]:
    """The kernels; none where jaxlib, which has the headers, is not there to build with."""
    found = find_spec("jaxlib")
    if found is None or found.origin is None:
        return []
    headers = Path(found.origin).parent / "include"
    flags = ["-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wno-psabi",
             f"-isystem{headers}"]
    return [Extension(
        "qir.targets.native._kernels", sorted(map(str, SOURCES.glob("*.cc"))),
        depends=sorted(map(str, SOURCES.glob("*.h"))), language="c++", extra_compile_args=flags,
        extra_link_args=["-pthread"], optional=True,
    )]  # fmt: skip


class SideBySide(build_ext):
    """Compiles as many files at once as there are processors."""

    def build_extension(self, extension: Extension) -> None:
        compile = self.compiler.compile

        def compiled(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                each = pool.map(lambda source: compile([source], **options), sources)
                return [objects[0] for objects in each]

        self.compiler.compile = compiled
        super().build_extension(extension)


setup(ext_modules=extensions(), cmdclass={"build_ext": SideBySide})
