"""Tensors in Tucker format: a small core, and one basis for each mode."""

from lowrank_la.tensors._result import TuckerResult
from lowrank_la.tensors._tucker import tucker

__all__ = ["TuckerResult", "tucker"]
