"""The optional extension: kernels in C++, built where there are a compiler and XLA's headers."""

from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup

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


setup(ext_modules=extensions())
