"""Positive semidefinite kernels: Nystrom approximation, leverage scores, kernel ridge regression, in one pass or in tiles."""

from lowrank_la.kernel_methods._functions import RBF, Cosine, KernelFunction, Laplace, Matern, Polynomial
from lowrank_la.kernel_methods._leverage import KernelScoreResult, kernel_leverage_scores
from lowrank_la.kernel_methods._nystrom import nystrom
from lowrank_la.kernel_methods._nystrom_result import NystromResult
from lowrank_la.kernel_methods._ridge import kernel_ridge
from lowrank_la.kernel_methods._ridge_path import KernelRidgePathResult, kernel_ridge_path
from lowrank_la.kernel_methods._ridge_pcg import RidgeState
from lowrank_la.kernel_methods._ridge_result import KernelRidgeResult
from lowrank_la.kernel_methods._sequential import SequentialNystrom
from lowrank_la.kernel_methods._sequential_result import SequentialNystromResult

__all__ = [
    "RBF",
    "Cosine",
    "KernelFunction",
    "KernelRidgePathResult",
    "KernelRidgeResult",
    "KernelScoreResult",
    "Laplace",
    "Matern",
    "NystromResult",
    "Polynomial",
    "RidgeState",
    "SequentialNystrom",
    "SequentialNystromResult",
    "kernel_leverage_scores",
    "kernel_ridge",
    "kernel_ridge_path",
    "nystrom",
]
