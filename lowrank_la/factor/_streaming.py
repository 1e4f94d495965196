"""`StreamingSVD`: leading singular vectors of a matrix that is read once, from three linear sketches of it."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate
from lowrank_la.factor import _intake, _probes, _tall
from lowrank_la.factor._certificate import ERROR, FAILURE, PROBES
from lowrank_la.factor._dense import adjoint, is_complex, promote, wide
from lowrank_la.factor._intake import Kind, reading
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._signs import signed
from lowrank_la.factor._tall import Basis, Tall
from lowrank_la.sketching import Gaussian, SparseSign

NAME = "StreamingSVD"
FEWEST = 16  # rows of the sparse sketch, below which its columns repeat too often
MOST_ROWS = 1 << 48  # of a matrix whose number of rows nobody knows yet


class StreamingSVD:
    """Find leading singular vectors of a matrix whose rows or changes come once and are not kept.

    The state is a linear function of the matrix, far smaller than it: rows may be appended,
    changes added anywhere, and the states of several workers merged, in any order.

    Parameters
    ----------
    shape : int or tuple of int
        Number of columns d, if rows are still to come; or (n, d).
    rank : int, 1 <= rank <= min(shape)
        Number k of singular triplets that `svd` finds.
    range_size : int, rank <= range_size <= d, optional
        Columns of the sketch that the left singular vectors come from; 4 rank + 1 by
        default. More of them: a smaller error, a larger state, dearer updates.
    rng : None, int or numpy.random.Generator
        Streams that are to be merged need the same int.

    Attributes
    ----------
    n_rows : int
        Rows so far: the last one that something was added to.
    seed : int
        Seed of the random matrices.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    See Also
    --------
    svd : Smaller errors, where A can be read several times.
    FrequentDirections : Right singular vectors only, with a bound that holds always.

    Notes
    -----
    For random matrices Omega, Xi, Phi and Upsilon, which are functions of the seed, the state
    is Y = A Omega (n x l, l = `range_size`), X = Upsilon A (m x d), and Z = Phi A Xi^H (s x s),
    where m is l, or 16 for smaller l, rounded up to a multiple of 8, and s = 2 m + 1. With
    orthonormal bases Q of the columns of Y and P of the rows of X,

        A ~ Q W P^H for W = (Phi Q)^+ Z ((Xi P)^+)^H,

    cut to rank k [1]_. Omega, Phi and Xi are Gaussian, Upsilon has 8 signs in each column. Errors
    are a small multiple of those of the best approximation of rank k; where the singular values
    decay slowly, the factor of `svd` is far smaller.

    Cost of each new row: 2 d (l + s + 10) flops in a matrix product and 16 d for Upsilon.
    Memory: (l + 10) n + (2 l + s + 10) d + s^2 numbers, and two blocks of 64 MiB. The dtype is
    that of the first update.

    Certificate: 10 more columns of Y, T = A G for Gaussian G, never touch the approximation,
    which therefore is independent of G: ||T - U diag(s) V^H G||_F^2 / 10 is an unbiased
    estimate of the squared error. Its lower tail is longest for an error of rank one [2]_, that of
    a chi-square with 10 degrees of freedom (20 for complex A): the bound is twice the estimate. It holds
    with probability 0.99 for every matrix that was chosen without looking at the stream's answers.

    References
    ----------
    .. [1] Tropp, Yurtsever, Udell and Cevher, Streaming low-rank matrix approximation with an
       application to scientific simulation, SIAM J. Sci. Comput. 41, 2019. The three sketches.
    .. [2] Roosta-Khorasani, Szekely and Ascher, Assessing stochastic algorithms for large scale
       nonlinear least squares problems using extremal probabilities of linear combinations of
       gamma random variables, SIAM/ASA J. Uncertain. Quantif. 3, 2015. The tail.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import StreamingSVD
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((3000, 5)) @ rng.standard_normal((5, 200))
    >>> stream = StreamingSVD(200, 5, rng=0)
    >>> for block in np.split(A, 10):
    ...     stream.append(block)
    >>> result = stream.svd()
    >>> bool(np.linalg.norm(A - result.to_dense()) <= result.certificate.bound < 1e-9)
    True
    """

    n_rows: int
    seed: int

    def __init__(self, shape: int | tuple[int, int], rank: int, *, range_size: int | None = None, rng: _random.RNG = None) -> None:
        n, d = shape if isinstance(shape, tuple | list) and len(shape) == 2 else (None, shape)
        self._d = _checks.integer(NAME, "the number of columns in shape", d, 1)
        self._n = None if n is None else _checks.integer(NAME, "the number of rows in shape", n, 1)
        self._rank = _checks.integer(NAME, "rank", rank, 1, min(self._d, self._n or math.inf))
        wanted = min(4 * self._rank + 1, self._d) if range_size is None else range_size
        self._l = _checks.integer(NAME, "range_size", wanted, self._rank, self._d)
        self.seed = _random.seed_of(NAME, rng)
        self.n_rows = 0
        rows = self._n or MOST_ROWS
        self._upsilon = SparseSign(max(self._l, FEWEST), rows, rng=self.seed)
        self._s = 2 * self._upsilon.shape[0] + 1
        self._phi = Gaussian(self._s, rows, rng=self.seed)
        self._kind: Kind | None = None  # until the first update
        self._mass = 0.0

    def __repr__(self) -> str:
        return f"{NAME} of rank {self._rank} with {self.n_rows} rows so far, {self._d} columns, seed {self.seed}"

    def append(self, rows: Any) -> None:
        """Add rows below those that have come.

        Parameters
        ----------
        rows : array (m, d), sparse matrix, memory-mapped array, or row blocks
            Row blocks are an iterable of arrays or sparse matrices, or a function that returns one.

        Raises
        ------
        ValueError
            Rows do not have d columns, do not fit into n, or have entries that are not finite. Blocks
            of 64 MiB are taken one by one: those before the one with the fault stay, see `n_rows`.
        TypeError
            Rows are no array of numbers, complex after real ones, or of another library than those before.
        """
        self._update(f"{NAME}.append", "rows", rows, self.n_rows)

    def update(self, H: Any, *, row_offset: int = 0) -> None:
        """Add a change: A[row_offset : row_offset + m] += H.

        Parameters
        ----------
        H : array (m, d), sparse matrix, memory-mapped array, or row blocks
            As in `append`.
        row_offset : int, row_offset >= 0
            First row of A that changes. Rows that have not come yet are zero.

        Raises
        ------
        ValueError, TypeError
            As in `append`.
        """
        where = f"{NAME}.update"
        self._update(where, "H", H, _checks.integer(where, "row_offset", row_offset))

    def update_product(self, B: Array, C: Array, *, row_offset: int = 0) -> None:
        """Add a change of low rank: A[row_offset : row_offset + m] += B C^H.

        Parameters
        ----------
        B, C : array (m, r) and array (d, r)
            Factors of the change, whose product is never formed.
        row_offset : int, row_offset >= 0
            First row of A that changes.

        Raises
        ------
        ValueError, TypeError
            The factors do not fit each other or the stream; else as in `append`.
        """
        where = f"{NAME}.update_product"
        offset = _checks.integer(where, "row_offset", row_offset)
        door, [B, C] = promote(where, B=B, C=C)
        _checks.shape(where, "C", C, (self._d, _checks.ndim(where, "B", B, 2).shape[1]))
        _intake.ends_within(where, "B", B, offset, self._n or math.inf)
        B, C = self._take(where, "B", door, B), self._take(where, "C", door, C)
        inner = adjoint(_checks.finite(where, "C", C))
        for first, block in _arrays.row_blocks(B):
            place = offset + first
            self._absorb((where, "B", B), place, block @ (inner @ self._W), self._upsilon.apply(block, row_offset=place) @ inner)

    def merge(self, other: StreamingSVD) -> None:
        """Add the matrix of another stream, which stays as it is.

        Parameters
        ----------
        other : StreamingSVD
            With the same columns, rank, range size and seed. Rows keep their numbers: a worker that
            reads rows from i on takes them by ``update(rows, row_offset=i)``.

        Raises
        ------
        ValueError
            The streams differ in a parameter, in the seed, or in dtype.
        TypeError
            other is no StreamingSVD, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, StreamingSVD):
            raise TypeError(f"{where}: other must be a StreamingSVD; got {type(other).__name__}")
        if self._parameters() != other._parameters():
            raise ValueError(f"{where}: other must have the parameters and the seed of this stream; got {other!r}")
        if other._kind is None:
            return
        (self._kind or self._open(other._kind)).check_same(where, other._kind)
        self._tall.add_all(other._tall)
        self._X, self._Z = self._X + other._X, self._Z + other._Z
        self._mass += other._mass
        self.n_rows = max(self.n_rows, other.n_rows)

    def svd(self) -> SVDResult:
        """Return the leading singular triplets of what has come so far; the stream may go on.

        Returns
        -------
        SVDResult
            U, s, V, with fewer than `rank` triplets where the matrix has a lower numerical rank; `error`,
            an estimate of the error in the Frobenius norm; and a certificate with an upper bound on it.

        Raises
        ------
        ValueError
            Nothing has come yet.

        Notes
        -----
        Cost: 8 n l^2 flops for l columns of the range sketch, and memory for U.
        """
        kind = self._begun("svd")
        xp = kind.xp
        basis = _tall.basis(self._tall, self._l)
        P = xp.linalg.qr(adjoint(self._X), mode="reduced")[0]
        left, s, right = _triplets(self._core(basis, P), self._rank)
        k, V = s.shape[0], P @ right
        U = xp.zeros((self._n or self.n_rows, k), dtype=kind.like.dtype, device=kind.like.device)
        for offset, rows in basis.rows():
            U[offset : offset + rows.shape[0], :] = xp.astype(rows @ (basis.G @ left), U.dtype)
        U, V = signed(U, xp.astype(V, U.dtype))
        s = xp.astype(s, _arrays.real_dtype(xp, U.dtype))
        error, certificate = self._certify(U, s, V)
        leave = kind.door.leave
        return SVDResult(leave(U), leave(s), leave(V), error, None, 1, 0, "stream", True, certificate)

    def range_error(self) -> float:
        """Estimate how much of A lies outside of the range sketch: what a second pass over A could reach.

        Returns
        -------
        float
            Leave-one-out estimate [1]_ of ||A - Q Q^H A||_F for the l columns of Q: the mean of what each column
            of A Omega leaves unexplained by the others. No upper bound; typically within a factor 2.

        Raises
        ------
        ValueError
            Nothing has come yet.

        References
        ----------
        .. [1] Epperly and Tropp, Efficient error and variance estimation for randomized matrix
           computations, SIAM J. Sci. Comput. 46, 2024.
        """
        self._begun("range_error")
        R = _arrays.to_numpy(_tall.basis(self._tall, self._l).R)
        if R.shape[0] < self._l:
            return 0.0
        _, S, Vh = np.linalg.svd(R)
        floor = np.finfo(float).tiny + np.finfo(float).eps * S[0] / self._l
        left_out = 1 / np.linalg.norm(Vh.conj().T / np.maximum(S, floor), axis=1)
        return float(np.sqrt(np.mean(left_out**2)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        stored: dict[str, Any] = dict(zip(("n", "d", "rank", "range_size", "seed"), map(np.array, self._parameters()), strict=True))
        stored["seed"] = np.array(self.seed, np.uint64)
        stored |= {"n_rows": np.array(self.n_rows), "mass": np.array(self._mass)}
        if self._kind is not None:
            stored |= {"X": _arrays.to_numpy(self._X), "Z": _arrays.to_numpy(self._Z), "like": _arrays.to_numpy(self._kind.like)}
            stored |= {f"chunk_{c}": _arrays.to_numpy(chunk) for c, chunk in enumerate(self._tall.chunks) if chunk is not None}
        np.savez(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> StreamingSVD:
        """Read a stream that `save` wrote; its first update decides the library and device of the arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            n, d, rank, range_size, seed = (int(file[name]) for name in ("n", "d", "rank", "range_size", "seed"))
            stream = cls(d if n < 0 else (n, d), rank, range_size=range_size, rng=seed)
            if "X" in file:
                stream._restore(file)
        return stream

    def _restore(self, file: Any) -> None:
        door, [like] = _arrays.enter(NAME, like=file["like"])
        self._open(Kind(door, like, from_file=True))
        self._X, self._Z, self._mass = file["X"], file["Z"], float(file["mass"])
        self._tall.rows = self.n_rows = int(file["n_rows"])
        self._tall.chunks = [file.get(f"chunk_{c}") for c in range(-(-self.n_rows // _tall.CHUNK))]

    def _parameters(self) -> tuple[int, ...]:
        return -1 if self._n is None else self._n, self._d, self._rank, self._l, self.seed

    def _open(self, kind: Kind) -> Kind:
        """Allocate the state and the random matrices of the columns, [Omega, G, Xi^H]."""
        self._kind, like = kind, kind.like
        self._tall = Tall(like, self._l + PROBES)
        numbers = {"dtype": wide(like).dtype, "device": like.device}
        self._X = kind.xp.zeros((self._upsilon.shape[0], self._d), **numbers)
        self._Z = kind.xp.zeros((self._s, self._s), **numbers)
        self._W = self._columns(like)
        return kind

    def _columns(self, like: Array) -> Array:
        sizes = {"range": self._l, "probes": PROBES, "core": self._s}
        drawn = [_probes.gaussian(like, self._d, size, self.seed, f"{NAME} {purpose}") for purpose, size in sizes.items()]
        return _arrays.namespace(like).concat(drawn, axis=1)

    def _take(self, where: str, name: str, door: Door, H: Any) -> Any:
        """Open the stream by its first array; cast the later ones to its dtype."""
        kind = self._kind or self._open(Kind.of(door, H))
        if kind.from_file:
            self._kind = kind = kind.going_on_as(Kind.of(door, H))
            self._X, self._Z = (_arrays.from_numpy(x, kind.like) for x in (self._X, self._Z))
            self._tall = self._tall.moved(kind.like)
            self._W = self._columns(kind.like)
        return kind.cast(where, name, door, H)

    def _update(self, where: str, name: str, H: Any, row: int) -> None:
        numbers = self._l + PROBES + self._s
        for piece in _intake.pieces(where, name, H, self._d, numbers, row, self._n or math.inf):
            block = self._take(where, name, piece.door, piece.block)
            sketch = self._upsilon.apply(block, row_offset=piece.row)
            self._absorb((where, name, piece.whole), piece.row, self._product(block), sketch)

    def _product(self, block: Any) -> Array:
        if _arrays.is_sparse(block):
            return kernels.sparse_product.times(block.data, block.indices, block.indptr, self._W)
        return block @ self._W

    def _absorb(self, source: tuple[str, str, Any], row: int, product: Array, sketch: Array) -> None:
        """Add H W and Upsilon H for a block H of rows; they are finite if and only if H is, unless sums overflow."""
        _intake.finite(*source, product, sketch)
        split = self._l + PROBES
        self._tall.add(row, product[:, :split])
        self._X += wide(sketch)
        self._Z += self._phi.apply(wide(product[:, split:]), row_offset=row)
        self._mass += kernels.energy.squared_norm(product[:, self._l : split]) / PROBES
        self.n_rows = self._tall.rows

    def _core(self, basis: Basis, P: Array) -> Array:
        """Solve Z = (Phi Q) W (Xi P)^H for W."""
        xp = _arrays.namespace(P)
        sketched = xp.zeros((self._s, basis.P.shape[1]), dtype=P.dtype, device=P.device)
        for offset, rows in basis.rows():
            sketched += self._phi.apply(rows, row_offset=offset)
        xi = adjoint(wide(self._W[:, self._l + PROBES :]))
        return adjoint(_solve(xi @ P, adjoint(_solve(sketched @ basis.G, self._Z))))

    def _certify(self, U: Array, s: Array, V: Array) -> tuple[float, Certificate]:
        """Compare A G with U diag(s) V^H G for the columns G that were kept aside."""
        from scipy.special import gammaincinv

        G = self._W[:, self._l : self._l + PROBES]
        inner = wide(s)[:, None] * (adjoint(wide(V)) @ wide(G))
        energy = 0.0
        for offset, rows in self._tall.blocks():
            test = wide(rows[:, self._l :]) - wide(U[offset : offset + rows.shape[0], :]) @ inner
            energy += kernels.energy.squared_norm(test) / PROBES
        shape = PROBES / 2 * (2 if is_complex(U) else 1)
        least = float(gammaincinv(shape, FAILURE)) / shape
        rounding = 4 * math.sqrt(self._d * self._mass) * _arrays.unit_roundoff(_arrays.namespace(U), U.dtype)
        bound = math.sqrt(energy / least) + rounding
        return math.sqrt(energy), Certificate(ERROR, bound, 1 - FAILURE, f"{PROBES} Gaussian probes")

    def _begun(self, method: str) -> Kind:
        """Require that something has come.

        Raises
        ------
        ValueError
            Nothing has.
        """
        if self._kind is None or self.n_rows == 0:
            raise ValueError(f"{NAME}.{method}: the stream must have got rows before; got none")
        return self._kind


def _triplets(core: Array, most: int) -> tuple[Array, Array, Array]:
    """Leading singular triplets; none where there is nothing."""
    xp = _arrays.namespace(core)
    if core.shape[0] == 0:
        return core[:, :0], xp.real(core[:, 0]) if is_complex(core) else core[:, 0], adjoint(core)
    left, s, right = xp.linalg.svd(core, full_matrices=False)
    return left[:, :most], s[:most], adjoint(right)[:, :most]


def _solve(B: Array, C: Array) -> Array:
    """Solve min ||B X - C||_F for a tall, well-conditioned B."""
    Q, R = _arrays.namespace(B).linalg.qr(B, mode="reduced")
    return _arrays.solve_triangular(R, adjoint(Q) @ C)
