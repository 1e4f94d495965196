"""Exact inference for independent Gaussian processes in one variable that are observed together, in linear time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.functional_tucker._kernels import SHORTEST, Prior, steps, transitions

__all__ = ["Prior", "Smoothed", "fit_lengthscale", "interpolate", "log_evidence", "smooth"]


@dataclass(frozen=True)
class Smoothed:
    """Posterior of R processes at n points; leading batch axes stand before those named here.

    Means and covariances of states are in the coordinates of the priors, where the processes are the first R of the m = q R
    states, divided by their standard deviation. Covariances of states are kept as roots.
    """

    mean: Array  # (n, R)
    cov: Array  # (n, R, R)
    log_evidence: Array  # float64, without axes unless there are batches
    filtered_mean: Array  # (n, m)
    filtered_root: Array  # (n, m, m), lower triangular
    smoothed_mean: Array  # (n, m)
    smoothed_root: Array  # (n, m, m), lower triangular

    @property
    def filtered_cov(self) -> Array:
        """Covariances (n, m, m) of the state given the observations up to each point."""
        return _gram(self.filtered_root)

    @property
    def smoothed_cov(self) -> Array:
        """Covariances (n, m, m) of the state given all observations."""
        return _gram(self.smoothed_root)


def smooth(prior: Prior, t: Array, precision: Array, shift: Array) -> Smoothed:
    """Condition R independent processes on observations exp(shift^T u - u^T precision u / 2) of their values u at n points.

    Parameters
    ----------
    prior : Prior
        Of each process.
    t : array (n,)
        Ascending points; equal ones are allowed.
    precision : array (n, R, R) or (B, n, R, R)
        Symmetric, positive semidefinite, singular or zero where little or nothing is known.
    shift : array (n, R) or (B, n, R)
        Precision times observed value.

    Returns
    -------
    Smoothed
        In float64. `log_evidence` is the logarithm of the integral of prior times observations.

    Notes
    -----
    Cost: about 15 m^3 flops at each point, m = q R; memory 4 n m^2 numbers.
    """
    (n, R), batch = shift.shape[-2:], shift.shape[:-2]
    precision, shift = _flat(precision, shift)
    xp, m = _arrays.namespace(shift), prior.order * R
    if n == 0:
        nothing = xp.zeros((*batch, 0, m, m), dtype=xp.float64, device=shift.device)
        means = nothing[..., 0]
        return Smoothed(means[..., :R], nothing[..., :R, :R], xp.sum(means, axis=(-2, -1)), means, nothing, means, nothing)
    A, root = (_arrays.from_numpy(x, shift) for x in steps(prior, _host(t)))
    sd = math.sqrt(prior.variance)
    evidence, mean, S = kernels.kalman.filter(prior.variance * precision, sd * shift, A, root)
    states, roots = kernels.kalman.smooth(mean, S, A, root)
    one = Smoothed(sd * states[..., :R], prior.variance * _gram(roots[..., :R, :]), evidence, mean, S, states, roots)
    return replace(one, **{name: xp.reshape(x, (*batch, *x.shape[1:])) for name, x in vars(one).items()})


def log_evidence(prior: Prior, t: Array, precision: Array, shift: Array) -> Array:
    """Return only the logarithm of the integral of prior times observations, without axes or (B,); parameters as for `smooth`."""
    batch = shift.shape[:-2]
    precision, shift = _flat(precision, shift)
    xp = _arrays.namespace(shift)
    if shift.shape[1] == 0:
        return xp.zeros(batch, dtype=xp.float64, device=shift.device)
    A, root = (_arrays.from_numpy(x, shift) for x in steps(prior, _host(t)))
    evidence = kernels.kalman.filter(prior.variance * precision, math.sqrt(prior.variance) * shift, A, root)[0]
    return xp.reshape(evidence, batch)


def interpolate(prior: Prior, t: Array, smoothed: Smoothed, t_new: Array) -> tuple[Array, Array]:
    """Return means (Q, R) and covariances (Q, R, R) of the processes at any points t_new (Q,), in any order.

    Exact: what `smooth` would give with these points among its own and precision zero there. Far from all points the
    mean tends to 0 and the covariance to that of the prior.
    """
    xp, like = _arrays.namespace(smoothed.mean), smoothed.mean
    batch, (n, R) = like.shape[:-2], like.shape[-2:]
    shape = (*batch, t_new.shape[0], R)
    if n == 0:
        eye = xp.eye(R, dtype=xp.float64, device=like.device)
        return xp.zeros(shape, dtype=xp.float64, device=like.device), xp.broadcast_to(prior.variance * eye, (*shape, R))
    before, A, root = _around(prior, _host(t), _host(t_new))
    states = (smoothed.filtered_mean, smoothed.filtered_root, smoothed.smoothed_mean, smoothed.smoothed_root)
    states = [xp.reshape(x, (math.prod(batch), *x.shape[len(batch) :])) for x in states]
    mean, cov = kernels.kalman.between(*states, *(_arrays.from_numpy(x, like) for x in (before, A, root)))
    return xp.reshape(math.sqrt(prior.variance) * mean, shape), xp.reshape(prior.variance * cov, (*shape, R))


def _around(prior: Prior, t: np.ndarray, t_new: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the index of the point before each new one (-1: none), and the transitions from that and to the next."""
    before = np.searchsorted(t, t_new, side="right") - 1
    ends = np.concatenate([t[:1], t, t[-1:]])
    gaps = np.stack([t_new - ends[before + 1], ends[before + 2] - t_new])
    A, root = (x.reshape(2, t_new.size, prior.order, prior.order) for x in transitions(prior, np.abs(gaps).ravel()))
    nowhere = np.stack([before < 0, before == t.size - 1])
    A[nowhere], root[nowhere] = 0.0, np.eye(prior.order)
    return before, A, root


def fit_lengthscale(prior: Prior, t: Array, precision: Array, shift: Array, *, factor: float = 10.0) -> Prior:
    """Return the prior with the lengthscale of the largest evidence, within a factor of the present one and by bounded search.

    The answer is never worse than the present lengthscale, which stays where no other is better. Batches share one lengthscale.
    """
    if prior.kernel == "iid" or shift.shape[-2] < 2:
        return prior
    from scipy.optimize import minimize_scalar

    xp, here, width = _arrays.namespace(shift), math.log(prior.lengthscale), math.log(factor)
    low = max(here - width, math.log(SHORTEST * prior.period)) if prior.period is not None else here - width

    def loss(log_lengthscale: float) -> float:
        return -float(xp.sum(log_evidence(replace(prior, lengthscale=math.exp(log_lengthscale)), t, precision, shift)))

    best: Any = minimize_scalar(loss, bounds=(low, here + width), method="bounded", options={"xatol": 1e-3})
    return replace(prior, lengthscale=math.exp(best.x)) if best.fun < loss(here) else prior


def _flat(precision: Array, shift: Array) -> tuple[Array, Array]:
    """Merge batch axes into one, and widen to float64."""
    xp = _arrays.namespace(shift)
    n, R = shift.shape[-2:]
    B = math.prod(shift.shape[:-2])
    wide = [xp.astype(x, xp.float64, copy=False) for x in (precision, shift)]
    return xp.reshape(wide[0], (B, n, R, R)), xp.reshape(wide[1], (B, n, R))


def _host(t: Array) -> np.ndarray:
    return np.asarray(_arrays.to_numpy(t), dtype=np.float64)


def _gram(root: Array) -> Array:
    return root @ _arrays.namespace(root).matrix_transpose(root)
