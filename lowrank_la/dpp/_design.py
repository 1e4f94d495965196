"""A design: points, weights, and the spectrum of the Gram matrix that says how stable least squares is on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.dpp._bases import Basis, check_basis
from lowrank_la.factor._dense import U

CLAIM = "||G - I||_2 <= bound"


@dataclass(frozen=True, repr=False)
class Design(Result):
    """Points at which to measure, and their weights.

    Attributes
    ----------
    kind : str
        How the points were drawn.
    points : array (n, dim), or (n,) where dim is 1; None for discrete features
        The points, NumPy.
    indices : array (n,); None for a continuous domain
        Row indices of discrete features, of their library and device.
    weights : array (n,)
        w with E[sum_i w_i v(x_i)^2 / n] = ||v||^2 for every v in the span; m / ||phi(x_i)||^2 except after an enlargement.
    gram_eigs : array (m,)
        Eigenvalues of G = (1/n) sum_i w_i conj(phi(x_i)) phi(x_i)^T, ascending.
    log_weights : array (n,)
        Logarithms of the weights, which exist where these underflow.
    repeats : int
        Number of determinantal samples among the points.
    trials : int
        Number of designs that were drawn before this one was taken.
    proposals : int
        Points that were proposed to the sampler of determinantal samples; 0 where it does not propose.
    converged : bool
        The test on G that this kind of design has to pass was passed, or there was none.
    certificate : Certificate
        Bounds ||G - I||_2, rounding errors included: 1 - bound <= lambda_min(G).
    """

    kind: str
    points: Array | None
    indices: Array | None
    weights: Array
    gram_eigs: np.ndarray
    log_weights: np.ndarray = field(repr=False)
    repeats: int
    trials: int
    proposals: int
    converged: bool
    certificate: Certificate

    @property
    def size(self) -> int:
        """Number of points."""
        return self.log_weights.size

    @property
    def lambda_min(self) -> float:
        """Least eigenvalue of G, as computed."""
        return float(self.gram_eigs[0])

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue of G, as computed."""
        return float(self.gram_eigs[-1])


@dataclass(frozen=True)
class Sites:
    """Points of a design inside: what G and least squares are made of.

    Attributes
    ----------
    x : array (n, dim), or row indices (n,)
    rows : array (n, m)
        sqrt(w_i) phi(x_i)^T.
    log_weights : array (n,)
    """

    x: np.ndarray
    rows: np.ndarray
    log_weights: np.ndarray

    def take(self, chosen: np.ndarray) -> Sites:
        """Keep some of the points."""
        return Sites(self.x[chosen], self.rows[chosen], self.log_weights[chosen])

    @property
    def gram(self) -> np.ndarray:
        """G (m, m)."""
        return self.rows.conj().T @ self.rows / self.rows.shape[0]


def sites_at(basis: Basis, x: np.ndarray) -> Sites:
    """Evaluate the basis at points, with the weights m / ||phi||^2 of draws from nu."""
    u, log_k = basis.unit(x)
    return Sites(x, math.sqrt(basis.size) * u, math.log(basis.size) - log_k)


def sites_of(basis: Basis, design: Design) -> Sites:
    """Evaluate the basis at the points of a design, with its weights."""
    x = inside(basis, design)
    u, log_k = basis.unit(x)
    return Sites(x, np.exp((log_k + design.log_weights) / 2)[:, None] * u, design.log_weights)


def join(*parts: Sites) -> Sites:
    """Put points together."""
    return Sites(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "rows", "log_weights")))


def spread(basis: Basis, sites: Sites) -> float:
    """Bound ||G - I||_2, rounding errors included."""
    values = np.linalg.eigvalsh(sites.gram)
    return float(max(1 - values[0], values[-1] - 1)) + slack(basis, sites.x.shape[0], float(values[-1]))


def shortfall(basis: Basis, sites: Sites) -> float:
    """Bound 1 - lambda_min(G), rounding errors included."""
    values = np.linalg.eigvalsh(sites.gram)
    return 1 - float(values[0]) + slack(basis, sites.x.shape[0], float(values[-1]))


def slack(basis: Basis, n: int, largest: float) -> float:
    """Bound what rounding adds to an eigenvalue of G: evaluation of unit rows, their products, the eigenvalues, and the basis itself.

    Values of a basis and their orthonormality have relative errors of some m roundoff units; `defect` says more, where it is known.
    """
    m = basis.size
    own = getattr(basis, "defect", 16 * m * U)
    return (24 * m + 4 * math.sqrt(n)) * U * max(largest, 1.0) * math.sqrt(m) + own * max(largest, 1.0)


