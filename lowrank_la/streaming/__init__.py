"""Streams: the leading eigenvector of A^H A from rows that come once, in a bounded state, with a certificate."""

from lowrank_la.streaming._result import TopEigenvectorResult
from lowrank_la.streaming._top import TopEigenvector
from lowrank_la.streaming._twice import top_eigenvector

__all__ = ["TopEigenvector", "TopEigenvectorResult", "top_eigenvector"]
