"""Pictures and the interactive page: functions that give back a figure and never show one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit.plots.analogy import analogy_arrows
    from embedkit.plots.figures import save_figure
    from embedkit.plots.latent import anomaly_histogram, compression_curve, efficiency_curve, latent_scatter
    from embedkit.plots.page import page_html, write_page
    from embedkit.plots.pictures import filters, lattice, picture_grid, reconstructions, strips
    from embedkit.plots.scatter import scatter_map
    from embedkit.plots.training import kl_per_unit, loss_curves
    from embedkit.plots.units import invariance_curves, stimulus_sheet, unit_comparison, unit_sheet

# Public name -> the module it lives in, imported when it is first used; one line each.
_HOME = {
    "analogy_arrows": "embedkit.plots.analogy",
    "anomaly_histogram": "embedkit.plots.latent",
    "compression_curve": "embedkit.plots.latent",
    "efficiency_curve": "embedkit.plots.latent",
    "filters": "embedkit.plots.pictures",
    "invariance_curves": "embedkit.plots.units",
    "kl_per_unit": "embedkit.plots.training",
    "latent_scatter": "embedkit.plots.latent",
    "lattice": "embedkit.plots.pictures",
    "loss_curves": "embedkit.plots.training",
    "page_html": "embedkit.plots.page",
    "picture_grid": "embedkit.plots.pictures",
    "reconstructions": "embedkit.plots.pictures",
    "save_figure": "embedkit.plots.figures",
    "scatter_map": "embedkit.plots.scatter",
    "stimulus_sheet": "embedkit.plots.units",
    "strips": "embedkit.plots.pictures",
    "unit_comparison": "embedkit.plots.units",
    "unit_sheet": "embedkit.plots.units",
    "write_page": "embedkit.plots.page",
}

__all__ = [
    "analogy_arrows",
    "anomaly_histogram",
    "compression_curve",
    "efficiency_curve",
    "filters",
    "invariance_curves",
    "kl_per_unit",
    "latent_scatter",
    "lattice",
    "loss_curves",
    "page_html",
    "picture_grid",
    "reconstructions",
    "save_figure",
    "scatter_map",
    "stimulus_sheet",
    "strips",
    "unit_comparison",
    "unit_sheet",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedkit.plots' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
