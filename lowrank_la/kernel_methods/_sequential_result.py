"""What `SequentialNystrom` answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import rpcholesky
from lowrank_la.factor._dense import host, wide
from lowrank_la.factor._held import mean_at_most
from lowrank_la.kernel_methods import _approximation, _nystrom
from lowrank_la.kernel_methods._approximation import Approximation
from lowrank_la.kernel_methods._dictionary import Dictionary, forward, some
from lowrank_la.kernel_methods._gram import Gram
from lowrank_la.kernel_methods._nystrom import NystromResult
from lowrank_la.kernel_methods._sample import Sample

NAME = "SequentialNystrom"
CLAIM = "trace, Frobenius norm and spectral norm of K - K~ over all points so far <= bound"
FAILURE = 0.01


@dataclass(frozen=True, repr=False)
class SequentialNystromResult(Result):
    """A dictionary of points Z for all n points of a stream: K~ = k(X, Z) k(Z, Z)^-1 k(Z, X), never larger than K.

    Attributes
    ----------
    indices : array (m,), int64
        Rows of the stream that are in the dictionary.
    points : array (m, d)
        Those points.
    probabilities : array (m,), float64
        What their scores have come down to.
    multiplicities : array (m,), int64
        Copies that are left of each, from 1 to qbar.
    ridge : float
        The one in force.
    effective_dimension : float
        Estimate of trace(K (K + ridge I)^-1), from the weighted dictionary.
    error : float
        Estimate of trace(K - K~); exact where all points are held back.
    relative_error : float
        The same over trace(K).
    n_rows : int
        Points so far.
    converged : bool
        Whether the ridge is the one that was asked for.
    certificate : Certificate
        Bounds the error, by a random sample of all points.
    """

    indices: Array
    points: Array
    probabilities: Array
    multiplicities: Array
    ridge: float
    effective_dimension: float
    error: float
    relative_error: float
    n_rows: int
    converged: bool
    certificate: Certificate
    gram: Gram = field(repr=False)
    dictionary: Dictionary = field(repr=False)
    sample: Sample = field(repr=False)
    part: Approximation = field(repr=False)
    door: Door = field(repr=False)

    @property
    def rank(self) -> int:
        """Features: points of the dictionary, but for those that depend on others."""
        return self.part.rank

    @classmethod
    def of(cls, gram: Gram, D: Dictionary, sample: Sample, *, converged: bool, door: Door) -> SequentialNystromResult:
        """Measure a dictionary on the points held back."""
        held = Gram(NAME, gram.door, wide(sample.points), gram.kernel)
        part = _approximation.at_points(held, wide(D.points))
        residual, n = host(part.residual), sample.seen
        error = float(np.mean(residual)) * n
        leave, like = door.leave_wide, D.K
        return cls(
            indices=leave(_arrays.from_numpy(D.index, like)),
            points=door.leave(D.points),
            probabilities=leave(_arrays.from_numpy(D.p, like)),
            multiplicities=leave(_arrays.from_numpy(D.q.astype(np.int64), like)),
            ridge=D.ridge,
            effective_dimension=_dimension(D),
            error=error,
            relative_error=error / sample.trace if sample.trace else 0.0,
            n_rows=n,
            converged=converged,
            certificate=_certificate(residual, part, sample),
            gram=gram,
            dictionary=D,
            sample=sample,
            part=part,
            door=door,
        )

    def features(self, X_new: Array) -> Array:
        """Map points to the features whose inner products approximate the kernel.

        Parameters
        ----------
        X_new : array (t, d)
            Points.

        Returns
        -------
        array (t, rank)

        Raises
        ------
        ValueError
            X_new does not fit or is not finite.
        TypeError
            X_new is complex or of another library.
        """
        xp, X = self.door.xp, wide(self._entered("features", X_new))
        return self.door.leave(xp.matrix_transpose(forward(self.part.L, xp.matrix_transpose(self.gram.between(X, self.part.landmarks)))))

    def certify(self, X: Array) -> NystromResult:
        """Measure the approximation on points given again: exactly, and with all that `nystrom` offers.

        Parameters
        ----------
        X : array (n, d)
            The points of the stream, or any others.

        Returns
        -------
        NystromResult
            With the dictionary for landmarks: the exact trace of what is missing as `certificate`, `spectral_error`, `eigh`,
            `solve` and the rest, in double precision.

        Raises
        ------
        ValueError
            X does not fit, is empty or not finite.
        TypeError
            X is complex or of another library.
        """
        points = _checks.not_empty(f"{NAME}.certify", "X", self._entered("certify", X))
        gram = Gram(f"{NAME}.certify", self.gram.door, wide(points), self.gram.kernel)
        return _nystrom.answer(gram, _approximation.at_points(gram, self.part.landmarks), None, "sequential")

    def compress(self, k: int, *, rng: _random.RNG = None) -> SequentialNystromResult:
        """Keep the k points that say most: pivots of a randomly pivoted Cholesky factorization of the weighted dictionary's kernel matrix.

        Parameters
        ----------
        k : int, k >= 1
            Points to keep.
        rng : None, int or numpy.random.Generator
            An int gives the same points on every backend.

        Returns
        -------
        SequentialNystromResult
            With the error measured anew; all points come back if there are no more than k of them.

        Raises
        ------
        ValueError, TypeError
            k is out of range or no integer.
        """
        where = f"{NAME}.compress"
        k, D = _checks.integer(where, "k", k, 1), self.dictionary
        if k >= len(D):
            return self
        weights = _arrays.from_numpy(D.weights, D.K)
        pivots = rpcholesky(weights[:, None] * D.K * weights, k, rng=_random.seed_of(where, rng)).indices
        kept = np.zeros(len(D), bool)
        kept[_arrays.to_numpy(pivots)] = True
        smaller = SequentialNystromResult.of(self.gram, some(D, kept), self.sample, converged=self.converged, door=self.door)
        return dataclasses.replace(smaller, effective_dimension=self.effective_dimension)

    def _entered(self, method: str, X: Array) -> Array:
        """Take points inside."""
        where = f"{NAME}.{method}"
        X = _arrays.beside(where, "X", X, self.dictionary.K)
        _checks.real_dtype(where, "X", _checks.ndim(where, "X", X, 2))
        _checks.shape(where, "X", X, (X.shape[0], self.dictionary.points.shape[1]))
        return self.door.xp.astype(_checks.finite(where, "X", X), self.door.dtype, copy=False)


def _dimension(D: Dictionary) -> float:
    """Return m - ridge tr (W K W + ridge I)^-1 = tr(W K W (W K W + ridge I)^-1)."""
    values = np.linalg.eigvalsh(D.weights[:, None] * host(D.K) * D.weights)
    return float(np.sum(np.maximum(values, 0.0) / (np.maximum(values, 0.0) + D.ridge)))


def _certificate(residual: np.ndarray, part: Approximation, sample: Sample) -> Certificate:
    """Bound the trace by a sample without replacement, which the dictionary does not depend on; exactly if it holds all points."""
    rounding = part.rounding / max(part.trace, 1e-300) * sample.trace
    if residual.size == sample.seen:
        return Certificate(CLAIM, part.error + rounding, 1.0, "trace")
    bound = sample.seen * mean_at_most(np.minimum(residual, sample.largest), sample.largest, FAILURE)
    return Certificate(CLAIM, min(bound, sample.trace) + rounding, 1 - FAILURE, f"{residual.size} points held back")
