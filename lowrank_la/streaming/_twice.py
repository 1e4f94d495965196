"""`top_eigenvector`: the leading eigenvector of A^H A from blocks of rows that may be read twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.streaming import _certificate
from lowrank_la.streaming._result import TopEigenvectorResult
from lowrank_la.streaming._top import TopEigenvector

FUNCTION = "top_eigenvector"


def top_eigenvector(
    blocks: Any, *, k: int = 8, order: str = "random", method: str = "auto", rng: _random.RNG = None
) -> TopEigenvectorResult:
    """Find the leading eigenvector of A^H A from blocks of rows of A, reading them once or twice.

    Parameters
    ----------
    blocks : array (n, d), sparse matrix, or row blocks
        Row blocks are an iterable of arrays or sparse matrices, or a function that returns one. All but
        iterators can be read again.
    k : int, k >= 1
        Vectors that the block power method carries.
    order, method, rng
        As for `TopEigenvector`.

    Returns
    -------
    TopEigenvectorResult
        v, value, lower, upper, second_value, sin_angle, trace, heavy_rows, n_rows, space, method, converged, certificate.

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
    The first pass is `TopEigenvector`. Where that was the block power method and blocks can be read again, a second pass multiplies
    its k vectors by A^H A, takes the best vector in their span and measures its residual. The certificate then
    holds always, for rows in any order: it bounds the angle if lambda_1 is more than the trace leaves for lambda_2;
    else it says that an eigenvalue is within `bound` of `value`, and `sin_angle` is an estimate from the
    residual and the second Ritz value.
    Cost: 8 n d k flops. Memory: that of the stream.

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
    for _, block in _arrays.row_blocks(blocks):
        if stream is None:
            _checks.ndim(FUNCTION, "blocks", block if hasattr(block, "ndim") else np.asarray(block), 2)
            stream = TopEigenvector(block.shape[1], k=k, order=order, method=method, rng=rng)
        stream.partial_fit(block)
    if stream is None or stream.n_rows == 0:
        raise ValueError(f"{FUNCTION}: blocks must have at least one row; got none")
    again = not hasattr(blocks, "__next__")
    return _second_pass(stream, blocks) if again and stream._blocks is not None and stream._blocks.gram is None else stream.result()


def _second_pass(stream: Any, blocks: Any) -> TopEigenvectorResult:
    """Read the rows again, multiply the k vectors by all of A^H A, and take the best vector among them."""
    state, kind = stream._blocks, stream._kind
    Z = kind.xp.linalg.qr(state.model()[0], mode="reduced")[0]
    T = kind.xp.zeros_like(Z)
    for _, block in _arrays.row_blocks(blocks):
        door, [X] = _arrays.enter(FUNCTION, blocks=block)
        X = kind.cast(FUNCTION, "blocks", door, X)
        X = X.astype(Z.dtype, copy=False) if _arrays.is_sparse(X) else wide(X)
        T = T + adjoint(X) @ (X @ Z)
    v, ritz, known = _certificate.from_second_pass(T, Z, kind.like, state.energy, stream.n_rows)
    second = float(ritz[1]) if ritz.size > 1 else 0.0
    return stream._answer(FUNCTION, stream._vector(v[:, None]), known, second, state.energy)
