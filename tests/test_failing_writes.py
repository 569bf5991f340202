"""Whichever call to the system fails: what was there stays whole, nothing else is left, and one line says which file.

Also where the disk is truly full, and what becomes of trainings then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedkit
from embedkit import (
    GAN,
    PCA,
    PPMI,
    UMAP,
    VAE,
    AdversarialAutoencoder,
    Autoencoder,
    Cooccurrence,
    Corpus,
    Embedding,
    FastText,
    GloVe,
    Word2Vec,
)
from embedkit.errors import BadFile, TrainingDiverged
from embedkit.formats.named_columns import NAMED_FORMATS, write_named
from embedkit.formats.picture_files import write_array, write_image_folder
from embedkit.formats.writing import FORMATS
from embedkit.latent import AnomalyDetector, EncoderClassifier
from embedkit.latent.training import Training
from embedkit.progress import Progress
from embedkit.text.kingdom import kingdom
from embedkit.text.phrases import Phrases
from embedkit.words.resampling import bootstrap

FailingDisk = Callable[[int], AbstractContextManager[None]]
Save = Callable[[Path], object]
Run = Callable[..., Any]

BEFORE = re.compile(r"; the checkpoint of \d+ s before is there still, to go on from with resume$")
OLD = b"what was there before\n"
SMALL: dict[str, Any] = {"epochs": 1, "hidden": (4,), "n_jobs": 1, "random_state": 1}
BRIEF: dict[str, Any] = {"vector_size": 4, "epochs": 2, "random_state": 1}


@pytest.fixture(scope="module")
def rows() -> Any:
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def text() -> Corpus:
    return kingdom(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


def content(folder: Path) -> dict[str, bytes]:
    """All files under a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fails_in_turn(save: Save, path: Path, failing_disk: FailingDisk) -> int:
    """Save over old files, and to none, while one call more passes each time; how many calls it takes.

    After each failure every file is the old or the new one, whole, and there are no others.
    """
    save(path)
    new = content(path.parent)
    failures = 0
    for existing in (True, False):
        allowed = 0
        while True:
            for name in content(path.parent):
                (path.parent / name).unlink()
            if path.is_dir():
                path.rmdir()
            if existing:
                for name in new:
                    (path.parent / name).parent.mkdir(exist_ok=True)
                    (path.parent / name).write_bytes(OLD)
            with failing_disk(allowed):
                try:
                    save(path)
                except BadFile as error:
                    told = error
                else:
                    break
            allowed += 1
            after = content(path.parent)
            assert set(after) <= set(new), f"left behind after {allowed} calls"
            assert not existing or set(after) == set(new), f"lost after {allowed} calls"
            assert all(data in (OLD, new[name]) for name, data in after.items()), f"torn after {allowed} calls"
            assert Path(told.path).name in {path.name, *(Path(name).name for name in new)}
            assert "cannot be" in str(told)
            assert "No space left on device" in str(told)
            assert str(told).isprintable()
            assert allowed < 300
        failures += allowed
        assert content(path.parent) == new
    return failures


# -- vectors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_vectors_in_every_format(format_: Any, royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    name = "out" if format_ == "projector" else "out.npy" if format_ == "npy" else "out.file"
    count = fails_in_turn(lambda path: embedkit.write(royals, path, format=format_), folder / name, failing_disk)
    assert count >= 8  # opening, writing, flushing and renaming, twice


