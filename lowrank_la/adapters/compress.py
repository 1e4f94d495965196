"""`obs_prune`: remove weights, and let the others make up for it, by the optimal brain surgeon on gradients alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.curvature._quadratic import Fit, Kept, Quadratic
from lowrank_la.factor._dense import host, promote

__all__ = ["PruneResult", "obs_prune"]

NAME = "obs_prune"
ENOUGH = 2.0**-12
CLAIM = "loss model <= least loss model with these zeros + bound"


@dataclass(frozen=True, repr=False)
class PruneResult(Result):
    """Answer of `obs_prune`.

    Attributes
    ----------
    weights : array, of the shape of the weights that were given
        Exactly zero where `mask` is False.
    mask : array of bool
        True where a weight is kept.
    loss_increase : float
        By how much the quadratic model says that the loss grows; with a function for gradients, the sum over the models of all rounds.
    converged : bool
        The certificate's bound, but for the rounding of the weights to their dtype, is at most 2^-12 of the growth in the last round.
    certificate : Certificate
        Bounds by how much less the model of the last round could grow with the same zeros, always, rounding errors included.
    """

    weights: Array
    mask: Array
    loss_increase: float
    converged: bool
    certificate: Certificate


def obs_prune(
    weights: Array,
    grads: Array | Callable[[Array], Array],
    *,
    sparsity: float | tuple[int, int],
    damp: float = 1e-5,
    block: int | None = None,
    rounds: int = 16,
) -> PruneResult:
    """Remove the weights that matter least, and move all others to make up for it.

    The loss near the weights is modelled by (1/2) dw^T H dw with the damped empirical Fisher matrix H = damp I + (1/m) sum_i g_i g_i^T.
    In each round the weights with the lowest scores w_i^2 / (2 H^-1_ii) go, what the loss grows by if weight i goes alone, and the
    others take the values for which the model is least.

    Parameters
    ----------
    weights : array, real, of any shape
        The weights of a trained model, d of them.
    grads : array (m, ...) with the shape of weights behind m, or callable
        Gradients of the loss, one for each sample or batch: that decides which matrix H is. A function takes weights and returns
        such gradients, which are computed anew in each round.
    sparsity : float, 0 <= sparsity <= 1, or (int, int)
        Share of the weights to remove, sparsity * d of them, rounded; (n, m) keeps n of each m neighbours in the last axis.
    damp : float, damp > 0
        What is added to the diagonal of H.
    block : int, block >= 1, optional
        H is set to zero outside of diagonal blocks of that size: a whole H has only m eigenvalues above damp, a block has m as well.
    rounds : int, rounds >= 1
        In how many steps weights are removed, each an equal share of what is left. The scores of a round ignore what else it removes.

    Returns
    -------
    PruneResult
        weights, mask, loss_increase, converged and certificate.

    Raises
    ------
    ValueError
        weights or gradients are empty, of shapes that do not fit or have entries that are not finite; another argument is out of range.
    TypeError
        weights or gradients are complex, sparse, require gradients or are no arrays of numbers of one library.

    Warns
    -----
    ConvergenceWarning
        damp is so small beside the gradients that the others may not have taken the best values.

    Notes
    -----
    Scores and updates are those of the optimal brain surgeon [1]_, by way of inverse Fisher products [2]_. The update is joint: all weights
    that have gone are accounted for together. For a set S that stays and Q that goes, the model is least where

        (damp I + (1/m) G_S^T G_S) dw_S = (1/m) G_S^T G_Q w_Q,

    which is a solve with the gradients of the weights that stay, for any size of Q. (In practice updates for single weights are
    often added up, which costs as much and is not least.) The same matrix gives the scores of the next round.

    Cost: 3 m^2 d flops a round, less as weights go. Memory: a copy of the gradients of the weights that stay.

    The certificate follows from the error of the solve: the model is quadratic around its least value, and its largest eigenvalue
    is at most damp + |G_S|_F^2 / m. It says nothing about the loss itself, nor about other choices of zeros.

    References
    ----------
    .. [1] Hassibi and Stork, Second order derivatives for network pruning: optimal brain surgeon, NIPS 1992. Scores and updates.
    .. [2] Frantar, Kurtic and Alistarh, M-FAC: Efficient matrix-free approximations of second-order information, NeurIPS 2021.
       Rounds and blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.adapters.compress import obs_prune
    >>> rng = np.random.default_rng(0)
    >>> weights, grads = rng.standard_normal(200), rng.standard_normal((50, 200))
    >>> result = obs_prune(weights, grads, sparsity=0.75)
    >>> int(result.mask.sum()), int((result.weights != 0).sum())
    (50, 50)
    >>> magnitude = np.where(np.abs(weights) >= np.sort(np.abs(weights))[150], 0, weights)  # what that removes
    >>> bool(result.loss_increase < np.sum((grads @ magnitude) ** 2) / 100)
    True
    """
    door, [w] = promote(NAME, weights=weights)
    _finite("weights", _checks.not_empty(NAME, "weights", w))
    group, keep = _pattern(tuple(w.shape), sparsity)
    levels = _levels(group, keep, _checks.integer(NAME, "rounds", rounds, 1))
    width = math.prod(w.shape) if block is None else _checks.integer(NAME, "block", block, 1)
    _checks.real(NAME, "damp", damp, 0, open=True)

    fit, earlier = Fit(host(w).reshape(-1)), 0.0
    model = Quadratic(_gradients(door, weights, fit.weights, grads), fit.weights, damp, width)
    kept = model.keep(np.ones(fit.weights.shape, dtype=bool))
    for turn, level in enumerate(levels):
        if turn > 0 and callable(grads):
            earlier += model.increase(fit.weights)
            model = Quadratic(_gradients(door, weights, fit.weights, grads), fit.weights, damp, width)
            kept = model.keep(kept.mask)
        mask = _keep_highest(model.scores(kept, fit.weights), group, level)
        del kept  # before the next copy of gradients
        kept = model.keep(mask)
        fit = model.fit(kept)
    return _answer(door, w, model, kept, fit, earlier)


def _finite(name: str, x: Array) -> Array:
    return _checks.finite(NAME, name, _checks.real_dtype(NAME, name, x))


def _pattern(shape: tuple[int, ...], sparsity: Any) -> tuple[int, int]:
    """Return the length of the groups of neighbours in which weights compete, and how many of each group stay.

    Raises
    ------
    ValueError
        The share is out of range, or the groups do not fit into the last axis.
    """
    if not isinstance(sparsity, tuple):
        d = math.prod(shape)
        return d, d - round(_checks.real(NAME, "sparsity", sparsity, 0, 1) * d)
    if len(sparsity) != 2:
        raise ValueError(f"{NAME}: sparsity must be a number or a pair (n, m); got {sparsity!r}")
    m = _checks.integer(NAME, "m of sparsity", sparsity[1], 1)
    if shape[-1:] == () or shape[-1] % m:
        raise ValueError(f"{NAME}: weights must have a last axis that {m} divides; got shape {shape}")
    return m, _checks.integer(NAME, "n of sparsity", sparsity[0], 0, m)


def _levels(group: int, keep: int, rounds: int) -> list[int]:
    """Say how many weights of a group stay after each round: equal shares of what is left go, at least one."""
    share = max(keep, 1) / group
    return sorted({keep, *(round(group * share ** (r / rounds)) for r in range(1, rounds))} - {group}, reverse=True) or [group]


def _gradients(door: Door, weights: Array, current: np.ndarray, grads: Array | Callable[[Array], Array]) -> Array:
    """Take gradients inside, one a row, in the dtype of the weights."""
    _, [w] = promote(NAME, weights=weights)
    if callable(grads):
        grads = grads(door.leave(_arrays.from_numpy(current.reshape(w.shape), w)))
    promote(NAME, grads=grads)  # beside weights, None would pass
    _, [_, G] = promote(NAME, weights=weights, grads=grads)
    _finite("grads", _checks.not_empty(NAME, "grads", G))
    _checks.shape(NAME, "grads", G, (*G.shape[:1], *w.shape))
    return door.xp.reshape(G, (G.shape[0], len(current)))


def _keep_highest(scores: np.ndarray, group: int, level: int) -> np.ndarray:
    """Keep the given number of weights with the highest scores in each group; of equal ones, the later."""
    order = np.argsort(scores.reshape(-1, group), axis=1, kind="stable")
    kept = np.ones(order.shape, dtype=bool)
    np.put_along_axis(kept, order[:, : group - level], False, axis=1)
    return kept.reshape(-1)


def _answer(door: Door, w: Array, model: Quadratic, kept: Kept, fit: Fit, earlier: float) -> PruneResult:
    """Hand out weights, of which the certificate knows how they were rounded.

    Raises
    ------
    ValueError
        A weight does not fit into the dtype.
    """
    with np.errstate(over="ignore"):
        weights = door.leave(_arrays.from_numpy(fit.weights.reshape(w.shape), w))
    left = host(promote(NAME, weights=weights)[1][0]).reshape(-1)
    if not np.all(np.isfinite(left)):
        raise ValueError(f"{NAME}: weights must have an update within the range of {weights.dtype}; scale them down or damp up")
    rounding = math.sqrt(model.largest(kept)) * float(np.linalg.norm(left - fit.weights))
    increase, excess = model.increase(left), (fit.error + rounding) ** 2 / 2 * (1 + 1e-8)
    converged = fit.error**2 / 2 <= ENOUGH * increase
    if not converged:
        text = f"{NAME}: damp = {model.damp:g} is too small beside the gradients; errors may cost {excess:.2g}, the zeros {increase:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    mask = door.leave_wide(_arrays.from_numpy(kept.mask.reshape(w.shape), w))
    return PruneResult(weights, mask, earlier + increase, converged, Certificate(CLAIM, excess, 1.0, "residual"))
