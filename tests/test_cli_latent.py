"""The commands of latent models: train autoencoder|vae|aae|gan, encode, decode, generate, anomalies, units."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import embedkit
from embedkit import GAN, VAE, Autoencoder, images
from embedkit.formats.tables import read_table, read_table_named
from embedkit.images import Images

Run = Callable[..., Any]

SMALL: dict[str, Any] = {"n_components": 3, "architecture": "dense", "hidden": [16], "epochs": 2, "random_state": 5}
ASKED = ("--dims", "3", "--architecture", "dense", "--hidden", "16", "--epochs", "2", "--seed", "5", "--device", "cpu")
NAMES = ["speed", "temp", "pressure", "flow"]


@pytest.fixture(scope="module")
def digits() -> Images:
    return images.named("digits").head(120)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, digits: Images) -> Path:
    """A folder with small fitted models and a table."""
    folder = tmp_path_factory.mktemp("models")
    Autoencoder(**SMALL, device="cpu").fit(digits).save(folder / "ae")
    VAE(**SMALL, device="cpu").fit(digits).save(folder / "vae")
    GAN(**SMALL, device="cpu").fit(digits).save(folder / "gan")
    rows = sensors(np.random.default_rng(0), 120)
    write_sensors(folder / "sensors.csv", rows)
    odd = sensors(np.random.default_rng(1), 60)
    odd[50:, 2] += 500
    write_sensors(folder / "today.csv", odd, first=120, faults=10)
    table = embedkit.Embedding(None, rows).vectors
    import pandas as pd

    Autoencoder(**{**SMALL, "n_components": 2, "epochs": 20}, device="cpu").fit(
        pd.DataFrame(table, columns=NAMES)
    ).save(folder / "table")
    return folder


def sensors(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Four columns that two causes move, in units of their own."""
    causes = np.random.default_rng(9).normal(size=(2, 4))
    rows = generator.normal(size=(n, 2)) @ causes + 0.05 * generator.normal(size=(n, 4))
    shifted: NDArray[np.float64] = rows * [1, 10, 100, 0.1] + [0, 50, 1000, 3]
    return shifted


def write_sensors(path: Path, rows: NDArray[np.float64], first: int = 0, faults: int = 0) -> None:
    lines = [",".join(["id", "site", *NAMES, "fault"])]
    for number, row in enumerate(rows):
        fault = int(number >= len(rows) - faults)
        site = "north" if number % 2 else "south"
        lines.append(",".join([f"s{first + number}", site, *(repr(float(value)) for value in row), str(fault)]))
    path.write_text("\n".join(lines) + "\n")


def table(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


# -- the program -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["encode", "decode", "generate", "anomalies", "units", "train autoencoder", "train vae", "train aae", "train gan"],
)
def test_help(run: Run, command: str) -> None:
    ran = run(*command.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "--device" in ran.out
    assert "embedkit " + command in ran.out  # an example
    assert "\\b" not in ran.out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from importlib.metadata import entry_points; "
        "(entry,) = entry_points(group='console_scripts', name='embedkit'); main = entry.load(); "
        "[main([*command.split(), '--help']) for command in ('train vae', 'encode', 'anomalies', 'units')]; "
        "print(sorted({'torch', 'sklearn', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.splitlines()[-1] == "[]"


# -- train -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "kind"), [("autoencoder", "Autoencoder"), ("vae", "VAE"), ("gan", "GAN"),
                                               ("aae", "AdversarialAutoencoder")])  # fmt: skip
def test_train_fits_what_the_library_fits(run: Run, digits: Images, command: str, kind: str) -> None:
    ran = run("train", command, "digits", "--top", "120", *ASKED, "-o", "m", "--png", "loss.png")
    assert (ran.code, ran.out) == (0, "")
    assert "training on 120 pictures of 8 x 8\n" in ran.err
    assert "epoch 2/2: loss" in ran.err
    assert f"wrote {kind} of 3 numbers a code to m" in ran.err
    assert "(seed 5)\n" in ran.err
    assert f"next: embedkit {'generate' if command == 'gan' else 'encode'} m " in ran.err
    assert Path("loss.png").read_bytes().startswith(b"\x89PNG")
    found, expected = embedkit.load("m"), getattr(embedkit, kind)(**SMALL, device="cpu").fit(digits)
    assert type(found).__name__ == kind
    assert np.array_equal(found.sample(4, random_state=0), expected.sample(4, random_state=0))


