"""`TopEigenvector`: leading eigenvectors of A^H A from rows that come in chunks."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Door
from lowrank_la.factor._intake import Kind, reading
from lowrank_la.streaming._answer import answer
from lowrank_la.streaming._any_order import AnyOrder
from lowrank_la.streaming._blocks import BlockPower
from lowrank_la.streaming._result import TopEigenvectorResult

NAME = "TopEigenvector"
METHODS = ("auto", "blocks", "gram", "oja", "directions")
GRAM_BYTES = 1 << 28  # of a Gram matrix, up to which it is the choice for rows in any order
PARAMETERS = ("d", "n_vectors", "k", "order", "method")
WIDTH, BESIDE = 8, 4  # vectors that the block power method carries: so many in all, and beside the wanted ones


class TopEigenvector:
    """Find leading eigenvectors of A^H A from rows of A that come once, in chunks, and are not kept.

    Parameters
    ----------
    d : int, d >= 1
        Columns.
    n_vectors : int, 1 <= n_vectors <= d
        Leading eigenvectors that are wanted.
    k : int, k >= n_vectors, optional
        Vectors that the block power method carries, at most d: 8 by default, or n_vectors + 4 if that is more. More of them: less harm
        from a small gap. From the third block on only n_vectors + 3 remain if the wanted ones stand out.
    order : {"random", "arbitrary"}
        Whether the rows come in random order, which the method of choice for long streams needs.
    method : {"auto", "blocks", "gram", "oja", "directions"}
        "blocks": block power method, for random order. "gram": all of A^H A, exact. "oja": Oja's iteration beside Frequent Directions,
        for one vector and every order. "directions": Frequent Directions alone. "auto": "blocks" for random order; else "gram"
        up to 256 MiB, then "oja", or "directions" for several vectors.
    rng : None, int or numpy.random.Generator
        An int gives the same random numbers on every backend.

    Attributes
    ----------
    n_rows : int
        Rows so far.
    space : int
        Numbers in the state.
    seed : int
        Seed of the start and of the choice of rows for the certificate.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type; "blocks" for an arbitrary order; "oja" for several vectors.

    See Also
    --------
    top_eigenvector : The same for blocks that are at hand, with a second pass where they can be read again.

    Notes
    -----
    "blocks" [1]_: in random order the rows of a block are a fair sample of all rows, except for the few heavy
    ones, |a|^2 >= ||A||_F^2 / (d ln d), which are kept apart and used exactly. Each block multiplies k
    vectors by its sample of A^H A. Blocks double, since the last one decides the error: with R =
    lambda_1 / lambda_2, sin^2 of the angle is about (2 d / n) R / (R - 1)^2 or less. The first max(4 d, 1024) rows give an exact start
    for d <= 1024; a stream that ends there is answered exactly. The answer does not depend on how rows were
    cut into chunks, but for rounding errors. Sums are kept in double precision.

    "oja" [2]_: v moves by rate * a^H (a v) with each row, for some log2(14 d ln d) learning rates at once, which follow
    ||A||_F^2 as it grows. Of these vectors, and the leading one of the sketch, that of which most energy is certified is the
    answer. The growth of each, see `candidates` of the result, tells whether it has learned: less than d^1.5 may be chance. It
    needs a large R: for R < ln^2 d there are orders of rows that mislead every learning rate. The sketch is better where the spectrum
    decays or few rows carry much, and worse where the spectrum is flat beyond lambda_1.

    Cost in flops for each row, and memory in numbers:

    - "blocks": 4 d k, and (3 k + 256 + 1024) d at most, 2^22 each instead of 256 d and 1024 d if that is less; for d <= 1024 also
      2 d^2, and d^2, until the first block ends.
    - "gram": 2 d^2, and d^2.
    - "directions": about 400 d, and some 5 microseconds for eigenvalues, and 64 d; the sketch has 32 rows, or 2 n_vectors.
    - "oja": 4 d log2(14 d ln d) beside "directions", and (log2(14 d ln d) + 1024) d, 2^22 instead of 1024 d if that is less.

    Certificate: "gram" bounds the angle by a residual, always. "directions" bounds ||A V||_F^2 from below, always.
    "blocks" does so with probability 0.99, from up to 1024 random light rows that V does not depend on and from
    the heavy rows; the claim names the assumption that the order is random. "oja" does so for every order that does not depend
    on the seed, from 512 rows drawn in proportion to |a|^2, or always, from the sketch, whichever bound is larger.

    References
    ----------
    .. [1] Kacham and Woodruff, Approximating the top eigenvector in random order streams, NeurIPS 2024.
       The skeleton: one product for each block, heavy rows apart.
    .. [2] Price and Xun, Spectral guarantees for adversarial streaming PCA, FOCS 2024. Many learning rates at once, and the growth
       that tells which of them learned; that small states cannot be merged.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.streaming import TopEigenvector
    >>> A = np.random.default_rng(0).standard_normal((20000, 50)) * np.array([3.0] + [1.0] * 49)
    >>> stream = TopEigenvector(50, rng=0)
    >>> for chunk in np.split(A, 20):
    ...     _ = stream.partial_fit(chunk)
    >>> result = stream.result()
    >>> bool(result.v[0] ** 2 > 0.99 and result.certificate.bound <= np.linalg.norm(A @ result.v) ** 2)
    True
    """

    n_rows: int
    seed: int

    def __init__(
        self, d: int, *, n_vectors: int = 1, k: int | None = None, order: str = "random", method: str = "auto", rng: _random.RNG = None
    ) -> None:
        self._d = _checks.integer(NAME, "d", d, 1)
        self._wanted = _checks.integer(NAME, "n_vectors", n_vectors, 1, self._d)
        k = max(WIDTH, self._wanted + BESIDE) if k is None else _checks.integer(NAME, "k", k, self._wanted)
        self._k = min(k, self._d)
        self._order = _checks.choice(NAME, "order", order, ("random", "arbitrary"))
        self._method = _checks.choice(NAME, "method", method, METHODS)
        if self._method == "auto":
            self._method = _best_method(order, self._d, self._wanted)
        elif method == "blocks" and order == "arbitrary":
            raise ValueError(f"{NAME}: method must be 'gram', 'oja' or 'directions' for an arbitrary order; got 'blocks'")
        elif method == "oja" and self._wanted > 1:
            raise ValueError(f"{NAME}: method must be 'gram' or 'directions' for several vectors in any order; got 'oja'")
        self.seed = _random.seed_of(NAME, rng)
        self.n_rows = 0
        self._kind: Kind | None = None  # until the first rows
        self._state: Any = None  # BlockPower or AnyOrder

    def __repr__(self) -> str:
        return f"{NAME} by {self._method} for {self.n_rows} rows so far, {self._d} columns, seed {self.seed}"

    @property
    def space(self) -> int:
        """Numbers in the state."""
        return 0 if self._state is None else self._state.space

    def partial_fit(self, rows: Any) -> TopEigenvector:
        """Take more rows.

        Parameters
        ----------
        rows : array (m, d) or sparse matrix
            All of them are checked before any is taken.

        Returns
        -------
        TopEigenvector
            This stream.

        Raises
        ------
        ValueError
            Rows do not have d columns, or have entries that are not finite or whose squares overflow. The state is as before.
        TypeError
            Rows are no array of numbers, complex after real ones, or of another library than those before.
        """
        where = f"{NAME}.partial_fit"
        door, [X] = _arrays.enter(where, rows=rows)
        if X.ndim != 2 or X.shape[1] != self._d:
            raise ValueError(f"{where}: rows must be 2-dimensional with {self._d} columns; got shape {tuple(X.shape)}")
        X = _canonical(X) if _arrays.is_sparse(X) else X
        squares = _row_squares(X)
        if not math.isfinite(float(np.sum(squares))):
            _checks.finite(where, "rows", X)
            raise ValueError(f"{where}: rows must have entries whose squares do not overflow; scale them down")
        X = self._cast(where, door, X)
        self._state.take(X, squares)
        self.n_rows += squares.size
        return self

    def merge(self, other: TopEigenvector) -> None:
        """Take all rows of another stream, which stays as it is, as if they had followed.

        Gram matrices and sketches add up. Streams by "blocks" must both be random samples of the same rows; their
        models are joined, and all blocks begin anew. With "oja" the larger stream goes on over a few rows that stand for
        the smaller one: its best vector with its energy, and its sketch. No small state of a stream in any order can be merged without
        such a loss unless lambda_1 / lambda_2 is large [2]_; the certificate holds as before.

        Parameters
        ----------
        other : TopEigenvector
            With the same d, n_vectors, k, order and method.

        Raises
        ------
        ValueError
            The streams differ in d, n_vectors, k, order, method or dtype.
        TypeError
            other is no TopEigenvector, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, TopEigenvector):
            raise TypeError(f"{where}: other must be a {NAME}; got {type(other).__name__}")
        if self._parameters() != other._parameters():
            raise ValueError(f"{where}: other must have d, n_vectors, k, order, method = {self._parameters()}; got {other._parameters()}")
        if other._kind is None:
            return
        (self._kind or self._open(other._kind)).check_same(where, other._kind)
        self._state.merge(other._state)
        self.n_rows += other.n_rows

    def result(self) -> TopEigenvectorResult:
        """Return the answer for the rows that have come; the stream may go on.

        Raises
        ------
        ValueError
            Nothing has come yet.

        Warns
        -----
        ConvergenceWarning
            The angle to the leading eigenvectors may be large, because there is no gap or there were too few rows.
        """
        if self._kind is None or self.n_rows == 0:
            raise ValueError(f"{NAME}.result: the stream must have got rows before; got none")
        return answer(NAME, self._state, self._kind, self._wanted, self.n_rows, self._method)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        stored: dict[str, Any] = dict(zip(PARAMETERS, map(np.array, self._parameters()), strict=True))
        stored |= {"seed": np.array(self.seed, np.uint64), "n_rows": np.array(self.n_rows)}
        if self._kind is not None:
            stored |= {"like": _arrays.to_numpy(self._kind.like)} | self._state.stored()
        np.savez(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TopEigenvector:
        """Read a stream that `save` wrote; its next rows decide the library and device of the arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            sizes, names = PARAMETERS[1:3], PARAMETERS[3:]
            options: dict[str, Any] = {name: int(file[name]) for name in sizes} | {name: str(file[name]) for name in names}
            stream = cls(int(file["d"]), rng=int(file["seed"]), **options)
            stream.n_rows = int(file["n_rows"])
            if "like" in file:
                door, [like] = _arrays.enter(NAME, like=file["like"])
                stream._open(Kind(door, like, from_file=True))
                stream._state.restore(file)
        return stream

    def _parameters(self) -> tuple[int, int, int, str, str]:
        return self._d, self._wanted, self._k, self._order, self._method

    def _open(self, kind: Kind) -> Kind:
        self._kind = kind
        if self._method in ("oja", "directions"):
            self._state = AnyOrder(kind.like, self._d, self._wanted, self.seed, oja=self._method == "oja")
        else:
            self._state = BlockPower(kind.like, self._d, self._k, self._wanted, self.seed, exact=self._method == "gram")
        return kind

    def _cast(self, where: str, door: Door, X: Any) -> Any:
        """Open the stream by its first array; cast the later ones to its dtype."""
        kind = self._kind or self._open(Kind.of(door, X))
        if kind.from_file:
            self._kind = kind = kind.going_on_as(Kind.of(door, X))
            self._state.move(kind.like)
        return kind.cast(where, "rows", door, X)


def _best_method(order: str, d: int, wanted: int) -> str:
    if order == "random":
        return "blocks"
    if 8 * d**2 <= GRAM_BYTES:
        return "gram"
    return "oja" if wanted == 1 else "directions"


def _canonical(X: Any) -> Any:
    """Give compressed rows in which each entry is stored once."""
    X = X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def _row_squares(X: Any) -> np.ndarray:
    """Return |a|^2 of each row in float64, on the host."""
    if _arrays.is_sparse(X):
        with np.errstate(over="ignore", invalid="ignore"):
            squares = abs(X.data).astype(np.float64) ** 2
        return _arrays.to_numpy(type(X)((squares, X.indices, X.indptr), shape=X.shape).sum(axis=1)).reshape(-1)
    return _arrays.to_numpy(kernels.row_energy.squares(X))
