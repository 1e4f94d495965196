"""Products with the inverse of a damped empirical Fisher matrix, for a fixed set of gradients or a sliding window of them."""

from lowrank_la.curvature._mfac import MFAC
from lowrank_la.curvature._sliding import SlidingMFAC
from lowrank_la.curvature._solve import MFACResult

__all__ = ["MFAC", "MFACResult", "SlidingMFAC"]