def design_at(basis: Basis, x: Any, *, weights: Any = None) -> Design:
    """Make a design of points that were chosen elsewhere, to see how stable least squares is on them.

    Parameters
    ----------
    basis : Basis
        m orthonormal functions.
    x : array (n, dim), or (n,) where dim is 1; row indices (n,) for discrete features
        The points.
    weights : array (n,), default m / ||phi(x_i)||^2
        Weights above 0.

    Returns
    -------
    Design
        Its certificate bounds ||G - I||, as for points that were drawn.

    Raises
    ------
    ValueError
        The points do not fit the basis, all functions vanish at one of them, or a weight is not positive and finite.
    TypeError
        The points are no numbers, or no integers for discrete features.

    Examples
    --------
    >>> from lowrank_la.dpp import Legendre, design_at
    >>> nodes, weights = Legendre(5).quadrature(5)
    >>> bool(design_at(Legendre(5), nodes, weights=5 * weights).certificate.bound < 1e-12)
    True
    """
    x = _arrays.on_host("design_at", "x", x) if check_basis("design_at", basis).discrete else _real_on_host("x", x)
    _checks.not_empty("design_at", "x", x)
    sites = sites_at(basis, x)
    zero = np.flatnonzero(np.isinf(sites.log_weights))
    if zero.size:
        raise ValueError(
            f"design_at: x must lie where a function of the basis is not 0; got {zero.size} other points, the first at {zero[0]}"
        )
    if weights is not None:
        w = _checks.shape("design_at", "weights", _real_on_host("weights", weights), sites.log_weights.shape)
        if not np.all((w > 0) & np.isfinite(w)):
            raise ValueError(f"design_at: weights must be above 0 and finite; got {w.min():g} to {w.max():g}")
        log_weights = np.log(w)
        sites = Sites(x, np.exp((log_weights - sites.log_weights) / 2)[:, None] * sites.rows, log_weights)
    return make_design(basis, replace(sites, x=x if basis.discrete else x.reshape(-1, basis.dim)), kind="given")


def _real_on_host(name: str, x: Any) -> np.ndarray:
    return _checks.real_dtype("design_at", name, _arrays.on_host("design_at", name, x)).astype(np.float64, copy=False)


def make_design(
    basis: Basis,
    sites: Sites | np.ndarray,
    *,
    kind: str,
    repeats: int = 0,
    trials: int = 1,
    proposals: int = 0,
    converged: bool = True,
) -> Design:
    """Build the answer from points that were drawn.

    Parameters
    ----------
    basis : Basis
        The functions.
    sites : Sites, or points (n, dim), or row indices (n,)
        Points without weights get those of draws from nu.
    kind : str
        How they were drawn.
    repeats, trials, proposals : int
        What it took.
    converged : bool
        Whether the design passed its test.

    Returns
    -------
    Design
    """
    sites = sites if isinstance(sites, Sites) else sites_at(basis, sites)
    values = np.linalg.eigvalsh(sites.gram)
    with np.errstate(over="ignore"):
        weights = np.exp(sites.log_weights)
    discretised = " for the discretised measure" if getattr(basis, "discretised", False) else ""
    return Design(
        kind=kind,
        points=None if basis.discrete else sites.x[:, 0] if basis.dim == 1 else sites.x,
        indices=outside(basis, sites.x) if basis.discrete else None,
        weights=outside(basis, weights),
        gram_eigs=values,
        log_weights=sites.log_weights,
        repeats=repeats,
        trials=trials,
        proposals=proposals,
        converged=converged,
        certificate=Certificate(CLAIM, spread(basis, sites), 1.0, f"eigenvalues of G{discretised}"),
    )


def outside(basis: Any, x: np.ndarray) -> Array:
    """Give an array of the kind that discrete features came with; NumPy stays for other bases."""
    return basis.leave(x) if basis.discrete else x


def inside(basis: Basis, design: Design) -> np.ndarray:
    """Return the points (n, dim), or indices (n,), of a design as the basis takes them."""
    if basis.discrete:
        return np.asarray(_arrays.to_numpy(design.indices), dtype=np.int64)
    return np.asarray(design.points).reshape(design.size, basis.dim)
