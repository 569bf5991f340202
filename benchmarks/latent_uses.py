"""What latent models are good for, on MNIST: anomalies, few labels, concept units, each beside its controls.

MNIST comes from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). Run from the root:
python -m benchmarks.latent_uses anomalies|rare|labels|units [SEEDS] [--validation] [--small]. ``--validation`` judges
on 10,000 of the training pictures, which then nothing is trained on: for choosing anything. ``--small`` takes a tenth
of the training pictures and fewer draws, to see that all runs; its figures mean nothing. Both are only printed.

Choices (the smoothing of errors, nets, epochs, rates, which of several models is held against the controls) were made
on parts of the training pictures that were held out; thresholds, C, learning rates and the like are chosen anew in each
run, on rows held out of the training pictures. Test pictures are looked at once a run.
"""

from __future__ import annotations

import os
import sys
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
from embedkit.latent.baselines import area_under_roc, fit_components, flat_rows, untrained
from embedkit.latent.efficiency import MOVED_SVM, SCRATCH, SVM, label_efficiency, methods_for
from embedkit.latent.units import concept_units

DIGITS = range(10)
RARE = 0.01  # share of a class that is left in "rare" training sets
HELD_OUT, SPLIT = 10_000, 7
MOVES = {"shift": 2.0, "turn": 10.0, "zoom": 0.1}
STEPS = 400
TOGETHER, TOLD = 3, "three VAEs side by side"
REPORTED = "fine-tuned"  # what the bars are for, fixed before the test pictures were looked at


