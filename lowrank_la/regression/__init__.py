"""Least squares for tall matrices by sketching, and regression in other l_p norms, with bounds on the error of the answers."""

from lowrank_la.regression._lp import LpResult, lp_regression
from lowrank_la.regression._lstsq import LstsqResult, sketch_lstsq

__all__ = ["LpResult", "LstsqResult", "lp_regression", "sketch_lstsq"]
