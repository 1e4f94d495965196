"""The door of `sketch_lstsq`: whatever A and b are, make them a problem; turn answers back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.regression._problem import BlockRows, OperatorRows, Problem, Rows

NAME = "sketch_lstsq"
SHRINK = 2.0**-64  # brings sums of the largest numbers back into range


@dataclass(frozen=True)
class Entry:
    """A problem inside the door, and how its answers go out.

    Attributes
    ----------
    problem : Problem
        With B of shape (n, k); real and imaginary parts side by side if A is real and b complex.
    door : Door
        Of A.
    kind : str
        "dense", "sparse", "operator", "blocks", or "stream" for blocks that come once.
    unit : float
        Right-hand sides were divided by it, to keep squares in range.
    vector, split : bool
        b was one-dimensional; b was split in real and imaginary parts.
    factor : float
        Rows were multiplied by it.
    """

    problem: Problem
    door: Door
    kind: str
    unit: float
    vector: bool
    split: bool
    factor: float = 1.0

    @property
    def double(self) -> bool:
        """Whether A is stored in float64."""
        return self.roundoff <= 2.0**-53

    @property
    def wide(self) -> bool:
        """Whether there are fewer equations than unknowns."""
        return self.shape[0] < self.shape[1] and self.problem.ridge == 0

    @property
    def columns_b(self) -> int:
        return self.problem.rows.B.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        return self.problem.rows.shape

    @property
    def roundoff(self) -> float:
        """Unit roundoff of the dtype that A is stored in."""
        return _arrays.unit_roundoff(self.door.xp, self.door.dtype)

    def solution(self, X: Array) -> Array:
        """Return X in the caller's units, namespace, dtype and number of axes."""
        X = X * self.unit
        leave: Callable[[Array], Array] = self.door.leave
        if self.split:
            half = X.shape[1] // 2
            re, im = leave(X[:, :half]), leave(X[:, half:])
            out = _arrays.namespace(re)
            X = out.astype(re, _complex_of(out, re)) + 1j * out.astype(im, _complex_of(out, im))
        else:
            X = leave(X)
        return X[:, 0] if self.vector else X

    def bounds(self, E: Array, X: Array, x: Array) -> Array:
        """Return entrywise bounds on the error of x, the rounded form of X, in the caller's units."""
        xp = _arrays.namespace(E)
        u = _arrays.unit_roundoff(_arrays.namespace(x), x.dtype)
        E = (E + (u * xp.abs(X) if u > 2.0**-53 else 0.0)) * ((1 + 4 * u) * self.unit)
        if self.split:
            half = E.shape[1] // 2
            E = xp.sqrt(E[:, :half] ** 2 + E[:, half:] ** 2)
        E = self.door.leave(E)
        return E[:, 0] if self.vector else E

    def norms(self, r2: Array) -> Array:
        """Return norms (k,), from squared norms of the columns of B, in the caller's units."""
        xp = _arrays.namespace(r2)
        if self.split:
            half = r2.shape[0] // 2
            r2 = r2[:half] + r2[half:]
        return xp.sqrt(r2) * (self.unit / self.factor)

    def norms_b(self) -> Array:
        """Return the norms (k,) of the columns of D B."""
        rows = self.problem.rows
        xp = _arrays.namespace(rows.B)
        B = rows.B if rows.scale is None else rows.scale[:, None] * rows.B
        return xp.astype(xp.linalg.vector_norm(B, axis=0), xp.float64)

    def shrunk(self) -> Entry:
        """Return the same problem with all rows made smaller, for entries near the overflow threshold."""
        rows = self.problem.rows
        xp = _arrays.namespace(rows.B)
        ones = xp.ones(rows.shape[0], dtype=_arrays.real_dtype(xp, rows.B.dtype), device=rows.B.device)
        scale = SHRINK * (ones if rows.scale is None else rows.scale)
        return replace(
            self, problem=replace(self.problem, rows=replace(rows, scale=scale), ridge=self.problem.ridge * SHRINK**2), factor=SHRINK
        )


def enter(A: Any, b: Any, weights: Any, ridge: float) -> Entry:
    """Check the data and make them a problem.

    Raises
    ------
    TypeError
        b is sparse.
    ValueError
        The data are not a least-squares problem.
    """
    ridge = _checks.real(NAME, "ridge", ridge, 0)
    if _arrays.is_operator(A):
        kind, door, parts = _enter_operator(A, b)
    elif _arrays.is_row_blocks(A) and not _arrays.is_table(A):
        kind, door, parts = _enter_blocks(A, b)
    else:
        door, parts = _arrays.enter(NAME, A=A, b=b)
        _checks.ndim(NAME, "A", parts[0], 2)
        kind = "sparse" if _arrays.is_sparse(A) else "dense"
    A, b = parts
    if _arrays.is_sparse(b):
        raise TypeError(f"{NAME}: b must be a dense array; got {type(b).__name__}")
    _checks.ndim(NAME, "b", b, (1, 2))
    xp = _arrays.namespace(b)
    if kind in {"dense", "sparse", "operator"}:
        _checks.rows_like(NAME, "b", b, A.shape[0], "A")
    _checks.finite(NAME, "b", b)
    vector = b.ndim == 1
    B = xp.reshape(b, (-1, 1)) if vector else b
    split = xp.isdtype(B.dtype, "complex floating") and not xp.isdtype(door.dtype, "complex floating")
    if split:
        B = xp.concat([xp.real(B), xp.imag(B)], axis=1)
    d = A.shape[1] if hasattr(A, "shape") else A.columns
    rows_type = OperatorRows if kind == "operator" else BlockRows
    unit = _unit(B)
    rows: Rows = rows_type(A, B if unit == 1 else B / unit, _scale(weights, B), (B.shape[0], d))
    return Entry(Problem(rows, ridge), door, kind, unit, vector, split)


