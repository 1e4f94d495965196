"""The answer of `recover`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class RecoverResult(Result):
    """A low-rank model of a matrix that was measured: M ~ U V^H.

    Attributes
    ----------
    U, V : arrays (m, k) and (n, k)
        Factors; V is U if the model is symmetric. Debiased ones have as many columns as the rank that was found, share the singular
        values evenly and have orthogonal columns.
    rank : int
        Columns of U and V.
    history : tuple of float
        Median absolute residual of the fitted measurements (root mean square for loss "l2") at each iteration, in the units of y.
    converged : bool
        The method met its tolerance, the model explains more than half of the size of a typical measurement, and, with debiasing, the
        inliers determine it: `local` is below the norm of the model and, unless the loss is "l2", `redundancy` is not 0.
    n_iter : int
        Iterations of the (sub-)gradient method; the steps of debiasing come on top.
    residual : float
        Median absolute residual of the fitted measurements at the answer.
    inliers : array (N,), bool
        Measurements within 3 robust standard deviations of the model, held-out ones included.
    certificate : Certificate
        Bounds the median error of fresh measurements, by held-out ones.
    local : Certificate
        Bounds ||U V^H - M||_F for a matrix M of the rank that was found, next to the answer, if the errors of the inliers are independent
        and Gaussian: to first order, and without a word on matrices far away. inf if the inliers determine none, or without debiasing.
    dual_gap : Certificate
        Share of the sum of absolute residuals that another U for this V, another V for this U, or a small step along the tangents of
        the rank could take off: near 0, the answer is locally optimal for "l1" whatever the outliers; 1 without debiasing.
    redundancy : float
        Share of a gross error in the worst placed inlier that its own residual would show, between 0 and 1. Near 0: a measurement that
        nothing else checks, so that the answer follows it right or wrong; 0 without debiasing.
    held_out : integer array
        The measurements behind the certificate; nothing else looked at them.
    """

    U: Array
    V: Array
    rank: int
    history: tuple[float, ...]
    converged: bool
    n_iter: int
    residual: float
    inliers: Array
    certificate: Certificate
    local: Certificate
    dual_gap: Certificate
    redundancy: float
    held_out: Array = field(repr=False)

    def to_dense(self) -> Array:
        """Return U V^H, an array (m, n)."""
        from lowrank_la import _arrays
        from lowrank_la.factor._dense import adjoint

        door, [U, V] = _arrays.enter("to_dense", U=self.U, V=self.V)
        return door.leave(U @ adjoint(V))

    def plot(self, ax: Any = None) -> Any:
        """Draw the residual against the iteration (extra `plot`)."""
        import matplotlib.pyplot as plt

        ax = plt.figure().add_subplot() if ax is None else ax
        ax.semilogy(range(1, len(self.history) + 1), self.history)
        ax.set(xlabel="iteration", ylabel="typical residual")
        return ax
