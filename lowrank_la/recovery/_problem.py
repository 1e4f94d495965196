"""The problem as the methods see it: residuals and gradients over the fitted measurements, the others set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, host, is_complex
from lowrank_la.recovery._operators import Dense, Measurements, sides

Pair: TypeAlias = tuple[Array, Array]  # U, V with the model U V^H; the same array twice if the model is U U^H
Terms: TypeAlias = tuple[Array, Array, Array]  # P, s, Q of P diag(s) Q^H; Q is P if the model is symmetric


@dataclass(frozen=True)
class Problem:
    """Measurements y_l ~ <A_l, U V^H>.

    Attributes
    ----------
    fitted : array (N,), real
        1 for measurements that the methods may look at, 0 for those set aside.
    tune, test : integer arrays on the host
        Measurements set aside: `tune` picks the iterate, `test` gives the certificate.
    """

    op: Any
    y: Array
    door: Door
    rank: int
    symmetric: bool
    fitted: Array
    fit: np.ndarray
    tune: np.ndarray
    test: np.ndarray
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return tuple(self.op.shape[1:])

    def apply(self, factors: Pair) -> Array:
        """Return <A_l, U V^H> for all measurements."""
        if isinstance(self.op, Measurements):
            return self._inside("apply", self.op._apply(*factors), self.y.shape)
        leave = self.door.leave
        return self._inside("apply", self.op.apply(*map(leave, factors)), self.y.shape)

    def residual(self, factors: Pair) -> Array:
        """Return <A_l, U V^H> - y_l."""
        return self.apply(factors) - self.y

    def pull(self, z: Array, factors: Pair) -> Pair:
        """Return D V and D^H U for D = sum z_l A_l; its Hermitian part if the model is symmetric."""
        U, V = factors
        if isinstance(self.op, Measurements):
            left, right = sides(self.op, z, U, V)
        else:
            left, right = sides(self.op, *map(self.door.leave, (z, U, V)))
        left, right = self._inside("adjoint_matmat", left, U.shape), self._inside("adjoint_rmatmat", right, V.shape)
        if self.symmetric:
            left = right = (left + right) / 2
        return left, right

    def typical(self, r: Array, at: np.ndarray | None = None) -> float:
        """Return the median absolute residual, of the fitted measurements unless others are named."""
        sizes = absolute(r)[self.fit if at is None else at]
        return float(np.median(sizes)) if len(sizes) else float("nan")

    def rms(self, r: Array) -> float:
        """Return the root mean square residual of the fitted measurements."""
        return float(np.sqrt(np.mean(absolute(r)[self.fit] ** 2)))

    def _inside(self, method: str, x: Any, shape: tuple[int, ...]) -> Array:
        x = _arrays.beside("recover", f"op.{method}(...)", x, self.y)
        if tuple(x.shape) != tuple(shape):
            raise ValueError(f"recover: op.{method} must return an array of shape {tuple(shape)}; got {tuple(x.shape)}")
        if is_complex(x) and not is_complex(self.y):
            raise TypeError("recover: y must be complex if op is, for complex factors; got real measurements")
        return self.door.xp.astype(x, self.y.dtype, copy=False)


def absolute(r: Array) -> np.ndarray:
    """Bring |r| to the host in float64."""
    return host(_arrays.namespace(r).abs(r))


def split(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw which measurements are fitted, which pick the iterate and which certify it: sorted ids."""
    aside = round(count * share)
    order = _random.host_generator(seed, "recover: held out").permutation(count)
    test = order[: aside - aside // 2]
    return np.sort(order[aside:]), np.sort(order[len(test) : aside]), np.sort(test)


def svd(factors: Pair) -> tuple[Array, Array, Array]:
    """Return P, s, Q with U V^H = P diag(s) Q^H; Q is P if the factors are one array."""
    (U, V), xp = factors, _arrays.namespace(*factors)
    Qu, Ru = xp.linalg.qr(U)
    if U is V:
        values, W = xp.linalg.eigh(Ru @ adjoint(Ru))
        P = xp.flip(Qu @ W, axis=1)
        return P, xp.flip(xp.where(values > 0, values, xp.zeros_like(values))), P
    Qv, Rv = xp.linalg.qr(V)
    P, s, Qh = xp.linalg.svd(Ru @ adjoint(Rv), full_matrices=False)
    return Qu @ P, s, Qv @ adjoint(Qh)


def balanced(P: Array, s: Array, Q: Array, rank: int) -> Pair:
    """Return factors of the leading terms that share the singular values evenly."""
    xp = _arrays.namespace(P)
    root = xp.astype(xp.sqrt(s[:rank]), P.dtype)[None, :]
    U = P[:, :rank] * root
    return U, U if P is Q else Q[:, :rank] * root


def read_operator(op: Any) -> Any:
    """Take measurements: ready ones, any object with their methods, or an array of matrices (N, m, n).

    Raises
    ------
    TypeError
        op is none of these.
    ValueError
        Its shape is not (N, m, n), or an entry is not finite.
    """
    if all(callable(getattr(op, name, None)) for name in ("apply", "adjoint_matmat", "adjoint_rmatmat")):
        N, m, n = _operator_shape(op)
        if min(N, m, n) < 1:
            raise ValueError(f"recover: op must have a shape (N, m, n) without zeros; got {(N, m, n)}")
        return op
    if not _arrays.is_array(op):
        raise TypeError(f"recover: op must be an array or have apply, adjoint_matmat and adjoint_rmatmat; got {type(op).__name__}")
    _, [A] = _dense.enter("recover", op=op)
    return Dense(_checks.ndim("recover", "op", A, 3))


def _operator_shape(op: Any) -> tuple[int, int, int]:
    try:
        N, m, n = (int(length) for length in op.shape)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"recover: op must have a shape (N, m, n); got {getattr(op, 'shape', None)!r}") from None
    return N, m, n
