"""The rows of a matrix of any kind, weighted: what scores are made of, one pass over the matrix for each method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _arrays, _checks, _threads, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.sketching import SparseSign

SIGNS = 4  # in each column of a sketch: as good as 8 for so many rows, also on coherent data, and faster
SERIAL = 1 << 17  # entries of A up to which a second thread gains nothing
ENDLESS = 1 << 62  # rows of blocks that nobody has counted yet


@dataclass(frozen=True)
class Rows:
    """The rows of D A, D = diag(weights). Figures over all rows are float64 (complex128).

    Attributes
    ----------
    function : str
        The public function that works for the caller.
    A : array (n, d), sparse matrix in compressed rows, or a function that returns row blocks
        Inside the door, unchecked.
    door : Door
        Where answers leave.
    n, d : int
        Shape of A; n is ENDLESS for blocks that have not been read yet.
    like : array
        Empty, with the namespace, device and dtype of A.
    weights : array (n,), float64, or None
        D; None is the identity.
    """

    function: str
    A: Any
    door: Door
    n: int
    d: int
    like: Array
    weights: Array | None = None

    @property
    def blocked(self) -> bool:
        """Whether the rows come in blocks."""
        return callable(self.A)

    @property
    def sparse(self) -> bool:
        return _arrays.is_sparse(self.A)

    @property
    def roundoff(self) -> float:
        """Unit roundoff of the dtype that A is stored in."""
        return _arrays.unit_roundoff(self.door.xp, self.door.dtype)

    def weighted(self, weights: Array | None) -> Rows:
        """Give the same rows with other weights."""
        return replace(self, weights=weights)

    def blocks(self) -> Iterator[tuple[int, Any, Array | None]]:
        """Yield (first row, block, its weights) over blocks as they come; an array or a sparse matrix is one."""
        for offset, block in _arrays.row_blocks(self.A) if self.blocked else [(0, self.A)]:
            end = offset + block.shape[0]
            yield offset, block, None if self.weights is None else self.weights[offset:end]

    def sketch(self, height: int, seed: int) -> tuple[Rows, Array]:
        """Return S D A in float64 for a sparse-sign S of so many rows, and the same rows, counted.

        Raises
        ------
        ValueError
            A has an entry that is not finite, or whose sums overflow.
        """
        S = SparseSign(height, self.n, zeta=SIGNS, rng=seed)
        Y, n = None, 0
        for offset, block, weights in self.blocks():
            part = wide(S.apply(block, row_offset=offset, scale=weights))
            Y, n = part if Y is None else Y + part, offset + block.shape[0]
        assert Y is not None
        self.check_finite(Y)
        return replace(self, n=n), Y

    def dense(self) -> Array:
        """Return D A in float64: a copy, for problems that are small."""
        A = wide(self.A.toarray() if self.sparse else self.A)
        self.check_finite(A)
        return A if self.weights is None else self.weights[:, None] * A

    def triangle(self) -> Array:
        """Return R of D A = Q R, by Householder reflections, block by block."""
        R = None
        for _, block, weights in self.blocks():
            for first, part in _arrays.row_blocks(block, max(4 * self.d, 1024)):
                part = wide(part.toarray() if _arrays.is_sparse(part) else part)
                part = part if weights is None else weights[first : first + part.shape[0], None] * part
                R = _arrays.triangular_factor(part if R is None else self.door.xp.concat([R, part]))
        assert R is not None
        return R

    def gram(self, P: Array) -> Array:
        """Return Q^H Q for Q = D A P, P upper triangular."""
        total = None
        for _, block, weights in self.blocks():
            if _arrays.is_sparse(block):
                part = _sparse_gram(block, P, weights)
            else:
                part = kernels.whiten.gram(block, P, block[:, :0], weights, False)[0]
            total = part if total is None else total + part
        return total

    def norms(self, P: Array) -> Array:
        """Return the squared norms (n,) of the rows of D A P, P upper triangular."""
        return self._joined([kernels.row_scores.norms(block, P, weights) for _, block, weights in self.blocks()])

    def fine(self, P: Array, columns: Array, C: Array) -> tuple[Array, Array]:
        """Return the squared norms of the rows of D A diag(columns) P C, and their Gram matrix; see `kernels.fine_scores`."""
        parts = [kernels.fine_scores.product(block, P, columns, C, weights) for _, block, weights in self.blocks()]
        norms, grams = zip(*parts, strict=True)
        return self._joined(norms), sum(grams[1:], start=grams[0])

    def lewis(self, P: Array, x: Array, theta: float, p: float, floor: float) -> tuple[Array, Array, float, float]:
        """Make a round of Lewis weights; see `kernels.row_scores.lewis`."""
        parts = [kernels.row_scores.lewis(block, P, x[at : at + block.shape[0]], theta, p, floor) for at, block, _ in self.blocks()]
        moved, grams, residual, full = zip(*parts, strict=True)
        return self._joined(moved), sum(grams[1:], start=grams[0]), max(residual), max(full)

    def _joined(self, parts: Sequence[Array]) -> Array:
        return parts[0] if len(parts) == 1 else self.door.xp.concat(list(parts))

    @property
    def sum_length(self) -> int:
        """Roundings that a sum over all rows may gather."""
        terms = self.n if self.blocked or self.sparse else kernels.whiten.sum_length(self.A)
        return terms + 4 * self.d + 8

    def check_finite(self, computed: Array) -> None:
        """Look for entries that are not finite where sums of them are not.

        Raises
        ------
        ValueError
            There are some, or sums of finite entries overflow.
        """
        xp = _arrays.namespace(computed)
        if bool(xp.all(xp.isfinite(computed))):
            return
        for offset, block, _ in self.blocks():
            _checks.finite(self.function, f"the block of A from row {offset}" if self.blocked else "A", block)
        raise ValueError(f"{self.function}: A must have entries whose sums stay finite; divide A by its largest entry")


@contextmanager
def threads_for(rows: Rows) -> Iterator[None]:
    """Leave BLAS one thread, because compiled kernels do all that is large, and these one thread where nothing is."""
    with ExitStack() as stack:
        stack.enter_context(_threads.serial_blas())
        if rows.n * rows.d < SERIAL:
            stack.enter_context(_threads.serial_kernels())
        yield


def enter(function: str, A: Any) -> Rows:
    """Take a matrix of any kind inside.

    Raises
    ------
    TypeError
        A is no matrix of numbers, or row blocks that can be read only once.
    ValueError
        A is not 2-dimensional or has no entry.
    """
    if _arrays.is_row_blocks(A) and not _arrays.is_table(A):
        return _enter_blocks(function, A)
    door, [A] = _arrays.enter(function, A=A)
    _checks.not_empty(function, "A", _checks.ndim(function, "A", A, 2))
    A = A.tocsr() if _arrays.is_sparse(A) else A
    n, d = A.shape
    return Rows(function, A, door, n, d, _empty(door, A))


def _enter_blocks(function: str, A: Any) -> Rows:
    if not (callable(A) or isinstance(A, list | tuple)):
        raise TypeError(
            f"{function}: A must be a list of row blocks or a function that returns an iterable of them; "
            f"got {type(A).__name__}, which ends after one reading"
        )
    _, first = next(_checks.row_blocks(function, "A", A), (0, None))
    if first is None:
        raise ValueError(f"{function}: A must have at least one block of rows; got none")
    door, [first] = _arrays.enter(function, A=first)
    _checks.not_empty(function, "blocks of A", _checks.ndim(function, "blocks of A", first, 2))
    like = _empty(door, first)
    source: Callable[[], Any] = A if callable(A) else lambda: A
    return Rows(function, _Blocks(function, source, first.shape[1], like), door, ENDLESS, first.shape[1], like)


@dataclass(frozen=True)
class _Blocks:
    """Row blocks, checked and cast as they pass."""

    function: str
    source: Callable[[], Any]
    columns: int
    like: Array

    def __call__(self) -> Iterator[Any]:
        xp = _arrays.namespace(self.like)
        for block in self.source():
            door, [block] = _arrays.enter(self.function, A=block)
            if block.ndim != 2 or block.shape[1] != self.columns:
                got = tuple(block.shape)
                raise ValueError(f"{self.function}: blocks of A must have {self.columns} columns, as many as the first; got shape {got}")
            if door.xp is not xp:
                raise TypeError(f"{self.function}: blocks of A must be arrays of one library; got {door.xp.__name__}")
            yield block.tocsr() if _arrays.is_sparse(block) else xp.astype(block, self.like.dtype, copy=False)


def _empty(door: Door, A: Any) -> Array:
    if _arrays.is_sparse(A):
        return A.data[:0] if _arrays.is_array(A.data) else door.xp.empty(0, dtype=door.dtype)
    return door.xp.zeros((0,), dtype=A.dtype, device=A.device)


def _sparse_gram(A: Any, P: Array, weights: Array | None) -> Array:
    total = None
    for offset, block in _arrays.row_blocks(A):
        Q = block @ P
        Q = Q if weights is None else weights[offset : offset + block.shape[0], None] * Q
        total = adjoint(Q) @ Q if total is None else total + adjoint(Q) @ Q
    return total
