"""Mutated files: seeds as the project has them, and what goes wrong with bytes and words.

A case is a number: it decides the seed, the mutations and so every byte.
"""

import json
import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from qir import observers, registry
from qir.errors import QirError
from qir.ir import Module
from qir.testing.sampling import draw_network, draw_normal
from qir.text import read_module, save_module

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("qir", "qir", "qir", "qir", "pipe", "safetensors", "safetensors", "statistics")
"""What a case is of, by its number."""
LONGEST = 1500
"""Bytes of the longest seed: a case of one fault says more than one of many lines."""


@dataclass(frozen=True)
class Case:
    """A file of a kind: its bytes, and for weights the text that names them."""

    number: int
    kind: str
    content: bytes
    text: bytes = b""


@cache
def models() -> tuple[bytes, ...]:
    """The files of TensorFlow Lite to start from: the graphs of the tests of the tfl dialect."""
    from qir.targets.tflite.write import written

    found = []
    for path in sorted((ROOT / "tests" / "dialects" / "tfl").glob("*.qir")):
        for part in path.read_text().split("// -----"):
            try:
                found.append(written(read_module(part, path.name)))
            except QirError:  # a case of what is refused
                continue
    return tuple(found)


@cache
def seeds() -> dict[str, tuple]:
    """The files to start from: texts of the tests, weights and statistics of random networks."""
    found: dict[str, list] = {"qir": [], "pipe": [], "safetensors": [], "statistics": []}
    for path in sorted((ROOT / "tests").rglob("*.qir")):
        found["qir"] += [part.encode() for part in path.read_text().split("// -----")
                         if len(part) < LONGEST]  # fmt: skip
        found["pipe"] += [line.encode() for line in re.findall(r'-p "(.*?)"', path.read_text())]
    found["pipe"] += [path.read_bytes() for path in sorted((ROOT / "pipelines").glob("*.pipe"))] * 5
    with TemporaryDirectory() as folder:
        for seed in range(12):
            func = draw_network(np.random.default_rng(seed), steps=2)
            path = Path(folder) / f"{seed}.qir"
            save_module(Module((func,)), path)
            for weights in Path(folder).glob(f"{seed}.qir.*.safetensors"):
                text = path.read_bytes().replace(weights.name.encode(), b"w.safetensors")
                found["safetensors"].append((weights.read_bytes(), text))
            found["statistics"].append(_statistics(func, seed))
    return {kind: tuple(files) for kind, files in found.items()}


def _statistics(func, seed: int) -> bytes:
    from qir.api import run_pipeline

    samples = [draw_normal(np.random.default_rng(seed), func)]
    with TemporaryDirectory() as folder:
        run_pipeline(func, "insert_observers, calibrate(save_stats=$stats)".replace(
            "$stats", json.dumps(f"{folder}/s")), samples)  # fmt: skip
        return Path(folder, "s").read_bytes()[:LONGEST].rpartition(b"\n\n")[0] + b"\n"


def case(number: int, kind: str | None = None) -> Case:
    """The case of this number, of a kind that follows from it where none is said."""
    rng = random.Random(number)
    kind = kind or KINDS[number % len(KINDS)]
    files = models() if kind == "tflite" else seeds()[kind]
    seed, other = rng.choice(files), rng.choice(files)
    if kind == "tflite":
        return Case(number, kind, _mutated(seed, rng, other, (*_BYTES, *(_word,) * 8)))
    if kind != "safetensors":
        return Case(number, kind, _mutated(seed, rng, other, _WORDS))
    (content, text), way = seed, rng.random()
    if way < 0.6:
        content = _header_edited(content, rng)
    elif way < 0.8:
        content = _mutated(content, rng, other[0], _BYTES)
    else:
        text = _mutated(text, rng, other[1], _WORDS)
    return Case(number, kind, content, text)


def _mutated(content: bytes, rng, other: bytes, mutators) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(mutators)(content, rng, other)
    return content


def _spot(content: bytes, rng, longest: int = 40) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.randrange(longest + 1))


def _flip(content: bytes, rng, other: bytes) -> bytes:
    if not content:
        return content
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def _delete(content: bytes, rng, other: bytes) -> bytes:
    start, stop = _spot(content, rng)
    return content[:start] + content[stop:]


def _duplicate(content: bytes, rng, other: bytes) -> bytes:
    start, stop = _spot(content, rng, 200)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 2, 50)) + content[stop:]


