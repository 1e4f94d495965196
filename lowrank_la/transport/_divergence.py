"""`sinkhorn_divergence`: a distance between weighted clouds that is zero for equal ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.transport._result import TransportResult
from lowrank_la.transport._sinkhorn import sinkhorn

CLAIM = "|value - divergence| <= bound"


@dataclass(frozen=True, repr=False)
class DivergenceResult(Result):
    """Answer of `sinkhorn_divergence`.

    Attributes
    ----------
    value : float, or tensor of PyTorch
        W(a, b) - (W(a, a) + W(b, b)) / 2.
    f, g : arrays (n,) and (m,), float64
        Derivatives of the value by the weights, up to a constant.
    converged : bool
        All three problems did.
    n_iter : int
        Sweeps and Newton steps of all three.
    cross, first, second : TransportResult
        The plans from X to Y, X to X and Y to Y.
    certificate : Certificate
        Bounds the error of the value, from the duality gaps of the three problems.
    """

    value: Any
    f: Array
    g: Array
    converged: bool
    n_iter: int
    cross: TransportResult
    first: TransportResult
    second: TransportResult
    certificate: Certificate


def sinkhorn_divergence(
    X: Array,
    Y: Array,
    *,
    a: Array | None = None,
    b: Array | None = None,
    reg: float | None = None,
    cost: str | Callable[[Array, Array], Array] = "sqeuclidean",
    tol: float | None = None,
    max_iter: int = 10_000,
) -> DivergenceResult:
    """Measure how far apart two weighted clouds are by entropic transport without its bias.

    W(a, b) - W(a, a) / 2 - W(b, b) / 2, where W is the value of `sinkhorn`: nonnegative for the costs
    "sqeuclidean" and "euclidean", zero for equal clouds, between transport (small reg) and a kernel distance (large reg).

    Parameters
    ----------
    X, Y : arrays (n, d) and (m, d), real
        The points.
    a, b : arrays (n,) and (m,), optional
        Nonnegative weights of the same mass; equal ones of mass 1 by default.
    reg : float > 0, optional
        Regularisation, in the units of the costs; by default a hundredth of the range of the costs between X and Y.
    cost : {"sqeuclidean", "euclidean", "cosine"} or callable
        See `sinkhorn`; symmetric.
    tol : float > 0, optional
        See `sinkhorn`.
    max_iter : int, max_iter >= 1
        Sweeps and Newton steps of each problem, at most.

    Returns
    -------
    DivergenceResult
        value, f, g, converged, n_iter, cross, first, second and certificate.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is not finite, masses differ, or an option is out of range.
    TypeError
        Arrays are complex, no numbers, or of different libraries.

    Warns
    -----
    ConvergenceWarning
        An error stayed above tol; the certificate holds all the same.

    Notes
    -----
    Cost: three problems of `sinkhorn`. Tensors of PyTorch that require gradients get them.

    References
    ----------
    .. [1] Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences, AISTATS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.transport import sinkhorn_divergence
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((40, 2))
    >>> far, near = (sinkhorn_divergence(X, X + shift, reg=0.01).value for shift in (0.5, 0.0))
    >>> bool(abs(far - 0.5) < 1e-2 and abs(near) < 1e-8)
    True
    """
    options: dict[str, Any] = {"cost": cost, "tol": tol, "max_iter": max_iter}
    cross = sinkhorn((X, Y), a, b, reg, **options)
    first = sinkhorn((X, X), a, a, cross.reg, **options)
    second = sinkhorn((Y, Y), b, b, cross.reg, **options)
    parts = (cross, first, second)
    bound = cross.value_gap + max(first.value_gap, second.value_gap) / 2
    return DivergenceResult(
        value=cross.value - (first.value + second.value) / 2,
        f=cross.f - (first.f + first.g) / 2,
        g=cross.g - (second.f + second.g) / 2,
        converged=all(part.converged for part in parts),
        n_iter=sum(part.n_iter for part in parts),
        cross=cross,
        first=first,
        second=second,
        certificate=Certificate(CLAIM, bound, 1.0, "duality gaps"),
    )
