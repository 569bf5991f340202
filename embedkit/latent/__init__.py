"""Latent encoders: autoencoders and generative models, and what is made of their codes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.latent.adversarial import AdversarialAutoencoder
    from embedkit.latent.anomalies import AnomalyDetector
    from embedkit.latent.autoencoder import Autoencoder
    from embedkit.latent.classify import EncoderClassifier
    from embedkit.latent.compression import rate_distortion
    from embedkit.latent.efficiency import RowsSVM, label_efficiency, methods_for
    from embedkit.latent.gan import GAN
    from embedkit.latent.judges import Judge, Verdict, judge_samples, sharpness, train_judge
    from embedkit.latent.responses import invariance, top_rows
    from embedkit.latent.stimuli import optimal_stimuli
    from embedkit.latent.units import concept_units
    from embedkit.latent.vae import VAE

# Public name -> the module it lives in. They are imported when first used: torch takes its time.
_HOME = {
    "AdversarialAutoencoder": "embedkit.latent.adversarial",
    "AnomalyDetector": "embedkit.latent.anomalies",
    "Autoencoder": "embedkit.latent.autoencoder",
    "EncoderClassifier": "embedkit.latent.classify",
    "GAN": "embedkit.latent.gan",
    "Judge": "embedkit.latent.judges",
    "RowsSVM": "embedkit.latent.efficiency",
    "VAE": "embedkit.latent.vae",
    "Verdict": "embedkit.latent.judges",
    "concept_units": "embedkit.latent.units",
    "invariance": "embedkit.latent.responses",
    "judge_samples": "embedkit.latent.judges",
    "label_efficiency": "embedkit.latent.efficiency",
    "methods_for": "embedkit.latent.efficiency",
    "optimal_stimuli": "embedkit.latent.stimuli",
    "rate_distortion": "embedkit.latent.compression",
    "sharpness": "embedkit.latent.judges",
    "top_rows": "embedkit.latent.responses",
    "train_judge": "embedkit.latent.judges",
}

__all__ = [
    "GAN",
    "VAE",
    "AdversarialAutoencoder",
    "AnomalyDetector",
    "Autoencoder",
    "EncoderClassifier",
    "Judge",
    "RowsSVM",
    "Verdict",
    "concept_units",
    "invariance",
    "judge_samples",
    "label_efficiency",
    "methods_for",
    "optimal_stimuli",
    "rate_distortion",
    "sharpness",
    "top_rows",
    "train_judge",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedkit.latent' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
