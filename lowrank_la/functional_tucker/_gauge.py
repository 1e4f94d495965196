"""The free choice of coordinates in each mode: u_k -> A u_k and W -> W x_k A^-T leave the model as it is, but not the priors' part.

Coordinate ascent moves along this freedom by tiny steps. The best A is known in closed form, and taken after each sweep
(parameter expansion, Qi and Jaakkola, NeurIPS 2006).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowrank_la.functional_tucker._core import Core
from lowrank_la.functional_tucker._sweeps import Factor, State
from lowrank_la.tensors._modes import multiply


def improved(state: State) -> State:
    """Return the posterior in the best coordinates. Factors keep the observations that they came from, in the old ones."""
    for k, factor in enumerate(state.factors):
        assert state.core is not None
        G = _best(_precision(factor), _size(state.core, k), factor.t.size - state.core.mean.size // factor.mean.shape[1])
        if G is not None:
            state = _moved(state, k, G)
    return state


def _precision(factor: Factor) -> np.ndarray:
    """Return S = E sum_ij (K^-1)_ij u(t_i) u(t_j)^T for the prior's covariance K: K^-1 m = shift - precision m, and so on."""
    rest = factor.shift - np.einsum("nij,nj->ni", factor.precision, factor.mean)
    S = factor.mean.T @ rest - np.einsum("nij,njk->ik", factor.cov, factor.precision)
    S[np.diag_indices_from(S)] += factor.t.size
    return (S + S.T) / 2


def _size(core: Core, k: int) -> np.ndarray:
    """Return E W_(k) W_(k)^T over the variance of the entries; its diagonal for a core with independent entries."""
    W = np.moveaxis(core.mean, k, 0).reshape(core.mean.shape[k], -1)
    if core.cov.ndim == 1:
        variances = np.moveaxis(core.cov.reshape(core.mean.shape), k, 0).reshape(W.shape)
        return np.diag(np.sum(W * W + variances, axis=1)) / core.variance
    return (W @ W.T + _traces(core, k)) / core.variance


def _traces(core: Core, k: int) -> np.ndarray:
    ranks = core.mean.shape
    before, R = int(np.prod(ranks[:k])), ranks[k]
    return np.einsum("aibajb->ij", core.cov.reshape(before, R, -1, before, R, core.mean.size // (before * R)))


def _best(S: np.ndarray, Psi: np.ndarray, n: int) -> np.ndarray | None:
    """Minimize tr(S G) + tr(Psi G^-1) - n log det G over positive definite G = A^T A: G S G - n G = Psi. None if S is not positive."""
    if np.count_nonzero(Psi - np.diag(np.diagonal(Psi))) == 0:
        S = np.diag(np.diagonal(S))
    values, Q = np.linalg.eigh(S)
    if values[0] <= 1e-8 * values[-1]:
        return None
    root, inverse = (Q * np.sqrt(values)) @ Q.T, (Q / np.sqrt(values)) @ Q.T
    x, V = np.linalg.eigh(root @ Psi @ root)
    y = (n + np.sqrt(n * n + 4 * np.maximum(x, 0.0))) / 2
    if np.min(y) <= 1e-8 * np.max(y):
        return None
    half = inverse @ V
    return (half * y) @ half.T


def _moved(state: State, k: int, G: np.ndarray) -> State:
    """Change the coordinates of a mode by the symmetric root of G."""
    factor, core = state.factors[k], state.core
    assert core is not None
    values, Q = np.linalg.eigh(G)
    A, A_inv = (Q * np.sqrt(values)) @ Q.T, (Q / np.sqrt(values)) @ Q.T
    S = _precision(factor)
    gain = factor.gain - 0.5 * float(np.sum(S * (G - np.eye(S.shape[0])))) + 0.5 * factor.t.size * float(np.sum(np.log(values)))
    moved = replace(factor, mean=factor.mean @ A, cov=A @ factor.cov @ A, gain=gain)
    if core.cov.ndim == 1:
        cov = multiply(core.cov.reshape(core.mean.shape), A_inv**2, k).ravel()
    else:
        cov = _both_sides(core, A_inv, k)
    core = replace(core, mean=multiply(core.mean, A_inv, k), cov=cov)
    return replace(state, factors=(*state.factors[:k], moved, *state.factors[k + 1 :]), core=core)


def _both_sides(core: Core, M: np.ndarray, k: int) -> np.ndarray:
    K, shape = core.mean.ndim, core.cov.shape
    T = core.cov.reshape(*core.mean.shape, *core.mean.shape)
    return multiply(multiply(T, M, k), M, K + k).reshape(shape)
