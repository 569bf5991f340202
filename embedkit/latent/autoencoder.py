"""Autoencoders: what passes through a bottleneck and is made again (Hinton & Salakhutdinov 2006, Science 313)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
from torch import Tensor, nn

from embedkit.latent.codes import CodesMixin
from embedkit.latent.data import Kind
from embedkit.latent.nets import Decoder, Maker, Winners
from embedkit.latent.objectives import corrupted, squared_error
from embedkit.latent.training import Batch, Parts, Player, Schedule
from embedkit.parameters import check_choice, check_number, check_whole

_CORRUPTIONS = ("gaussian", "masking")


@final
class Autoencoder(CodesMixin):
    """Learn short codes from which rows can be made again.

    What it minimises is the mean squared error in model units: pixels between 0 and 1, columns of a table with mean 0
    and standard deviation 1. A seed gives the same weights bit for bit on the same machine and versions, with as many
    threads.

    Parameters
    ----------
    n_components
        Numbers in a code.
    architecture
        ``"conv"`` for convolutional nets, ``"dense"``, or ``"auto"``: convolutional for pictures of at least 4 x 4.
    hidden
        Widths of the encoder's dense layers; the decoder mirrors them. A convolutional net has only the last.
    channels
        Of the convolutions, each of which halves the picture; `None` doubles from 16 until a side is at most 8.
    noise, corruption
        Denoising: what the encoder sees in training is spoilt by Gaussian noise of this standard deviation
        (``"gaussian"``), or this share of its values are 0 (``"masking"``).
    sparsity
        Winner-take-all: the share of rows, below 1, that keep a component of the code in training (Makhzani & Frey
        2015, arXiv:1409.2752); `None` for dense codes. Codes are then not negative; they are given whole, as in the
        paper, and only the decoder cuts them. On 6,000 held-out images of MNIST, with one layer (``hidden=()``) of 256
        units and a share of .1, a linear classifier read them better whole (.969) than cut by the decoder's thresholds
        (.964) or to the tenth, .965, that is largest; and as well as codes of a k-sparse autoencoder (arXiv:1312.5663)
        of the same size and epochs: .966 and .964, means of three seeds.
    adversarial
        Weight of a critic's judgement of reconstructions beside the squared error; 0 for none.
    encoder, decoder
        Your own torch modules, from (b, *shape) to (b, n_components) and back; of pixels, before the sigmoid. Copies of
        them are trained, from the weights that they have. See `save` for what a file can hold of them.
    scaling
        ``"pixels"`` (uint8, or floats between 0 and 1), ``"standard"`` (each column, or channel of a picture, is
        standardised, and un-standardised on the way back), ``"none"``, or ``"auto"``: standard for DataFrames; else
        pixels for uint8 and for floats that all lie between 0 and 1.
    image_shape
        (h, w) or (channels, h, w) if the rows of a matrix are pictures.
    epochs, batch_size
        Passes over the rows, and how many make a step; 0 epochs leave the nets as they were initialised.
    learning_rate, schedule, weight_decay
        The largest rate of AdamW; ``"one-cycle"``, ``"cosine"`` or ``"constant"``; its decay. Half the rate gives codes
        that a linear classifier reads a little better, and errors that are a little larger. Of some hundred
        steps, a third of the rate is safer: at the whole, all that the decoder makes may become black.
    clip
        Length to which longer gradients are shortened.
    validation
        Share of rows that are held out, drawn by the seed; the weights of the best epoch on them are kept.
    patience
        Epochs without a better one after which the training ends; `None` for all epochs.
    precision
        ``"float32"``; ``"bfloat16"``, for products in it; ``"auto"``, for the latter where it proves clearly faster.
    device
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
    n_jobs
        Threads for torch; `None` leaves its own setting, -1 takes all.
    random_state
        Seed, 0 to 2^32 - 1; `None` draws one and records it.

    Attributes
    ----------
    encoder_, decoder_ : torch.nn.Module
        From rows in model units, (b, *kind_.shape), to codes, and back.
    kind_ : Kind
        What rows are; ``kind_.tensor(X)`` makes tensors in model units of them, ``kind_.restore`` the reverse.
    history_ : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``validation_loss`` (of clean rows), ``learning_rate``, ``seconds``,
        ``samples``, ``samples_per_second``; with a critic, its own losses.
    best_epoch_ : int
        Whose weights are used.
    validation_rows_ : ndarray of int
        Numbers of the rows that were held out.
    codes_ : ndarray of shape (m, n_components)
        Codes of some rows.
    device_ : str
        Where the nets are.
    n_features_in_ : int
        Values of a row seen in `fit`.
    feature_names_in_ : ndarray of str
        Columns of the DataFrame seen in `fit`.

    Examples
    --------
    >>> from embedkit import images
    >>> digits = images.named("digits").head(500)
    >>> model = Autoencoder(n_components=8, epochs=3, n_jobs=1, random_state=0).fit(digits)
    >>> model.transform(digits)
    Embedding(500 x 8, columns=['class'])
    >>> model.reconstruct(digits).shape
    (500, 8, 8)
    >>> model.history_[-1]["loss"] < model.history_[0]["loss"]
    True
    """

    def __init__(
        self,
        n_components: int = 32,
        *,
        architecture: Literal["auto", "dense", "conv"] = "auto",
        hidden: Sequence[int] = (512, 256),
        channels: Sequence[int] | None = None,
        noise: float = 0.0,
        corruption: Literal["gaussian", "masking"] = "gaussian",
        sparsity: float | None = None,
        adversarial: float = 0.0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        scaling: Literal["auto", "pixels", "standard", "none"] = "auto",
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 10,
        batch_size: int = 128,
        learning_rate: float = 6e-3,
        schedule: Schedule = "one-cycle",
        weight_decay: float = 0.0,
        clip: float | None = None,
        validation: float = 0.1,
        patience: int | None = None,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.architecture = architecture
        self.hidden = hidden
        self.channels = channels
        self.noise = noise
        self.corruption = corruption
        self.sparsity = sparsity
        self.adversarial = adversarial
        self.encoder = encoder
        self.decoder = decoder
        self.scaling = scaling
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip = clip
        self.validation = validation
        self.patience = patience
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check(self) -> None:
        check_number("noise", self.noise, 0, 1 if self.corruption == "masking" else 1e6)
        check_choice("corruption", self.corruption, _CORRUPTIONS)
        check_number("adversarial", self.adversarial, 0, 1e6)
        if self.sparsity is not None:
            check_number("sparsity", self.sparsity, 1e-6, 1 - 1e-6)
            check_whole("batch_size (with sparsity)", self.batch_size, 4)

    def _nets(self, used: Mapping[str, Any], kind: Kind, make: Maker) -> dict[str, nn.Module]:
        width = used["n_components"]
        encoder, decoder = make.encoder(width), make.decoder(width)
        if used["sparsity"] is not None:
            # Standardised first, each component is above 0 for some rows: none is dead from the beginning.
            encoder = nn.Sequential(encoder, nn.BatchNorm1d(width, affine=False), nn.ReLU())
            decoder = Decoder(nn.Sequential(Winners(width, used["sparsity"]), decoder.net), kind)
        critic = {"critic": make.critic(spectral=True)} if used["adversarial"] else {}
        return {"encoder": encoder, "decoder": decoder, **critic}

    def _players(self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind) -> list[Player]:
        encoder, decoder = nets["encoder"], nets["decoder"]
        noise, how = used["noise"], used["corruption"]
        judged: Callable[[Tensor, Batch], Tensor] | None = None
        others: list[Player] = []
        if used["adversarial"]:
            from embedkit.latent.adversarial import reconstruction_critic

            judged, critic = reconstruction_critic(nets["critic"], used["adversarial"])
            others.append(critic)

        def loss(batch: Batch) -> Parts:
            rows = batch.rows
            seen = corrupted(rows, noise, how, batch.generator) if noise else rows
            made = decoder(encoder(seen))
            error = squared_error(made, rows)
            if judged is None:
                return {"loss": error}
            batch.kept["reconstruction"] = made.detach()
            verdict = judged(made, batch)
            return {"loss": error + verdict, "squared_error": error, "verdict": verdict}

        return [Player("autoencoder", {"encoder": encoder, "decoder": decoder}, loss), *others]

    def _judge(
        self, used: Mapping[str, Any], nets: Mapping[str, nn.Module], kind: Kind
    ) -> Callable[[Batch], Parts] | None:
        encoder, decoder = nets["encoder"], nets["decoder"]
        return lambda batch: {"loss": squared_error(decoder(encoder(batch.rows)), batch.rows)}

    def _scores(self, rows: Tensor) -> Tensor:
        return self._error_scores(rows)
