"""Low-rank factorizations with certificates: what scientists call and adapters stand on."""

from lowrank_la.factor._factored import Factored
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._weighted import WeightedSVDResult, weighted_svd

__all__ = ["Factored", "SVDResult", "WeightedSVDResult", "weighted_svd"]
