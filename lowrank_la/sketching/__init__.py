"""Random matrices S, never stored, whose product S A keeps the geometry of A's columns in few rows."""

from lowrank_la.sketching._dense import Gaussian, Rademacher
from lowrank_la.sketching._mixed import BGP, SRDCT, SRHT, fwht
from lowrank_la.sketching._operator import Sketch
from lowrank_la.sketching._sparse import CountSketch, SparseSign

__all__ = ["BGP", "SRDCT", "SRHT", "CountSketch", "Gaussian", "Rademacher", "Sketch", "SparseSign", "fwht"]
