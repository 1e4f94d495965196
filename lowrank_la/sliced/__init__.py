"""Sliced Wasserstein distances: means and extremes over directions of transport costs on a line, with certificates and gradients."""

from lowrank_la.sliced._line import LineResult, wasserstein_1d
from lowrank_la.sliced._max import MaxSlicedResult, max_sliced
from lowrank_la.sliced._sliced import SlicedResult, sliced_wasserstein
from lowrank_la.sliced._vmf import VMFResult, linear_attention_direction, vmf_sliced

__all__ = [
    "LineResult",
    "MaxSlicedResult",
    "SlicedResult",
    "VMFResult",
    "linear_attention_direction",
    "max_sliced",
    "sliced_wasserstein",
    "vmf_sliced",
    "wasserstein_1d",
]
