"""Where to start: leading singular vectors of the back-projected signs, on a scale that outliers cannot move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.recovery._problem import Pair, Problem, svd

OVERSAMPLE, POWERS = 8, 4  # of the block power method


@dataclass(frozen=True)
class Start:
    """Spectral estimate of the matrix.

    Attributes
    ----------
    P, s, Q : arrays (m, k), (k,), (n, k)
        Leading singular triples of D_0 = sum score(y_l) A_l, in the units of D_0.
    unit : float
        Largest of s: the norm of D_0.
    gain : float
        gain * D_0 has the size of the matrix.
    indefinite : bool
        A symmetric model meets a D_0 whose negative part is larger than half its positive one.
    """

    P: Array
    s: Array
    Q: Array
    unit: float
    gain: float
    indefinite: bool = False

    @property
    def size(self) -> float:
        """Estimate of the largest singular value of the matrix."""
        return self.unit * self.gain


def spectral(problem: Problem, *, robust: bool) -> Start | None:
    """Estimate the matrix from sum y_l A_l, or from the signs of y_l if `robust`; None if that is zero.

    The gain matches squares of measurements, or their medians.
    """
    xp, y = problem.door.xp, problem.y
    z = sign(y) if robust else y
    z = z * xp.astype(problem.fitted, y.dtype)
    P, s, Q, indefinite = _leading(problem, z)
    unit = float(s[0])
    if not unit > 0.0:
        return None
    image = problem.apply((P * xp.astype(s, P.dtype)[None, :], Q))
    size = problem.typical if robust and problem.typical(y) > 0.0 and problem.typical(image) > 0.0 else problem.rms
    gain = size(y) / (size(image) or 1.0)
    return Start(P, s, Q, unit, gain, indefinite)


def sign(y: Array) -> Array:
    """Return y / |y|, and 0 for 0."""
    xp = _arrays.namespace(y)
    size = xp.abs(y)
    return y / xp.astype(xp.where(size > 0, size, xp.ones_like(size)), y.dtype)


def small(start: Start, scale: float, symmetric: bool) -> Pair:
    """Return factors along the spectral estimate whose largest singular value is `scale` times the root of the matrix's."""
    xp = _arrays.namespace(start.P)
    root = scale * (start.gain * start.s) ** 0.5
    root = xp.astype(root, start.P.dtype)[None, :]
    U = start.P * root
    return U, U if symmetric else start.Q * root


def random(problem: Problem, size: float, scale: float) -> Pair:
    """Return Gaussian factors, the second a third as large, so that they are out of balance from the start."""
    generator = _random.host_generator(problem.seed, "recover: start")
    (m, n), k = problem.shape, problem.rank
    U = _gaussian(problem, generator, (m, k)) * (scale * (size / m) ** 0.5)
    return U, U if problem.symmetric else _gaussian(problem, generator, (n, k)) * (scale * (size / n) ** 0.5 / 3)


def _gaussian(problem: Problem, generator: Any, shape: tuple[int, int]) -> Array:
    xp = problem.door.xp
    return xp.astype(_arrays.from_numpy(generator.standard_normal(shape), problem.y), problem.y.dtype)


def _leading(problem: Problem, z: Array) -> tuple[Array, Array, Array, bool]:
    """Return leading singular triples of D = sum z_l A_l by block powers, or its leading positive eigenpairs."""
    xp, (m, n) = problem.door.xp, problem.shape
    generator = _random.host_generator(problem.seed, "recover: spectral")
    width = min(problem.rank + OVERSAMPLE, m, n)
    X = _gaussian(problem, generator, (m, width))
    Y = X if problem.symmetric else _gaussian(problem, generator, (n, width))
    for _ in range(POWERS):
        left, right = problem.pull(z, (X, Y))
        Y, X = xp.linalg.qr(right)[0], xp.linalg.qr(left)[0]
        X = Y if problem.symmetric else X
    if problem.symmetric:
        return _eigen(problem, z, X)
    right = problem.pull(z, (X, Y))[1]  # D^H X
    P, s, Q = svd((X, right))
    return P[:, : problem.rank], s[: problem.rank], Q[:, : problem.rank], False


def _eigen(problem: Problem, z: Array, X: Array) -> tuple[Array, Array, Array, bool]:
    xp = problem.door.xp
    H = adjoint(X) @ problem.pull(z, (X, X))[0]
    values, W = xp.linalg.eigh((H + adjoint(H)) / 2)
    indefinite = float(-values[0]) > 0.5 * max(float(values[-1]), 0.0)
    P = xp.flip(X @ W, axis=1)[:, : problem.rank]
    s = xp.flip(xp.abs(values) if float(values[-1]) <= 0.0 else xp.where(values > 0, values, xp.zeros_like(values)))
    return P, s[: problem.rank], P, indefinite
