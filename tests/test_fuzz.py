"""Files changed at random: an error of embedkit's own in one line, or something that has the right form.

Each change is drawn from a seed, so that what fails can be made again; the failing content is shown. By default some
dozens of files a format; with ``-m slow`` a minute each (or as many seconds as $EMBEDKIT_FUZZ_SECONDS says).
"""

from __future__ import annotations

import base64
import copy
import importlib.util
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import VAE, Corpus, Embedding, Word2Vec
from embedkit.errors import EmbedkitError
from embedkit.files.store import read_tensors, write_tensors

_spec = importlib.util.spec_from_file_location("samples", Path(__file__).with_name("samples.py"))
assert _spec is not None
assert _spec.loader is not None
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)

every = pytest.mark.parametrize("name", samples.SAMPLES)
SOME = 30  # files by default, for what is read at usual speed
SECONDS = float(os.environ.get("EMBEDKIT_FUZZ_SECONDS", "60"))

# What readers have stumbled over: bounds, numbers that are none, marks of all kinds, halves of letters.
PIECES = [
    b"\0", b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"  ", b"\t", b",", b'"', b'""', b"'", b"{", b"[", b"]", b"}", b":",
    b"nan", b"NaN", b"inf", b"-inf", b"1e999", b"-1e39", b"1e-999", b"1_0", b"0x1p3", b"1,5", b"+1", b"00", b"-0", b".",
    b"-1", b"255", b"256", b"65536", b"2147483648", b"4294967296", b"9223372036854775808", b"1" + b"0" * 30,
    b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x87", b"\xe2\x80\xa8", b"\xc2\x85",
    b"\x1b[2J", b"\x80\x04", b"PK\x03\x04", b"\x1f\x8b", b"BZh9", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f",
    b"\0\0\0\x80", b"\x01\0\0\0\0\0\0\0", b"null", b"true", b"\\u0000", b"\\ud800", b"#", b"; ", b"|", b"\x1c", b"\x0b",
]  # fmt: skip


