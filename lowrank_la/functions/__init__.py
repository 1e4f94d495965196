"""Functions of several variables in Chebyshev-Tucker format."""

from lowrank_la.functions._construct import chebyshev_tucker
from lowrank_la.functions._function import FunctionTucker
from lowrank_la.functions._gaussians import GaussianSum
from lowrank_la.functions._newton import newton_quadrature
from lowrank_la.functions._particles import ParticlePotential, particle_potential

__all__ = ["FunctionTucker", "GaussianSum", "ParticlePotential", "chebyshev_tucker", "newton_quadrature", "particle_potential"]
