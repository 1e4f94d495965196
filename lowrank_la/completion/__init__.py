"""Fill in a low-rank matrix from some of its entries, and say how well."""

from lowrank_la.completion._complete import complete
from lowrank_la.completion._result import CompletionResult, Sweep

__all__ = ["CompletionResult", "Sweep", "complete"]
