"""What `nystrom` returns: a factor, what is missing, and what can be done with it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._elimination import State
from lowrank_la.factor._norms import ROUNDING, NormResult, largest_eigenvalue_bound
from lowrank_la.factor._orth import orthonormal
from lowrank_la.kernel_methods import _gram
from lowrank_la.kernel_methods._approximation import ONE_BY_ONE, Approximation, resume
from lowrank_la.kernel_methods._gram import Gram

NAME = "nystrom"
CLAIM = "trace, Frobenius norm and spectral norm of K - F F^T <= bound"
SPECTRAL_CLAIM = "lower <= ||K - F F^T||_2 <= bound"


@dataclass(frozen=True, repr=False)
class NystromResult(Result):
    """K ~ F F^T, never larger than K, and exact in the columns of landmarks that are points of X.

    Attributes
    ----------
    indices : array (k,), int64, or None
        Landmarks, in the order they were chosen; None for the centres of clusters.
    F : array (n, k)
        Factor.
    residual : array (n,)
        Diagonal of K - F F^T; |K_ij - (F F^T)_ij|^2 <= residual_i residual_j.
    error : float
        trace(K - F F^T).
    relative_error : float
        The same over trace(K).
    landmarks : array (k, d) or None
        Points; None if K was given as a matrix.
    kernel : KernelFunction, callable or "precomputed"
        With every parameter known.
    method : str
        The rule that chose the landmarks.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate
        Bounds the error.
    X : array
        Points, or the kernel matrix, as given.
    triangle : array (k, k)
        L, lower triangular: the kernel matrix of the landmarks is L L^T.
    state : object
        From where `refine` goes on.
    """

    indices: Array | None
    F: Array
    residual: Array
    error: float
    relative_error: float
    landmarks: Array | None
    kernel: Any
    method: str
    converged: bool
    certificate: Certificate
    X: Array = field(repr=False)
    triangle: Array = field(repr=False)
    state: State | None = field(repr=False)

    @property
    def rank(self) -> int:
        """Number of landmarks."""
        return self.F.shape[1]

    def apply(self, V: Array) -> Array:
        """Multiply F F^T by V, of shape (n,) or (n, t)."""
        door, F, V = self._with_columns("apply", "V", V)
        return door.leave(F @ (door.xp.matrix_transpose(F) @ V))

    def eigh(self) -> tuple[Array, Array]:
        """Return the eigenvalues of F F^T, shape (k,) and descending, and its eigenvectors (n, k)."""
        return self._eigen

    def solve(self, b: Array, *, shift: float) -> Array:
        """Solve (F F^T + shift I) x = b, backward stably for every shift.

        Parameters
        ----------
        b : array (n,) or (n, t)
            Right-hand sides.
        shift : float, shift > 0
            The ridge; zero is allowed where k = n.

        Returns
        -------
        array like b

        Raises
        ------
        ValueError
            b does not fit or is not finite, or shift is out of range.
        """
        shift = _checks.real(f"{NAME}.solve", "shift", shift, 0, open=self.rank < self.F.shape[0])
        door, _, b = self._with_columns("solve", "b", b)
        _, [values, U] = _arrays.enter(NAME, values=self._eigen[0], U=self._eigen[1])
        inside = door.xp.matrix_transpose(U) @ b
        x = U @ (inside / ((values if b.ndim == 1 else values[:, None]) + shift))
        return door.leave(x + (b - U @ inside) / shift if shift else x)

    def logdet(self, *, shift: float) -> float:
        """Return log det(F F^T + shift I), shift > 0; never above log det(K + shift I).

        Raises
        ------
        ValueError
            The shift is not positive.
        """
        shift = _checks.real(f"{NAME}.logdet", "shift", shift, 0, open=True)
        values = _arrays.to_numpy(self._eigen[0]).astype(float)
        return math.fsum(np.log(values + shift)) + (self.F.shape[0] - self.rank) * math.log(shift)

    def features(self, X_new: Array) -> Array:
        """Map points to the k features whose inner products approximate the kernel; F holds those of X.

        Parameters
        ----------
        X_new : array (m, d), or (m, k) for a precomputed kernel
            Points, or kernel values against the landmarks, in the order of `indices`.

        Returns
        -------
        array (m, k)

        Raises
        ------
        ValueError
            X_new does not fit or is not finite.
        """
        name = f"{NAME}.features"
        Z = self.triangle if self.landmarks is None else self.landmarks
        door, [L, Z, X_new] = _arrays.enter(name, L=self.triangle, Z=Z, X_new=X_new)
        _checks.ndim(name, "X_new", _checks.real_dtype(name, "X_new", X_new), 2)
        _checks.finite(name, "X_new", _checks.shape(name, "X_new", X_new, (X_new.shape[0], Z.shape[1])))
        return door.leave(_gram.Gram(name, door, Z, self.kernel).lift(X_new, Z, L)[0])

    def refine(self, *, rank: int | None = None, tol: float | None = None) -> NystromResult:
        """Choose more landmarks, up to a rank or a tolerance as for `nystrom`; the answer is that of one long run.

        Raises
        ------
        ValueError
            The method chooses all landmarks at once, rank is below the one at hand, or neither rank nor tol is given.
        """
        name = f"{NAME}.refine"
        if self.method not in ONE_BY_ONE or self.state is None:
            raise ValueError(f"{name}: method must be one of {', '.join(map(repr, ONE_BY_ONE))}; got {self.method!r}")
        if rank is None and tol is None:
            raise ValueError(f"{name}: rank or tol must be given; got neither")
        rank = None if rank is None else _checks.integer(name, "rank", rank, self.rank, self.F.shape[0])
        tol = None if tol is None else _checks.real(name, "tol", tol, 0, 1, open=True)
        door, [X, F] = _arrays.enter(name, X=self.X, F=self.F)
        gram, indices = _gram.Gram(NAME, door, X, self.kernel), _arrays.to_numpy(self.indices)
        return answer(gram, resume(gram, indices, F, self.state, rank=rank, tol=tol), tol, self.method)

    def spectral_error(self, *, steps: int = 8, delta: float = 1e-3, rng: _random.RNG = None) -> NormResult:
        """Enclose ||K - F F^T||_2 by products with K, which is never formed.

        Block Lanczos from four Gaussian vectors: the largest Ritz value is a lower bound, and what the start
        can hide from it leaves an upper bound with probability 1 - delta; the trace bounds it, too.

        Parameters
        ----------
        steps : int, steps >= 1
            Products of K with four vectors.
        delta : float, 0 < delta < 1
            Chance that the norm is above the bound.
        rng : None, int or numpy.random.Generator
            An int gives the same start on every backend.

        Returns
        -------
        NormResult
            value, lower, upper, passes, method, converged and certificate.

        Raises
        ------
        ValueError
            An argument is out of range.
        """
        name = f"{NAME}.spectral_error"
        steps = _checks.integer(name, "steps", steps, 1)
        delta = _checks.real(name, "delta", delta, 0, 1, open=True)
        seed = _random.seed_of(name, rng)
        door, [X, F] = _arrays.enter(name, X=self.X, F=self.F)
        gram, F_T = _gram.Gram(name, door, X, self.kernel), door.xp.matrix_transpose(F)
        lower, upper = largest_eigenvalue_bound(lambda V: gram.apply(V) - F @ (F_T @ V), F, gram.n, steps, delta, seed=seed, purpose=name)
        largest = float(self._eigen[0][0]) if self.rank else 0.0
        slack = ROUNDING * gram.n**0.5 * _arrays.unit_roundoff(door.xp, F.dtype) * (largest + upper)
        lower, upper = max(lower - slack, 0.0), min(upper + slack, self.certificate.bound)
        certificate = Certificate(SPECTRAL_CLAIM, upper, 1 - delta, "block Lanczos")
        return NormResult(lower, lower, upper, steps, "lanczos", True, certificate)

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        door, [F] = _arrays.enter(NAME, F=self.F)
        Q, R = orthonormal(F, 0)
        W, s, _ = door.xp.linalg.svd(R, full_matrices=False)
        return door.leave(s * s), door.leave(Q @ W)

    def _with_columns(self, method: str, name: str, V: Array) -> tuple[Door, Array, Array]:
        """Take F and vectors inside."""
        function = f"{NAME}.{method}"
        door, [F, V] = _arrays.enter(function, F=self.F, **{name: V})
        _checks.real_dtype(function, name, _checks.ndim(function, name, V, (1, 2)))
        return door, F, _checks.finite(function, name, _checks.shape(function, name, V, (F.shape[0], *V.shape[1:])))


def answer(gram: Gram, part: Approximation, tol: float | None, method: str) -> NystromResult:
    """Hand out an approximation, with a warning if it is not as good as asked."""
    leave = gram.door.leave
    result = NystromResult(
        indices=None if part.indices is None else leave(_arrays.from_numpy(part.indices, part.F)),
        F=leave(part.F),
        residual=leave(part.residual),
        error=part.error,
        relative_error=part.error / part.trace if part.trace else 0.0,
        landmarks=part.landmarks if part.landmarks is None or _arrays.is_sparse(part.landmarks) else leave(part.landmarks),
        kernel=gram.kernel,
        method=method,
        converged=tol is None or part.error <= tol * part.trace,
        certificate=Certificate(CLAIM, part.error + part.rounding, 1.0, "trace"),
        X=gram.X if _arrays.is_sparse(gram.X) else leave(gram.X),
        triangle=leave(part.L),
        state=part.state,
    )
    if not result.converged:
        words = f"{NAME}: {result.rank} landmarks leave {result.relative_error:.2g} of the trace, more than tol = {tol:.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
    return result
