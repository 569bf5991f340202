"""`embedkit project` and `embedkit plot`: from whatever rows to a map, its report, its pictures."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import embedkit
from embedkit import Embedding, images, read
from embedkit.manifold.faithfulness import distortion, faithfulness

GOLDEN = Path(__file__).parent / "golden"

Run = Callable[..., Any]


@pytest.fixture
def rows(tmp_path: Path) -> Embedding:
    rng = np.random.default_rng(5)
    kinds = np.repeat(["ant", "bee"], 20)
    made = Embedding(
        [f"w{i}" for i in range(40)],
        rng.standard_normal((40, 5)) + 4 * (kinds == "bee")[:, None],
        columns={"class": kinds},
    )
    made.save(tmp_path / "rows.safetensors")
    return made


def size(name: str) -> tuple[int, int]:
    with Image.open(name) as picture:
        return picture.size


# -- what goes in ------------------------------------------------------------------------------------------------------


def test_the_map_is_the_projectors(run: Run, rows: Embedding) -> None:
    assert run("project", "rows.safetensors", "-o", "map.csv").code == 0
    made = read("map.csv")
    expected = embedkit.PCA(2).fit_transform(rows)
    assert made == expected
    assert run("project", "rows.safetensors", "-o", "-").out == Path("map.csv").read_text()
    assert run("project", "-m", "rows.safetensors", "-o", "-").out == Path("map.csv").read_text()


def test_a_table(run: Run) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((30, 3))
    lines = [f'r{i},{i % 2},{a},{b},{c},"text, {i}"' for i, (a, b, c) in enumerate(numbers)]
    Path("t.csv").write_text("\n".join(["id,target,a,b,c,note", *lines, ""]))
    assert run("project", "t.csv", "--columns", "target,note", "-o", "map.csv").code == 0
    made = read("map.csv")
    assert list(made) == [f"r{i}" for i in range(30)]
    assert made.columns["target"].tolist() == [0, 1] * 15
    assert made.columns["note"][3] == "text, 3"
    by_hand = embedkit.PCA(2).fit_transform(Embedding(made.labels, numbers))
    np.testing.assert_array_equal(made.vectors, by_hand.vectors)
    ran = run("project", "t.csv", "--label", "note", "--features", "a,b", "--colour", "target", "-o", "-")
    assert ran.out.splitlines()[1].startswith('"text, 0"')
    assert "class of neighbours" in ran.err


def test_numpy_idx_folders_and_names(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save("m.npy", rng.standard_normal((12, 4)))
    assert run("project", "m.npy", "-o", "a.csv").code == 0
    assert list(read("a.csv")) == [str(i) for i in range(12)]
    pixels = rng.integers(0, 255, (12, 5, 4), dtype=np.uint8)
    np.save("p.npy", pixels)
    Path("p-images-idx3-ubyte").write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 12, 5, 4) + pixels.tobytes())
    (tmp_path / "folder" / "even").mkdir(parents=True)
    (tmp_path / "folder" / "odd").mkdir()
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / "folder" / ("odd" if i % 2 else "even") / f"{i:02}.png")
    maps = []
    for source in ("p.npy", "p-images-idx3-ubyte", "folder"):
        assert run("project", source, "-o", "b.csv").code == 0
        maps.append(read("b.csv"))
    assert np.array_equal(maps[0].vectors, maps[1].vectors)
    assert maps[2].columns["class"].tolist() == ["even"] * 6 + ["odd"] * 6
    assert run("project", "digits", "--sample", "50", "--seed", "3", "-o", "d.csv").code == 0
    chosen = images.named("digits").sample(50, random_state=3)
    assert list(read("d.csv")) == list(chosen.labels or ())
    assert (
        read("d.csv").columns["class"].tolist()
        == (chosen.classes if chosen.classes is not None else np.empty(0)).tolist()
    )
    assert len(read("d.csv").columns) == 1


def test_vectors_of_the_shelf(run: Run, rows: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a.txt": Path("rows.safetensors")}
    monkeypatch.setattr("embedkit.shelf.locate", lambda name: found)
    assert run("project", "glove-6b", "-o", "map.csv").code == 0
    assert list(read("map.csv")) == list(rows)
    found["b.txt"] = Path("other")
    ran = run("project", "glove-6b", "-o", "map.csv")
    assert ran.code == 4
    assert "'glove-6b' is several files here, name one of them: rows.safetensors, other" in ran.err


def test_what_is_no_source_is_a_word(run: Run) -> None:
    assert len(run("project", "king", "man", "woman", "-o", "-").out.splitlines()) == 4
    ran = run("project", "kign", "-o", "-")
    assert (ran.code, ran.err) == (3, "embedkit: unknown: 'kign' (near: king)\n")
    Path("king").write_text("x")
    assert run("project", "-m", os.environ["EMBEDKIT_VECTORS"], "king", "man", "woman", "-o", "-").code == 0
    assert len(run("project", "royals.safetensors", "king", "man", "woman", "-o", "-").out.splitlines()) == 4
    ran = run("project", "text8", "-o", "-")
    assert ran.code == 4
    assert "'text8' is corpus and has no vectors" in ran.err


def test_words_with_their_neighbours(run: Run) -> None:
    ran = run("project", "--words", "king,woman", "--neighbours", "1", "-o", "map.csv")
    assert ran.code == 0, ran.err
    made = read("map.csv")
    royals = embedkit.load("royals.safetensors")
    nearest = {royals.similar(word, 1).best[0] for word in ("king", "woman")}
    assert set(made) == {"king", "woman"} | nearest
    assert made.columns["near"][made.rows(["king"])[0]] == "king"
    ran = run("project", "--top", "4", "--words", "king", "--words", "man", "--neighbours", "0", "-o", "all.csv")
    assert list(read("all.csv")) == list(royals)
    assert read("all.csv").columns["near"].tolist() == ["king", "", "man", ""]
    assert run("project", "--words", "KING", "-o", "-").code == 3
    assert run("project", "--words", "KING", "--ignore-case", "-o", "-").code == 0


# -- what comes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["map.csv", "map.tsv", "map.json", "map.parquet", "map.npz", "map.safetensors", "map.csv.gz"]
)
def test_every_format(run: Run, rows: Embedding, name: str) -> None:
    ran = run("project", "rows.safetensors", "-o", name)
    assert ran.code == 0, ran.err
    assert read(name) == embedkit.PCA(2).fit_transform(rows)
    about = json.loads(Path("map.report.json").read_text())
    assert about["map"] == name
    assert about["provenance"]["made_by"] == "PCA"


def test_the_projectors_files(run: Run, rows: Embedding) -> None:
    assert run("project", "rows.safetensors", "-o", "folder", "--format", "projector").code == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == ["metadata.tsv", "vectors.tsv"]
    assert json.loads(Path("folder.report.json").read_text())["faithfulness"]["points"] == 40
    assert Path("folder/metadata.tsv").read_text().splitlines()[:2] == ["label\tclass", "w0\tant"]


def test_the_report_is_said_and_written(run: Run, rows: Embedding) -> None:
    ran = run("project", "rows.safetensors", "-o", "map.csv")
    expected = faithfulness(rows, read("map.csv"), classes=rows.columns["class"], pca=False)
    about = json.loads(Path("map.report.json").read_text())
    assert about["faithfulness"] == json.loads(json.dumps(expected.to_dict()))
    assert ran.err.splitlines()[1:] == str(expected).splitlines()
    path = GOLDEN / "project.err"
    if os.environ.get("EMBEDKIT_REGOLD"):
        path.write_text(ran.err, encoding="utf-8")
    assert ran.err == path.read_text(encoding="utf-8")
    ran = run("project", "rows.safetensors", "-o", "other.csv", "--no-report")
    assert len(ran.err.splitlines()) == 1
    assert not Path("other.report.json").exists()
    few = run("project", "rows.safetensors", *(f"w{i}" for i in range(9)), "-o", "few.csv")
    assert len(few.err.splitlines()) == 1  # of 9 points neighbours tell nothing
    assert not Path("few.report.json").exists()


def test_safe_text(run: Run) -> None:
    Embedding(["=1+1", "b", "c"], [[1, 0], [0, 1], [1, 1]]).save("evil.safetensors")
    assert run("project", "evil.safetensors", "--safe-text", "-o", "-").out.splitlines()[1].startswith('"\'=1+1"')
    assert run("project", "evil.safetensors", "-o", "-").out.splitlines()[1].startswith('"=1+1"')
    assert run("project", "evil.safetensors", "--safe-text", "-o", "x.npz").code == 2


def test_distortion_is_a_column(run: Run, rows: Embedding) -> None:
    assert run("project", "rows.safetensors", "--colour", "distortion", "--png", "m.png", "-o", "map.csv").code == 0
    made = read("map.csv")
    flat = Embedding(made.labels, made.vectors)
    np.testing.assert_array_equal(made.columns["distortion"], distortion(rows, flat))


def test_pictures_and_pages(run: Run) -> None:
    ran = run(
        "project", "digits", "--top", "80", "-o", "map.csv", "--html", "map.html", "--png", "map.png", "--title", "T"
    )
    assert (ran.code, ran.out) == (0, "")
    page = Path("map.html").read_text()
    assert "<title>T</title>" in page
    assert 'id="sprite"' in page  # thumbnails of the pictures
    run("project", "digits", "--top", "80", "-o", "map.csv", "--html", "map.html", "--no-thumbnails")
    assert 'id="sprite"' not in Path("map.html").read_text()
    assert size("map.png") == (1200, 975)
    assert run("project", "digits", "--top", "80", "-o", "map.csv", "--png", "map.svg", "--dims", "3").code == 0
    assert Path("map.svg").read_text().startswith("<?xml")
    assert Path("map.csv").read_text().splitlines()[0] == '"label","class","x","y","z"'


# -- methods -----------------------------------------------------------------------------------------------------------


def test_umap(run: Run, rows: Embedding) -> None:
    how = ("--method", "umap", "--n-neighbors", "6", "--min-dist", "0.3", "--seed", "1", "--jobs", "1")
    ran = run("project", "rows.safetensors", "-o", "map.csv", *how, "--stability", "1")
    assert ran.code == 0, ran.err
    first = Path("map.csv").read_bytes()
    assert run("project", "rows.safetensors", "-o", "map.csv", *how).code == 0
    assert Path("map.csv").read_bytes() == first
    expected = embedkit.UMAP(n_neighbors=6, min_dist=0.3, random_state=1, n_jobs=1).fit_transform(rows)
    assert read("map.csv") == expected
    assert "PCA" in ran.err
    assert "seed disparity" in ran.err
    assert "wrote 40 rows: neighbours exact, layout parallel on numpy" in ran.err
    assert json.loads(Path("map.report.json").read_text())["provenance"]["layout"] == "parallel on numpy"
    assert json.loads(Path("map.report.json").read_text())["provenance"]["parameters"]["min_dist"] == 0.3


def test_tsne(run: Run, rows: Embedding) -> None:
    ran = run("project", "rows.safetensors", "-o", "map.csv", "--method", "tsne", "--perplexity", "5", "--seed", "1",
              "--metric", "cosine")  # fmt: skip
    assert ran.code == 0, ran.err
    assert read("map.csv") == embedkit.TSNE(perplexity=5, metric="cosine", random_state=1).fit_transform(rows)
    assert "(cosine" in ran.err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--n-neighbors", "5"], 2, "--n-neighbors goes with --method umap, not with pca"),
        (["--perplexity", "5", "--method", "umap"], 2, "--perplexity goes with --method tsne"),
        (["--device", "cpu"], 2, "--device goes with --method umap, not with pca"),
        (["--device", "gpu", "--method", "umap"], 4, "device is one of auto, numpy, cpu, cuda"),
        (["--stability", "2"], 2, "not with pca"),
        (["--dims", "4", "--html", "x.html"], 2, "2 or 3 dimensions"),
        (["--dims", "6"], 4, "at most 5 components, not 6"),
        (["--colour", "nonsense"], 4, "no column 'nonsense' to colour by; there are: class"),
        (["--png", "x.txt"], 4, "does not end as pictures do"),
        (["--label", "x", "-m", "royals.safetensors"], 4, "is no table|holds|not"),
        (["w1", "--top", "3"], 2, "not both"),
        (["w1", "--words", "w2"], 2, "not both"),
        (["--format", "npz"], 2, "stdout takes csv or tsv"),
    ],
)
def test_what_does_not_go_together_is_said(run: Run, rows: Embedding, args: list[str], code: int, message: str) -> None:
    source = [] if "-m" in args else ["rows.safetensors"]
    ran = run("project", *source, *args, "-o", "-")
    assert ran.code == code, ran.err
    assert re.search(message, ran.err)
    assert "Traceback" not in ran.err
    assert not Path("x.html").exists()


def test_an_output_of_no_known_format_is_refused_before_the_work(run: Run, rows: Embedding) -> None:
    ran = run("project", "rows.safetensors", "-o", "map.xyz")
    assert (ran.code, "does not say a format" in ran.err) == (4, True)


# -- plot --------------------------------------------------------------------------------------------------------------


def test_plot_a_map_that_was_written(run: Run, rows: Embedding) -> None:
    run("project", "rows.safetensors", "-o", "map.csv")
    assert run("plot", "map", "map.csv", "-o", "a.png", "--colour", "class", "--notable", "w1,w2").code == 0
    assert size("a.png") == (1200, 975)
    assert run("plot", "map", "map.csv", "-o", "a.html", "--dark", "--hover", "class").code == 0
    assert run("plot", "map", "map.csv", "-o", "a.html", "--hover", "kind").code == 4
    assert "<title>map</title>" in Path("a.html").read_text()
    assert run("plot", "map", "map.csv", "-o", "d.png", "--density").code == 0
    assert run("plot", "map", "map.csv", "-o", "a.html", "--density").code == 2
    assert run("plot", "map", "rows.safetensors", "-o", "a.png").code == 4
    assert run("plot", "map", "map.csv", "-o", "a.png", "--notable", "nobody").code == 3


def test_plot_an_analogy(run: Run) -> None:
    ran = run("plot", "analogy", "king", "man", "woman", "-o", "queen.png")
    assert (ran.code, ran.out, ran.err) == (0, "", "king - man + woman: queen\n")
    assert size("queen.png") == (1125, 825)
    ran = run("plot", "analogy", "king", "man", "woman", "queen", "woman", "man", "-o", "both.svg", "--dark")
    assert ran.err.splitlines() == ["king - man + woman: queen", "queen - woman + man: king"]
    assert run("plot", "analogy", "king", "man", "-o", "x.png").code == 2
    assert run("plot", "analogy", "king", "man", "nobody", "-o", "x.png").code == 3
    assert not Path("x.png").exists()
