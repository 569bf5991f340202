"""A save is all or nothing, whatever fails and whenever."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedkit import Embedding, load
from embedkit.errors import BadFile
from embedkit.files.atomic import replacing

FailingDisk = Callable[[int], AbstractContextManager[None]]

OLD, NEW = b"the old content\n", b"the new content, which is longer\n"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that holds the old content, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "file"
    path.write_bytes(OLD)
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def put(path: str | os.PathLike[str], content: bytes = NEW) -> None:
    with replacing(path) as stream:
        stream.write(content)


# -- when all goes well ----------------------------------------------------------------------------------------------


def test_the_new_content_is_there_when_the_block_has_ended_and_not_before(target: Path) -> None:
    with replacing(target) as stream:
        stream.write(NEW)
        stream.flush()
        assert target.read_bytes() == OLD
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["file"]


def test_a_new_file_is_made_with_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o444, 0o755])
def test_permissions_are_kept(target: Path, mode: int) -> None:
    target.chmod(mode)
    put(target)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("relative", [True, False])
def test_a_symbolic_link_is_followed_and_stays_one(target: Path, tmp_path: Path, relative: bool) -> None:
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to("folder/file" if relative else target)
    second.symlink_to(link)
    put(second)
    assert link.is_symlink()
    assert second.is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() == second.read_bytes() == NEW
    assert names(target.parent) == ["file"]
    assert names(tmp_path) == ["folder", "link", "second"]


def test_a_link_to_nothing_makes_the_file_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new")
    put(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == NEW


def test_a_folder_may_be_reached_through_a_link(target: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(target.parent)
    put(tmp_path / "way" / "file")
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["file"]


@pytest.mark.parametrize("form", [str, Path, lambda path: os.path.relpath(path)])
def test_paths_may_be_written_in_any_form(
    target: Path, form: Callable[[Path], str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target.parent)
    put(form(target))
    assert target.read_bytes() == NEW


def test_a_reader_of_the_old_file_keeps_it(target: Path) -> None:
    with target.open("rb") as reader:
        put(target)
        assert reader.read() == OLD
    assert target.read_bytes() == NEW


def test_an_existing_file_beside_it_is_never_used(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With the random part known, put something at the very name that would be taken.
    monkeypatch.setattr(secrets, "token_hex", lambda _bytes: "known")
    seen: list[str] = []
    with replacing(target) as stream:
        seen = names(target.parent)
        stream.write(NEW)
    (beside,) = set(seen) - {"file"}
    other = target.with_name(beside)
    other.write_bytes(b"somebody else's")
    with pytest.raises(BadFile):
        put(target, b"newer")
    assert target.read_bytes() == NEW
    assert other.read_bytes() == b"somebody else's"


def test_of_two_saves_at_once_the_last_to_end_wins_whole(target: Path) -> None:
    with replacing(target) as first:
        first.write(b"first")
        with replacing(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"
    assert names(target.parent) == ["file"]


# -- when the block fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("x"), BadFile("other", "x"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failing_block_leaves_the_old_file_and_no_litter(target: Path, error: BaseException, existing: bool) -> None:
    path = target if existing else target.with_name("new")

    def fail() -> None:
        with replacing(path) as stream:
            stream.write(NEW)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["file"]


def test_what_cannot_be_written_is_refused_with_the_reason_of_the_system(target: Path) -> None:
    folder = target.parent
    cases: dict[Path, str] = {
        folder: "it is a folder",
        folder / "absent" / "file": "No such file or directory",
        target / "below": "Not a directory",
        folder / ("n" * 300): "File name too long",
        Path("/proc/no such file"): "No such file",
    }
    for path, reason in cases.items():
        with pytest.raises(BadFile, match=f"cannot be written: .*{reason}") as caught:
            put(path)
        assert str(caught.value).startswith(str(path))
        assert caught.value.path == str(path)
    assert target.read_bytes() == OLD
    assert names(folder) == ["file"]


def test_the_path_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(BadFile) as caught:
        put(tmp_path / "\x1b[2J" / "file")
    assert str(caught.value).isprintable()


def test_the_longest_names_that_the_system_allows_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "語" * 85):
        (tmp_path / name).write_bytes(OLD)
        put(tmp_path / name)
        assert (tmp_path / name).read_bytes() == NEW


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this system has no /dev/shm to write to")  # noqa: S108
def test_a_regular_file_in_memory_is_replaced_like_any_other(royals: Embedding) -> None:
    path = Path("/dev/shm") / f"embedkit-test-{secrets.token_hex(8)}"  # noqa: S108
    try:
        royals.save(path)
        royals.save(path)
        assert load(path) == royals
    finally:
        path.unlink()


def test_a_folder_that_cannot_be_opened_for_flushing_is_no_failure(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So it is in a folder one may write to but not list (mode 0300).
    real = os.open

    def refuse_folders(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse_folders)
    put(target)
    monkeypatch.undo()
    assert target.read_bytes() == NEW


# -- when the system fails -------------------------------------------------------------------------------------------


SAVES: dict[str, Callable[[Embedding, Path], None]] = {
    "native": lambda embedding, path: embedding.save(path),
    "csv": lambda embedding, path: embedding.to_csv(path),
    "bytes": lambda embedding, path: put(path, embedding.vectors.tobytes()),
}


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("how", list(SAVES))
def test_whichever_write_fails_the_old_file_is_whole(
    target: Path, royals: Embedding, how: str, existing: bool, failing_disk: FailingDisk
) -> None:
    save = SAVES[how]
    save(royals, target)
    new = target.read_bytes()
    failures = 0
    while True:
        if existing:
            target.write_bytes(OLD)
        else:
            target.unlink(missing_ok=True)
        with failing_disk(failures):
            try:
                save(royals, target)
            except BadFile as error:
                failed = str(error)
            else:
                break
        failures += 1
        assert "cannot be written: No space left on device" in failed
        after = target.read_bytes() if target.exists() else None
        # Once it has been renamed, only flushing the folder is left to fail.
        if after != new:
            assert after == (OLD if existing else None), f"after {failures - 1} calls"
        assert names(target.parent) in ([], ["file"]), f"after {failures - 1} calls"
        assert failures < 1000
    assert target.read_bytes() == new
    assert names(target.parent) == ["file"]
    assert failures >= 4  # at least opening, writing, flushing and renaming were tried


def script(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


DIE = """
import os, signal, sys
from embedkit import Embedding
path, name, skip = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, calls = getattr(os, name), 0
def die(*args, **named):
    global calls
    calls += 1
    if calls > skip:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **named)