def changed(content: bytes, draw: random.Random) -> bytes:
    """`content` after one to four changes."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, size = draw.randint(0, len(data)), draw.choice([1, 1, 2, 4, 8, 30])
        kind = draw.randrange(8)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 2:
            data[at:at] = draw.choice(PIECES)
        elif kind == 3:
            piece = draw.choice(PIECES)
            data[at : at + len(piece)] = piece
        elif kind == 4:
            del data[at : at + size]
        elif kind == 5:
            data[at:at] = data[at : at + size] * draw.randint(1, 3)
        elif kind == 6:
            other = draw.randint(0, len(data))
            data[at:at] = data[other : other + size]
        else:
            data[at:] = data[at : at + draw.choice([0, 1, 100])]
    return bytes(data)


def fuzzed(name: str, draws: Iterator[int], folder: Path) -> None:
    sample: Any = samples.SAMPLES[name]
    path = folder / "file" / sample.name
    path.parent.mkdir()
    right = samples.tried(sample, sample.content, path)
    for seed in draws:
        content = changed(sample.content, random.Random(seed))  # noqa: S311  # not for secrets
        begun = time.process_time()
        try:
            found = samples.tried(sample, content, path)
            if found is not None and not samples.same(found, right):
                assert not sample.sealed or content[:4] != sample.content[:4], "checksums were passed over"
                samples.check_form(found, folder)
        except Exception as error:
            shown = base64.b85encode(content).decode()
            raise AssertionError(f"{name}, seed {seed}: {error!r}; base85 of the file: {shown}") from error
        assert time.process_time() - begun < 5, f"{name}, seed {seed}"


def for_seconds(seconds: float) -> Iterator[int]:
    """Numbers, until so much time is over."""
    end, number = time.monotonic() + seconds, 10**6
    while time.monotonic() < end:
        yield number
        number += 1


@every
def test_some_changes_at_random(name: str, tmp_path: Path) -> None:
    fuzzed(name, iter(range(max(4, SOME // samples.SAMPLES[name].cost))), tmp_path)


@pytest.mark.slow
@every
def test_changes_at_random_for_a_minute(name: str, tmp_path: Path) -> None:
    fuzzed(name, for_seconds(SECONDS), tmp_path)


# -- descriptions in files of our own, with right checksums ------------------------------------------------------------

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -1e308, float("inf"), float("nan"), "", "x", "auto", "\0",
    "os.system", [], [1], [[]], [-1, 10**30], ["x"], {}, {"x": 1}, {"class": "x"}, "9" * 5000,
]  # fmt: skip


def word2vec(path: Path) -> None:
    Word2Vec(vector_size=4, epochs=1, min_count=1, workers=1, random_state=0).fit(Corpus(["a b c", "a b"])).save(path)


def vae(path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    VAE(2, hidden=(4,), epochs=1, n_jobs=1, random_state=0, device="cpu").fit(rows).save(path)


def umap(path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    embedkit.UMAP(n_neighbors=3, n_epochs=2, random_state=0, n_jobs=1, init="random").fit(rows).save(path)


FORGED: dict[str, Callable[[Path], object]] = {
    "Embedding": samples.EMBEDDING.save, "Word2Vec": word2vec, "VAE": vae, "UMAP": umap,
    "EncodedCorpus": lambda path: Corpus(["a b a", "b c"]).encode(path),
}  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in a JSON value."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


@pytest.fixture(scope="module", params=FORGED)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    path = tmp_path_factory.mktemp("forged") / "x"
    FORGED[request.param](path)
    arrays, about = read_tensors(path)
    plain = {name: value for name, value in about.items() if name not in ("sha256", "schema")}
    return {name: np.array(values) for name, values in arrays.items()}, plain


def forge(original: tuple[Any, Any], draw: random.Random, path: Path) -> str:
    """Write the file with one part of its description or of its arrays changed; gives what was done."""
    arrays, about = dict(original[0]), copy.deepcopy(original[1])
    if draw.random() < 0.6:
        *way, last = draw.choice(list(places(about)))
        inner = about
        for key in way:
            inner = inner[key]
        inner[last] = draw.choice(VALUES)
        what = f"{(*way, last)} = {inner[last]!r:.60}"
    else:
        name = draw.choice(sorted(arrays))
        changes: list[Callable[[Any], Any]] = [
            lambda a: a[:-1], lambda a: np.concatenate([a, a]), lambda a: a.astype(np.float64), lambda a: a[None],
            lambda a: a * 0, lambda a: -a if a.dtype != bool else a, lambda a: a.reshape(-1),
            lambda a: a + a.dtype.type(100),
            lambda a: a.reshape(-1)[:0], lambda a: a[::-1].copy(), lambda a: a.astype(np.int8),
        ]  # fmt: skip
        change = draw.choice(changes)
        with np.errstate(all="ignore"):
            arrays[name] = np.ascontiguousarray(change(np.atleast_1d(arrays[name])))
        what = f"{name} is {arrays[name].dtype} of {arrays[name].shape}"
    try:
        write_tensors(arrays, about, path)
    except (EmbedkitError, ValueError):  # what no file can say
        return ""
    return what


def load_forged(original: tuple[Any, Any], draws: Iterator[int], path: Path) -> None:
    for seed in draws:
        what = forge(original, random.Random(seed), path)  # noqa: S311
        if not what:
            continue
        begun = time.process_time()
        for verify in (None, True):
            try:
                found = embedkit.load(path, verify=verify)
            except EmbedkitError as error:
                found, told = None, str(error)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {what}: {error!r}") from error
            assert found is not None or (told.isprintable() and str(path) in told)
            if verify and isinstance(found, Embedding):
                samples.check_form(found, path.parent)
        assert time.process_time() - begun < 5, f"seed {seed}: {what}"


def test_what_a_file_says_of_itself_may_be_anything(original: tuple[Any, Any], tmp_path: Path) -> None:
    load_forged(original, iter(range(60)), tmp_path / "x")


@pytest.mark.slow
def test_what_a_file_says_of_itself_may_be_anything_for_a_minute(original: tuple[Any, Any], tmp_path: Path) -> None:
    load_forged(original, for_seconds(SECONDS), tmp_path / "x")
