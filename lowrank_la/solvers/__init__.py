"""Iterations that several problems share: conjugate gradients and directions, least squares by LSMR, alone or federated."""

from lowrank_la.solvers._directions import conjugate_directions, direction_loss
from lowrank_la.solvers._federated import FederatedResult, federated_wls
from lowrank_la.solvers._gradients import conjugate_gradients
from lowrank_la.solvers._lsmr import lsmr
from lowrank_la.solvers._result import DirectionsResult, LeastSquaresResult, SolveResult

__all__ = [
    "DirectionsResult",
    "FederatedResult",
    "LeastSquaresResult",
    "SolveResult",
    "conjugate_directions",
    "conjugate_gradients",
    "direction_loss",
    "federated_wls",
    "lsmr",
]
