"""`christoffel_sample`: independent points from the density that makes weighted least squares stable with fewest of them."""

from __future__ import annotations

import math

from lowrank_la import _checks, _random
from lowrank_la.dpp._bases import Basis, check_basis
from lowrank_la.dpp._boost import Search
from lowrank_la.dpp._design import Design, Sites, sites_at

NAME = "christoffel_sample"


def christoffel_sample(
    basis: Basis,
    n: int | None = None,
    *,
    delta: float | None = 0.9,
    eta: float = 0.01,
    max_trials: int = 50,
    best_of: int = 1,
    subsample: bool | int = False,
    rng: _random.RNG = None,
) -> Design:
    """Draw independent points with density ||phi||^2 / m, for least squares with weights m / ||phi||^2.

    Parameters
    ----------
    basis : Basis
        m orthonormal functions.
    n : int, n >= 1, optional
        Number of points; by default enough for ||G - I|| <= delta with probability 1 - eta for the best of the draws.
    delta : float, 0 < delta < 1, or None
        Draw again until ||G - I|| <= delta. None takes the first draw as it is: the points are then independent.
    eta : float, 0 < eta < 1
        Chance that no draw of the first trial passes; only for the default n.
    max_trials : int, max_trials >= 1
        Trials before giving up.
    best_of : int, best_of >= 1
        Draws in each trial, of which the one with the least ||G - I|| is kept ("boosting").
    subsample : bool or int
        Then leave out points, greedily, while ||G - I|| <= delta: all that can go, or until this many are left.
    rng : None, int or numpy.random.Generator
        An int gives the same points for every number of threads.

    Returns
    -------
    Design
        points or indices, weights, eigenvalues of G, certificate.

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        An argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        No draw passed; the best one is returned.

    Notes
    -----
    By the matrix Chernoff bound n >= m log(2 m / eta) / c points, c = (1 + delta) log(1 + delta) - delta, give ||G - I|| <= delta
    with probability 1 - eta [1]_. The best of M draws needs only eta^(1/M) of each [2]_: for m = 11, 265 points become
    108 with M = 100. Given that event, least squares has an expected squared error of at
    most 1 + m / (n (1 - delta)^2 P(event)) times the least possible one.

    Cost: O(n m) for the points of a polynomial basis, n m^2 for G, and O(m^3 + n m^2) for each point left out.

    References
    ----------
    .. [1] Cohen and Migliorati, Optimal weighted least-squares methods, SMAI J. Comput. Math. 3, 2017.
    .. [2] Haberstich, Nouy and Perrin, Boosted optimal weighted least-squares, Math. Comp. 91, 2022. Best of
       several draws, conditioning, greedy removal.

    Examples
    --------
    >>> from lowrank_la.dpp import Legendre, christoffel_sample
    >>> design = christoffel_sample(Legendre(11), rng=0)
    >>> design.size
    265
    >>> bool(design.certificate.bound <= 0.9)
    True
    """
    check_basis(NAME, basis)
    seed = _random.seed_of(NAME, rng)
    search = Search(NAME, delta, max_trials, best_of, subsample)
    n = _checks.integer(NAME, "n", default_size(NAME, basis.size, delta, eta, best_of) if n is None else n, 1)

    def draw(trial: int) -> tuple[Sites, int]:
        return sites_at(basis, basis.draw(n, _random.host_generator(seed, f"{NAME} {trial}"))), 0

    return search.design(basis, draw, "christoffel")


def default_size(function: str, m: int, delta: float | None, eta: float, best_of: int) -> int:
    """Return the number of independent points after which ||G - I|| <= delta with probability 1 - eta, for the best of several draws."""
    eta = _checks.real(function, "eta", eta, 0, 1, open=True)
    delta = 0.9 if delta is None else delta
    c = (1 + delta) * math.log1p(delta) - delta
    return math.ceil(m * math.log(2 * m / eta ** (1 / best_of)) / c)
