"""Higher-order orthogonal iteration: the best basis of each mode for the bases of the others, in turn."""

from __future__ import annotations

from collections.abc import Sequence

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, norms
from lowrank_la.tensors._modes import multiply, multiply_all
from lowrank_la.tensors._truncate import left_vectors, unfold

GAIN = 1e-12  # of the energy of the core, below which a sweep is the last one


def sweeps(T: Array, factors: Sequence[Array], most: int) -> tuple[list[Array], tuple[float, ...]]:
    """Improve the factors in at most so many sweeps, and return them with the norms of the core after each."""
    factors, history = list(factors), list[float]()
    for _ in range(most):
        core = _visit(T, list(range(T.ndim)), factors)
        history.append(float(norms(_arrays.namespace(core).reshape(core, (core.shape[0], -1)))))
        if len(history) > 1 and history[-1] ** 2 <= (1 + GAIN) * history[-2] ** 2:
            break
    return factors, tuple(history)


def _visit(T: Array, modes: list[int], factors: list[Array]) -> Array:
    """Update the factors of some modes, where all others are projected in T already; halves share those projections."""
    if len(modes) == 1:
        [k] = modes
        V, _ = left_vectors(unfold(T, k))
        factors[k] = V[:, : factors[k].shape[1]]
        return multiply(T, adjoint(factors[k]), k)
    first, second = modes[: len(modes) // 2], modes[len(modes) // 2 :]
    _visit(_projected(T, second, factors), first, factors)
    return _visit(_projected(T, first, factors), second, factors)


def _projected(T: Array, modes: list[int], factors: list[Array]) -> Array:
    return multiply_all(T, [adjoint(V) if k in modes else None for k, V in enumerate(factors)])
