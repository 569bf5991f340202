"""`embedkit train autoencoder|vae|aae|gan`: pictures, a table or vectors in, a latent model out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from embedkit.files.atomic import check_place

from .completion import data_sets
from .latent_data import DATA_PARAMETERS, as_size, data_options, open_data
from .latent_files import checked_png, png_option
from .training import check_resume, checkpoint_options, together, trained

_OUTPUT = ("output", "png", "checkpoint", "checkpoint_every", "resume")
_FREE = ("device", "n_jobs", "precision")  # with which a training may go on differently


def _as_widths(ctx: click.Context, option: click.Parameter, value: str | None) -> list[int] | None:
    """The whole numbers that ``512,256`` means."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**20 for part in parts):
        raise click.BadParameter(f"{value!r} is no list of widths such as 512,256", ctx, option)
    return [int(part) for part in parts]


def _number(name: str, parameter: str, told: str, kind: Any = float) -> Callable[[Any], Any]:
    """An option that leaves the parameter at the model's own default if it is not given."""
    return click.option(name, parameter, default=None, type=kind, help=told, show_default=False)


_output_options = together(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write the model to."),
    click.option("--seed", "random_state", default=None, type=int, help="Seed; drawn and recorded if not given."),
    png_option("the losses by epoch"),
)
_net_options = together(
    click.option("--architecture", type=click.Choice(["auto", "dense", "conv"]), default="auto",
                 help="Convolutional nets, dense ones, or what suits the rows."),
    click.option("--hidden", default=None, callback=_as_widths, metavar="N,...",
                 help="Widths of dense layers.  [default: the model's own]"),
    click.option("--channels", default=None, callback=_as_widths, metavar="N,...",
                 help="Channels of convolutions, each of which halves the picture.  [default: by the picture's size]"),
    click.option("--scaling", type=click.Choice(["auto", "pixels", "standard", "none"]), default="auto",
                 help="What values are: pixels, or what is to be standardised column by column."),
    click.option("--image-shape", default=None, callback=as_size, metavar="HxW",
                 help="The rows of a table are pictures of this size."),
)  # fmt: skip
_training_options = together(
    _number("--epochs", "epochs", "Passes over the rows.", int),
    _number("--batch-size", "batch_size", "Rows in a step.", int),
    _number("--learning-rate", "learning_rate", "Largest learning rate."),
    click.option("--schedule", default=None, type=click.Choice(["one-cycle", "cosine", "constant"]),
                 help="How the learning rate goes."),
    _number("--weight-decay", "weight_decay", "Decay of the weights."),
    _number("--clip", "clip", "Length to which longer gradients are shortened."),
    click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32",
                 help="In what products are computed."),
    click.option("--device", default="auto", help="What computes: auto, cpu, cuda, cuda:1, ..."),
    click.option("--jobs", "n_jobs", default=None, type=int, help="Threads; -1 for all processors."),
)  # fmt: skip
_held_out_options = together(
    _number("--validation", "validation", "Share of the rows that is held out; the best epoch on them is kept."),
    _number("--patience", "patience", "End after so many epochs without a better one.", int),
)
_components = click.option("--dims", "--n-components", "n_components", default=None, type=click.IntRange(min=1),
                           help="Numbers in a code.  [default: the model's own]")  # fmt: skip
_data = click.argument("data", shell_complete=data_sets)


@click.command(short_help="Train an autoencoder on pictures, a table or vectors.")
@_data
@_output_options
@_components
@click.option("--noise", default=0.0, help="Denoising: standard deviation of noise, or share of values set to 0.")
@click.option("--corruption", type=click.Choice(["gaussian", "masking"]), default="gaussian", help="Kind of noise.")
@click.option("--sparsity", default=None, type=float, help="Winner-take-all: share of rows that keep a component.")
@click.option("--adversarial", default=0.0, help="Weight of a critic of reconstructions beside the squared error.")
@_net_options
@_training_options
@_held_out_options
@data_options
@checkpoint_options
def autoencoder(**options: Any) -> None:
    """Train an autoencoder on DATA and write it to -o FILE.

    \b
    embedkit train autoencoder data.csv --dims 2 --epochs 20 -o model.safetensors
    embedkit train autoencoder digits --noise 0.3 -o pictures.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    _run("Autoencoder", options)


@click.command(short_help="Train a variational autoencoder, which draws new rows.")
@_data
@_output_options
@_components
@click.option("--likelihood", type=click.Choice(["auto", "bernoulli", "gaussian"]), default="auto",
              help="Of rows given what is decoded; auto takes Bernoulli for pixels.")  # fmt: skip
@click.option("--deviation", default=None, type=float, help="Of the Gaussian.  [default: learned]")
@click.option("--beta", default=1.0, help="Weight of the divergence from the prior.")
@click.option("--warmup", default=0.0, help="Share of the training in which beta rises from 0.")
@_net_options
@_training_options
@_held_out_options
@data_options
@checkpoint_options
def vae(**options: Any) -> None:
    """Train a variational autoencoder on DATA and write it to -o FILE.

    \b
    embedkit train vae digits --dims 20 --epochs 10 -o pictures.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    _run("VAE", options)


