"""`top_eigenvector`: leading eigenvectors of A^H A from blocks of rows that may be read twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lowrank_la import _arrays, _checks, _random
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.streaming._answer import second_answer
from lowrank_la.streaming._result import TopEigenvectorResult
from lowrank_la.streaming._top import TopEigenvector

FUNCTION = "top_eigenvector"


def top_eigenvector(
    blocks: Any,
    *,
    n_vectors: int = 1,
    k: int | None = None,
    order: str = "random",
    method: str = "auto",
    rng: _random.RNG = None,
) -> TopEigenvectorResult:
    """Find leading eigenvectors of A^H A from blocks of rows of A, reading them once or twice.

    Parameters
    ----------
    blocks : array (n, d), sparse matrix, or row blocks
        Row blocks are an iterable of arrays or sparse matrices, or a function that returns one. All but
        iterators can be read again.
    n_vectors, k, order, method, rng
        As for `TopEigenvector`.

    Returns
    -------
    TopEigenvectorResult
        V, values, lower, upper, next_value, sin_angle, trace, heavy_rows, n_rows, space, method, converged, candidates, certificate;
        and v, value for the first vector.

    Raises
    ------
    ValueError
        There are no rows, they differ in width, entries are not finite, or an argument is out of range.
    TypeError
        A block is no array of numbers, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The angle to the leading eigenvector may be large.

    Notes
    -----
    The first pass is `TopEigenvector`. Unless that was "gram", if blocks can be read again, a second pass multiplies
    its k best vectors by A^H A, takes the best n_vectors in their span and measures their residual. The certificate then
    holds always, for rows in any order: it bounds the angle if lambda_r, r = n_vectors, is more than the trace leaves for lambda_{r+1};
    else it says that eigenvalues are within `bound` of `values`, and `sin_angle` is an estimate from the
    residual and the next Ritz value.
    Cost: 4 d k flops for each row beside those of the stream. Memory: that of the stream.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.streaming import top_eigenvector
    >>> A = np.random.default_rng(0).standard_normal((20000, 50)) * np.array([9.0] + [1.0] * 49)
    >>> result = top_eigenvector(A, rng=0)
    >>> bool(result.lower <= np.linalg.norm(A, 2) ** 2 <= result.upper)
    True
    """
    stream: Any = None
    for block in _matrices(blocks):
        if stream is None:
            stream = TopEigenvector(block.shape[1], n_vectors=n_vectors, k=k, order=order, method=method, rng=rng)
        stream.partial_fit(block)
    if stream is None or stream.n_rows == 0:
        raise ValueError(f"{FUNCTION}: blocks must have at least one row; got none")
    again = not hasattr(blocks, "__next__")
    return _second_pass(stream, blocks) if again and getattr(stream._state, "gram", None) is None else stream.result()


def _matrices(blocks: Any) -> Iterator[Any]:
    """Yield arrays and sparse matrices with two axes."""
    if _arrays.is_row_blocks(blocks) and not _arrays.is_table(blocks):
        parts = _checks.row_blocks(FUNCTION, "blocks", blocks)
    else:
        parts = _arrays.row_blocks(_matrix(blocks))
    for _, block in parts:
        yield _matrix(block)


def _matrix(A: Any) -> Any:
    """Leave arrays and sparse matrices as they are, and make one of what else can be one."""
    if not (_arrays.is_array(A) or _arrays.is_sparse(A)):
        _, [A] = _arrays.enter(FUNCTION, blocks=A)
    return _checks.ndim(FUNCTION, "blocks", A, 2)


def _second_pass(stream: TopEigenvector, blocks: Any) -> TopEigenvectorResult:
    """Read the rows again, multiply the best vectors by all of A^H A, and take the best ones in their span."""
    state, kind = stream._state, stream._kind
    assert kind is not None
    Z = state.basis(stream._k)
    T = kind.xp.zeros_like(Z)
    for block in _matrices(blocks):
        door, [X] = _arrays.enter(FUNCTION, blocks=block)
        X = kind.cast(FUNCTION, "blocks", door, X)
        X = X.astype(Z.dtype, copy=False) if _arrays.is_sparse(X) else wide(X)
        T = T + adjoint(X) @ (X @ Z)
    return second_answer(FUNCTION, state, kind, stream._wanted, stream.n_rows, stream._method, T, Z)