setattr(os, name, die)
Embedding(None, [[5.0] * 3] * 1000).save(path)
print("saved")
"""


@pytest.mark.parametrize(
    ("call", "skip", "replaced"),
    [
        ("fdopen", 0, False),  # the new file is there, empty
        ("fsync", 0, False),  # it is written
        ("replace", 0, False),  # it is on the disk
        ("fsync", 1, True),  # it has been renamed, its folder not yet flushed
    ],
)
def test_a_killed_save_leaves_a_whole_file(
    target: Path, royals: Embedding, call: str, skip: int, replaced: bool
) -> None:
    royals.save(target)
    child = script(DIE, target, call, skip)
    output, _ = child.communicate()
    assert (child.returncode, output) == (-signal.SIGKILL, "")
    new = Embedding(None, [[5.0] * 3] * 1000)
    assert load(target, verify=True) == (new if replaced else royals)
    # What the killed one left behind is in nobody's way.
    royals.save(target)
    assert load(target, verify=True) == royals


SAVE_FOREVER = """
import sys
from embedkit import Embedding
many = [Embedding(None, [[float(i)] * 50] * 2000) for i in (1, 2)]
while True:
    for embedding in many:
        embedding.save(sys.argv[1])
        print("saved", flush=True)
"""


@pytest.mark.parametrize("saves", [1, 2, 5])
def test_a_file_is_whole_while_it_is_saved_and_after_a_kill_at_any_moment(target: Path, saves: int) -> None:
    child = script(SAVE_FOREVER, target)
    try:
        assert child.stdout is not None
        for _ in range(saves):
            assert child.stdout.readline() == "saved\n"
            loaded = load(target, verify=True)  # while the next one is being written
            assert loaded.vectors.min() == loaded.vectors.max()
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    loaded = load(target, verify=True)
    assert loaded.shape == (2000, 50)
    assert loaded.vectors.min() == loaded.vectors.max()
    assert loaded.vectors[0, 0] in (1, 2)


FULL_DISK = """
import resource, signal, sys
from embedkit import Embedding
from embedkit.errors import BadFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
embedding = Embedding(None, [[1.0] * 100] * 1000)
if sys.argv[1] == "csv":
    import pandas
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    {"native": embedding.save, "csv": embedding.to_csv}[sys.argv[1]](sys.argv[2])
except BadFile as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 1, 5000, 400_000])
@pytest.mark.parametrize("how", ["native", "csv"])
def test_a_full_disk_is_a_bad_file_and_the_old_one_stays(target: Path, how: str, limit: int) -> None:
    child = script(FULL_DISK, how, target, limit)
    output, errors = child.communicate()
    assert errors == ""
    assert child.returncode == 0
    assert output == f"{target}: cannot be written: File too large\n"
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["file"]