def test_a_seed_that_is_drawn_is_told_and_repeats_the_training(run: Run) -> None:
    ran = run("train", "autoencoder", "digits", "--top", "60", "--epochs", "1", "--hidden", "8", "-o", "a")
    seed = ran.err.partition("(seed ")[2].partition(")")[0]
    run("train", "autoencoder", "digits", "--top", "60", "--epochs", "1", "--hidden", "8", "-o", "b", "--seed", seed)
    first, second = (embedkit.load(name).sample(3, random_state=0) for name in ("a", "b"))
    assert np.array_equal(first, second)


def test_training_that_was_broken_off_goes_on(run: Run, digits: Images, made: Path) -> None:
    def stop(event: Any) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt

    kept: dict[str, Any] = {"checkpoint": "c", "checkpoint_every": 1e-9}
    with pytest.raises(KeyboardInterrupt):
        Autoencoder(**SMALL, device="cpu").fit(digits, callback=stop, **kept)
    how = ("train", "autoencoder", "digits", "--top", "120", "--checkpoint", "c", "-o", "m")
    ran = run(*how)
    assert (ran.code, "c is there: add --resume" in ran.err) == (2, True)
    ran = run(*how, "--resume", "--dims", "4")
    assert (ran.code, "was made with n_components=3, not 4" in ran.err) == (4, True)
    ran = run("train", "vae", "digits", "--top", "120", "--checkpoint", "c", "-o", "m", "--resume")
    assert (ran.code, "is the checkpoint of a Autoencoder, not of a VAE" in ran.err) == (4, True)
    assert run("train", "autoencoder", "digits", "--top", "90", *how[5:], "--resume").code == 4  # other rows
    ran = run(*how, "--resume", "--hidden", "16", "--jobs", "1")
    assert ran.code == 0, ran.err
    assert not Path("c").exists()
    whole, again = embedkit.load(made / "ae"), embedkit.load("m")
    assert np.array_equal(whole.transform(digits).vectors, again.transform(digits).vectors)
    assert "--resume needs --checkpoint FILE" in run("train", "gan", "digits", "--resume", "-o", "m").err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nothing.csv"], 4, "there is no file, folder or data set 'nothing.csv'"),
        (["digits", "--hidden", "a"], 2, "'a' is no list of widths such as 512,256"),
        (["digits", "--image-shape", "8"], 2, "'8' is no size such as 28x28"),
        (["digits", "--size", "8x8"], 2, "--size is for folders of pictures"),
        (["digits", "--label", "x"], 2, "--label and --columns are for tables"),
        (["digits", "--png", "x.txt"], 4, "x.txt does not end as pictures do"),
        (["digits", "--epochs", "-1"], 4, "epochs must be a whole number from 0"),
        (["digits", "--device", "tpu"], 4, "device is one of auto, cpu, cuda"),
        (["holes.csv"], 4, "holes.csv: line 3: no value in column 'b': fill it, or leave such rows out by --missing"),
        (["twice.csv"], 4, "name another by --label, or keep this one by --columns"),
        (["flat.npy"], 4, "flat.npy: holds numbers of shape (3,): rows were expected"),
        (["nan.npy"], 4, "row 1, column 0 is NaN"),
        (["text.csv"], 4, "no column of numbers"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_a_line(run: Run, args: list[str], code: int, message: str) -> None:
    Path("holes.csv").write_text("a,b\n1,2\n3,\n4,5\n")
    Path("twice.csv").write_text("label,b\nx,2\nx,3\n")
    Path("text.csv").write_text("a,b\nx,p\ny,q\n")
    np.save("flat.npy", np.zeros(3))
    np.save("nan.npy", np.array([[1.0], [np.nan], [2.0]]))
    ran = run("train", "autoencoder", *args, "-o", "m")
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert not Path("m").exists()


def test_rows_that_miss_a_value_can_be_left_out(run: Run) -> None:
    Path("holes.csv").write_text("a,b\n1,2\n3,\n4,5\n6,6\n")
    ran = run("train", "autoencoder", "holes.csv", "--missing", "drop", *ASKED, "--dims", "1", "-o", "m")
    assert ran.code == 0
    assert "left out because they miss a value: 1\ntraining on 3 rows of 2 columns\n" in ran.err


def test_a_table_of_pictures_in_bytes(run: Run, digits: Images) -> None:
    lines = [",".join(["label", *(f"pixel{j}" for j in range(64))])]
    lines += [
        ",".join(map(str, [int(c), *p.ravel().tolist()]))
        for c, p in zip(np.asarray(digits.classes), digits.pixels, strict=True)
    ]
    Path("k.csv").write_text("\n".join(lines) + "\n")
    ran = run("train", "autoencoder", "k.csv", "--columns", "label", "--image-shape", "8x8", *ASKED, "-o", "m")
    assert ran.code == 0, ran.err
    assert "the column 'label' is kept as 'class'" in ran.err
    assert run("encode", "m", "k.csv", "--columns", "label", "-o", "codes.csv", "--reconstructions", "r.png").code == 0
    expected = Autoencoder(**SMALL, device="cpu").fit(digits).transform(digits)
    found = embedkit.read("codes.csv")
    assert np.array_equal(found.vectors, expected.vectors)
    assert np.array_equal(found.columns["class"], expected.columns["class"])
    assert Path("r.png").read_bytes().startswith(b"\x89PNG")


# -- encode and decode -----------------------------------------------------------------------------------------------


def test_encode_gives_the_codes_with_labels_and_columns(run: Run, made: Path, digits: Images) -> None:
    ran = run("encode", str(made / "ae"), "digits", "--top", "120", "-o", "codes.csv", "--errors", "--png", "c.png")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "encoded 120 pictures of 8 x 8 as 3 numbers each\n"
        "next: embedkit project codes.csv --method umap -o map.csv --html map.html\n"
    )
    model = embedkit.load(made / "ae")
    found = embedkit.read("codes.csv")
    assert np.array_equal(found.vectors, model.transform(digits).vectors)
    assert np.array_equal(found.columns["class"], np.asarray(digits.classes))
    assert np.allclose(found.columns["error"], -model.score_samples(digits), rtol=1e-5)
    assert Path("c.png").read_bytes().startswith(b"\x89PNG")


