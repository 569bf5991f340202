"""Latent models on MNIST: the speed of the training loop, and what is learned.

MNIST from the folder of real data ($EMBEDKIT_DATA, else ../shared/data). Run from the root:

    python -m benchmarks.latent speed [--rounds 5] [--threads 1]
    python -m benchmarks.latent quality [--seeds 3]
    python -m benchmarks.latent likelihood [--seeds 3]

``speed`` trains in turns with a plain TensorDataset loop (benchmarks/plain_autoencoder.py), with pythae, skorch and
lightning where they are installed (for this only), and with bfloat16. ``quality`` (autoencoders beside PCA) and
``likelihood`` (variational ones) train on all 60,000 images, with the defaults and what else was chosen on 6,000
held-out images of the training set, and judge on the 10,000 test images.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import plain_autoencoder
from benchmarks.report import write
from embedkit import PCA, VAE, Autoencoder, images
from embedkit.latent.nets import channels_for, decoder, encoder

DATA = Path(os.environ.get("EMBEDKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHAPE, HIDDEN, WIDTH, BATCH, RATE = (1, 28, 28), (512, 256), 32, 128, 3e-3


def mnist(stem: str) -> images.Images:
    return images.read(DATA / "mnist" / f"{stem}-images-idx3-ubyte.gz")


# -- speed -------------------------------------------------------------------------------------------------------------


def nets(architecture: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    channels = None if architecture == "dense" else channels_for(SHAPE, None)
    return encoder(SHAPE, WIDTH, HIDDEN, channels), decoder(SHAPE, WIDTH, HIDDEN, channels)


def ours(pixels: npt.NDArray[np.uint8], architecture: Any, precision: Any = "float32") -> float:
    model = Autoencoder(WIDTH, architecture=architecture, epochs=1, batch_size=BATCH, learning_rate=RATE, validation=0,
                        precision=precision, random_state=0)  # fmt: skip
    begin = time.process_time()
    model.fit(pixels)
    return time.process_time() - begin


def plain(pixels: npt.NDArray[np.uint8], architecture: str) -> float:
    rows = torch.from_numpy(pixels).reshape(-1, *SHAPE).float() / 255
    (seconds,) = plain_autoencoder.train(*nets(architecture), rows, epochs=1, batch_size=BATCH, learning_rate=RATE)
    return seconds


def peer(name: str) -> Any:
    """A module that need not be there, and so has no types."""
    return importlib.import_module(name)


def by_pythae(pixels: npt.NDArray[np.uint8], architecture: str) -> float:
    import tempfile

    data, models, parts, kinds, trainers = (
        peer(f"pythae.{name}")
        for name in ("data.datasets", "models", "models.base.base_utils", "models.nn", "trainers")
    )
    first, last = nets(architecture)

    class Encoder(kinds.BaseEncoder):  # type: ignore[misc,name-defined]  # no types here; pythae takes only its own kind
        def __init__(self) -> None:
            super().__init__()
            self.net = first

        def forward(self, x: torch.Tensor) -> Any:
            return parts.ModelOutput(embedding=self.net(x))

    class Decoder(kinds.BaseDecoder):  # type: ignore[misc,name-defined]  # likewise
        def __init__(self) -> None:
            super().__init__()
            self.net = last

        def forward(self, z: torch.Tensor) -> Any:
            return parts.ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    rows = torch.from_numpy(pixels).reshape(-1, *SHAPE).float() / 255
    with tempfile.TemporaryDirectory() as folder:
        model = models.AE(models.AEConfig(input_dim=SHAPE, latent_dim=WIDTH), Encoder(), Decoder())
        config = trainers.BaseTrainerConfig(output_dir=folder, num_epochs=1, per_device_train_batch_size=BATCH,
                                            learning_rate=RATE, optimizer_cls="AdamW", no_cuda=True)  # fmt: skip
        dataset = data.BaseDataset(rows, torch.zeros(len(rows)))
        trainer = trainers.BaseTrainer(model, dataset, training_config=config)
        begin = time.process_time()
        trainer.train()
        return time.process_time() - begin


def by_skorch(pixels: npt.NDArray[np.uint8], architecture: str) -> float:
    skorch = peer("skorch")
    rows = (pixels.reshape(-1, *SHAPE) / 255).astype(np.float32)
    module = torch.nn.Sequential(*nets(architecture), torch.nn.Sigmoid())
    net = skorch.NeuralNetRegressor(module, criterion=torch.nn.MSELoss, optimizer=torch.optim.AdamW, lr=RATE,
                                    max_epochs=1, batch_size=BATCH, iterator_train__shuffle=True, train_split=None,
                                    verbose=0)  # fmt: skip
    begin = time.process_time()
    net.fit(rows, rows)
    return time.process_time() - begin


def by_lightning(pixels: npt.NDArray[np.uint8], architecture: str) -> float:
    from torch.utils.data import DataLoader, TensorDataset

    lightning = peer("lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]  # likewise
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(*nets(architecture), torch.nn.Sigmoid())

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self.net(batch[0]), batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=RATE)

    rows = torch.from_numpy(pixels).reshape(-1, *SHAPE).float() / 255
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    begin = time.process_time()
    trainer.fit(Module(), DataLoader(TensorDataset(rows), batch_size=BATCH, shuffle=True))
    return time.process_time() - begin


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def speed(rounds: int, threads: int, n: int) -> None:
    load = os.getloadavg()
    torch.set_num_threads(threads)
    pixels = np.array(mnist("train").pixels[:n])
    peers: dict[str, Callable[[npt.NDArray[np.uint8], str], float]] = {"plain TensorDataset loop": plain}
    peers |= {name: run for name, run in (("pythae", by_pythae), ("skorch", by_skorch), ("lightning", by_lightning))
              if installed(name)}  # fmt: skip
    lines = [
        "| nets | | CPU s an epoch | images a CPU second | embedkit's time is so much of it |",
        "|---|---|---|---|---|",
    ]
    for architecture in ("dense", "conv"):
        times: dict[str, list[float]] = {}
        for _ in range(rounds + 1):  # the first warms all of them
            times.setdefault("embedkit", []).append(ours(pixels, architecture))
            times.setdefault("embedkit, bfloat16", []).append(ours(pixels, architecture, "bfloat16"))
            for name, run in peers.items():
                times.setdefault(name, []).append(run(pixels, architecture))
        for name, taken in times.items():
            kept, mine = taken[1:], times["embedkit"][1:]
            ratio = statistics.median(a / b for a, b in zip(mine, kept, strict=True))
            middle = statistics.median(kept)
            lines.append(f"| {architecture} | {name} | {middle:.2f} | {n / middle:,.0f} | {ratio:.2f} |")
    body = (f"Autoencoder 784-512-256-32 and convolutional (16, 32 channels), batch {BATCH}, AdamW, one-cycle, {n:,} "
            f"images; {threads} thread(s), {rounds} interleaved rounds after one to warm up, medians. embedkit's time "
            "is that of `fit`: checks, nets, and the codes it keeps are in it.\n\n" + "\n".join(lines))  # fmt: skip
    packages = ["torch", "embedkit", *(name for name in ("pythae", "skorch", "lightning") if name in peers)]
    name = "latent_speed" if threads == 1 else f"latent_speed_{threads}_threads"
    write(
        name, "Training latent models", f"python -m benchmarks.latent speed --threads {threads}", packages, load, body
    )


# -- quality -----------------------------------------------------------------------------------------------------------


def probes(codes: Any, classes: Any, test_codes: Any, test_classes: Any) -> tuple[float, float]:
    """Accuracy of the five nearest neighbours, and of a linear classifier of standardised codes."""
    nearest = KNeighborsClassifier(5).fit(codes, classes).score(test_codes, test_classes)
    mean, deviation = codes.mean(axis=0), codes.std(axis=0) + 1e-6
    linear = LogisticRegression(max_iter=300).fit((codes - mean) / deviation, classes)
    return float(nearest), float(linear.score((test_codes - mean) / deviation, test_classes))


def binarised(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each pixel tossed once: the same 0s and 1s for every model and seed."""
    tossed: npt.NDArray[np.uint8] = (np.random.default_rng(1).random(pixels.shape) < pixels / 255).astype(
        np.uint8
    ) * 255
    return tossed


