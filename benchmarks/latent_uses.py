"""What latent models are good for, on MNIST: anomalies, few labels, concept units, each beside its controls.

MNIST comes from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). Run from the root:
python -m benchmarks.latent_uses anomalies|rare|labels|units [SEEDS] [--small]. ``--small`` takes a tenth of the
training pictures and fewer draws, to see that all runs; its figures mean nothing, and are only printed.

Choices (the smoothing of errors, nets, epochs, rates) were made on parts of the training pictures that were held out;
thresholds, C, learning rates and the like are chosen anew in each run, on rows held out of the training pictures. Test
pictures are looked at once a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.report import Stopwatch, write
from embedkit import images
from embedkit.images import Images
from embedkit.latent import VAE, Autoencoder
from embedkit.latent.anomalies import AnomalyDetector
from embedkit.latent.baselines import area_under_roc, fit_components, flat_rows
from embedkit.latent.efficiency import MOVED_SVM, SCRATCH, SVM, label_efficiency, methods_for
from embedkit.latent.units import concept_units

DIGITS = range(10)
RARE = 0.01  # share of a class that is left in "rare" training sets
MOVES = {"shift": 2.0, "turn": 10.0, "zoom": 0.1}
STEPS = 400


def mnist(small: bool) -> tuple[Images, Images]:
    folder = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data")) / "mnist"
    train, test = (images.read(folder / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k"))
    return (train.sample(6000), test.sample(2000)) if small else (train, test)


def classes_of(pictures: Images) -> npt.NDArray[Any]:
    assert pictures.classes is not None
    return pictures.classes


# -- anomalies --------------------------------------------------------------------------------------------------------


def anomalies(seeds: int, small: bool) -> str:
    """One digit normal, nine anomalous: AUROC of the default detector beside what it has to beat."""
    train, test = mnist(small)
    y, y_test = classes_of(train), classes_of(test)
    seen = flat_rows(test)
    found: Areas = {}
    promised, alarms = [], []
    for seed in range(seeds):
        for digit in DIGITS:
            detector = AnomalyDetector(random_state=seed).fit(train.take(np.flatnonzero(y == digit)))
            report = detector.report(test, y_test != digit, replicates=1)
            put(found, "default detector", digit, report.of("model").auroc)
            put(found, "PCA-32, counted alike", digit, report.of("pca").auroc)
            put(found, "probabilistic PCA-32", digit, report.of("ppca").auroc)
            put(found, "5 nearest neighbours", digit, report.of("knn").auroc)
            plain = fit_components(flat_rows(train.take(np.flatnonzero(y == digit))), 32)
            error = -(plain.residual(seen) ** 2).mean(axis=1)
            put(found, "PCA-32, plain residual", digit, area_under_roc(error[y_test == digit], error[y_test != digit]))
            net = -np.asarray(detector.model_.reconstruction_errors(test), dtype=np.float64).mean(axis=1)
            put(found, "its net, plain residual", digit, area_under_roc(net[y_test == digit], net[y_test != digit]))
            promised.append(detector.false_alarm_rate_)
            alarms.append(report.of("model").false_alarms)
            print(seed, digit, {name: round(some[digit][-1], 4) for name, some in found.items()}, flush=True)
    told = f"False alarms promised {np.mean(promised):.3f}, on the test pictures {np.mean(alarms):.3f}."
    return f"{table(found)}\n\n{told}"


def rare(seeds: int, small: bool) -> str:
    """One digit thinned to a hundredth among the nine others: AUROC of that digit against these."""
    train, test = mnist(small)
    y, y_test = classes_of(train), classes_of(test)
    found: Areas = {}
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        for digit in DIGITS:
            own = np.flatnonzero(y == digit)
            kept = rng.choice(own, max(1, int(RARE * len(own))), replace=False)
            rows = np.sort(np.concatenate([np.flatnonzero(y != digit), kept]))
            model = Autoencoder(32, architecture="dense", epochs=2 if small else 5, random_state=seed)
            detector = AnomalyDetector(model, random_state=seed).fit(train.take(rows))
            scores = {"autoencoder-32, as the detector counts": detector.score_samples(test)}
            scores["autoencoder-32, plain residual"] = detector.model_.score_samples(test)
            beside = detector.baseline_scores(test)
            scores |= {"PCA-32, counted alike": beside["pca"], "5 nearest neighbours": beside["knn"]}
            for name, some in scores.items():
                put(found, name, digit, area_under_roc(some[y_test != digit], some[y_test == digit]))
            print(seed, digit, {name: round(some[digit][-1], 4) for name, some in found.items()}, flush=True)
    return f"{RARE:.0%} of each digit in turn is left among the nine others.\n\n{table(found)}"


Areas = dict[str, list[list[float]]]


def put(found: Areas, name: str, digit: int, area: float) -> None:
    found.setdefault(name, [[] for _ in DIGITS])[digit].append(area)


def table(found: Areas) -> str:
    lines = ["| AUROC | mean | " + " | ".join(map(str, DIGITS)) + " |", "|---" * 12 + "|"]
    for name, each in found.items():
        means = [float(np.mean(some)) for some in each]
        lines.append(f"| {name} | **{np.mean(means):.4f}** | " + " | ".join(f"{one:.3f}" for one in means) + " |")
    return "\n".join(lines)


# -- few labels -------------------------------------------------------------------------------------------------------


def encoder_for_labels(train: Images, small: bool, seed: int) -> Autoencoder:
    return Autoencoder(64, noise=0.3, epochs=2 if small else 10, random_state=seed).fit(train)


def labels(seeds: int, small: bool) -> str:
    """Accuracy with 100 and 1,000 labels, ten draws of each for each encoder."""
    train, test = mnist(small)
    lines = ["| seed | method | labels | accuracy | 95 % interval | chosen |", "|---|---|---|---|---|---|"]
    gaps = ["\n| seed | labels | best pretrained | less SVM on inputs | less SVM on moved inputs | less from scratch |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for seed in range(seeds):
        model = encoder_for_labels(train, small, seed)
        methods = methods_for(model, train, steps=30 if small else STEPS, **MOVES)
        report = label_efficiency(
            model, train, classes_of(train), test, classes_of(test), sizes=(100, 1000), draws=3 if small else 10,
            methods=methods, validation=1000 if small else 3000, random_state=seed,
        )  # fmt: skip
        lines += [
            f"| {seed} | {one.method} | {one.labels} | {one.accuracy:.4f} | {one.low:.4f} to {one.high:.4f} | "
            f"{one.chosen} |"
            for one in report.figures
        ]
        ours = [name for name in report.methods if name not in (SVM, MOVED_SVM, SCRATCH)]
        for size in report.sizes:
            gained = {name: report.difference(name, SVM, size)[0] for name in ours}
            best = max(ours, key=gained.__getitem__)
            told = [f"{d[0]:+.4f} ({d[1]:+.4f} to {d[2]:+.4f})" for d in (report.difference(best, other, size)
                    for other in (SVM, MOVED_SVM, SCRATCH))]  # fmt: skip
            gaps.append(f"| {seed} | {size} | {best} | {' | '.join(told)} |")
        print(report, flush=True)
    moved = ", ".join(f"{name} {value:g}" for name, value in MOVES.items())
    return (
        "\n".join([*lines, *gaps]) + f"\n\nBoth nets are trained {STEPS} steps on pictures moved at random ({moved})."
    )


# -- concept units ----------------------------------------------------------------------------------------------------


def units(seeds: int, small: bool) -> str:
    """Mean balanced accuracy of the best unit of each digit, models of so many seeds."""
    train, test = mnist(small)
    epochs = 3 if small else 20
    kinds: dict[str, Callable[[int], Any]] = {
        "dense VAE-20": lambda seed: VAE(20, architecture="dense", epochs=epochs, random_state=seed),
        "denoising conv autoencoder-20": lambda seed: Autoencoder(20, noise=0.3, epochs=epochs // 2, random_state=seed),
    }
    models = {name: [make(seed).fit(train) for seed in range(seeds)] for name, make in kinds.items()}
    report = concept_units(models, train, classes_of(train), test, classes_of(test))
    lines = ["| source | mean balanced accuracy | 95 % interval | each digit |", "|---|---|---|---|"]
    for source in report.sources:
        low, high = report.interval(source)
        each = [np.mean([u.accuracy for u in report.units if u.source == source and u.concept == c])
                for c in report.concepts]  # fmt: skip
        told = " ".join(f"{one:.3f}" for one in each)
        lines.append(f"| {source} | {report.mean(source):.4f} | {low:.4f} to {high:.4f} | {told} |")
    best = max(models, key=report.mean)
    lines.append("")
    for control in ("every input", "input", "random weights", "pca"):
        gap = report.difference(best, control)
        lines.append(f"- {best} less {control}: {gap.difference:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})")
    return "\n".join(lines)


TASKS = {"anomalies": anomalies, "rare": rare, "labels": labels, "units": units}


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    small = "--small" in arguments
    task, *rest = [argument for argument in arguments if argument != "--small"] or [""]
    if task not in TASKS:
        sys.exit(__doc__)
    seeds = int(rest[0]) if rest else 1
    load = os.getloadavg()
    with Stopwatch() as watch:
        body = TASKS[task](seeds, small)
    body = f"{seeds} seed(s), one thread; {watch.wall:.0f} s, {watch.cpu:.0f} CPU s.\n\n{body}"
    if small:
        print(body)
        return
    write(f"latent_{task}", f"Latent models: {task}", f"python -m benchmarks.latent_uses {task} {seeds}",
          ["numpy", "torch", "scikit-learn", "embedkit"], load, body)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