@click.command(short_help="Train an adversarial autoencoder: codes matched to a prior.")
@_data
@_output_options
@_components
@_number("--adversarial", "adversarial", "Weight of the critic of codes beside the squared error.")
@_number("--gamma", "gamma", "Weight of the critic's gradient penalty.")
@_net_options
@_training_options
@_held_out_options
@data_options
@checkpoint_options
def aae(**options: Any) -> None:
    """Train an adversarial autoencoder on DATA and write it to -o FILE.

    \b
    embedkit train aae data.csv --dims 2 --epochs 20 -o model.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    _run("AdversarialAutoencoder", options)


@click.command(short_help="Train a generative adversarial network.")
@_data
@_output_options
@_components
@_number("--gamma", "gamma", "Weight of the critic's gradient penalty; 0 for none.")
@click.option("--spectral", is_flag=True, help="Bound the critic's slope by spectral norm.")
@_number("--decay", "decay", "Of the average of the generator's weights that makes samples.")
@_net_options
@_training_options
@data_options
@checkpoint_options
def gan(**options: Any) -> None:
    """Train a generative adversarial network on DATA and write it to -o FILE.

    It makes rows and has no codes of given ones.

    \b
    embedkit train gan data.csv --epochs 20 -o gan.safetensors
    """  # noqa: D301  # click's sign for lines that stay
    _run("GAN", options)


TRAINERS = (autoencoder, vae, aae, gan)


def _run(kind: str, options: dict[str, Any]) -> None:
    """Train a `kind` with these options and write it."""
    source = options.pop("data")
    reading = {name: options.pop(name) for name in DATA_PARAMETERS}
    output, png, checkpoint, every, resume = (options.pop(name, None) for name in _OUTPUT)
    check_resume(checkpoint, bool(resume))
    check_place(output)
    checked_png(png)
    import embedkit
    from embedkit.parameters import seed_of

    parameters = {name: value for name, value in options.items() if value is not None}
    model = getattr(embedkit, kind)(**parameters)
    if model.random_state is None and not resume:
        model.set_params(random_state=seed_of(None))  # drawn here, to be told
    data = open_data(source, **reading, seed=options["random_state"], pictures=options["image_shape"] is not None)
    click.echo(f"training on {data}", err=True)
    model = trained(model, data.rows, checkpoint, every, bool(resume), _FREE)
    model.save(output)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    if png is not None:
        _draw(model, png)
    _tell(model, output, png)


def _draw(model: Any, png: Path) -> None:
    from embedkit.plots import loss_curves, save_figure

    held_out = any("validation_loss" in entry for entry in model.history_)
    figure = loss_curves(
        model.history_,
        best_epoch=model.best_epoch_ if held_out else None,
        title=f"Training of {type(model).__name__}: losses by epoch",
    )
    save_figure(figure, png)


def _tell(model: Any, output: Path, png: Path | None) -> None:
    what = f"{type(model).__name__} of {model.n_components} numbers a code"
    click.echo(f"wrote {what} to {output}{_best(model)} (seed {model.random_state})", err=True)
    if png is not None:
        click.echo(f"drew its losses to {png}", err=True)
    encodes = hasattr(model, "transform")
    told = "encode {} DATA -o codes.csv" if encodes else "generate {} -n 64 -o samples.npy"
    click.echo(f"next: embedkit {told.format(output)}", err=True)


def _best(model: Any) -> str:
    """What is worth telling of the history's best epoch."""
    if not model.history_:
        return ", not trained"
    entry = model.history_[model.best_epoch_ - 1]
    loss = entry.get("validation_loss")
    if loss is None:
        return f" after {len(model.history_)} epochs"
    return f", best epoch {model.best_epoch_} of {len(model.history_)} with a loss of {loss:.4g} on held-out rows"
