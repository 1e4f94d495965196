"""Least squares for tall matrices by sketching, as accurate as QR, with a bound on the error of every entry."""

from lowrank_la.regression._lstsq import LstsqResult, sketch_lstsq

__all__ = ["LstsqResult", "sketch_lstsq"]
