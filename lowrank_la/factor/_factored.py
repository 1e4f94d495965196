"""`Factored`: a low-rank matrix that is never formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate
from lowrank_la.factor import _dense
from lowrank_la.factor._core import core, tails
from lowrank_la.factor._dense import adjoint, conj

NAME = "Factored"


class Factored:
    """A low-rank matrix held as U diag(s) V^H, with the arithmetic of matrices.

    Sums and products only put factors together; `recompress` brings the rank down again
    by two QR factorizations and the SVD of a small core. The matrix itself is never formed.

    Parameters
    ----------
    U : array (m, r) or (b, m, r), real or complex
        Left factor, not necessarily orthonormal. A leading axis is a batch of matrices.
    s : array (r,) or (b, r), real
        Weights of the columns.
    V : array (n, r) or (b, n, r)
        Right factor.

    Attributes
    ----------
    U, s, V : array
        The factors, in the namespace, on the device and in the floating dtype of U.
    shape : tuple of int
        (m, n) or (b, m, n).
    dtype : dtype
        That of U.
    rank : int
        Columns held, at least the rank of the matrix.
    certificate : Certificate or None
        After `recompress`: how far this is from what was compressed.

    Raises
    ------
    ValueError
        Shapes do not fit together, an array is empty, or an entry is not finite.
    TypeError
        s is complex, or arrays belong to different libraries.

    Notes
    -----
    Cost, for rank r held: product with a vector 2 (m + n) r flops; sum of k matrices none; product of
    two 2 n r^2; `recompress`, `norm`, `singular_values` about 4 (m + n) r^2 + 20 r^3. Norms come from
    triangular factors, not from Gram matrices, so that the norm of a difference is right to
    roundoff times the norms of its terms, and not to the square root of roundoff.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import Factored
    >>> rng = np.random.default_rng(0)
    >>> B, A = rng.standard_normal((5000, 4)), rng.standard_normal((4, 3000))
    >>> update = Factored.from_factors(B, A)
    >>> total = Factored.sum([update, 0.5 * update, -1.5 * update])
    >>> total.rank, bool(total.norm() < 1e-12 * update.norm())
    (12, True)
    >>> small = (update + update).recompress(tol=1e-12)
    >>> small.rank, bool(small.certificate.bound < 1e-13 * small.norm())
    (4, True)
    """

    __array_ufunc__ = None  # NumPy leaves X @ Factored to Factored
    __hash__ = None  # type: ignore[assignment]

    U: Array
    s: Array
    V: Array
    certificate: Certificate | None

    def __init__(self, U: Array, s: Array, V: Array) -> None:
        door, [U, V] = _dense.enter(NAME, U=U, V=V)
        _checks.ndim(NAME, "U", U, (2, 3))
        _checks.given(NAME, "V", V)
        _checks.shape(NAME, "V", V, (*U.shape[:-2], V.shape[-2] if V.ndim > 1 else 1, U.shape[-1]))
        s = _checks.real_dtype(NAME, "s", _arrays.beside(NAME, "s", s, U))
        s = door.xp.astype(_checks.finite(NAME, "s", s), door.real_dtype, copy=False)
        _checks.shape(NAME, "s", s, (*U.shape[:-2], U.shape[-1]))
        self._hold(door, U, s, V)

    def _hold(self, door: Door, U: Array, s: Array, V: Array, certificate: Certificate | None = None) -> None:
        self.U, self.s, self.V = door.leave(U), door.leave(s), door.leave(V)
        self.certificate = certificate

    @classmethod
    def _of(cls, door: Door, U: Array, s: Array, V: Array, certificate: Certificate | None = None) -> Factored:
        """Hold arrays from inside, which need no checks."""
        new = cls.__new__(cls)
        new._hold(door, U, s, V, certificate)
        return new

    @classmethod
    def from_factors(cls, B: Array, A: Array) -> Factored:
        """Hold the product B A, as adapters store it.

        Parameters
        ----------
        B : array (m, r) or (b, m, r)
        A : array (r, n) or (b, r, n)

        Returns
        -------
        Factored
            With U = B, s = 1 and V = A^H.

        Raises
        ------
        ValueError
            Shapes do not fit together, an array is empty, or an entry is not finite.
        TypeError
            The arrays belong to different libraries.
        """
        door, [B, A] = _dense.enter(NAME, B=B, A=A)
        _checks.ndim(NAME, "B", B, (2, 3))
        _checks.shape(NAME, "A", A, (*B.shape[:-2], B.shape[-1], A.shape[-1]))
        s = door.xp.ones((*B.shape[:-2], B.shape[-1]), dtype=door.real_dtype, device=B.device)
        return cls._of(door, B, s, adjoint(A))

    @classmethod
    def sum(cls, terms: Sequence[Factored]) -> Factored:
        """Add many matrices of one shape; the ranks add up until `recompress`.

        Parameters
        ----------
        terms : sequence of Factored

        Returns
        -------
        Factored

        Raises
        ------
        ValueError
            There are no terms, or their shapes differ.
        TypeError
            A term is not `Factored`, or arrays belong to different libraries.
        """
        terms = list(terms)
        if not terms:
            raise ValueError(f"{NAME}.sum: terms must be at least one matrix; got none")
        for term in terms:
            if not isinstance(term, Factored):
                raise TypeError(f"{NAME}.sum: terms must be Factored; got {type(term).__name__}")
            if term.shape != terms[0].shape:
                raise ValueError(f"{NAME}.sum: terms must have one shape; got {terms[0].shape} and {term.shape}")
        parts = {f"{name}{i}": getattr(term, name) for i, term in enumerate(terms) for name in ("U", "s", "V")}
        door, arrays = _dense.promote(NAME, **parts)
        s = [_real(door, s) for s in arrays[1::3]]
        U, s, V = (door.xp.concat(same, axis=-1) for same in (arrays[0::3], s, arrays[2::3]))
        return cls._of(door, U, s, V)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.U.shape[:-1], self.V.shape[-2])

    @property
    def ndim(self) -> int:
        return self.U.ndim

    @property
    def dtype(self) -> Any:
        return self.U.dtype

    @property
    def rank(self) -> int:
        return self.s.shape[-1]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        certified = "" if self.certificate is None else f"\n  {self.certificate!r}"
        return f"Factored of shape {self.shape}, rank {self.rank}, {self.dtype}{certified}"

    @property
    def H(self) -> Factored:
        """The adjoint; no flops."""
        door, U, s, V = self._enter()
        return Factored._of(door, V, s, U)

    @property
    def T(self) -> Factored:
        """The transpose of each matrix."""
        return self.H.conj()

    def conj(self) -> Factored:
        """Return the complex conjugate."""
        door, U, s, V = self._enter()
        return Factored._of(door, conj(U), s, conj(V))

    def __add__(self, other: Factored) -> Factored:
        return Factored.sum([self, other]) if isinstance(other, Factored) else NotImplemented

    def __sub__(self, other: Factored) -> Factored:
        return Factored.sum([self, -other]) if isinstance(other, Factored) else NotImplemented

    def __neg__(self) -> Factored:
        return self * -1.0

    def __mul__(self, scalar: complex) -> Factored:
        if not isinstance(scalar, int | float | complex | np.number):
            return NotImplemented
        if not math.isfinite(abs(scalar)):
            raise ValueError(f"{NAME}: a scalar factor must be finite; got {scalar}")
        door, U, s, V = self._enter()
        if not isinstance(scalar, complex | np.complexfloating):
            return Factored._of(door, U, s * float(scalar), V)
        xp = _arrays.namespace(self.U)
        turned = xp.astype(self.U, xp.complex128 if U.dtype in (door.xp.float64, door.xp.complex128) else xp.complex64) * complex(scalar)
        door, [U, s, V] = _arrays.enter(NAME, U=turned, s=self.s, V=self.V)
        return Factored._of(door, U, _real(door, s), V)

    __rmul__ = __mul__

    def __truediv__(self, scalar: complex) -> Factored:
        if not isinstance(scalar, int | float | complex | np.number):
            return NotImplemented
        if scalar == 0:
            raise ZeroDivisionError(f"{NAME}: a scalar divisor must not be 0")
        return self * (1 / scalar)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Factored):
            return self._times(other)
        door, U, s, V, X = self._beside(other, rows=self.shape[-1])
        if X.ndim == 1:
            return door.leave((U @ (s[:, None] * (adjoint(V) @ X[:, None])))[:, 0])
        return door.leave(U @ (s[..., :, None] * (adjoint(V) @ X)))

    def __rmatmul__(self, other: Any) -> Any:
        door, U, s, V, X = self._beside(other, columns=self.shape[-2])
        if X.ndim == 1:
            return door.leave((((X[None, :] @ U) * s) @ adjoint(V))[0, :])
        return door.leave(((X @ U) * s[..., None, :]) @ adjoint(V))

    def _times(self, other: Factored) -> Factored:
        """Multiply two factored matrices; the smaller rank remains.

        Raises
        ------
        ValueError
            The shapes do not fit.
        """
        if self.shape[:-2] != other.shape[:-2] or self.shape[-1] != other.shape[-2]:
            raise ValueError(f"{NAME}: the product needs shapes that fit; got {self.shape} and {other.shape}")
        parts = {"U": self.U, "s": self.s, "V": self.V, "X": other.U, "t": other.s, "Y": other.V}
        door, [U, s, V, X, t, Y] = _dense.promote(NAME, **parts)
        small = s[..., :, None] * (adjoint(V) @ X) * t[..., None, :]
        one = door.xp.ones_like(_real(door, s if self.rank <= other.rank else t))
        if self.rank <= other.rank:
            return Factored._of(door, U, one, Y @ adjoint(small))
        return Factored._of(door, U @ small, one, Y)

    def inner(self, other: Factored) -> Any:
        """Return <self, other> = tr(self^H other), a number (an array for batches); 2 (m + n) r^2 flops.

        Parameters
        ----------
        other : Factored, of the same shape

        Returns
        -------
        float, complex or array (b,)

        Raises
        ------
        ValueError
            The shapes differ.
        """
        if self.shape != other.shape:
            raise ValueError(f"{NAME}.inner: other must have shape {self.shape}; got {other.shape}")
        parts = {"U": self.U, "s": self.s, "V": self.V, "X": other.U, "t": other.s, "Y": other.V}
        door, [U, s, V, X, t, Y] = _dense.promote(NAME, **parts)
        left = s[..., :, None] * (adjoint(U) @ X) * t[..., None, :]
        right = door.xp.matrix_transpose(adjoint(Y) @ V)
        return _number(door, door.xp.sum(left * right, axis=(-2, -1)))

    def norm(self, ord: str | int = "fro") -> Any:
        """Return a norm: "fro", 2 (spectral) or "nuc" (nuclear).

        Parameters
        ----------
        ord : {"fro", 2, "nuc"}

        Returns
        -------
        float or array (b,)

        Raises
        ------
        ValueError
            ord is none of these.
        """
        ord = _checks.choice(f"{NAME}.norm", "ord", ord, ("fro", 2, "nuc"))
        door, U, s, V = self._enter()
        values = core(U, s, V).values
        if ord == "fro":
            return _number(door, door.xp.linalg.vector_norm(values, axis=-1))
        return _number(door, values[..., 0] if ord == 2 else door.xp.sum(values, axis=-1))

    def singular_values(self) -> Array:
        """Return the singular values that can differ from 0, descending.

        Returns
        -------
        array (min(rank, m, n),) or (b, min(rank, m, n))
        """
        door, U, s, V = self._enter()
        return door.leave(core(U, s, V).values)

    def recompress(self, rank: int | None = None, *, tol: float | None = None, certificate: bool = True) -> Factored:
        """Return the nearest matrix of a lower rank, with orthonormal factors and singular values as weights.

        Parameters
        ----------
        rank : int, 1 <= rank <= min(self.rank, m, n), optional
            Rank to keep; all, if neither it nor tol is given.
        tol : float, 0 <= tol < 1, optional
            Keep the smallest rank whose error is at most tol times the Frobenius norm (in every matrix of a batch).
        certificate : bool
            False saves some 4 matrix products of the size of the factors.

        Returns
        -------
        Factored
            s is descending, U and V are orthonormal; the certificate bounds ||self - result||_F,
            rounding errors included (the largest of a batch).

        Raises
        ------
        ValueError
            rank or tol is out of range, or both are given.
        """
        name = f"{NAME}.recompress"
        most = min(self.rank, *self.shape[-2:])
        if rank is not None and tol is not None:
            raise ValueError(f"{name}: rank and tol exclude each other; got both")
        rank = most if rank is None else _checks.integer(name, "rank", rank, 1, most)
        door, U, s, V = self._enter()
        parts = core(U, s, V)
        if tol is not None:
            rank = _rank_for(tails(parts.values), _checks.real(name, "tol", tol, 0, 1))
        cut = parts.truncate(rank)
        claim = "||A - U diag(s) V^H||_F <= bound"
        certified = _dense.always(claim, cut.error_bound(), "QR core") if certificate else None
        return Factored._of(door, cut.U, cut.s, cut.V, certified)

    def to_dense(self) -> Array:
        """Form the matrix.

        Returns
        -------
        array (m, n) or (b, m, n)
        """
        door, U, s, V = self._enter()
        return door.leave((U * s[..., None, :]) @ adjoint(V))

    def rows(self, index: Array) -> Array:
        """Form some rows.

        Parameters
        ----------
        index : integer array (k,)

        Returns
        -------
        array (k, n) or (b, k, n)

        Raises
        ------
        ValueError
            An index is not from 0 to m - 1.
        TypeError
            index is not of integers.
        """
        door, U, s, V = self._enter()
        index = _checks.ids(f"{NAME}.rows", "index", _arrays.beside(f"{NAME}.rows", "index", index, U), self.shape[-2])
        return door.leave((door.xp.take(U, index, axis=-2) * s[..., None, :]) @ adjoint(V))

    def entries(self, rows: Array, cols: Array) -> Array:
        """Evaluate some entries, 2 r flops each.

        Parameters
        ----------
        rows, cols : integer arrays (k,)

        Returns
        -------
        array (k,) or (b, k)

        Raises
        ------
        ValueError
            The indices differ in length or are out of range.
        TypeError
            They are not integers.
        """
        name = f"{NAME}.entries"
        door, U, s, V = self._enter()
        rows, cols = (_arrays.beside(name, word, x, U) for word, x in (("rows", rows), ("cols", cols)))
        _checks.shape(name, "cols", cols, rows.shape)
        rows, cols = _checks.ids(name, "rows", rows, self.shape[-2]), _checks.ids(name, "cols", cols, self.shape[-1])
        left, right = door.xp.take(U, rows, axis=-2), conj(door.xp.take(V, cols, axis=-2))
        return door.leave(door.xp.sum(left * s[..., None, :] * right, axis=-1))

    def _enter(self) -> tuple[Door, Array, Array, Array]:
        door, [U, s, V] = _arrays.enter(NAME, U=self.U, s=self.s, V=self.V)
        return door, U, _real(door, s), V

    def _beside(self, other: Any, rows: int | None = None, columns: int | None = None) -> tuple[Door, Array, Array, Array, Array]:
        """Bring an array to multiply with inside, and check that it fits.

        Raises
        ------
        ValueError
            It does not.
        """
        door, [U, s, V, X] = _dense.promote(NAME, U=self.U, s=self.s, V=self.V, X=other)
        _checks.ndim(NAME, "X", X, (1, 2) if self.ndim == 2 else 3)
        axis, length = (-1, columns) if rows is None else (0 if X.ndim == 1 else -2, rows)
        if X.shape[axis] != length or (self.ndim == 3 and X.shape[0] != self.shape[0]):
            raise ValueError(f"{NAME}: X must fit a matrix of shape {self.shape}; got shape {tuple(X.shape)}")
        _checks.finite(NAME, "X", X)
        return door, U, _real(door, s), V, X


def _real(door: Door, s: Array) -> Array:
    """Undo the promotion of real weights to the dtype of complex factors."""
    return door.xp.real(s) if _dense.is_complex(s) else s


def _number(door: Door, x: Array) -> Any:
    return door.leave(x) if x.ndim else (complex(x) if _dense.is_complex(x) else float(x))


def _rank_for(tails: np.ndarray, tol: float) -> int:
    """Return the smallest rank, at least 1, that leaves no more than tol of the norm in any matrix of a batch."""
    enough = tails <= tol * tails[..., :1]
    return max(1, int(np.max(np.argmax(enough, axis=-1))))
