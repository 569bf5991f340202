"""What has been encoded is taken from the cache, if and only if it would come out the same."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import embedkit
from embedkit import Corpus, Embedding
from embedkit.errors import BadFile
from embedkit.files.cache import cache_folder, locked
from embedkit.text import encoding
from embedkit.text.encoded import EncodedCorpus
from embedkit.text.tokens import CharacterNgrams, Words

TEXT = "The naïve King\n\nthe king 1999\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, not there yet, in which even the smallest text is worth keeping."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EMBEDKIT_CACHE", str(folder))
    monkeypatch.setattr(encoding, "_WORTH_CACHING", 1)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A text."""
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def kept(cache: Path) -> list[Path]:
    """All files in the cache but locks."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def was_read(corpus: Corpus, **options: Any) -> bool:
    """Whether encoding it looked at the text."""
    events: list[Any] = []
    encoded = corpus.encode(callback=events.append, **options)
    assert list(encoded) == list(corpus)
    return bool(events)


def test_the_second_time_it_is_taken_from_the_cache(cache: Path, source: Path) -> None:
    assert was_read(Corpus(source))
    assert [path.suffix for path in kept(cache)] == [".safetensors"]
    assert not was_read(Corpus(source))
    assert isinstance(embedkit.load(kept(cache)[0], verify=True), EncodedCorpus)


def test_the_same_content_under_another_name_is_known(cache: Path, source: Path, tmp_path: Path) -> None:
    Corpus(source).encode()
    other = tmp_path / "folder" / "b.md"
    other.parent.mkdir()
    other.write_bytes(source.read_bytes())
    os.utime(other, (0, 0))
    assert not was_read(Corpus(other))
    assert not was_read(Corpus.from_file(tmp_path / "folder"))
    assert len(kept(cache)) == 1


def test_a_hit_tells_where_it_came_from_this_time(cache: Path, source: Path, tmp_path: Path) -> None:
    Corpus(source).encode()
    other = source.rename(tmp_path / "b.txt")
    assert Corpus(other).encode().provenance["corpus"] == Corpus(other).describe()


OPTIONS: list[Callable[[Path], Corpus]] = [
    lambda path: Corpus(path),
    lambda path: Corpus(path, tokenize="words"),
    lambda path: Corpus(path, tokenize="characters"),
    lambda path: Corpus(path, tokenize=CharacterNgrams(2)),
    lambda path: Corpus(path, lowercase=True),
    lambda path: Corpus(path, fold_accents=True),
    lambda path: Corpus(path, lowercase=True, fold_accents=True),
    lambda path: Corpus(path, numbers="drop"),
    lambda path: Corpus(path, numbers="mask"),
    lambda path: Corpus(path, unit="paragraph"),
    lambda path: Corpus(path, unit="file"),
    lambda path: Corpus(path, field=None),
    lambda path: Corpus(path, field="body"),
    lambda path: Corpus(path).head(1),
    lambda path: Corpus(path).head(2),
    lambda path: Corpus(path).sample(0.5),
    lambda path: Corpus(path).sample(0.5, random_state=1),
    lambda path: Corpus(path).head(1).sample(0.5),
    lambda path: Corpus(path).sample(0.5).head(1),
    lambda path: Corpus([path, path]),
]


def test_every_option_makes_another_entry(cache: Path, source: Path) -> None:
    for number, make in enumerate(OPTIONS, 1):
        make(source).encode()
        assert len(kept(cache)) == number, number
    for number, make in enumerate(OPTIONS, 1):
        assert list(make(source).encode()) == list(make(source)), number
    assert len(kept(cache)) == len(OPTIONS)


def test_equal_options_given_in_other_words_are_the_same(cache: Path, source: Path) -> None:
    Corpus(source, tokenize="characters").encode()
    Corpus(source, tokenize=CharacterNgrams(3), unit="line", field="text", lowercase=False).encode()
    assert len(kept(cache)) == 1


def test_where_files_end_and_their_order_matter(cache: Path, tmp_path: Path) -> None:
    for name, content in {"a": "a\n", "b": "b\n", "ab": "a\nb\n"}.items():
        (tmp_path / name).write_text(content)
    for names in ("a", "b"), ("b", "a"), ("ab",):
        assert was_read(Corpus([tmp_path / name for name in names], unit="file"))
    assert len(kept(cache)) == 3


def test_a_source_that_changed_is_encoded_anew(cache: Path, source: Path) -> None:
    Corpus(source).encode()
    times = source.stat()
    source.write_bytes(source.read_bytes().replace(b"King", b"Ring"))
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))  # as long and as old as before
    assert was_read(Corpus(source))
    assert "Ring" in Corpus(source).encode().vocabulary


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 4
    path.write_bytes(bytes(data))


def put_another(path: Path) -> None:
    Embedding(["a"], [[1.0]]).save(path)


def put_text(path: Path) -> None:
    path.write_text("not found\n")


@pytest.mark.parametrize("damage", [empty, cut, flip, put_another, put_text], ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_made_again(damage: Callable[[Path], None], cache: Path, source: Path) -> None:
    Corpus(source).encode()
    (entry,) = kept(cache)
    sound = entry.read_bytes()
    damage(entry)
    assert was_read(Corpus(source))
    assert entry.read_bytes() == sound
    assert not was_read(Corpus(source))


def my_tokenizer(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Corpus(path, tokenize=my_tokenizer),
        lambda path: Corpus(path, tokenize=lambda text: text.split()),
        lambda path: Corpus(path, tokenize=Words().__call__),
        lambda path: Corpus([path.read_text()]),
        lambda path: Corpus(lambda: [path.read_text()]),
    ],
    ids=["function", "lambda", "method", "documents", "function of documents"],
)
def test_what_cannot_be_told_apart_is_never_kept(make: Callable[[Path], Corpus], cache: Path, source: Path) -> None:
    assert was_read(make(source))
    assert was_read(make(source))
    assert not cache.exists()


def test_nothing_is_written_on_request_or_for_a_path(cache: Path, source: Path, tmp_path: Path) -> None:
    assert was_read(Corpus(source), cache=False)
    assert was_read(Corpus(source), cache=False)
    assert was_read(Corpus(source), path=tmp_path / "e")
    assert not cache.exists()


def test_small_texts_are_not_kept(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "cache"))
    assert was_read(Corpus(source))
    assert not (tmp_path / "cache").exists()
    source.write_text("a b " * 2**18)
    assert was_read(Corpus(source))
    assert not was_read(Corpus(source))


def test_an_entry_that_is_in_use_may_be_replaced(cache: Path, source: Path) -> None:
    Corpus(source).encode()
    encoded = Corpus(source).encode()
    kept(cache)[0].unlink()
    assert list(encoded) == list(Corpus(source))


def test_a_packed_file_is_known_by_its_bytes(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(TEXT.encode(), mtime=0))
    assert was_read(Corpus(path))
    assert not was_read(Corpus(path))


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/embedkit"])
def test_a_cache_that_cannot_be_is_one_clear_line(
    place: str, cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / place))
    with pytest.raises(BadFile, match=r"cannot be made for the cache.*set EMBEDKIT_CACHE") as caught:
        Corpus(source).encode()
    assert str(caught.value).isprintable()
    assert list(Corpus(source).encode(cache=False)) == list(Corpus(source))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_is_read_only_is_one_clear_line(cache: Path, source: Path) -> None:
    (cache / "corpora").mkdir(parents=True, mode=0o500)
    with pytest.raises(BadFile, match="cannot be locked: Permission denied"):
        Corpus(source).encode()


def test_an_entry_that_cannot_be_written_is_one_clear_line(cache: Path, source: Path) -> None:
    Corpus(source).encode()
    (entry,) = kept(cache)
    lock = entry.with_name(entry.name + ".lock")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(BadFile, match="cannot be locked"):
        Corpus(source).encode()


def test_an_oserror_under_the_lock_is_not_laid_to_the_lock(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine") as caught, locked(tmp_path / "a"):
        raise OSError("mine")
    assert not isinstance(caught.value, BadFile)


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with locked(tmp_path / "a"):
            order.append("second")

    with locked(tmp_path / "a"):
        thread = threading.Thread(target=wait)
        thread.start()
        with locked(tmp_path / "b"):  # another key does not wait
            thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a"):
        raise ZeroDivisionError
    with locked(tmp_path / "a"):
        pass


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    monkeypatch.setenv("EMBEDKIT_CACHE", str(tmp_path / "mine"))
    assert cache_folder("a", "b") == tmp_path / "mine" / "a" / "b"
    assert (tmp_path / "mine" / "a" / "b").is_dir()
    monkeypatch.setenv("EMBEDKIT_CACHE", "")
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "users" / "embedkit"
        monkeypatch.delenv("EMBEDKIT_CACHE")
        assert cache_folder("a") == tmp_path / "users" / "embedkit" / "a"


ENCODE = """
import json, os, sys
from pathlib import Path
from embedkit import Corpus
events = []
encoded = Corpus(Path(sys.argv[1])).encode(callback=events.append)
print(json.dumps([encoded.tokens, list(encoded.vocabulary), bool(events)]))
"""


def test_of_processes_that_start_together_one_does_the_work(cache: Path, source: Path) -> None:
    source.write_text("the king rules\n" * 200_000)
    command = [sys.executable, "-c", ENCODE, str(source)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    assert [answer[:2] for answer in answers] == [[600_000, ["the", "king", "rules"]]] * 3
    assert sorted(answer[2] for answer in answers) == [False, False, True]
    assert len(kept(cache)) == 1


def test_a_process_that_was_killed_leaves_no_half_entry(cache: Path, source: Path) -> None:
    kill = ENCODE.replace("callback=events.append", "callback=lambda event: os.kill(os.getpid(), 9)")
    source.write_text("the king rules " * 100_000)
    killed = subprocess.run([sys.executable, "-c", kill, str(source)], timeout=60, check=False)
    assert killed.returncode == -9
    assert kept(cache) == []
    assert was_read(Corpus(source))


def test_large_temporary_files_lie_beside_the_entry(
    cache: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The usual temporary folder may be small, or memory.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert was_read(Corpus(source))
    assert was_read(Corpus(source), path=tmp_path / "e")