# -- pipes and devices -----------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and a descriptor that reads from it without waiting."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


@pytest.mark.parametrize("linked", [True, False])
def test_a_pipe_is_written_to(pipe: tuple[Path, int], tmp_path: Path, royals: Embedding, linked: bool) -> None:
    path, reader = pipe
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    put(path)
    assert os.read(reader, 10_000) == NEW
    royals.to_csv(path)
    assert os.read(reader, 10_000).decode().splitlines()[1] == '"king",40,"royal",1.0,1.0,0.0'
    royals.save(path)
    royals.save(tmp_path / "saved")
    assert os.read(reader, 10_000) == (tmp_path / "saved").read_bytes()
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert names(tmp_path) == sorted(["pipe", "saved", *(["link"] if linked else [])])


def test_a_pipe_that_nobody_reads_any_more_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def write_to_nobody() -> None:
        with replacing(path) as stream:
            os.close(reader)
            stream.write(NEW)

    # Not a BadFile: the program ends quietly when its reader has seen enough.
    with pytest.raises(BrokenPipeError):
        write_to_nobody()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("linked", [True, False])
def test_a_device_is_written_to_and_stays_one(tmp_path: Path, royals: Embedding, linked: bool) -> None:
    path = Path("/dev/null")
    if linked:
        path = tmp_path / "link"
        path.symlink_to("/dev/null")
    put(path)
    royals.save(path)
    royals.to_csv(path)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == (["link"] if linked else [])


def test_a_device_that_is_full_is_a_bad_file(royals: Embedding) -> None:
    for save in SAVES.values():
        with pytest.raises(BadFile, match="/dev/full: cannot be written: No space left on device"):
            save(royals, Path("/dev/full"))


STANDARD_OUTPUT = """
import sys
from embedkit import Embedding
print("first", flush=True)
Embedding(["a"], [[1.0]]).to_csv("/dev/stdout")
print("last", flush=True)
"""


def test_standard_output_that_is_a_file_is_added_to_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", STANDARD_OUTPUT], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == 'first\n"label","x"\n"a",1.0\nlast\n'
    assert names(tmp_path) == ["out"]


def test_large_arrays_are_written_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    # More than any buffer on the way holds.
    embedding = Embedding(None, rng.standard_normal((3000, 300)))
    embedding.save(tmp_path / "e")
    assert load(tmp_path / "e", verify=True) == embedding
