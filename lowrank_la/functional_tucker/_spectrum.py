"""What a posterior mean consists of: singular values in each mode, over the distinct coordinates."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la.functional_tucker._sweeps import State
from lowrank_la.tensors._modes import multiply_all, unfold

SMALL = 1e-3


def core(state: State) -> np.ndarray:
    """Return the mean of the core; ones on the superdiagonal for a CP model."""
    if state.core is not None:
        return state.core.mean.copy()
    R, K = state.factors[0].mean.shape[1], len(state.factors)
    W = np.zeros((R,) * K)
    W[(np.arange(R),) * K] = 1.0
    return W


def spectra(state: State) -> list[np.ndarray]:
    """Return the singular values of each mode; for a CP model the sizes of its components, in every mode."""
    if state.core is None:
        sizes = np.prod([np.sqrt(np.mean(factor.mean**2, axis=0)) for factor in state.factors], axis=0)
        return [np.sort(sizes)[::-1]] * len(state.factors)
    roots = [np.linalg.qr(factor.mean / math.sqrt(factor.t.size), mode="r") for factor in state.factors]
    T = multiply_all(state.core.mean, roots)
    return [np.linalg.svd(unfold(T, k), compute_uv=False) for k in range(T.ndim)]


def effective_ranks(state: State) -> tuple[int, ...]:
    """Count the singular values of each mode that are not small beside the largest."""
    return tuple(int(np.sum(s >= SMALL * s[0])) if s[0] > 0 else 0 for s in spectra(state))