def mnist(small: bool, held_out: bool) -> tuple[Images, Images]:
    """Pictures to learn from and to judge by: test pictures, or some held out of the training ones."""
    folder = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data")) / "mnist"
    train, test = (images.read(folder / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k"))
    if held_out:
        order = np.random.default_rng(SPLIT).permutation(len(train))
        train, test = train.take(np.sort(order[HELD_OUT:])), train.take(np.sort(order[:HELD_OUT]))
    return (train.sample(6000), test.sample(2000)) if small else (train, test)


def classes_of(pictures: Images) -> npt.NDArray[Any]:
    assert pictures.classes is not None
    return pictures.classes


# -- anomalies --------------------------------------------------------------------------------------------------------


def anomalies(seeds: int, train: Images, test: Images, small: bool) -> str:
    """One digit normal, nine anomalous: AUROC of the default detector beside what it has to beat."""
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


def rare(seeds: int, train: Images, test: Images, small: bool) -> str:
    """One digit thinned to a hundredth among the nine others: AUROC of that digit against these."""
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


def labels(seeds: int, train: Images, test: Images, small: bool) -> str:
    """Accuracy with 100 and 1,000 labels, ten draws of each for each encoder."""
    held = 1000 if small else 3000
    reports = []
    for seed in range(seeds):
        model = encoder_for_labels(train, small, seed)
        methods = methods_for(model, train, steps=30 if small else STEPS, **MOVES)
        report = label_efficiency(
            model, train, classes_of(train), test, classes_of(test), sizes=(100, 1000), draws=3 if small else 10,
            methods=methods, validation=held, random_state=seed,
        )  # fmt: skip
        print(report, flush=True)
        reports.append(report)
    lines = ["| method | labels | " + " | ".join(f"encoder {seed}" for seed in range(seeds)) + " | mean | chosen |",
             "|---" * (seeds + 4) + "|"]  # fmt: skip
    for each in zip(*(report.figures for report in reports), strict=True):
        told = " | ".join(f"{one.accuracy:.4f} ({one.low:.4f} to {one.high:.4f})" for one in each)
        mean = np.mean([one.accuracy for one in each])
        chosen = "; ".join(dict.fromkeys(one.chosen for one in each))
        lines.append(f"| {each[0].method} | {each[0].labels} | {told} | **{mean:.4f}** | {chosen} |")
    beaten = (SVM, MOVED_SVM, SCRATCH)
    lines += ["", f"| {REPORTED} less | labels | " + " | ".join(f"encoder {seed}" for seed in range(seeds)) + " |",
              "|---" * (seeds + 2) + "|"]  # fmt: skip
    for other in beaten:
        for size in reports[0].sizes:
            gaps = (report.difference(REPORTED, other, size) for report in reports)
            told = " | ".join(f"{gap:+.4f} ({low:+.4f} to {high:+.4f})" for gap, low, high in gaps)
            lines.append(f"| {other} | {size} | {told} |")
    moved = ", ".join(f"{name} {value:g}" for name, value in MOVES.items())
    return (
        f"Of the pretrained ones, '{REPORTED}' is the one that counts; that was fixed before, on held-out training "
        f"pictures. An interval is of the mean over draws of labels (10 draws, 95 %, Student's t). Both nets are "
        f"trained {STEPS} steps on pictures moved at random ({moved}). Each method's setting is chosen on the same "
        f"{held:,} labelled training pictures, which are in no draw: a help that one with 100 labels would not have, "
        "and the same for all.\n\n" + "\n".join(lines)
    )


# -- concept units ----------------------------------------------------------------------------------------------------


class SideBySide:
    """Several encoders as one: all their units."""

    def __init__(self, models: list[Any]) -> None:
        self.models = models

    def transform(self, rows: Any) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = np.hstack([np.asarray(model.transform(rows)) for model in self.models])
        return found


def units(seeds: int, train: Images, test: Images, small: bool) -> str:
    """Mean balanced accuracy of the best unit of each digit, models of so many seeds."""

    def made(seed: int) -> VAE:
        return VAE(20, architecture="dense", beta=4.0, epochs=2 if small else 10, random_state=seed).fit(train)

    many = [[made(TOGETHER * seed + one) for one in range(TOGETHER)] for seed in range(seeds)]
    report = concept_units(
        {
            TOLD: [SideBySide(some) for some in many],
            "their nets, untrained": [
                SideBySide([untrained(model, train, TOGETHER * seed + one) for one, model in enumerate(some)])
                for seed, some in enumerate(many)
            ],
            "one of these VAEs": [some[0] for some in many],
        },
        train, classes_of(train), test, classes_of(test),
    )  # fmt: skip
    lines = ["| source | mean balanced accuracy | 95 % interval | each digit |", "|---|---|---|---|"]
    for source in report.sources:
        low, high = report.interval(source)
        each = [np.mean([u.accuracy for u in report.units if u.source == source and u.concept == c])
                for c in report.concepts]  # fmt: skip
        told = " ".join(f"{one:.3f}" for one in each)
        lines.append(f"| {source} | {report.mean(source):.4f} | {low:.4f} to {high:.4f} | {told} |")
    lines.append("")
    for control in ("every input", "input", "random weights", "their nets, untrained", "pca"):
        gap = report.difference(TOLD, control)
        lines.append(f"- {TOLD} less {control}: {gap.difference:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})")
    lines.append(
        f"\n'{TOLD}' ({TOGETHER} dense VAEs of 20 units and beta 4, of different seeds) is what counts; that was fixed "
        f"on held-out training pictures. The controls have as many units ({20 * TOGETHER}), but for 'every input', "
        "which has all 784, and for 'one of these VAEs', which is no control. 'random weights' are random projections."
    )
    return "\n".join(lines)


TASKS = {"anomalies": anomalies, "rare": rare, "labels": labels, "units": units}


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    small, held_out = "--small" in arguments, "--validation" in arguments
    task, *rest = [argument for argument in arguments if not argument.startswith("--")] or [""]
    if task not in TASKS:
        sys.exit(__doc__)
    seeds = int(rest[0]) if rest else 1
    load = os.getloadavg()
    with Stopwatch() as watch:
        body = TASKS[task](seeds, *mnist(small, held_out), small)
    body = f"{seeds} seed(s), one thread; {watch.wall:.0f} s, {watch.cpu:.0f} CPU s.\n\n{body}"
    if small or held_out:
        print(body)
        return
    write(f"latent_{task}", f"Latent models: {task}", f"python -m benchmarks.latent_uses {task} {seeds}",
          ["numpy", "torch", "scikit-learn", "embedkit"], load, body)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
