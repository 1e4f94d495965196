"""Streams: the leading eigenvector of A^H A from rows that come once, in a bounded state, with a certificate."""

from lowrank_la.streaming._result import Candidates, TopEigenvectorResult
from lowrank_la.streaming._top import TopEigenvector
from lowrank_la.streaming._twice import top_eigenvector

__all__ = ["Candidates", "TopEigenvector", "TopEigenvectorResult", "top_eigenvector"]