def test_encode_records_where_codes_come_from(run: Run, made: Path) -> None:
    assert run("encode", str(made / "ae"), "digits", "--sample", "10", "--seed", "3", "-o", "c.safetensors").code == 0
    found = embedkit.load("c.safetensors")
    assert len(found) == 10
    assert found.provenance["made_by"] == "Autoencoder.transform"
    assert found.provenance["model"]["name"] == "ae"
    assert found.provenance["parameters"]["random_state"] == 5
    assert found.provenance["data"]["name"] == "digits"
    run("encode", str(made / "ae"), "digits", "--sample", "10", "--seed", "3", "-o", "again.safetensors")
    assert list(embedkit.load("again.safetensors")) == list(found)


def test_codes_go_through_pipes(run: Run, made: Path) -> None:
    text = (made / "today.csv").read_text()
    ran = run("encode", str(made / "table"), "-", "-o", "-", stdin=text)
    assert ran.code == 0
    header, rows = table(ran.out)
    assert header == ["label", "site", "fault", "x", "y"]
    assert len(rows) == 60
    assert run("encode", str(made / "table"), str(made / "today.csv"), "-o", "-").out == ran.out
    back = run("decode", str(made / "table"), "-", "-o", "-", stdin=ran.out)
    assert back.code == 0
    run("decode", str(made / "table"), "codes.csv", "-o", "-")
    header, rows = table(back.out)
    assert header == ["label", "site", "fault", *NAMES]
    model = embedkit.load(made / "table")
    import pandas as pd

    frame = pd.DataFrame(read_table(made / "today.csv", features=NAMES).vectors, columns=NAMES)
    expected = model.inverse_transform(model.transform(frame).to_numpy())
    assert np.array_equal(np.array([row[3:] for row in rows], dtype=np.float64), expected)
    assert [row[1] for row in rows[:2]] == ["south", "north"]


def test_bad_rows_on_standard_input_are_named_by_line(run: Run, made: Path) -> None:
    ran = run("encode", str(made / "table"), "-", "-o", "-", stdin=f"{','.join(NAMES)}\n1,2,3,4\n1,2,,4\n")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("embedkit: standard input: line 3: no value in column 'pressure'")