def cells(found: Sequence[tuple[float, ...]], digits: tuple[int, ...]) -> str:
    """Means over seeds, and from where to where they go."""
    texts = []
    for values, places in zip(zip(*found, strict=True), digits, strict=True):
        spread = f" ({min(values):.{places}f} to {max(values):.{places}f})" if len(values) > 1 and places else ""
        texts.append(f"{np.mean(values):.{places}f}{spread}")
    return " | ".join(texts)


def quality(seeds: int, only: list[str]) -> None:
    load = os.getloadavg()
    train, test = mnist("train"), mnist("t10k")
    x, y, xt, yt = np.array(train.pixels), train.classes, np.array(test.pixels), test.classes
    flat, flat_t = x.reshape(len(x), -1) / np.float32(255), xt.reshape(len(xt), -1) / np.float32(255)
    pca = PCA(WIDTH, random_state=0).fit(flat)
    codes, codes_t = pca.transform(flat), pca.transform(flat_t)
    lost = float(np.square(pca.inverse_transform(codes_t) - flat_t).mean())
    nearest, linear = probes(codes, y, codes_t, yt)
    autoencoders: dict[str, Callable[[int], Autoencoder]] = {
        "conv AE, z = 32, 10 epochs": lambda seed: Autoencoder(WIDTH, epochs=10, validation=0, random_state=seed),
        "conv AE, z = 32, 10 epochs, half the rate": lambda seed: Autoencoder(
            WIDTH, epochs=10, learning_rate=3e-3, validation=0, random_state=seed),
        "dense AE, z = 32, 10 epochs": lambda seed: Autoencoder(
            WIDTH, architecture="dense", epochs=10, validation=0, random_state=seed),
        "winner-take-all AE, one layer of 256 units, 10 epochs": lambda seed: Autoencoder(
            256, architecture="dense", hidden=(), sparsity=0.1, epochs=10, validation=0, random_state=seed),
    }  # fmt: skip
    lines = ["| | test MSE | of PCA's | kNN-5 | linear probe | CPU s |", "|---|---|---|---|---|---|",
             f"| PCA-32 | {lost:.5f} | 1 | {nearest:.4f} | {linear:.4f} | |"]  # fmt: skip
    for name, make in autoencoders.items():
        if only and not any(word in name for word in only):
            continue
        found = []
        for seed in range(seeds):
            begin = time.process_time()
            model = make(seed).fit(x)
            seconds = time.process_time() - begin
            error = float(-model.score_samples(xt).mean())
            found.append((error, error / lost, *probes(model.transform(x), y, model.transform(xt), yt), seconds))
            print(name, seed, found[-1], flush=True)
        lines.append(f"| {name} | {cells(found, (5, 3, 4, 4, 0))} |")
    body = (f"Means of {seeds} seed(s), batch 128, the defaults otherwise (chosen on 6,000 held-out images of the "
            "training set). Neighbours and the linear probe learn from all 60,000.\n\n" + "\n".join(lines))  # fmt: skip
    write("latent_quality", "What autoencoders learn of MNIST", f"python -m benchmarks.latent quality --seeds {seeds}",
          ["torch", "scikit-learn", "embedkit"], load, body)  # fmt: skip


