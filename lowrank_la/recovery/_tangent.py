"""Matrices next to one of low rank: the tangent space of its rank, in real coordinates that keep lengths, and what is measured of it."""

from __future__ import annotations

from functools import cached_property

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, conj, eye, is_complex
from lowrank_la.recovery._operators import Measurements
from lowrank_la.recovery._problem import Pair, Problem
from lowrank_la.solvers._block import conjugate_gradients

ROOT = 2**0.5
DIRECT = 160  # length of vectors up to which the eigenvalue decomposition is sooner there than conjugate gradients are


class Tangent:
    """The map from tangents H at P diag(s) Q^H to their measurements w_l <A_l, H>.

    Vectors are the real and imaginary parts of H Q without its part in P, and of H^H P; if the model is symmetric, of H P with the
    part outside P times the root of 2. In either case ||x|| = ||H||_F for those x that `project` leaves as they are.
    """

    def __init__(self, problem: Problem, P: Array, Q: Array, roots: Array, like: Tangent | None = None) -> None:
        self.problem, self.P, self.Q = problem, P, Q
        self.xp, self.w = _arrays.namespace(P), _arrays.namespace(P).astype(roots, problem.y.dtype)
        self.complex = is_complex(P)
        if like is None:
            self.rows = problem.op.rows_at(P, Q) if isinstance(problem.op, Measurements) else None
        else:
            self.rows = like.rows

    @property
    def size(self) -> int:
        """Length of the vectors."""
        (m, n), rank = self.problem.shape, self.P.shape[1]
        return rank * (m if self.problem.symmetric else m + n) * (2 if self.complex else 1)

    @property
    def dimension(self) -> int:
        """Number of real parameters: vectors are longer by what changes nothing."""
        rank = self.P.shape[1]
        if not self.problem.symmetric:
            return self.size - rank * rank * (2 if self.complex else 1)
        return self.size - (rank * rank if self.complex else rank * (rank - 1) // 2)

    def project(self, X: Array) -> Array:
        """Take from vectors (size, t) what changes nothing."""
        left, right = self._halves(X)
        S = adjoint(self.P) @ left
        left = left - self.P @ ((S - adjoint(S)) / 2 if self.problem.symmetric else S)
        return self._vectors(left, right)

    def factors(self, X: Array) -> Pair:
        """Return dU (t, m, r) and dV (t, n, r) with H = dU Q^H + P dV^H for each of t vectors."""
        left, right = self._halves(X)
        S = adjoint(self.P) @ left
        left = left - self.P @ S
        if not self.problem.symmetric:
            return left, right
        left = left / ROOT + self.P @ (S + adjoint(S)) / 4
        return left, left

    def image(self, X: Array) -> Array:
        """Return w_l <A_l, H>, an array (N, t)."""
        dU, dV = self.factors(X)
        if self.rows is not None:
            out = conj(self.rows[0]) @ self._flat(dU) + self.rows[1] @ conj(self._flat(dV))
        else:
            out = self.xp.stack([self._apply(dU[j, ...], dV[j, ...]) for j in range(dU.shape[0])], axis=1)
        return self.w[:, None] * out

    def adjoint(self, Z: Array) -> Array:
        """Return what `image` maps back, vectors (size, t), from arrays (N, t)."""
        Z = self.w[:, None] * Z
        left, right = self._pull(Z)
        S = adjoint(self.P) @ left
        left = left - self.P @ S
        if self.problem.symmetric:
            left = ROOT * left + self.P @ (S + adjoint(S)) / 2
        return self._vectors(left, right)

    def gram(self, X: Array) -> Array:
        """Return the image's image back: a symmetric semidefinite map."""
        return self.adjoint(self.image(X))

    @cached_property
    def eigen(self) -> tuple[Array, Array] | None:
        """Eigenvalues, ascending, and eigenvectors of `gram`, if there are few; those of vectors that change nothing are zero."""
        if self.rows is None or self.size > DIRECT:
            return None
        return self.xp.linalg.eigh(self.gram(eye(self.xp, self.size, self.xp.real(self.w[:1]) if self.complex else self.w)))

    @property
    def negligible(self) -> float:
        """Share of the largest eigenvalue below which another is a rounding error."""
        return 64 * _arrays.unit_roundoff(self.xp, self.P.dtype) * self.size**0.5

    @property
    def basis(self) -> Array:
        """Vectors whose images are orthonormal, as many as there are eigenvalues that are not negligible, and zeros: from `eigen`."""
        assert self.eigen is not None
        values, vectors = self.eigen
        good = values > self.negligible * values[-1]
        return vectors * self.xp.where(good, 1 / self.xp.where(good, values, 1.0), 0.0)[None, :] ** 0.5

    def solve(self, G: Array, drop: float, max_iter: int) -> Array:
        """Return the vectors that `gram` maps to G (size, t), but for a residual that has dropped: fits to Z if G is the adjoint of Z."""
        if self.eigen is not None:
            return self.basis @ (self.basis.T @ G)
        norms = _arrays.to_numpy(self.xp.linalg.vector_norm(G, axis=0))
        return conjugate_gradients(self.gram, G, drop * norms, precondition=lambda R: R, max_iter=max_iter).X

    def weighed(self, roots: Array) -> Tangent:
        """Return the same tangents with other weights."""
        return Tangent(self.problem, self.P, self.Q, roots, self)

    def _apply(self, dU: Array, dV: Array) -> Array:
        return self.problem.apply((self.xp.concat([dU, self.P], axis=1), self.xp.concat([self.Q, dV], axis=1)))

    def _pull(self, Z: Array) -> tuple[Array, Array]:
        """Return D Q (t, m, r) and D^H P (t, n, r) for D = sum z_l A_l; the Hermitian part twice if the model is symmetric."""
        xp = self.xp
        if self.rows is None:
            pairs = [self.problem.pull(Z[:, j], (self.P, self.Q)) for j in range(Z.shape[1])]
            return xp.stack([left for left, _ in pairs]), xp.stack([right for _, right in pairs])
        left = xp.reshape(Z.T @ self.rows[0], (-1, *self.P.shape))
        right = xp.reshape(conj(Z.T) @ self.rows[1], (-1, *self.Q.shape))
        return ((left + right) / 2,) * 2 if self.problem.symmetric else (left, right)

    def _flat(self, X: Array) -> Array:
        return self.xp.reshape(X, (X.shape[0], -1)).T

    def _halves(self, X: Array) -> tuple[Array, Array]:
        """Return the parts of the vectors that belong to P and to Q, arrays (t, m, r) and (t, n, r)."""
        xp, m, rank = self.xp, self.problem.shape[0], self.P.shape[1]
        X = X.T
        if self.complex:
            X, imag = X[:, : self.size // 2], X[:, self.size // 2 :]
            X = xp.astype(X, self.P.dtype) + xp.asarray(1j, dtype=self.P.dtype, device=X.device) * xp.astype(imag, self.P.dtype)
        X = xp.reshape(xp.astype(X, self.P.dtype, copy=False), (X.shape[0], -1, rank))
        return X[:, :m, :], X[:, m:, :]

    def _vectors(self, left: Array, right: Array) -> Array:
        """Put the parts together, as real numbers in double precision."""
        xp = self.xp
        X = left if self.problem.symmetric else xp.concat([left, right], axis=1)
        X = xp.reshape(X, (X.shape[0], -1))
        X = xp.concat([xp.real(X), xp.imag(X)], axis=1) if self.complex else X
        return xp.astype(X, xp.float64, copy=False).T