def _enter_operator(A: Any, b: Any) -> tuple[str, Door, list[Any]]:
    door, [b] = _arrays.enter(NAME, b=b)
    if str(getattr(A, "dtype", "")).startswith("complex"):
        door = replace(door, dtype=door.xp.complex128)
    return "operator", door, [A, b]


@dataclass(frozen=True)
class _Blocks:
    """Row blocks, checked as they pass."""

    source: Callable[[], Any]
    columns: int
    rows: int

    def __call__(self) -> Any:
        seen = 0
        for block in self.source():
            [block] = _arrays.enter(NAME, A=block)[1]
            if block.ndim != 2 or block.shape[1] != self.columns:
                raise ValueError(
                    f"{NAME}: blocks of A must have {self.columns} columns, as many as the first; got shape {tuple(block.shape)}"
                )
            seen += block.shape[0]
            if seen > self.rows:
                break
            yield block
        if seen != self.rows:
            more = "more" if seen > self.rows else seen
            raise ValueError(f"{NAME}: A must have {self.rows} rows in all blocks together, as many as b; got {more}")


def _enter_blocks(A: Any, b: Any) -> tuple[str, Door, list[Any]]:
    once = not callable(A) and iter(A) is A
    blocks = (block for _, block in _checks.row_blocks(NAME, "A", A))
    first = next(blocks, None)
    if first is None:
        raise ValueError(f"{NAME}: A must have at least one block of rows; got none")
    if _arrays.is_row_blocks(b):
        b = _joined(b)
    door, [first, b] = _arrays.enter(NAME, A=first, b=b)
    _checks.ndim(NAME, "blocks of A", first, 2)
    source = (lambda: itertools.chain([first], blocks)) if once else (A if callable(A) else lambda: A)
    return ("stream" if once else "blocks"), door, [_Blocks(source, first.shape[1], b.shape[0]), b]


def _joined(b: Any) -> Array:
    parts = [part for _, part in _arrays.row_blocks(b)]
    return _arrays.namespace(*parts).concat(parts)


def _scale(weights: Any, B: Array) -> Array | None:
    """Return square roots of the weights, in the precision of B.

    Raises
    ------
    ValueError
        A weight is negative.
    """
    if weights is None:
        return None
    xp = _arrays.namespace(B)
    weights = _checks.real_dtype(NAME, "weights", _arrays.beside(NAME, "weights", weights, B))
    _checks.shape(NAME, "weights", weights, (B.shape[0],))
    weights = xp.astype(weights, _arrays.real_dtype(xp, B.dtype), copy=False)
    _checks.finite(NAME, "weights", weights)
    if B.shape[0] and bool(xp.any(weights < 0)):
        raise ValueError(f"{NAME}: weights must be at least 0; got {float(xp.min(weights)):g}")
    return xp.sqrt(weights)


def _unit(B: Array) -> float:
    """Return a power of two near the largest entry of B if squares could leave the range of numbers, else 1."""
    xp = _arrays.namespace(B)
    if math.prod(B.shape) == 0:
        return 1.0
    largest = float(xp.max(xp.abs(B)))
    safe = 1e-12 if xp.finfo(B.dtype).bits < 64 else 1e-100
    return 1.0 if largest == 0 or safe < largest < 1 / safe else 2.0 ** math.floor(math.log2(largest))


def _complex_of(xp: Any, x: Array) -> Any:
    return xp.complex64 if xp.finfo(x.dtype).bits < 64 else xp.complex128


def check_finite(entry: Entry) -> None:
    """Say where A is not finite; called only if a sketch of A is not, which costs no pass of its own.

    Raises
    ------
    ValueError
        Always, unless only sums of A overflow.
    """
    A = entry.problem.rows.A
    if entry.kind in {"dense", "sparse"}:
        _checks.finite(NAME, "A", A)
    elif entry.kind == "blocks":
        for offset, block in _arrays.row_blocks(A):
            _checks.finite(NAME, f"the block of A from row {offset}", block)
    else:
        raise ValueError(f"{NAME}: A must be finite; got NaN or infinite {'products' if entry.kind == 'operator' else 'entries'}")
