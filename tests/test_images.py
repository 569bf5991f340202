"""Pictures in: IDX files, .npy files, folders, and by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import embedkit
from embedkit import Embedding, images
from embedkit.errors import BadFile, BadInput
from embedkit.formats.idx import read_idx
from embedkit.formats.image_folder import read_image_folder
from embedkit.images import Images
from embedkit.labels import Labels

CODES = {"|u1": 8, "|i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array: npt.ArrayLike, dtype: str = "|u1") -> bytes:
    values = np.asarray(array, dtype=dtype)
    return bytes([0, 0, CODES[dtype], values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def written(folder: Path, content: bytes, name: str = "a-idx3-ubyte") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def gzip_of(content: bytes) -> bytes | None:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
WHOLE = idx(PIXELS)


# -- IDX -------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(CODES)).flatmap(lambda dtype: hnp.arrays(
    dtype, hnp.array_shapes(max_dims=4, min_side=0, max_side=4),
    elements={"allow_nan": False, "allow_infinity": False} if "f" in dtype else None)),
    st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]))  # fmt: skip
@settings(max_examples=150)
def test_idx_of_every_type_and_shape_is_read(
    tmp_path_factory: pytest.TempPathFactory, array: npt.NDArray[Any], pack: Callable[[bytes], bytes]
) -> None:
    found = read_idx(written(tmp_path_factory.getbasetemp(), pack(idx(array, array.dtype.str)), "any"))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert not found.flags.writeable


def test_plain_idx_is_memory_mapped_and_packed_is_not(tmp_path: Path) -> None:
    assert isinstance(read_idx(written(tmp_path, WHOLE)), np.memmap)
    assert not isinstance(read_idx(written(tmp_path, gzip.compress(WHOLE))), np.memmap)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: is no IDX file: it begins with nothing"),
        (b"\0\0\x08", "byte 0: is no IDX file: it begins with 00 00 08"),
        (b"\x89PNG....", "byte 0: is no IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x0a\x01\0\0\0\0", "byte 0: is no IDX file"),
        (b"\0\x01\x08\x01\0\0\0\0", "byte 0: is no IDX file"),
        (b"\0\0\x08\0", "byte 3: says it has 0 dimensions, expected 1 to 8"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "byte 3: says it has 255 dimensions"),
        (WHOLE[:15], "byte 15: ends inside its header"),
        (WHOLE[:-1], r"byte 39: is cut: values of shape \(2, 3, 4\) take 24 bytes, and there are 23"),
        (WHOLE + b"\0", r"byte 40: goes on after its values of shape \(2, 3, 4\)"),
        (
            b"\0\0\x08\x03" + b"\xff" * 12 + b"x",
            r"shape \(4294967295, 4294967295, 4294967295\) take 79,228,162,458,924,105",
        ),
        (b"\0\0\x0e\x08" + b"\xff" * 32, "is cut: values of shape"),
        (b"\0\0\x08\x02\0\0\0\0\xff\xff\xff\xff!", "goes on after its values of shape"),
        (idx([1.0, math.nan], ">f4"), "value 1: value 1 is not finite: nan"),
        (idx([[1.0], [-math.inf]], ">f8"), "value 1: value 1 is not finite: -inf"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_that_lies_is_refused_by_place(
    tmp_path: Path, content: bytes, message: str, pack: Callable[[bytes], bytes]
) -> None:
    if pack is gzip.compress and "79,228" in message:
        message = "header: says it holds values of shape"
    if pack is gzip.compress and content.startswith(b"\0\0\x0e\x08"):
        message = "more than 200 times the file's size"
    with pytest.raises(BadFile, match=message):
        read_idx(written(tmp_path, pack(content)))


def test_idx_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for data in (WHOLE, gzip.compress(WHOLE, mtime=0)):
        for end in range(len(data)):
            with pytest.raises(BadFile):
                read_idx(written(tmp_path, data[:end]))


def test_packed_idx_flipped_anywhere_is_refused_and_plain_keeps_its_size(tmp_path: Path) -> None:
    data = gzip.compress(WHOLE, mtime=0)
    for place in range(10, len(data)):  # the header of gzip holds a time and a system that say nothing
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            path = written(tmp_path, bytes(flipped))
            if gzip_of(bytes(flipped)) == WHOLE:  # a bit that fills the last byte up
                assert read_idx(path).tolist() == PIXELS.tolist()
                continue
            with pytest.raises(BadFile):
                read_idx(path)
    refused = 0
    for place in range(16):
        for bit in range(8):
            flipped = bytearray(WHOLE)
            flipped[place] ^= 1 << bit
            try:
                assert read_idx(written(tmp_path, bytes(flipped))).nbytes == PIXELS.nbytes
            except BadFile:
                refused += 1
    assert refused >= 126  # uint8 and int8 differ in one bit


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    claim = b"\0\0\x08\x03" + struct.pack(">3I", 10**6, 100, 100)
    paths = [written(tmp_path, claim, "a"), written(tmp_path, gzip.compress(claim), "b")]
    code = (
        "import resource, sys\n"
        "from embedkit.formats.idx import read_idx\n"
        "from embedkit.errors import BadFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        read_idx(path)\n"
        "    except BadFile:\n"
        "        print('refused')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["refused", "refused", "True"]


# -- folders ---------------------------------------------------------------------------------------------------------


def saved(path: Path, pixels: npt.ArrayLike, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(pixels))
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


GREY = np.array([[0, 50, 100], [150, 200, 250]], dtype=np.uint8)


def test_sub_folders_are_classes_in_order(tmp_path: Path) -> None:
    for name in ("dog/b.png", "dog/a.png", "cat/deep/er/z.png", "cat/A.PNG"):
        saved(tmp_path / name, np.full((2, 3), sum(map(ord, name)) % 256, dtype=np.uint8), format="PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "dog" / ".hidden.png").write_text("no picture")
    found = images.read(tmp_path)
    assert found.labels is not None
    assert list(found.labels) == ["cat/A.PNG", "cat/deep/er/z.png", "dog/a.png", "dog/b.png"]
    assert found.classes is not None
    assert found.classes.tolist() == ["cat", "cat", "dog", "dog"]
    assert [int(picture[0, 0]) for picture in found.pixels] == [sum(map(ord, name)) % 256 for name in found.labels]
    rows = found.to_embedding()
    assert list(rows) == list(found.labels)
    assert rows.columns["class"].tolist() == ["cat", "cat", "dog", "dog"]
    assert rows.shape == (4, 6)


def test_a_folder_without_sub_folders_has_no_classes(tmp_path: Path) -> None:
    saved(tmp_path / "b.png", GREY)
    saved(tmp_path / "a.png", 255 - GREY)
    found = images.read(tmp_path)
    assert found.classes is None
    assert found.pixels.tolist() == [(255 - GREY).tolist(), GREY.tolist()]
    assert images.read(tmp_path, classes=[1, 0]).classes is not None


RED = np.zeros((2, 3, 3), dtype=np.uint8)
RED[..., 0] = 255
SEE_THROUGH = np.zeros((2, 3, 4), dtype=np.uint8)
SEE_THROUGH[:, 0, 3] = 255


@pytest.mark.parametrize(
    ("pixels", "how", "ending", "grey"),
    [
        (GREY, None, "png", GREY),
        (GREY, None, "bmp", GREY),
        (GREY, None, "pgm", GREY),
        (GREY, None, "tif", GREY),
        (GREY, None, "gif", GREY),
        (GREY > 120, None, "png", np.where(GREY > 120, 255, 0)),
        (RED, None, "png", np.full((2, 3), 76)),  # .299 * 255
        (RED, "P", "png", np.full((2, 3), 76)),
        (RED, "CMYK", "tif", np.full((2, 3), 76)),
        (SEE_THROUGH, None, "png", np.tile([0, 255, 255], (2, 1))),
        (SEE_THROUGH, "LA", "png", np.tile([0, 255, 255], (2, 1))),
        (SEE_THROUGH, "P", "png", np.tile([0, 255, 255], (2, 1))),
        (GREY.astype(np.uint16) * 257, None, "png", GREY),
        (np.array([[65535, 128, 129]], dtype=np.uint16), None, "png", np.array([[255, 0, 1]])),
        (np.array([[65535, 128, 129]], dtype=np.uint16), None, "tif", np.array([[255, 0, 1]])),
    ],
)
def test_every_kind_of_pixel_becomes_grey_as_documented(
    tmp_path: Path, pixels: npt.NDArray[Any], how: str | None, ending: str, grey: npt.NDArray[Any]
) -> None:
    saved(tmp_path / f"a.{ending}", pixels, how)
    assert read_image_folder(tmp_path).pixels[0].tolist() == grey.tolist()


def test_colours_are_kept_on_request(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", RED)
    saved(tmp_path / "b.png", GREY)
    found = read_image_folder(tmp_path, mode="RGB").pixels
    assert found.shape == (2, 2, 3, 3)
    assert found[0].tolist() == RED.tolist()
    assert found[1].tolist() == np.repeat(GREY[..., None], 3, axis=2).tolist()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    saved(tmp_path / "a.png", GREY, exif=exif)
    assert read_image_folder(tmp_path).pixels[0].tolist() == np.rot90(GREY, -1).tolist()


def test_pictures_are_scaled_on_request(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", np.full((10, 20), 7, dtype=np.uint8))
    saved(tmp_path / "b.png", np.tile(np.arange(8, dtype=np.uint8), (8, 1)))
    with pytest.raises(BadFile, match=r"b\.png: is 8 x 8 pixels \(height x width\), the first is 10 x 20: give size="):
        read_image_folder(tmp_path)
    found = read_image_folder(tmp_path, size=(4, 2)).pixels
    assert found.shape == (2, 4, 2)
    assert (found[0] == 7).all()
    assert found[1, 0, 0] < 3 < 5 < found[1, 0, 1] + 1


def test_a_png_cut_or_flipped_anywhere_is_named_or_read_right(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (9, 9), dtype=np.uint8)
    path = saved(tmp_path / "dog" / "b.png", noise)
    data = path.read_bytes()
    damaged = [data[:end] for end in range(len(data))]
    damaged += [data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :] for place in range(len(data))]
    last = len(data) - 12  # a chunk that says "end" and nothing else
    for row, content in enumerate(damaged):
        path.write_bytes(content)
        if row % len(data) >= last and gives(tmp_path) is not None:
            assert gives(tmp_path) == noise.tolist()
            continue
        with pytest.raises(BadFile, match=r"dog/b\.png: (is no picture|is damaged|has more pixels)"):
            images.read(tmp_path)


def gives(folder: Path) -> list[Any] | None:
    try:
        pixels: list[Any] = read_image_folder(folder).pixels[0].tolist()
    except BadFile:
        return None
    return pixels


@pytest.mark.parametrize("ending", ["jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_flipped_bytes_in_a_picture_never_end_in_a_traceback(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{ending}", noise)
    data = path.read_bytes()
    read = 0
    for place in range(0, len(data), max(1, len(data) // 150)):
        flipped = bytearray(data)
        flipped[place] ^= 0x55
        path.write_bytes(bytes(flipped))
        try:
            found = read_image_folder(tmp_path, mode="RGB", size=(5, 6))
        except BadFile:
            continue
        read += 1
        assert found.pixels.shape == (1, 5, 6, 3)
    assert read < 150 or ending in ("bmp", "ppm")


def test_a_picture_of_very_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for side in (11, 20):  # Pillow warns of the one, and refuses the other
        saved(tmp_path / "a.png", np.zeros((side, side), dtype=np.uint8))
        with pytest.raises(BadFile, match=r"a\.png: has more pixels than Pillow holds to be safe \(100\)"):
            read_image_folder(tmp_path)


def test_what_is_no_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"holds no pictures \(\.bmp, \.gif"):
        images.read(tmp_path)
    saved(tmp_path / "a.png", GREY)
    for options, message in (({"mode": "P"}, "mode is 'L' or 'RGB'"), ({"size": (0, 5)}, "size is .height, width.")):
        with pytest.raises(BadInput, match=message):
            read_image_folder(tmp_path, **options)
    saved(tmp_path / "cat" / "b.png", GREY)
    with pytest.raises(BadFile, match=r"holds pictures \('a\.png'\) beside sub-folders of others"):
        images.read(tmp_path)
    with pytest.raises(BadFile, match="cannot be read"):
        read_image_folder(tmp_path / "absent")


def test_pictures_of_several_frames_and_of_32_bits_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(BadFile, match=r"a\.gif: has 2 frames, one was expected"):
        images.read(tmp_path)
    (tmp_path / "a.gif").unlink()
    saved(tmp_path / "a.tif", GREY.astype(np.float32))
    with pytest.raises(BadFile, match=r"a\.tif: has pixels of 32 bits, whose range is not known"):
        images.read(tmp_path)
    (tmp_path / "a.tif").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(BadFile, match=r"a\.png: is not a regular file"):
        images.read(tmp_path)


# -- images.read and named -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endings", [("", ""), (".gz", ".gz"), ("", ".gz"), (".gz", "")])
@pytest.mark.parametrize("mark", ["-", "."])
def test_classes_are_found_beside_the_pictures(tmp_path: Path, endings: tuple[str, str], mark: str) -> None:
    def pack(content: bytes, ending: str) -> bytes:
        return gzip.compress(content) if ending else content

    path = written(tmp_path, pack(WHOLE, endings[0]), f"train-images{mark}idx3-ubyte{endings[0]}")
    assert images.read(path).classes is None
    written(tmp_path, pack(idx([7, 3]), endings[1]), f"train-labels{mark}idx1-ubyte{endings[1]}")
    found = images.read(path)
    assert found.classes is not None
    assert found.classes.tolist() == [7, 3]
    assert found.pixels.tolist() == PIXELS.tolist()
    assert isinstance(found.pixels, np.memmap) == (not endings[0])


def test_classes_are_taken_from_a_file_or_a_list(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    np.save(tmp_path / "c.npy", np.array([5, -6]))
    for source, classes in (
        (["a", "b"], ["a", "b"]),
        (written(tmp_path, idx([1, 2]), "c"), [1, 2]),
        (tmp_path / "c.npy", [5, -6]),
    ):
        assert np.asarray(images.read(path, source).classes).tolist() == classes
    for content, message in (
        (idx([1, 2, 3]), "c: holds 3 classes for the 2 pictures of a-idx3-ubyte"),
        (WHOLE, r"c: holds uint8 of shape \(2, 3, 4\), expected one whole number a picture"),
        (idx([1.0, 2.0], ">f4"), "c: holds >f4 of shape .2,., expected one whole number a picture|holds float32"),
    ):
        with pytest.raises(BadFile, match=message):
            images.read(path, written(tmp_path, content, "c"))
    with pytest.raises(BadFile, match=r"column 'class' has shape \(3,\), expected \(2,\)"):
        images.read(path, [1, 2, 3])


def test_npy_stays_memory_mapped(tmp_path: Path) -> None:
    for order in ("C", "F"):
        pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
        np.save(tmp_path / "a.npy", np.asarray(pixels, order=order))
        found = images.read(tmp_path / "a.npy")
        assert isinstance(found.pixels, np.memmap)
        assert isinstance(found.head(1).pixels, np.memmap)
        assert found.pixels.tolist() == pixels.tolist()
        np.testing.assert_allclose(found.to_embedding().vectors * 255, pixels.reshape(2, -1), rtol=1e-6)


def npy(array: npt.NDArray[Any]) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(PIXELS.astype(np.float32)), r"a\.npy: pixels are uint8 \(0 to 255\), not float32"),
        (npy(PIXELS[0]), r"pixels have the shape \(n, h, w\) or \(n, h, w, 1, 3 or 4\), not \(3, 4\)"),
        (npy(np.zeros((2, 3, 4, 5), dtype=np.uint8)), r"not \(2, 3, 4, 5\)"),
        (npy(np.zeros((2, 0, 4), dtype=np.uint8)), r"at least one pixel, not the shape \(0, 4\)"),
        (npy(PIXELS)[:-1], r"uint8 of shape \(2, 3, 4\), 24 bytes, but 23 follow"),
        (npy(PIXELS) + b"x", "24 bytes, but 25 follow"),
        (npy(PIXELS).replace(b"(2, 3, 4)", b"(9, 9, 9)"), "729 bytes, but 24 follow"),
        (npy(PIXELS).replace(b"(2, 3, 4)", b"(2,-3,-4)"), r"the header says uint8 of shape \(2, -3, -4\)"),
        (npy(PIXELS).replace(b"(2, 3, 4)", b"(2, 3, 4("), "is no .npy file or is damaged"),
        (npy(PIXELS)[:20], "is no .npy file or is damaged"),
        (b"\x93NUMPY\x09\x00" + npy(PIXELS)[8:], "version 9.0"),
        (npy(np.array([["a"]])), "holds <U1 of shape"),
        (gzip.compress(npy(PIXELS)), "a packed .npy cannot be memory-mapped: unpack it first"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "is no .npy file or is damaged"),
        (idx([1, 2]), r"pixels have the shape .*, not \(2,\)"),
        (idx(PIXELS, ">i2"), "pixels are uint8"),
        (b"GIF89a", "is no IDX file"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        images.read(written(tmp_path, content, "a.npy"))


def test_an_npy_file_of_objects_is_refused_unread(tmp_path: Path) -> None:
    header = npy(PIXELS).replace(b"'|u1'", b"'|O' ")
    with pytest.raises(BadFile, match=r"holds Python objects|is damaged"):
        images.read(written(tmp_path, header, "a.npy"))


def test_npy_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = npy(PIXELS)
    for end in range(len(data)):
        with pytest.raises(BadFile):
            images.read(written(tmp_path, data[:end], "a.npy"))


def test_digits_come_with_scikit_learn() -> None:
    found = images.named("digits")
    assert repr(found) == "Images(1797 of 8 x 8, 10 classes)"
    assert found.classes is not None
    assert np.bincount(found.classes).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    from sklearn.datasets import load_digits

    assert np.array_equal(np.rint(found.pixels * (16 / 255)), load_digits().images)
    assert (int(found.pixels.min()), int(found.pixels.max())) == (0, 255)
    rows = found.to_embedding()
    assert rows.shape == (1797, 64)
    assert rows.columns["class"][:3].tolist() == [0, 1, 2]
    assert rows.vectors.max() == 1


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("mnits", "train", "no pictures are called 'mnits'; there are: digits, fashion-mnist, mnist"),
        ("digits", "test", "digits have no test part"),
        ("mnist", "valid", "part is 'train' or 'test', not 'valid'"),
    ],
)
def test_unknown_names_are_refused(name: str, part: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        images.named(name, part)


def test_mnist_is_what_it_is_known_to_be(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(data))
    train, test = images.named("mnist"), images.named("mnist", "test")
    assert (train.pixels.shape, test.pixels.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert train.classes is not None
    assert test.classes is not None
    # The counts of classes are in many papers; the means are those that everybody normalises by.
    assert np.bincount(train.classes).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.classes).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(float(train.pixels.mean()) / 255, 4) == 0.1307
    assert round(float(train.pixels.std()) / 255, 4) == 0.3081
    again = images.read(data / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert np.array_equal(again.pixels, test.pixels)
    assert again.classes is not None
    assert np.array_equal(again.classes, test.classes)
    rows = test.head(100).to_embedding()
    assert rows.vectors.tobytes() == (test.pixels[:100].reshape(100, -1) / np.float32(255)).tobytes()


# -- Images ----------------------------------------------------------------------------------------------------------


def five() -> Images:
    pixels = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2)
    return Images(pixels, np.array(["a", "b", "a", "b", "c"]), Labels(["p", "q", "r", "s", "t"]), {"made_by": "hand"})


def rows_of(pictures: Images) -> list[tuple[int, str, str]]:
    assert pictures.classes is not None
    assert pictures.labels is not None
    firsts = pictures.pixels[:, 0, 0].tolist()
    return list(zip(firsts, pictures.classes.tolist(), list(pictures.labels), strict=True))


def test_rows_are_taken_with_all_that_is_known_of_them() -> None:
    whole = five()
    assert rows_of(whole.head(2)) == [(0, "a", "p"), (4, "b", "q")]
    assert rows_of(whole.head(9)) == rows_of(whole)
    assert rows_of(whole.take([3, 0, -1])) == [(12, "b", "s"), (0, "a", "p"), (16, "c", "t")]
    assert rows_of(whole.take(np.array([False, True, False, False, True]))) == [(4, "b", "q"), (16, "c", "t")]
    drawn = whole.sample(3, random_state=1)
    assert rows_of(drawn) == rows_of(whole.sample(3, random_state=1))
    assert len({tuple(rows_of(whole.sample(3, random_state=seed))) for seed in range(20)}) > 3
    assert set(rows_of(drawn)) < set(rows_of(whole))
    assert drawn.provenance == {"made_by": "hand", "then": [{"verb": "sample", "n": 3, "random_state": 1}]}
    assert rows_of(whole.sample(99)) == rows_of(whole)
    assert len(whole.take([])) == 0


def test_numbered_pictures_keep_their_number() -> None:
    pictures = Images(np.zeros((5, 1, 1), dtype=np.uint8))
    assert list(pictures.to_embedding()) == ["0", "1", "2", "3", "4"]
    assert list(pictures.take([4, 2]).to_embedding()) == ["4", "2"]
    assert list(pictures.take([4, 2]).head(1).to_embedding()) == ["4"]
    assert not pictures.to_embedding().columns


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: five().take([5]), "row 5 does not exist: there are 5 pictures"),
        (lambda: five().take([1, -4]), "a row is given twice"),
        (lambda: five().take([0.5]), "rows are a list of integers or a mask, not float64"),
        (lambda: five().take([True]), "rows are a list of integers or a mask, not bool"),
        (lambda: five().head(-1), "head takes a number of pictures of 0 or more"),
        (lambda: five().sample(-1), "sample takes a number of pictures of 0 or more"),
        (lambda: Images([[[1]]]), "pixels are uint8 .0 to 255., not list"),  # type: ignore[arg-type]
        (lambda: Images(np.zeros((1, 1, 1))), "pixels are uint8 .0 to 255., not float64"),  # type: ignore[arg-type]
        (lambda: Images(np.zeros((1, 1), dtype=np.uint8)), r"not \(1, 1\)"),
        (lambda: Images(PIXELS, np.array([1])), r"column 'class' has shape \(1,\), expected \(2,\)"),
        (lambda: Images(PIXELS, None, Labels(["a"])), "1 labels for 2 pictures"),
        (lambda: Images(PIXELS, provenance={"x": {1}}), "provenance must be plain JSON"),
    ],
)
def test_what_makes_no_images_is_refused(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wrong()


def test_images_cost_nothing_until_they_are_used() -> None:
    assert embedkit.images is images
    assert "images" in dir(embedkit)
    code = "import sys, embedkit; 'embedkit.images' in sys.modules and sys.exit(1); embedkit.images.Images"
    code += "; sys.exit(bool({'PIL', 'sklearn', 'pandas', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_memory_map_of_float32_goes_into_an_embedding_without_a_copy(tmp_path: Path) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.dtype(np.float32), (100, 8))
    mapped[:] = 1
    assert np.shares_memory(Embedding(None, mapped).vectors, mapped)
