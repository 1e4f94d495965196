"""`TopEigenvector`: the leading eigenvector of A^H A from rows that come in chunks."""

from __future__ import annotations

import io
import math
import os
import warnings
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.factor import FrequentDirections
from lowrank_la.factor._dense import is_complex, wide
from lowrank_la.factor._intake import Kind, reading
from lowrank_la.factor._signs import signed
from lowrank_la.streaming import _certificate
from lowrank_la.streaming._blocks import BlockPower
from lowrank_la.streaming._certificate import ENERGY, Known
from lowrank_la.streaming._result import TopEigenvectorResult

NAME = "TopEigenvector"
METHODS = ("auto", "blocks", "gram", "directions")
GRAM_BYTES = 1 << 28  # of a Gram matrix, up to which it is the choice for rows in any order
DIRECTIONS = 32  # rows of a sketch by Frequent Directions
WIDEST_ANGLE = 0.5  # sine, of an answer that counts as converged


class TopEigenvector:
    """Find the leading eigenvector of A^H A from rows of A that come once, in chunks, and are not kept.

    Parameters
    ----------
    d : int, d >= 1
        Columns.
    k : int, k >= 1
        Vectors that the block power method carries, at most d. More of them: less harm from a small gap. From
        the third block on only four remain if the first one stands out.
    order : {"random", "arbitrary"}
        Whether the rows come in random order, which the method of choice for long streams needs.
    method : {"auto", "blocks", "gram", "directions"}
        "blocks": block power method, for random order. "gram": all of A^H A, exact. "directions": Frequent
        Directions, for every order. "auto": "blocks" for random order, else "gram" up to 256 MiB.
    rng : None, int or numpy.random.Generator
        An int gives the same random numbers on every backend.

    Attributes
    ----------
    n_rows : int
        Rows so far.
    space : int
        Numbers in the state.
    seed : int
        Seed of the start and of the choice of held-back rows.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type; "blocks" for an arbitrary order.

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

    Cost: 4 d k flops for each row ("blocks"), 2 d^2 ("gram"), about 12 d * 32 ("directions"). Memory: at most
    (3 k + 256 + 1024) d numbers, 2^22 each for the last two if d is larger, and d^2 until the first block ends for d <= 1024;
    d^2; 64 d.

    Certificate: "gram" bounds the angle by a residual, always. "directions" bounds ||A v||^2 from below, always.
    "blocks" does so with probability 0.99, from up to 1024 random light rows that v does not depend on and from
    the heavy rows; the claim names the assumption that the order is random.

    References
    ----------
    .. [1] Kacham and Woodruff, Approximating the top eigenvector in random order streams, NeurIPS 2024.
       The skeleton: one product for each block, heavy rows apart.

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

    def __init__(self, d: int, *, k: int = 8, order: str = "random", method: str = "auto", rng: _random.RNG = None) -> None:
        self._d = _checks.integer(NAME, "d", d, 1)
        self._k = _checks.integer(NAME, "k", k, 1)
        self._order = _checks.choice(NAME, "order", order, ("random", "arbitrary"))
        self._method = _checks.choice(NAME, "method", method, METHODS)
        if self._method == "auto":
            small = 8 * self._d**2 <= GRAM_BYTES
            self._method = "blocks" if order == "random" else "gram" if small else "directions"
        elif method == "blocks" and order == "arbitrary":
            raise ValueError(f"{NAME}: method must be 'gram' or 'directions' for an arbitrary order; got 'blocks'")
        self.seed = _random.seed_of(NAME, rng)
        self.n_rows = 0
        self._kind: Kind | None = None  # until the first rows
        self._blocks: Any = None  # BlockPower, or None for "directions"
        self._sketch = FrequentDirections(self._d, min(DIRECTIONS, self._d))

    def __repr__(self) -> str:
        return f"{NAME} by {self._method} for {self.n_rows} rows so far, {self._d} columns, seed {self.seed}"

    @property
    def space(self) -> int:
        """Numbers in the state."""
        if self._method == "directions":
            return 2 * min(DIRECTIONS, self._d) * self._d
        return 0 if self._blocks is None else self._blocks.space

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
        X = X.tocsr() if _arrays.is_sparse(X) else X
        squares = _row_squares(X)
        if not math.isfinite(float(np.sum(squares))):
            _checks.finite(where, "rows", X)
            raise ValueError(f"{where}: rows must have entries whose squares do not overflow; scale them down")
        X = self._cast(where, door, X)
        if self._method == "directions":
            self._sketch.update(X)
        else:
            self._blocks.take(X, squares)
        self.n_rows += squares.size
        return self

    def merge(self, other: TopEigenvector) -> None:
        """Take all rows of another stream, which stays as it is, as if they had followed.

        Gram matrices and sketches add up. Streams by "blocks" must both be random samples of the same rows; their
        models are joined, and all blocks begin anew.

        Parameters
        ----------
        other : TopEigenvector
            With the same d, k, order and method.

        Raises
        ------
        ValueError
            The streams differ in d, k, order, method or dtype.
        TypeError
            other is no TopEigenvector, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, TopEigenvector):
            raise TypeError(f"{where}: other must be a {NAME}; got {type(other).__name__}")
        if self._parameters() != other._parameters():
            raise ValueError(f"{where}: other must have d, k, order, method = {self._parameters()}; got {other._parameters()}")
        if other._kind is None:
            return
        (self._kind or self._open(other._kind)).check_same(where, other._kind)
        if self._method == "directions":
            self._sketch.merge(other._sketch)
        else:
            self._blocks.merge(other._blocks)
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
            The angle to the leading eigenvector may be large, because there is no gap or there were too few rows.
        """
        if self._kind is None or self.n_rows == 0:
            raise ValueError(f"{NAME}.result: the stream must have got rows before; got none")
        return self._from_directions() if self._method == "directions" else self._from_blocks()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        stored: dict[str, Any] = dict(zip(("d", "k", "order", "method"), map(np.array, self._parameters()), strict=True))
        stored |= {"seed": np.array(self.seed, np.uint64), "n_rows": np.array(self.n_rows)}
        if self._kind is not None:
            stored["like"] = _arrays.to_numpy(self._kind.like)
            stored |= {} if self._blocks is None else self._blocks.stored()
        if self._method == "directions":
            file = io.BytesIO()
            self._sketch.save(file)  # type: ignore[arg-type]
            stored["sketch"] = np.frombuffer(file.getvalue(), np.uint8)
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
            options = {name: str(file[name]) for name in ("order", "method")}
            stream = cls(int(file["d"]), k=int(file["k"]), rng=int(file["seed"]), **options)
            stream.n_rows = int(file["n_rows"])
            if "like" in file:
                door, [like] = _arrays.enter(NAME, like=file["like"])
                stream._open(Kind(door, like, from_file=True))
                if stream._blocks is not None:
                    stream._blocks.restore(file)
            if "sketch" in file:
                stream._sketch = FrequentDirections.load(io.BytesIO(file["sketch"].tobytes()))  # type: ignore[arg-type]
        return stream

    def _parameters(self) -> tuple[int, int, str, str]:
        return self._d, self._k, self._order, self._method

    def _open(self, kind: Kind) -> Kind:
        self._kind = kind
        if self._method != "directions":
            self._blocks = BlockPower(kind.like, self._d, self._k, self.seed, exact=self._method == "gram")
        return kind

    def _cast(self, where: str, door: Door, X: Any) -> Any:
        """Open the stream by its first array; cast the later ones to its dtype."""
        kind = self._kind or self._open(Kind.of(door, X))
        if kind.from_file:
            self._kind = kind = kind.going_on_as(Kind.of(door, X))
            if self._blocks is not None:
                self._blocks.move(kind.like)
        return kind.cast(where, "rows", door, X)

    def _from_blocks(self) -> TopEigenvectorResult:
        blocks = self._blocks
        Q, theta = blocks.model()
        v = self._vector(Q)
        second = float(max(theta[1], 0.0)) if theta.size > 1 else 0.0
        if blocks.gram is not None:
            known = _certificate.from_gram(blocks.gram, v, second, blocks.energy, self.n_rows)
        else:
            light = self.n_rows - len(blocks.heavy) - blocks.spent
            known = _certificate.from_held(v, blocks.heavy, blocks.held, light, float(theta[0]), blocks.energy, self.n_rows)
            known = known._replace(sin_angle=_expected_sine(float(theta[0]), second, self._d, self.n_rows) if blocks.fitted else 1.0)
        return self._answer(NAME, v, known, second, blocks.energy)

    def _from_directions(self) -> TopEigenvectorResult:
        sketch = self._sketch.result()
        s = _arrays.to_numpy(sketch.s).astype(np.float64) ** 2
        slack = sketch._rounding * sketch.squared_norm
        shrunk = sketch.certificate.bound
        lower, upper = max(float(s[0]) - slack, 0.0), float(s[0]) + shrunk + slack
        second = float(s[1]) if s.size > 1 else 0.0
        sine = math.sqrt(_certificate.separated(shrunk + 2 * slack, float(s[0]) - second - 2 * slack))
        certificate = Certificate(ENERGY, lower, 1.0, "Frequent Directions")
        known = Known(float(s[0]), lower, upper, sine, certificate)
        return self._answer(NAME, sketch.V[:, 0], known, second, sketch.squared_norm)

    def _vector(self, Q: Array) -> Array:
        assert self._kind is not None
        return signed(self._kind.xp.astype(Q[:, :1], self._kind.like.dtype))[0][:, 0]

    def _answer(self, function: str, v: Array, known: Known, second: float, trace: float) -> TopEigenvectorResult:
        assert self._kind is not None
        heavy = np.zeros(0, np.int64) if self._blocks is None else np.sort(self._blocks.heavy.index)
        converged = known.sin_angle <= WIDEST_ANGLE
        if not converged:
            warnings.warn(
                f"{function}: the sine of the angle to the leading eigenvector may be {known.sin_angle:.2g}",
                ConvergenceWarning,
                stacklevel=4,
            )
        v = self._kind.door.leave(v)
        bounds = known.value, known.lower, known.upper
        sizes = trace, heavy, self.n_rows, self.space, self._method
        return TopEigenvectorResult(v, *bounds, second, known.sin_angle, *sizes, converged, known.certificate)


def _expected_sine(first: float, second: float, d: int, n: int) -> float:
    """Estimate the angle between all rows and a third of them, by perturbation, as if all later eigenvalues were as large as the second."""
    if first <= second:
        return 1.0
    return min(1.0, math.sqrt(2 * d / n * first * second) / (first - second))


def _row_squares(X: Any) -> np.ndarray:
    """Return |a|^2 of each row in float64, on the host."""
    if _arrays.is_sparse(X):
        real = abs(X).astype(np.float64)
        return _arrays.to_numpy(real.multiply(real).sum(axis=1)).reshape(-1)
    X = wide(X)
    xp = _arrays.namespace(X)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller says so in words
        squares = xp.vecdot(X, X)
    return _arrays.to_numpy(xp.real(squares) if is_complex(X) else squares)