def test_decoded_pictures_in_every_form(run: Run, made: Path, digits: Images) -> None:
    run("encode", str(made / "ae"), "digits", "--top", "120", "-o", "codes.csv")
    model = embedkit.load(made / "ae")
    expected = model.inverse_transform(model.transform(digits).vectors)
    ran = run("decode", str(made / "ae"), "codes.csv", "-o", "d.npy", "--png", "d.png")
    assert (ran.code, ran.err) == (0, "decoded 120 codes of 3 numbers to d.npy\n")
    assert np.array_equal(np.load("d.npy"), expected)
    assert Path("d.png").read_bytes().startswith(b"\x89PNG")
    assert run("decode", str(made / "ae"), "codes.csv", "-o", "folder").code == 0
    assert np.array_equal(images.read("folder").pixels, np.rint(expected * 255).astype(np.uint8))
    ran = run("decode", str(made / "ae"), "codes.csv", "-o", "folder")
    assert (ran.code, "is there already, and not an empty folder" in ran.err) == (4, True)
    assert run("decode", str(made / "ae"), "codes.csv", "-o", "flat.csv").code == 0
    flat = embedkit.read("flat.csv")
    assert np.array_equal(flat.vectors, expected.reshape(120, -1))
    assert np.array_equal(flat.columns["class"], np.asarray(digits.classes))
    assert run("encode", str(made / "ae"), "d.npy", "-o", "again.csv").code == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["encode", "gan", "digits", "-o", "c.csv"], 4, "gan: holds a GAN, which has no encoder"),
        (["encode", "nothing", "digits", "-o", "c.csv"], 4, "nothing: cannot be read"),
        (["encode", "royals.safetensors", "digits", "-o", "c.csv"], 4, "holds vectors: an autoencoder, a VAE"),
        (["encode", "table", "digits", "-o", "c.csv"], 4, "rows of shape (8, 8) were given, expected (4,)"),
        (["encode", "table", "other.csv", "-o", "c.csv"], 4, "no column 'speed' in the table"),
        (["encode", "ae", "digits", "-o", "c.what"], 4, "the ending of c.what does not say a format"),
        (["encode", "ae", "digits", "-o", "-", "--format", "npz"], 2, "stdout takes csv or tsv, not npz"),
        (["encode", "ae", "digits"], 2, "Missing option '-o'"),
        (["encode", "ae", "digits", "-o", "no/c.csv"], 4, "no/c.csv: cannot be written: No such file or directory"),
        (["encode", "table", "sensors.csv", "-o", "c.csv", "--reconstructions", "r.png"], 2, "no pictures to draw"),
        (["decode", "ae", "sensors.csv", "-o", "c.npy"], 4, "codes of shape (120, 5) were given, expected (n, 3)"),
        (["decode", "table", "sensors.csv", "-o", "pictures"], 4, "expected (n, 2)"),
        (["generate", "ae", "-o", "x.png"], 2, "a sheet of pictures is drawn by --png x.png"),
        (["generate", "ae", "-n", "0", "-o", "x.npy"], 2, "0 is not in the range x>=1"),
        (["generate", "ae", "--how", "prior", "-o", "x.npy"], 4, "how is one of gmm, not 'prior'"),
        (["generate", "gan", "--how", "gmm", "-o", "x.npy"], 2, "--how is for models with codes"),
        (["generate", "table", "-o", "x.csv", "--png", "x.png"], 2, "there are no pictures to draw"),
        (["generate", "table", "-o", "folder"], 4, "a folder is for pictures of pixels"),
        (["generate", "ae", "-o", "-", "--format", "jsonl"], 4, "JSON lines are for rows whose columns have names"),
        (["generate", "ae", "-o", "x.csv", "--device", "tpu"], 4, "device is one of auto, cpu, cuda"),
    ],
)
def test_what_does_not_go_is_told_before_anything_is_written(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str], code: int, message: str
) -> None:
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    Path("other.csv").write_text("a,b\n1,2\n")
    before = sorted(tmp_path.iterdir())
    ran = run(*args)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert sorted(tmp_path.iterdir()) == before


# -- generate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "how"), [("ae", ()), ("vae", ()), ("vae", ("--how", "gmm")), ("gan", ())])
def test_generate_gives_what_the_library_samples(run: Run, made: Path, name: str, how: tuple[str, ...]) -> None:
    ran = run("generate", str(made / name), "-n", "5", "--seed", "7", *how, "-o", "s.npy", "--png", "s.png")
    assert (ran.code, ran.err) == (0, "drew 5 rows (seed 7) to s.npy\n")
    expected = embedkit.load(made / name).sample(5, **({"how": how[1]} if how else {}), random_state=7)
    assert np.array_equal(np.load("s.npy"), expected)
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")


