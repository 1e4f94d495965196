"""Robust losses as reweighted least squares: entries far from the model count less."""

from __future__ import annotations

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.completion._observations import Compressed
from lowrank_la.completion._problem import Factors, Problem, residuals

MAD = 1.4826  # standard deviations of a Gaussian per median absolute deviation
TAU = 1.345  # Huber's corner in standard deviations: 95% efficient on Gaussian noise
L1_FLOOR = 0.3  # standard deviations below which residuals weigh the same: corners sharper than the noise take 2 to 4 times the sweeps
OUTLIER = 4.0  # standard deviations from which an entry is reported


def spread(left_over: Array, loss: str) -> float:
    """Return the standard deviation of the noise in residuals, by their median if the loss is robust."""
    xp = _arrays.namespace(left_over)
    if loss == "l2":
        return float(xp.mean(left_over**2)) ** 0.5
    return MAD * _median(xp.abs(left_over))


def score(left_over: Array, weights: Array | None, loss: str) -> float:
    """Return the squared error that decides between models: the mean square, of the smaller three quarters if robust."""
    xp = _arrays.namespace(left_over)
    squares = left_over**2
    if loss != "l2":
        return float(xp.mean(xp.sort(squares)[: 3 * squares.shape[0] // 4 + 1]))
    return float(xp.mean(squares) if weights is None else xp.sum(weights * squares) / xp.sum(weights))


def weights(side: Compressed, factors: Factors, name: str, loss: str, noise: float) -> Array | None:
    """Return the weights of one side's entries: the caller's, lowered where the residual is large."""
    if loss == "l2":
        return side.weights
    xp = _arrays.namespace(side.values)
    left, right = factors.plain if name == "left" else factors.plain[::-1]
    size = xp.abs(kernels.pairs.residual(side.values, side.indices, side.indptr, left, right))
    tiny = float(xp.finfo(side.values.dtype).eps)
    if loss == "huber":
        corner = max(TAU * noise, tiny)
        robust = corner / xp.where(size > corner, size, xp.full_like(size, corner))
    else:
        floor = max(L1_FLOOR * noise, tiny)
        robust = max(noise, tiny) / xp.where(size > floor, size, xp.full_like(size, floor))
    return robust if side.weights is None else robust * side.weights


def outliers(problem: Problem, factors: Factors) -> tuple[Array, Array]:
    """Return the places of training entries far off the model, if the loss is robust."""
    side = problem.rows
    xp = _arrays.namespace(side.values)
    if problem.options.loss == "l2":
        nowhere = xp.zeros((0,), dtype=xp.int64, device=side.values.device)
        return nowhere, nowhere
    size = xp.abs(kernels.pairs.residual(side.values, side.indices, side.indptr, *factors.plain))
    noise = max(spread(residuals(factors, problem.sample), problem.options.loss), float(xp.finfo(size.dtype).eps) ** 0.5)
    far = side.at(_arrays.to_numpy(xp.nonzero(size > OUTLIER * noise)[0]))
    return far.rows, far.cols


def _median(x: Array) -> float:
    xp = _arrays.namespace(x)
    return float(xp.sort(x)[x.shape[0] // 2])
