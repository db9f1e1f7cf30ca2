"""setuptools, which builds with jaxlib too where a compiler could use its headers."""

import sysconfig
from shutil import which

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

HEADERS = ["jaxlib>=0.7"]


def _headers() -> list[str]:
    compiler = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    return HEADERS if which(compiler) else []


def get_requires_for_build_wheel(config_settings=None):
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_headers()]


def get_requires_for_build_editable(config_settings=None):
    return [*build_meta.get_requires_for_build_editable(config_settings), *_headers()]
