"""The shape of every answer: named fields and a certificate of how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


class ConvergenceWarning(UserWarning):
    """An answer is defined but did not reach its tolerance, or is not unique; it says so in `converged`."""


@dataclass(frozen=True)
class Certificate:
    """A statement about the error of an answer, computed from that answer and the data.

    Attributes
    ----------
    claim : str
        The inequality, in words.
    bound : float
        Its right-hand side, in the units of the input; inf where nothing can be said.
    confidence : float
        Probability that the claim holds, over the random draws of the algorithm;
        1.0 if it holds always, rounding errors included.
    method : str
        How the bound was found: "residual", "held-out entries", ...

    Examples
    --------
    >>> from lowrank_la import Certificate
    >>> Certificate("max_i |x_i - x*_i| <= bound", 2e-9, 1.0, "residual")
    Certificate: max_i |x_i - x*_i| <= bound, bound = 2e-09 (always; residual)
    """

    claim: str
    bound: float
    confidence: float
    method: str

    def __repr__(self) -> str:
        how_sure = "always" if self.confidence == 1.0 else f"with probability {self.confidence:.6g}"
        return f"Certificate: {self.claim}, bound = {self.bound:.4g} ({how_sure}; {self.method})"


@dataclass(frozen=True, repr=False)
class Result:
    """Base of all answers: a frozen record whose `repr` fits on a screen."""

    def __repr__(self) -> str:
        lines = [f"  {field.name} = {_summary(getattr(self, field.name))}" for field in fields(self) if field.repr]
        return "\n".join([type(self).__name__, *lines])


def _summary(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} array {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and len(value) > 6:
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)
