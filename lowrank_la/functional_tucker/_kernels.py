"""Priors of the factors: stationary Gaussian processes in one variable as linear stochastic differential equations.

In coordinates where the state has the identity as covariance, dz = F z dt / lengthscale + sqrt(2 d) e_q dB, with F skew
tridiagonal apart from the last diagonal entry, -d (Schwarz form), and the process is the first state, times its standard deviation. A
transition over a gap is a contraction, A = exp(F gap / lengthscale), and the covariance that comes in is I - A A^T. It is
computed by an integral for a short gap and by doubling from there, sums of positive terms, since the difference loses all digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _checks

KERNELS = ("matern12", "matern32", "matern52", "rbf-approx", "iid", "periodic")
SCHWARZ = {  # couplings of neighbouring states and, last, the damping d of the last one, for a lengthscale of 1
    "matern12": (1.0,),
    "matern32": (math.sqrt(3.0), 2.0 * math.sqrt(3.0)),
    "matern52": (math.sqrt(5.0 / 3.0), math.sqrt(40.0 / 3.0), 3.0 * math.sqrt(5.0)),
    # found by minimising the largest error of the covariance, 1.5e-4 of the variance; with the Taylor series of the inverse
    # spectral density, as is usual, it is 4.3e-3 for as many states, and still larger than here for ten
    "rbf-approx": (1.00089195, 1.42677048, 1.82053674, 2.45477719, 4.83715120, 7.93622774),
}
TERMS = 24  # of Taylor series, for gaps of at most half the time scale of F
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)  # for an integral over such a gap
LONG = 1000.0  # lengthscales after which every process has forgotten all
SHORTEST = 1.0 / 30.0  # lengthscale in periods, which takes 53 states
HARMONICS = 40
TAIL = 1e-7  # share of the variance of a periodic process in harmonics left out


@dataclass(frozen=True)
class Prior:
    """A stationary Gaussian process with mean zero in one variable.

    Attributes
    ----------
    kernel : {"matern12", "matern32", "matern52", "rbf-approx", "iid", "periodic"}
        Matern processes of smoothness 1/2, 3/2 and 5/2; a process with six states whose covariance is that of the
        Gaussian kernel, exp(-t^2 / (2 lengthscale^2)), to 1.5e-4 of the variance; independent values at different
        points; exp(-2 sin^2(pi t / period) / c^2) with c = 2 pi lengthscale / period, near the Gaussian kernel for
        short t, with as many harmonics as hold all but 1e-7 of the variance.
    lengthscale : float, positive
        In the units of t; of no meaning for "iid". At least a thirtieth of a period.
    variance : float, positive
        Of the process at any point.
    period : float, positive
        Only for "periodic".
    """

    kernel: str
    lengthscale: float = 1.0
    variance: float = 1.0
    period: float | None = None

    def __post_init__(self) -> None:
        _checks.choice("Prior", "kernel", self.kernel, KERNELS)
        _checks.real("Prior", "lengthscale", self.lengthscale, 0.0, open=True)
        _checks.real("Prior", "variance", self.variance, 0.0, open=True)
        if self.kernel == "periodic":
            _checks.real("Prior", "period", self.period, 0.0, open=True)
            _checks.real("Prior", "lengthscale / period", self.ratio, SHORTEST * (1 - 1e-9))

    @property
    def order(self) -> int:
        """States of one process."""
        if self.kernel == "periodic":
            return 2 * _harmonics(self.ratio).size - 1
        return 1 if self.kernel == "iid" else len(SCHWARZ[self.kernel])

    @property
    def ratio(self) -> float:
        """Lengthscale in periods."""
        return self.lengthscale / (math.inf if self.period is None else self.period)

    def covariance(self, gaps: np.ndarray) -> np.ndarray:
        """Return covariances of values at two points so far apart."""
        gaps = np.abs(np.asarray(gaps, dtype=np.float64))
        return self.variance * transitions(self, gaps.ravel())[0][:, 0, 0].reshape(gaps.shape)


def transitions(prior: Prior, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return transitions A (n, q, q) over gaps (n,), and lower triangular roots of I - A A^T."""
    if prior.kernel == "iid":
        same = (gaps == 0.0).astype(np.float64)[:, None, None]
        return same, 1.0 - same
    if prior.kernel == "periodic":
        return _rotations(_harmonics(prior.ratio), 2 * math.pi * np.fmod(gaps / prior.lengthscale * prior.ratio, 1.0))
    return _contractions(_schwarz(prior.kernel), np.minimum(gaps / prior.lengthscale, LONG))