def test_generated_rows_of_a_table_have_its_columns(run: Run, made: Path) -> None:
    ran = run("generate", str(made / "table"), "-n", "4", "--seed", "7", "-o", "-")
    header, rows = table(ran.out)
    assert header == ["label", *NAMES]
    expected = embedkit.load(made / "table").sample(4, random_state=7)
    assert np.array_equal(np.array([row[1:] for row in rows], dtype=np.float64), expected)
    lines = run("generate", str(made / "table"), "-n", "4", "--seed", "7", "-o", "-", "--format", "jsonl").out
    assert [json.loads(line)["flow"] for line in lines.splitlines()] == expected[:, 3].tolist()
    assert run("generate", str(made / "table"), "-n", "4", "--seed", "7", "-o", "s.parquet").code == 0
    assert read_table_named("s.parquet", features=NAMES)[1] == NAMES
    assert "(seed " in run("generate", str(made / "table"), "-n", "1", "-o", "s.csv").err


# -- anomalies -------------------------------------------------------------------------------------------------------


def test_anomalies_are_found_with_the_guilty_column(run: Run, made: Path) -> None:
    ran = run("anomalies", str(made / "today.csv"), "--normal", str(made / "sensors.csv"), "--truth", "fault",
              "--method", "pca", "--dims", "2", "-o", "scores.csv", "--png", "scores.png", "--seed", "1")  # fmt: skip
    assert (ran.code, ran.out) == (0, "")
    header, rows = table(Path("scores.csv").read_text())
    assert header[:7] == ["label", "site", "fault", "anomaly", "score", "p_value", "guilty_1"]
    assert {"pca", "ppca", "knn", "pca_p_value"} <= set(header)
    assert [row[3] for row in rows[50:]] == ["True"] * 10
    assert {row[6] for row in rows[50:]} == {"pressure"}
    assert sum(row[3] == "True" for row in rows[:50]) < 15
    assert rows[50][:3] == ["s170", "south", "1"]
    assert "10 known anomalies among 50 normal rows:\n  model: AUROC 1.000" in ran.err
    assert "wrote the scores of 60 rows to scores.csv" in ran.err
    assert "pressure" in ran.err
    assert Path("scores.png").read_bytes().startswith(b"\x89PNG")


def test_anomalies_scores_are_those_of_the_library(run: Run, made: Path, digits: Images) -> None:
    from embedkit.latent.anomalies import AnomalyDetector

    ran = run("anomalies", "digits", "--top", "120", "--model", str(made / "ae"), "--device", "cpu", "-o", "-")
    assert ran.code == 0
    header, rows = table(ran.out)
    detector = AnomalyDetector(embedkit.load(made / "ae"), prefit=True, random_state=0).fit(digits)
    found = detector.examine(digits)
    assert np.array_equal(np.array([row[header.index("score")] for row in rows], dtype=float), found.scores["model"])
    assert [row[header.index("guilty_1")] for row in rows] == [found.features[j] for j in found.guilty[:, 0]]
    assert [row[1] for row in rows] == [str(one) for one in np.asarray(digits.classes)]
    assert "what is normal was learned from these rows" in ran.err


def test_anomalies_train_a_model_that_can_be_kept(run: Run, made: Path) -> None:
    how = ("anomalies", str(made / "sensors.csv"), "--truth", "fault", "--normal", str(made / "sensors.csv"))
    ran = run(*how[:2], "--columns", "fault,site", "--epochs", "3", "--save-model", "kept", "-o", "a.jsonl")
    assert ran.code == 0, ran.err
    assert "training Autoencoder on 120 rows of 4 columns" in ran.err
    assert embedkit.load("kept").noise == 0.3
    assert list(embedkit.load("kept").feature_names_in_) == NAMES
    again = run(*how[:2], "--model", "kept", "-o", "b.jsonl")
    assert again.code == 0, again.err
    first, second = (json.loads(Path(name).read_text().splitlines()[0]) for name in ("a.jsonl", "b.jsonl"))
    assert (first["label"], second["site"]) == ("s0", "south")
    assert first["score"] == pytest.approx(second["score"], rel=1e-6)
    ran = run(*how, "--model", "kept", "-o", "c.csv")
    assert (ran.code, "0 of 120 rows are known as anomalies" in ran.err) == (4, True)