@pytest.mark.parametrize("name", ["out.vec.gz", "out.csv.bz2", "out.bin.xz"])
def test_packed_vectors(name: str, royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    assert fails_in_turn(lambda path: embedkit.write(royals, path), folder / name, failing_disk) >= 8


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_smaller_storage(storage: Any, royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    assert fails_in_turn(lambda path: royals.save(path, storage=storage), folder / "v", failing_disk) >= 8


@pytest.mark.parametrize("format_", NAMED_FORMATS)
def test_tables_with_named_columns(format_: Any, royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    if format_ == "parquet":
        pytest.importorskip("pyarrow")
    columns = {"score": np.arange(4.0), "kind": np.array(["a", "b", "c", "d"])}
    save: Save = lambda path: write_named(royals.labels, columns, path, format_)  # noqa: E731
    assert fails_in_turn(save, folder / "table", failing_disk) >= 8


# -- pictures and pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures(ending: str, royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    from embedkit.plots import save_figure, scatter_map

    figure = scatter_map(PCA(random_state=0).fit_transform(royals))
    save: Save = lambda path: save_figure(figure, path, dpi=20)  # noqa: E731
    assert fails_in_turn(save, folder / f"map.{ending}", failing_disk) >= 8


def test_the_interactive_page(royals: Embedding, folder: Path, failing_disk: FailingDisk) -> None:
    from embedkit.plots import write_page

    map_ = PCA(random_state=0).fit_transform(royals)
    assert fails_in_turn(lambda path: write_page(map_, path), folder / "map.html", failing_disk) >= 8


def test_arrays(folder: Path, failing_disk: FailingDisk) -> None:
    assert fails_in_turn(lambda path: write_array(np.eye(3), path), folder / "a.npy", failing_disk) >= 8


def test_a_folder_of_pictures_is_whole_or_not_there(folder: Path, failing_disk: FailingDisk) -> None:
    pictures, place = np.linspace(0, 1, 3 * 16).reshape(3, 4, 4), folder / "pictures"
    for there in (False, True):
        allowed = 0
        while True:
            if there:
                place.mkdir(exist_ok=True)
            with failing_disk(allowed):
                try:
                    write_image_folder(pictures, place)
                except BadFile as error:
                    told = str(error)
                else:
                    break
            assert "No space left on device" in told
            assert content(folder) == {}
            assert place.exists() == there
            allowed += 1
        assert allowed >= 12
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


# -- models and what they are made from --------------------------------------------------------------------------------


def models(rows: Any, text: Corpus) -> Iterator[tuple[str, Save]]:
    word2vec = Word2Vec(**BRIEF).fit(text)
    yield "Word2Vec", word2vec.save
    for trainer in (word2vec, GloVe(**BRIEF).fit(text), PPMI(vector_size=4).fit(text)):
        yield f"vectors of {type(trainer).__name__}", trainer.embedding_.save
    yield "FastText", FastText(bucket=50, **BRIEF).fit(text).save
    yield "Ensemble", bootstrap(Word2Vec(**BRIEF), text, 2, random_state=0).save
    for cls in (Autoencoder, VAE, AdversarialAutoencoder):
        yield cls.__name__, cls(2, **SMALL).fit(rows).save
    yield "GAN", GAN(2, **SMALL).fit(rows).save
    yield "AnomalyDetector", AnomalyDetector(PCA(1)).fit(rows).save
    yield "EncoderClassifier", EncoderClassifier(PCA(1).fit(rows)).fit(rows, np.arange(len(rows)) % 2).save
    yield "UMAP", UMAP(n_neighbors=5, n_epochs=5, random_state=0).fit(rows).save
    yield "EncodedCorpus", text.encode(cache=False).save
    yield "Cooccurrence", Cooccurrence.count(text, window=2).save


def test_models_of_every_kind(rows: Any, text: Corpus, folder: Path, failing_disk: FailingDisk) -> None:
    saves = dict(models(rows, text))
    for name, save in saves.items():
        place = folder / name
        place.mkdir()
        assert fails_in_turn(save, place / "model", failing_disk) >= 8, name
    assert len(saves) == 15


def test_a_corpus_that_is_encoded_to_a_file(text: Corpus, folder: Path, failing_disk: FailingDisk) -> None:
    # Its temporary files lie in the folder too, and have no names.
    source = folder.parent / "text"
    source.write_text("\n".join(" ".join(tokens) for tokens in text))
    told = set()
    for allowed in range(100):
        with failing_disk(allowed):
            try:
                Corpus(source).encode(folder / "encoded")
            except BadFile as error:
                told.add(error.path)
            else:
                break
        assert set(content(folder)) <= {"encoded"}
    assert told == {str(folder), str(folder / "encoded")}
    assert embedkit.load(folder / "encoded", verify=True).tokens == text.encode(cache=False).tokens


def test_what_the_program_writes_beside_a_map(run: Run, royals: Embedding, tmp_path: Path,
                                              failing_disk: FailingDisk) -> None:  # fmt: skip
    (tmp_path / "folder").mkdir()
    rows = Embedding(None, np.random.default_rng(0).normal(size=(12, 3)))
    rows.save(tmp_path / "rows")
    command = ("project", "rows", "--queries", "5", "-o", "folder/map.csv")
    assert run(*command).code == 0
    new = content(tmp_path / "folder")
    assert set(new) == {"map.csv", "map.report.json"}
    for allowed in range(100):
        for name in new:
            (tmp_path / "folder" / name).write_bytes(OLD)
        with failing_disk(allowed):
            ran = run(*command)
        if ran.code == 0:
            break
        after = content(tmp_path / "folder")
        assert set(after) == set(new)
        assert all(data in (OLD, new[name]) for name, data in after.items())
        assert ran.code == 4
        assert [line for line in ran.err.splitlines() if "No space left on device" in line]
        assert "Traceback" not in ran.err
    assert 8 <= allowed < 99


def test_a_text_with_phrases_joined(run: Run, tmp_path: Path, failing_disk: FailingDisk) -> None:
    (tmp_path / "text").write_text("new york is new york\n" * 20)
    assert Phrases(min_count=1, threshold=0.1).fit(Corpus(tmp_path / "text")).phrases_
    command = ("corpus", "phrases", "--min-count", "1", "--threshold", "0.1", "-o", "joined", "text")
    for allowed in range(100):
        (tmp_path / "joined").write_bytes(OLD)
        with failing_disk(allowed):
            ran = run(*command)
        if ran.code == 0:
            break
        assert (ran.code, ran.err) == (4, "embedkit: joined: cannot be written: No space left on device\n")
        assert (tmp_path / "joined").read_bytes() == OLD
    assert 4 <= allowed < 99
    assert not list(tmp_path.glob(".*"))


# -- checkpoints -------------------------------------------------------------------------------------------------------

TRAINERS: dict[str, Callable[[], Any]] = {
    "skipgram": lambda: Word2Vec(sg=1, **BRIEF),
    "cbow": lambda: Word2Vec(sg=0, **BRIEF),
    "torch": lambda: Word2Vec(sg=1, engine="torch", **BRIEF),
    "glove": lambda: GloVe(**BRIEF),
    "autoencoder": lambda: Autoencoder(2, **SMALL | {"epochs": 2}),
    "vae": lambda: VAE(2, **SMALL | {"epochs": 2}),
    "adversarial": lambda: AdversarialAutoencoder(2, **SMALL | {"epochs": 2}),
    "gan": lambda: GAN(2, **SMALL | {"epochs": 2}),
}
every_trainer = pytest.mark.parametrize("make", TRAINERS.values(), ids=TRAINERS)


def data_of(trainer: Any, rows: Any, text: Corpus) -> Any:
    return text.encode(cache=False) if isinstance(trainer, Word2Vec | GloVe) else rows


def sound(trainer: Any, path: Path, data: Any) -> bool:
    """Whether a checkpoint is whole, and a training goes on from it to its end."""
    if not path.exists():
        return False
    found = embedkit.load(path, verify=True)
    found.resume(data)
    return bool(len(found.history_) == trainer.epochs)


@every_trainer
def test_a_checkpoint_that_fails_ends_the_training_and_the_one_before_is_sound(
    make: Callable[[], Any], rows: Any, text: Corpus, folder: Path, failing_disk: FailingDisk
) -> None:
    path = folder / "checkpoint"
    data, told, checked = data_of(make(), rows, text), [], set()
    allowed = 0
    while True:
        path.unlink(missing_ok=True)
        with failing_disk(allowed):
            try:
                make().fit(data, checkpoint=path, checkpoint_every=1e-9)
            except BadFile as error:
                told.append(str(error))
            else:
                break
        there = set(content(folder))
        assert there <= {"checkpoint"}
        assert told[-1].startswith(f"{path}: cannot be written: No space left on device")
        assert bool(BEFORE.search(told[-1])) == bool(there)
        if there and path.read_bytes() not in checked:
            checked.add(path.read_bytes())
            assert sound(make(), path, data)
        allowed += 1 if allowed < 12 else 17
    assert len(told) >= 8
    assert checked


@every_trainer
def test_numbers_that_are_not_finite_never_become_a_checkpoint_and_the_last_good_one_is_named(
    make: Callable[[], Any], rows: Any, text: Corpus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "checkpoint"
    trainer, events = make(), 0
    data = data_of(trainer, rows, text)
    tables: list[Any] = []

    def poison(_: Progress) -> None:
        nonlocal events
        events += 1
        if events == 2:
            for table in tables:
                table[...] = np.nan

    _watch_tables(tables, monkeypatch)
    with pytest.raises(TrainingDiverged, match=f"; the last good checkpoint is {path}$") as caught:
        trainer.fit(data, checkpoint=path, checkpoint_every=1e-9, callback=poison)
    assert str(caught.value).isprintable()
    assert sound(make(), path, data)


def _watch_tables(tables: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Collect the numbers that trainings work on, wherever they keep them."""
    from embedkit.kernels import word2vec_torch
    from embedkit.words import glove, word2vec

    class Weights:
        """The weights of a latent training as something to assign to."""

        def __init__(self, training: Training) -> None:
            self.training = training

        def __setitem__(self, _: Any, value: float) -> None:
            self.training.put({name: found * value for name, found in self.training.weights().items()})

    def watched(place: Any, name: str, of: Callable[[Any], list[Any]]) -> None:
        real = getattr(place, name)

        def noted(*args: Any, **named: Any) -> Any:
            made = real(*args, **named)
            tables.extend(of(made))
            return made

        monkeypatch.setattr(place, name, noted)

    watched(word2vec, "new_model", lambda model: [model.inputs])
    watched(word2vec_torch, "tables_of", lambda made: [made.inputs])
    watched(glove, "_State", lambda state: list(state.tables))
    begin = Training.__init__

    def noted(self: Training, *args: Any, **named: Any) -> None:
        begin(self, *args, **named)
        tables.append(Weights(self))

    monkeypatch.setattr(Training, "__init__", noted)


@every_trainer
def test_an_error_in_a_callback_names_the_checkpoint(
    make: Callable[[], Any], rows: Any, text: Corpus, folder: Path
) -> None:
    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    data = data_of(make(), rows, text)
    with pytest.raises(ZeroDivisionError) as caught:
        make().fit(data, checkpoint=folder / "checkpoint", callback=fail)
    assert caught.value.__notes__ == [f"embedkit: the last checkpoint is {folder / 'checkpoint'}"]
    assert sound(make(), folder / "checkpoint", data)


# -- a disk that is full -----------------------------------------------------------------------------------------------

FULL = """
import sys
from pathlib import Path
import numpy as np
import embedkit
from embedkit import Autoencoder, Embedding, Word2Vec, write
from embedkit.errors import BadFile
from embedkit.text.kingdom import kingdom
folder = Path(sys.argv[1])
many = Embedding(None, np.random.default_rng(0).normal(size=(4000, 100)))  # 1.6 MB
few = Embedding(None, np.ones((10, 2)))
names = ["v.safetensors", "v.csv", "v.tsv", "v.json", "v.npz", "v.npy", "v.vec", "v.bin", "v.vec.gz"]
def trying(save):
    try:
        save()
    except BadFile as error:
        print(error)
    else:
        print("nothing")
text = kingdom(300).encode(cache=False)
(folder / "ballast").write_bytes(bytes(2**20))  # of 2 MB
for name in names:
    write(few, folder / name)
    old = (folder / name).read_bytes()
    trying(lambda: write(many, folder / name))
    assert (folder / name).read_bytes() == old
trying(lambda: Word2Vec(vector_size=20_000, min_count=1, epochs=1).fit(text, checkpoint=folder / "c"))
model = Word2Vec(vector_size=16, min_count=1, epochs=3, random_state=1)
def fill(event):
    if event.epoch == 2:
        with open(folder / "more", "ab", buffering=0) as stream:
            for _ in range(100_000):
                stream.write(bytes(100_000))
def filled(event):
    try:
        fill(event)
    except OSError:
        pass
trying(lambda: model.fit(text, checkpoint=folder / "c", checkpoint_every=1e-9, callback=filled))
(folder / "more").unlink()
again = embedkit.load(folder / "c", verify=True).resume(text)
whole = Word2Vec(vector_size=16, min_count=1, epochs=3, random_state=1).fit(text)
assert again.embedding_ == whole.embedding_
print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=2m none {tmp_path} && exec "$0" "$@"'
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    try:
        subprocess.run([*unshare, mount, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small file system")
    environment = {**os.environ, "TMPDIR": "/var/tmp"}  # noqa: S108  # not in the small one
    ran = subprocess.run(
        [*unshare, mount, sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False,
        env=environment,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    *told, left = ran.stdout.splitlines()
    names = ["v.safetensors", "v.csv", "v.tsv", "v.json", "v.npz", "v.npy", "v.vec", "v.bin", "v.vec.gz", "c", "c"]
    assert len(told) == len(names)
    for line, name in zip(told, names, strict=True):
        assert line.startswith(f"{tmp_path / name}: cannot be written: No space left on device")
    assert BEFORE.search(told[-1])
    assert left == str(sorted(["ballast", "c", "v.words.txt", *names[:-2]]))
