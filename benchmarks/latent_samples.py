"""Samples of latent models, and reconstructions with a critic in the loss, as four frozen classifiers judge them.

MNIST from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). Models and judges are trained on 50,000 of the
training images; they are judged against the 10,000 test images, or, while anything is being chosen, against the other
10,000 training images (PART "validation"). Figures of one judge compare with those of the same judge only. Run from the
root: python -m benchmarks.latent_samples [SEEDS] [PART] [EPOCHS: a factor for all of them, to try things out]
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.report import Stopwatch, write
from embedkit import GAN, VAE, AdversarialAutoencoder, Autoencoder, images
from embedkit.latent.judges import FEATURES, Judge, Verdict, judge_samples, sharpness, train_judge

DATA = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
JUDGES, SAMPLES, HELD_OUT, SPLIT = 4, 10_000, 10_000, 7
ABLATION = (0.0, 0.001, 0.01)  # weights of the critic beside the squared error

Pictures = npt.NDArray[Any]


class Row(NamedTuple):
    """One seed's figures of one way to make pictures."""

    verdicts: list[Verdict]
    sharpness: float
    error: float | None
    cpu: float


def parts() -> dict[str, images.Images]:
    """MNIST in three: "train", "validation", "test"."""
    train, test = (
        images.read(DATA / "mnist" / f"{stem}-images-idx3-ubyte.gz", DATA / "mnist" / f"{stem}-labels-idx1-ubyte.gz")
        for stem in ("train", "t10k")
    )
    order = np.random.default_rng(SPLIT).permutation(len(train))
    return {
        "train": train.take(np.sort(order[HELD_OUT:])),
        "validation": train.take(np.sort(order[:HELD_OUT])),
        "test": test,
    }


def models(epochs: Callable[[int], int], seed: int) -> dict[str, tuple[Any, tuple[str | None, ...]]]:
    """What is trained, and how rows are made by it."""
    shared: dict[str, Any] = {"n_jobs": 1, "random_state": seed, "device": "cpu"}
    return {
        "VAE": (VAE(20, epochs=epochs(10), **shared), ("prior", "gmm")),
        "adversarial autoencoder": (AdversarialAutoencoder(epochs=epochs(10), **shared), ("prior", "gmm")),
        "GAN": (GAN(epochs=epochs(10), **shared), (None,)),
    } | {
        f"autoencoder, critic {weight:g}" if weight else "autoencoder, squared error alone": (
            Autoencoder(16, adversarial=weight, epochs=epochs(6), **shared), ("reconstructions",),
        )
        for weight in ABLATION
    }  # fmt: skip


def pictures_by(model: Any, how: str | None, real: images.Images, seed: int) -> Pictures:
    if how == "reconstructions":
        return np.asarray(model.reconstruct(real))
    made = model.sample(SAMPLES, random_state=seed) if how is None else model.sample(SAMPLES, how, random_state=seed)
    return np.asarray(made)


def error_of(model: Any, real: images.Images) -> float | None:
    """Mean squared error of reconstructions, where there are any."""
    if not hasattr(model, "reconstruct"):
        return None
    return float(np.square(model.reconstruct(real) - real.pixels / 255).mean())


def measured(
    judges: Sequence[Judge],
    train: images.Images,
    real: images.Images,
    seeds: Sequence[int],
    epochs: Callable[[int], int],
) -> Iterator[dict[str, list[Row]]]:
    """All rows so far, after each seed."""
    some = train.sample(SAMPLES, random_state=0).pixels
    found = {"real images (of training)": [Row(judge_samples(judges, real, some), _sharp(some), None, 0.0)]}
    for seed in seeds:
        for name, (model, hows) in models(epochs, seed).items():
            with Stopwatch() as watch:
                model.fit(train)
            error = error_of(model, real)
            for how in hows:
                made = pictures_by(model, how, real, seed)
                row = Row(judge_samples(judges, real, made), _sharp(made), error, watch.cpu)
                key = name if how is None else f"{name}: {how}"
                found.setdefault(key, []).append(row)
                print(seed, key, [round(verdict.distance, 1) for verdict in row.verdicts], row[1:], flush=True)
        yield found