@pytest.mark.parametrize("method", [["--method", "pca", "--dims", "2"], ["--epochs", "2"]], ids=["pca", "autoencoder"])
def test_a_detector_that_was_saved_scores_other_rows_by_the_same_threshold(
    run: Run, made: Path, method: list[str]
) -> None:
    today = ["anomalies", str(made / "today.csv"), "--truth", "fault"]
    how = ["--normal", str(made / "sensors.csv"), "--measure", "error", "--seed", "3", "--jobs", "1"]
    ran = run(*today, *how, *method, "--save", "detector", "-o", "a.csv")
    assert (ran.code, "wrote the detector to detector: --model takes it" in ran.err) == (0, True), ran.err
    again = run(*today, "--model", "detector", "--jobs", "1", "-o", "b.csv")
    assert again.code == 0, again.err
    assert Path("a.csv").read_text() == Path("b.csv").read_text()
    assert "10 known anomalies among 50 normal rows" in again.err
    assert "was learned from these rows" not in again.err
    told = dict(line.split(None, 1) for line in run("info", "detector").out.splitlines() if " " in line)
    assert told["detector"].strip() == "AnomalyDetector"
    assert told["parameters.measure"].strip() == "error"
    assert told["model"].strip() == ("PCA" if "pca" in method else "Autoencoder")
    for option in (["--normal", str(made / "sensors.csv")], ["--measure", "error"], ["--save", "c"]):
        ran = run(*today, "--model", "detector", *option, "-o", "c.csv")
        assert (ran.code, f"{option[0]} is for learning what is normal" in ran.err) == (2, True)
    ran = run("encode", "detector", str(made / "today.csv"), "-o", "codes.csv")
    assert (ran.code, "holds a AnomalyDetector: an autoencoder" in ran.err) == (4, True)
    ran = run("anomalies", "digits", "--model", "detector", "-o", "c.csv")
    assert (ran.code, "Traceback" in ran.err) == (4, False)