def _splice(content: bytes, rng, other: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def _insert(content: bytes, rng, other: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(_ODD) + content[at:]


def _cut(content: bytes, rng, other: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _word(content: bytes, rng, other: bytes) -> bytes:
    """A number of 1, 2, 4 or 8 bytes, as flatbuffers align them, made another."""
    size = rng.choice((1, 2, 4, 4, 4, 8))
    if len(content) < size:
        return content
    at = rng.randrange(len(content) // size) * size
    most = 2 ** (8 * size)
    value = rng.choice((0, 1, 2, 3, 4, 8, most - 1, most // 2, most // 2 - 1, len(content),
                        len(content) - at, most - at, rng.randrange(most), rng.randrange(256)))
    return content[:at] + (value % most).to_bytes(size, "little") + content[at + size :]


_ODD = (
    b"\0", b"\r\n", b"\xff\xfe", b"\xef\xbb\xbf", "\u202e".encode(), "\U0001f600".encode(), b"//",
    b'"', b"\\", b"(", b")", b"[" * 2000, b"(" * 2000, b"]" * 50, b"<", b">", b"{", b"}", b",",
    b":", b"%", b"#", b"@", b"=", b"x" * 5000, b"\n" * 100, b"[1,", b"lax.neg(", b"9" * 5000, b"-",
)  # fmt: skip
_BYTES = (_flip, _delete, _duplicate, _splice, _insert, _cut)

_NUMBERS = (
    b"0", b"1", b"-1", b"-0", b"2147483648", b"99999999999", b"9223372036854775807",
    b"18446744073709551616", b"-9223372036854775809", b"1e400", b"-inf", b"inf", b"nan", b"1e-400",
    b"0.1", b"4294967296", b"65536", b"100000", b"3", b"255", b"1" + b"0" * 400, b"1.5e+300",
    b"true", b"none",
)  # fmt: skip
_TOKEN = re.compile(rb"[%#@$]?[A-Za-z_][\w.]*|-?\d[\d.e+-]*|\"[^\"\n]*\"|\S")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def _tokens(pattern, content: bytes):
    return [m.span() for m in pattern.finditer(content)]


def _renumber(content: bytes, rng, other: bytes) -> bytes:
    spans = _tokens(_NUMBER, content)
    if not spans:
        return content
    start, stop = rng.choice(spans)
    return content[:start] + rng.choice(_NUMBERS) + content[stop:]


def _swap(content: bytes, rng, other: bytes) -> bytes:
    """One token in place of another, of this text or of the other one."""
    spans, theirs = _tokens(_TOKEN, content), _tokens(_TOKEN, other)
    if not spans or not theirs:
        return content
    (start, stop), (low, high) = rng.choice(spans), rng.choice(theirs)
    return content[:start] + other[low:high] + content[stop:]


def _drop_token(content: bytes, rng, other: bytes) -> bytes:
    spans = _tokens(_TOKEN, content)
    start, stop = rng.choice(spans) if spans else (0, 0)
    return content[:start] + content[stop:]


def _huge(content: bytes, rng, other: bytes) -> bytes:
    """A shape, a constant or a list made as large as its text can say."""
    word = rng.choice((
        b"f32[99999999999]", b"f32[65536,65536,65536]", b"f32[100000,100000]", b"i8[2147483648]",
        b"f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
        b"const(value=random) : f32[3000000000]", b"const(value=1.0) : f32[100000000000]",
        b"const(value=random) : i8[100000,100000]", b"i8<0.1:0>[9999999999]",
        b"[" * 300 + b"]" * 300,
        b"lax.broadcast(%x, shape=[100000, 100000], axes=[])",
        b"lax.pad(%x, low=[9999999999], high=[0])", b"f32[0,99999999999]",
        b"f(" * 300 + b")" * 300,
        b"value=[" + b"1," * 3000 + b"1]", b"<[" + b"0.1," * 3000 + b"0.1]:0 @0>", b"-inf", b"nan",
    ))  # fmt: skip
    spans = _tokens(re.compile(rb"\w+\[[\d,]*\]|const\([^)]*\) : [^\n]*|\[[^\]\n]*\]"), content)
    if not spans:
        return content + word
    start, stop = rng.choice(spans)
    return content[:start] + word + content[stop:]


_WORDS: tuple[Callable, ...] = (
    *_BYTES, _renumber, _renumber, _renumber, _swap, _swap, _swap, _drop_token, _huge, _huge,
)  # fmt: skip


def _header_edited(content: bytes, rng) -> bytes:
    """Weights whose header says something else: offsets, shapes, dtypes, lengths, names."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = rng.choice(list(header))
    entry = header[name]
    what = rng.randrange(10)
    number = rng.choice((0, 1, -1, 7, 2**31, 2**40, 2**63, 10**30, 1.5, None, "3", True, [1], {}))
    if what == 0:
        entry["data_offsets"][rng.randrange(2)] = number
    elif what == 1:
        entry["shape"] = rng.choice(([number], entry["shape"] + [number], [], number, [0, number]))
    elif what == 2:
        entry["dtype"] = rng.choice(("F32", "F64", "BOOL", "BF16", "I4", "", None, 3, "f32", [1]))
    elif what == 3:
        entry.pop(rng.choice(list(entry)))
    elif what == 4:
        header[rng.choice(("", "\0", "x" * 5000, "__metadata__", "../w", "a\nb"))] = entry
    elif what == 5:
        header[name] = rng.choice((number, [], {}, "text"))
    elif what == 6:
        data = rng.choice((b"", data[: rng.randrange(len(data) + 1)], data + b"xyz", data * 2))
    text = json.dumps(header).encode()
    if what == 7:
        text = rng.choice((b"[" * 5000, b"{", b"", b"null", b"[]", b'{"a":' * 3000, b"\xff", b"NaN",
                           text + b" " * 100_000, text.replace(b":", b"::")))  # fmt: skip
    size = len(text)
    if what == 8:
        size = rng.choice((0, size - 1, size + 1, 2**31, 2**63, 2**64 - 1, rng.randrange(10_000)))
    if what == 9:
        return _flip(struct.pack("<Q", size) + text + data, rng, b"")
    return struct.pack("<Q", size) + text + data


def ready() -> None:
    """What cases need, loaded once."""
    registry.load_dialects()
    registry.passes()
    registry.targets()
    observers.empty()
    seeds()
