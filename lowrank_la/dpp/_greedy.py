"""Leave out points one at a time, always the one without which the Gram matrix stays closest to the identity."""

from __future__ import annotations

import numpy as np

from lowrank_la.dpp._design import Sites

BATCH = 64  # candidates that are looked at together, those of least leverage first
HALVINGS = 50


def thinned(sites: Sites, least: int, delta: float) -> Sites:
    """Remove points down to `least` of them, as long as ||G - I|| <= delta."""
    while sites.rows.shape[0] > least:
        place = _most_expendable(sites.rows, delta)
        if place is None:
            break
        sites = sites.take(np.delete(np.arange(sites.rows.shape[0]), place))
    return sites


def _most_expendable(rows: np.ndarray, delta: float) -> int | None:
    """Find the best point to remove in the first batch that has one which may go."""
    n = rows.shape[0] - 1
    d, V = np.linalg.eigh(rows.conj().T @ rows)
    if not d[0] > 0:
        return None
    Z = np.abs(rows @ V) ** 2
    order = np.argsort(
        np.sum(Z / d, axis=1), kind="stable"
    )  # without a point of leverage h, no eigenvalue falls below 1 - h times its value
    for first in range(0, order.size, BATCH):
        batch = order[first : first + BATCH]
        low, high = downdated(d, Z[batch])
        apart = np.maximum(1 - low / n, high / n - 1)
        if apart.min() <= delta:
            return int(batch[np.argmin(apart)])
    return None


def downdated(d: np.ndarray, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the extreme eigenvalues of diag(d) - z z^H for each row |z|^2 of Z, by bisection of the secular equation.

    Parameters
    ----------
    d : array (m,)
        Positive, ascending.
    Z : array (c, m)
        Squares |z_j|^2.

    Returns
    -------
    least, largest : arrays (c,)
        Of each matrix, to rounding.
    """
    size = Z.sum(axis=1)
    least = _root(d, Z, d[0] - size, np.full_like(size, d[0]))
    if d.size == 1:
        return least, least
    return least, _root(d, Z, np.full_like(size, d[-2]), np.full_like(size, d[-1]))


def _root(d: np.ndarray, Z: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Solve sum_j z_j / (d_j - x) = 1 between two poles, where the sum grows."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            above = ~(np.sum(Z / (d - middle[:, None]), axis=1) < 1)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2