def test_info_tells_of_a_classifier(run: Run, digits: Images) -> None:
    from embedkit.latent import EncoderClassifier

    rows = digits.to_embedding()
    EncoderClassifier(embedkit.PCA(4).fit(rows)).fit(rows, rows.columns["class"]).save("classifier")
    told = dict(line.split(None, 1) for line in run("info", "classifier").out.splitlines() if " " in line)
    assert told["classes"].strip() == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert (told["parameters.head"].strip(), told["encoder"].strip()) == ("linear", "PCA")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--truth", "fault", "-o", "s.csv"], 2, "--truth needs --normal DATA"),
        (["--model", "m", "--epochs", "3", "-o", "s.csv"], 2, "--dims, --epochs and --save-model are for training"),
        (["--method", "pca", "--save-model", "m", "-o", "s.csv"], 2, "not for pca"),
        (["--method", "pca", "--save", "no/such", "-o", "s.csv"], 4, "no/such"),
        (["-o", "s.npz"], 4, "say one of csv, tsv, parquet, jsonl"),
        (["-o", "-", "--format", "parquet"], 2, "stdout takes csv, tsv or jsonl, not parquet"),
        (["--false-alarms", "2", "--method", "pca", "-o", "s.csv"], 4, "false_alarms is a share between 0 and 1"),
        (["--method", "pca", "--top", "2", "-o", "s.csv"], 4, "2 sample(s) are too few"),
        (["--method", "pca", "--features", "score,b", "-o", "s.csv", "--columns", "p_value"], 4, "column 'p_value'"),
        (["--method", "pca", "--normal", "nothing", "-o", "s.csv"], 4, "there is no file, folder or data set"),
    ],
)
def test_anomalies_with_wrong_input(run: Run, args: list[str], code: int, message: str) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 3))
    Path("d.csv").write_text("score,b,p_value\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()))
    ran = run("anomalies", "d.csv", *args)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


# -- units -----------------------------------------------------------------------------------------------------------


def test_units_are_those_of_the_library(run: Run, made: Path, digits: Images) -> None:
    from embedkit.latent.units import concept_units

    np.save("train.npy", digits.pixels[:80])
    np.save("test.npy", digits.pixels[80:])
    classes = np.asarray(digits.classes)
    np.save("train-classes.npy", classes[:80])
    Path("test-classes.txt").write_text("".join(f"{one}\n" for one in classes[80:]))
    ran = run("units", str(made / "ae"), "train.npy", "--labels", "train-classes.npy", "--test", "test.npy",
              "--test-labels", "test-classes.npy", "--format", "json", "--no-controls")  # fmt: skip
    assert (ran.code, "there is neither a column nor a file 'test-classes.npy'" in ran.err) == (4, True)
    np.save("test-classes.npy", classes[80:])
    ran = run("units", str(made / "ae"), "train.npy", "--labels", "train-classes.npy", "--test", "test.npy",
              "--test-labels", "test-classes.npy", "--format", "json", "--png", "u.png", "--comparison", "c.png",
              "--seed", "2")  # fmt: skip
    assert ran.code == 0, ran.err
    report = concept_units({"Autoencoder": embedkit.load(made / "ae")}, digits.pixels[:80], classes[:80],
                           digits.pixels[80:], classes[80:], random_state=2)  # fmt: skip
    expected = [one._asdict() for one in report.of("Autoencoder")]
    for one in expected:
        del one["seed"]
    assert json.loads(ran.out) == expected
    assert "chosen on 80 rows, judged on 40; mean balanced accuracy:\n  Autoencoder: " in ran.err
    assert f"  pca: {report.mean('pca'):.3f} [" in ran.err
    assert "Autoencoder less the best control, " in ran.err
    for name in ("u.png", "c.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_units_of_a_share_of_the_rows_and_their_pictures(run: Run, made: Path) -> None:
    how = ("units", str(made / "vae"), "digits", "--top", "120", "--controls")
    ran = run(*how, "--all", "-o", "u.csv", "--stimuli", "s.png", "--invariance", "i.png")
    assert (ran.code, ran.out) == (0, ""), ran.err
    header, rows = table(Path("u.csv").read_text())
    assert header == ["label", "source", "concept", "unit", "sign", "threshold", "chosen", "accuracy"]
    assert {row[1] for row in rows} == {"VAE", "guessing", "input", "every input", "random weights", "pca",
                                        "linear probe of VAE"}  # fmt: skip
    assert "--test takes other rows" in ran.err
    assert "optimal stimuli excite their units" in ran.err
    for name in ("s.png", "i.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    again = run(*how, "--all", "--format", "csv")
    assert [row[1:] for row in rows] == table(again.out)[1]


def test_units_by_a_column_of_a_table(run: Run, made: Path) -> None:
    ran = run("units", str(made / "table"), str(made / "today.csv"), "--labels", "fault", "--no-controls")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].split() == ["source", "concept", "unit", "sign", "threshold", "chosen", "accuracy"]
    assert [line.split()[1] for line in ran.out.splitlines()[1:]] == ["0", "1"]
    assert "chosen on 42 rows, judged on 18" in ran.err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["table", "today.csv", "--labels", "nothing"], 4, "there is neither a column nor a file 'nothing'"),
        (["table", "today.csv"], 4, "neither a column nor a file 'class'; there are the columns: site, fault"),
        (["table", "today.csv", "--labels", "few.txt"], 4, "few.txt: holds 2 classes for 60 rows"),
        (["table", "today.csv", "--labels", "site", "--stimuli", "s.png"], 2, "are for models of pictures"),
        (["table", "today.csv", "--labels", "site", "--test-labels", "site"], 2, "--test-labels go with --test"),
        (["table", "one.csv", "--labels", "kind"], 4, "class odd has one row"),
        (["gan", "digits"], 4, "holds a GAN, which has no encoder"),
    ],
)
def test_units_with_wrong_input(run: Run, made: Path, args: list[str], code: int, message: str) -> None:
    Path("few.txt").write_text("a\nb\n")
    Path("one.csv").write_text(",".join([*NAMES, "kind"]) + "\n1,2,3,4,a\n1,2,3,5,a\n1,2,3,6,odd\n")
    places = [str(made / arg) if (made / arg).exists() else arg for arg in args]
    ran = run("units", *places)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


# -- what else is told of models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model", "data"),
    [("lattice", "vae", ""), ("traversal", "vae", "digits"), ("interpolation", "ae", "digits"),
     ("interpolation", "gan", ""), ("filters", "ae", ""), ("losses", "table", ""), ("kl", "vae", "")],
)  # fmt: skip
def test_pictures_of_what_a_model_learned(run: Run, made: Path, kind: str, model: str, data: str) -> None:
    ran = run("plot", "model", kind, str(made / model), *([data] if data else []), "-o", "p.png", "--top", "20")
    assert (ran.code, ran.out, ran.err) == (0, "", "drew p.png\n")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["traversal", "vae"], 2, "a traversal needs DATA"),
        (["interpolation", "vae"], 2, "an interpolation needs DATA"),
        (["traversal", "vae", "digits", "--top", "5", "--row", "5"], 2, "--row 5 does not exist: there are 5 rows"),
        (["interpolation", "vae", "digits", "--top", "1"], 2, "an interpolation needs two rows"),
        (["lattice", "gan"], 4, "holds a GAN, which has no encoder"),
        (["lattice", "table"], 2, "there are no pictures to draw"),
        (["lattice", "vae", "--units", "0", "9"], 4, "a component's number must be a whole number from 0 to 2, not 9"),
        (["kl", "ae"], 4, "the history has no kl_per_unit"),
        (["smiles", "ae"], 2, "'smiles' is not one of 'lattice'"),
    ],
)
def test_pictures_that_there_are_not(run: Run, made: Path, args: list[str], code: int, message: str) -> None:
    ran = run("plot", "model", *(str(made / arg) if (made / arg).exists() else arg for arg in args), "-o", "p.png")
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert not Path("p.png").exists()


