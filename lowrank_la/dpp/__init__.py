"""Where to measure: bases, points drawn for them, and weighted least squares that is provably stable."""

from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._christoffel import christoffel_sample
from lowrank_la.dpp._design import Design, design_at
from lowrank_la.dpp._discrete import DiscreteFeatures
from lowrank_la.dpp._ensembles import ItemSample, sample_l_ensemble
from lowrank_la.dpp._features import FeatureBasis
from lowrank_la.dpp._fourier import Fourier
from lowrank_la.dpp._indices import hyperbolic_cross, lower_set, margin, tensor_product, total_degree
from lowrank_la.dpp._jacobi import Chebyshev, Jacobi, Legendre
from lowrank_la.dpp._repeated import repeated_dpp
from lowrank_la.dpp._result import Validation, WeightedLstsqResult
from lowrank_la.dpp._sample import sample_dpp
from lowrank_la.dpp._tensor import TensorBasis
from lowrank_la.dpp._unbounded import Hermite, Laguerre
from lowrank_la.dpp._volume import volume_sample
from lowrank_la.dpp._weighted import weighted_lstsq

__all__ = [
    "Basis",
    "Chebyshev",
    "Design",
    "DiscreteFeatures",
    "FeatureBasis",
    "Fourier",
    "Hermite",
    "ItemSample",
    "Jacobi",
    "Laguerre",
    "Legendre",
    "TensorBasis",
    "Validation",
    "WeightedLstsqResult",
    "christoffel_sample",
    "design_at",
    "hyperbolic_cross",
    "lower_set",
    "margin",
    "repeated_dpp",
    "sample_dpp",
    "sample_l_ensemble",
    "tensor_product",
    "total_degree",
    "volume_sample",
    "weighted_lstsq",
]
