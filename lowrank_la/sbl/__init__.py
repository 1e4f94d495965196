"""Sparse Bayesian learning with Kronecker-structured dictionaries, and the methods it is compared with."""

from lowrank_la.sbl._classic import SBLResult, sbl
from lowrank_la.sbl._greedy import kronecker_omp
from lowrank_la.sbl._kronecker import kronecker_sbl, kronecker_sbl_batch
from lowrank_la.sbl._omp import omp
from lowrank_la.sbl._oracle import SparseResult, oracle_lstsq
from lowrank_la.sbl._result import KroneckerSBLResult

__all__ = [
    "KroneckerSBLResult",
    "SBLResult",
    "SparseResult",
    "kronecker_omp",
    "kronecker_sbl",
    "kronecker_sbl_batch",
    "omp",
    "oracle_lstsq",
    "sbl",
]