def test_info_of_a_model(run: Run, made: Path) -> None:
    facts = {row["fact"]: row["value"] for row in json.loads(run("info", str(made / "table"), "--format", "json").out)}
    model = embedkit.load(made / "table")
    expected = {
        "model": "Autoencoder",
        "code": 2,
        "rows": "4, scaling standard",
        "columns": "speed, temp, pressure, flow",
        "weights": 4 * 16 + 16 + 16 * 2 + 2 + 2 * 16 + 16 + 16 * 4 + 4,
        "epochs": "20 of 20",
        "best epoch": model.best_epoch_,
        "parameters.random_state": 5,
    }
    assert expected.items() <= facts.items()
    assert float(facts["history.loss"]) == model.history_[model.best_epoch_ - 1]["loss"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_left_is_told_in_a_line(made: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-P", "-m", "embedkit.cli", "corpora", "list"]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stderr) == (1, "embedkit: there is no space left for what was to be written\n")


# -- what the commands read and write --------------------------------------------------------------------------------


def test_folders_of_colours(run: Run, rng: np.random.Generator) -> None:
    from PIL import Image

    for kind in ("red", "blue"):
        Path("pictures", kind).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("pictures", kind, f"{number}.png"))
    assert run("train", "autoencoder", "pictures", "--rgb", *ASKED, "-o", "m").code == 0
    ran = run("encode", "m", "pictures", "-o", "codes.csv")  # that they have colours the model knows
    assert ran.code == 0, ran.err
    assert embedkit.read("codes.csv").columns["class"].tolist() == ["blue"] * 4 + ["red"] * 4
    assert embedkit.read("codes.csv").labels[0] == "blue/0.png"
    assert run("generate", "m", "-n", "2", "-o", "new").code == 0
    assert images.read("new", mode="RGB").pixels.shape == (2, 6, 5, 3)


def test_memory_maps_of_numbers(run: Run, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(50, 6))
    np.save("rows.npy", rows)
    assert run("train", "autoencoder", "rows.npy", *ASKED, "-o", "m").code == 0
    assert run("encode", "m", "rows.npy", "--top", "20", "-o", "codes.npy").code == 0
    assert np.array_equal(np.load("codes.npy"), embedkit.load("m").transform(rows[:20]))
    assert run("train", "vae", "royals.safetensors", *ASKED, "-o", "v").code == 0
    assert run("encode", "v", "royals.safetensors", "-o", "c.csv").code == 0
    assert list(embedkit.read("c.csv")) == ["king", "queen", "man", "woman"]


def test_named_columns_are_written_and_read_back() -> None:
    from embedkit.formats.table_rows import write_columns
    from embedkit.labels import Labels

    columns = {
        'a "b"': np.array([0.1, np.nan, 1e300]),
        "=n": np.array([1, -2, 3]),
        "t": np.array(["nan", "=x", "p,q"]),
        "flag": np.array([True, False, True]),
    }
    stream = io.BytesIO()
    write_columns(stream, Labels(["null", "-b", 'c"c']), columns, ",")
    assert stream.getvalue().decode() == (
        '"label","a ""b""","=n","t","flag"\n"null",0.1,1,"nan",True\n"-b","",-2,"=x",False\n'
        '"c""c",1e+300,3,"p,q",True\n'
    )
    stream = io.BytesIO()
    write_columns(stream, Labels(["null", "-b", "c"]), columns, "\t", safe_text=True)
    assert stream.getvalue().decode().splitlines()[0] == '"label"\t"a ""b"""\t"\'=n"\t"t"\t"flag"'
    assert stream.getvalue().decode().splitlines()[2] == '"\'-b"\t""\t-2\t"\'=x"\tFalse'


def test_names_of_features(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,kind,b,a\nx,p,1,2\ny,q,3,4\n")
    read, names = read_table_named(tmp_path / "t.csv")
    assert names == ["b", "a"]
    assert read.vectors.tolist() == [[1, 2], [3, 4]]
    assert read_table_named(tmp_path / "t.csv", features=["a"])[1] == ["a"]
