"""Low-rank factorizations with certificates: what scientists call and adapters stand on."""

from lowrank_la.factor._factored import Factored
from lowrank_la.factor._result import SVDResult

__all__ = ["Factored", "SVDResult"]