def likelihood(seeds: int, only: list[str]) -> None:
    load = os.getloadavg()
    x, rows = np.array(mnist("train").pixels), binarised(np.array(mnist("t10k").pixels))
    vaes: dict[str, Callable[[int], VAE]] = {
        "conv VAE, z = 20, 10 epochs": lambda seed: VAE(epochs=10, validation=0, random_state=seed),
        "dense VAE, z = 20, 20 epochs": lambda seed: VAE(
            architecture="dense", epochs=20, validation=0, random_state=seed),
    }  # fmt: skip
    lines = ["| | -ELBO, nats | reconstruction | KL | NLL, 200 samples | active units | CPU s |", "|---|" + "---|" * 6]
    for name, build in vaes.items():
        if only and not any(word in name for word in only):
            continue
        bounds = []
        for seed in range(seeds):
            begin = time.process_time()
            vae = build(seed).fit(x)
            seconds = time.process_time() - begin
            parts = vae.elbo(rows)
            reconstruction, kl = float(parts["reconstruction"].mean()), float(parts["kl"].mean())
            nll = float(-vae.log_likelihood(rows, n_samples=200).mean())
            bounds.append((reconstruction + kl, reconstruction, kl, nll, float(vae.active_units_), seconds))
            print(name, seed, bounds[-1], flush=True)
        lines.append(f"| {name} | {cells(bounds, (2, 2, 2, 2, 1, 0))} |")
    body = (f"Means of {seeds} seed(s), batch 128, the defaults otherwise (chosen on 6,000 held-out images of the "
            "training set). All 10,000 test images, binarised once.\n\n" + "\n".join(lines))  # fmt: skip
    write("latent_likelihood", "What variational autoencoders know of MNIST",
          f"python -m benchmarks.latent likelihood --seeds {seeds}", ["torch", "embedkit"], load, body)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("speed", "quality", "likelihood"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of the models")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.what == "speed":
        speed(given.rounds, given.threads, given.images)
    else:
        (quality if given.what == "quality" else likelihood)(given.seeds, given.only)


if __name__ == "__main__":
    main()