def steps(prior: Prior, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the transitions to each of the sorted times t (n,) from the one before; to the first, from nowhere."""
    A, root = transitions(prior, np.diff(t, prepend=t[:1]))
    A[:1], root[:1] = 0.0, np.eye(A.shape[1])
    return A, root


def _schwarz(kernel: str) -> np.ndarray:
    """Return F for a lengthscale of 1."""
    *a, d = SCHWARZ[kernel]
    F = np.diag(a, 1) - np.diag(a, -1)
    F[-1, -1] = -d
    return F


def _contractions(F: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    doublings = np.ceil(np.log2(np.maximum(2.0 * np.linalg.norm(F, 2) * gaps, 1.0))).astype(int)
    h = gaps / 2.0**doublings
    powers = [np.eye(F.shape[0])]
    for n in range(1, TERMS):
        powers.append(powers[-1] @ F / n)
    A = np.polynomial.polynomial.polyval(h, np.stack(powers)).transpose(2, 0, 1)
    s = h[:, None] * (NODES + 1.0) / 2.0
    V = np.polynomial.polynomial.polyval(s, np.stack(powers)[:, :, -1]).transpose(1, 0, 2)  # what a shock becomes after a time s
    Q = np.einsum("nip,njp,np->nij", V, V, -F[-1, -1] * h[:, None] * WEIGHTS)
    for step in range(doublings.max(initial=0)):
        more = doublings > step
        last = A[more]
        Q[more] += last @ Q[more] @ last.transpose(0, 2, 1)
        A[more] = last @ last
    return A, _roots(Q)


def _roots(Q: np.ndarray) -> np.ndarray:
    """Return lower triangular roots of a stack of matrices; a pivot that underflows ends in zeros."""
    root = np.zeros_like(Q)
    for j in range(Q.shape[1]):
        column = Q[:, j:, j] - np.einsum("nik,nk->ni", root[:, j:, :j], root[:, j, :j])
        pivot = np.sqrt(np.maximum(column[:, :1], 0.0))
        root[:, j:, j] = np.divide(column, pivot, out=np.zeros_like(column), where=pivot > 0)
    return root


def _harmonics(ratio: float) -> np.ndarray:
    """Return the shares of the harmonics 0, 1, 2, ... in the variance of a periodic process; ratio is lengthscale / period."""
    from scipy.special import ive

    j = np.arange(HARMONICS + 1)
    shares = np.where(j > 0, 2.0, 1.0) * ive(j, (2.0 * math.pi * ratio) ** -2)
    enough = int(np.argmax(np.cumsum(shares) >= 1.0 - TAIL))
    shares = shares[: enough + 1]
    return shares / np.sum(shares)


def _rotations(shares: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations of all harmonics by multiples of an angle (n,), in coordinates where the process is the first state."""
    J = shares.size
    A = np.zeros((angle.size, 2 * J - 1, 2 * J - 1))
    j, turn = np.arange(J), angle[:, None] * np.arange(J)
    A[:, j, j] = np.cos(turn)
    A[:, j[1:], j[1:] + J - 1] = np.sin(turn[:, 1:])
    A[:, j[1:] + J - 1, j[1:]] = -np.sin(turn[:, 1:])
    A[:, j[1:] + J - 1, j[1:] + J - 1] = np.cos(turn[:, 1:])
    u = np.concatenate([np.sqrt(shares), np.zeros(J - 1)])
    u[0] += 1.0
    mirror = np.eye(2 * J - 1) - np.outer(u, u) / u[0]  # |u|^2 = 2 u_0; it maps e_1 to minus the sum of the harmonics
    return mirror @ A @ mirror, np.zeros_like(A)
