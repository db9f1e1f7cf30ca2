"""qir: a quantization compiler made of passes, rules and one notation."""

import importlib
from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and str(_root) not in __path__:
    # A bare checkout: dialects, passes and pipelines lie beside this folder, not inside it.
    __path__.append(str(_root))

_PUBLIC = {
    "C": "pattern", "Func": "ir", "Module": "ir", "Op": "ir", "QirError": "errors",
    "Quantized": "api", "Trainable": "training", "V": "pattern", "bind": "training",
    "compile": "api", "const": "ir", "item": "ir", "load": "api", "parameter": "ir",
    "quantize": "api", "rule": "rewrite", "run_pipeline": "api", "save": "api",
    "tensor": "types", "to_jax": "training", "trace": "api",
}  # fmt: skip


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'qir' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_PUBLIC])