def _sharp(pictures: Pictures) -> float:
    units = pictures / 255 if pictures.dtype == np.uint8 else pictures
    return float(sharpness(units).mean())


def table(found: dict[str, list[Row]]) -> list[str]:
    """Means over the seeds."""
    judged = " | ".join(f"distance, judge {number + 1}" for number in range(JUDGES))
    lines = [f"| | {judged} | total variation | classes | confidence | sharpness | error | CPU s |",
             "|---" * (JUDGES + 7) + "|"]  # fmt: skip
    for name, rows in found.items():
        distances = (statistics.mean(row.verdicts[j].distance for row in rows) for j in range(JUDGES))
        verdicts = [verdict for row in rows for verdict in row.verdicts]
        errors = [row.error for row in rows if row.error is not None]
        cells = [
            *(f"{distance:.1f}" for distance in distances),
            f"{max(verdict.variation for verdict in verdicts):.3f}",
            f"{min(verdict.present for verdict in verdicts)}",
            f"{statistics.mean(verdict.confidence for verdict in verdicts):.3f}",
            f"{statistics.mean(row.sharpness for row in rows):.3f}",
            f"{statistics.mean(errors):.5f}" if errors else "",
            f"{statistics.mean(row.cpu for row in rows):.0f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def claims(found: dict[str, list[Row]]) -> list[str]:
    """How often one way has the smaller distance than another under the same judge, with the same seed."""
    wanted = [
        ("VAE: gmm", "VAE: prior"),
        ("adversarial autoencoder: prior", "VAE: prior"),
        ("adversarial autoencoder: prior", "VAE: gmm"),
        ("GAN", "VAE: prior"),
        ("GAN", "VAE: gmm"),
        ("GAN", "adversarial autoencoder: prior"),
    ]
    lines = []
    for better, worse in wanted:
        pairs = [
            (one.distance, two.distance)
            for mine, its in zip(found[better], found[worse], strict=True)
            for one, two in zip(mine.verdicts, its.verdicts, strict=True)
        ]
        ratio = statistics.median(one / two for one, two in pairs)
        lines.append(f"- {better} closer to real images than {worse}: in {sum(one < two for one, two in pairs)} of "
                     f"{len(pairs)} pairs (same judge and seed); median ratio of distances {ratio:.2f}")  # fmt: skip
    return lines


def main() -> None:
    load = os.getloadavg()
    torch.set_num_threads(1)
    seeds = range(1, 1 + (int(sys.argv[1]) if len(sys.argv) > 1 else 3))
    part = sys.argv[2] if len(sys.argv) > 2 else "test"
    factor = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
    data = parts()
    real = data[part]
    judges = [train_judge(data["train"], random_state=100 + number, device="cpu") for number in range(JUDGES)]
    accuracy = ", ".join(f"{judge.accuracy(real, real.classes):.4f}" for judge in judges if real.classes is not None)
    for found in measured(judges, data["train"], real, seeds, lambda n: max(1, round(n * factor))):
        done = len(found["VAE: prior"])
        body = (
            f"{SAMPLES:,} samples each beside the {len(real):,} images of the {part} part; means over {done} seed(s), "
            "of total variation the largest and of classes the fewest that any judge saw. The judges are LeNets "
            f"(accuracy {accuracy}); distance: Frechet distance of their {FEATURES} features; classes: those with a "
            "tenth of their share among real images or more; error: mean squared error of reconstructions of the same "
            "part; sharpness: variance of the Laplacian. Every choice (architecture, rates, weights) was made on the "
            "validation part.\n\n" + "\n".join([*table(found), "", *claims(found)])
        )
        if part == "test" and factor == 1:  # after each seed: a run that is broken off has measured something
            command = f"python -m benchmarks.latent_samples {done}"
            write("latent_samples", "Samples of latent models", command, ["numpy", "torch", "embedkit"], load, body)
        else:
            print(body)


if __name__ == "__main__":
    main()
