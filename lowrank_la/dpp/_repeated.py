"""`repeated_dpp`: the union of a few determinantal samples, well conditioned with few points."""

from __future__ import annotations

from lowrank_la import _checks, _random
from lowrank_la.dpp._bases import Basis, check_basis
from lowrank_la.dpp._boost import Search, warn_unless_passed
from lowrank_la.dpp._design import Design, Sites, join, make_design, shortfall, sites_at
from lowrank_la.dpp._sample import determinantal

NAME = "repeated_dpp"
FIRST, MOST = 2, 8  # determinantal samples


def repeated_dpp(
    basis: Basis,
    n: int | None = None,
    *,
    delta: float | None = 0.9,
    max_trials: int = 50,
    best_of: int = 1,
    subsample: bool | int = False,
    rng: _random.RNG = None,
) -> Design:
    """Put independent determinantal samples of m points together, until least squares is stable on them.

    Points of one sample repel each other, so that they cover the domain more evenly than independent ones.

    Parameters
    ----------
    basis : Basis
        m orthonormal functions.
    n : int, n >= m, optional
        Number of points. Where it is no multiple of m, the last sample is cut. By default two samples,
        and one more at a time until lambda_min(G) >= 1 - delta, up to 8.
    delta : float, 0 < delta < 1, or None
        With n, draw again until ||G - I|| <= delta; None takes the first draw as it is.
    max_trials, best_of, subsample
        As for `christoffel_sample`, with n.
    rng : None, int or numpy.random.Generator
        An int gives the same points for every number of threads.

    Returns
    -------
    Design
        points or indices, weights, eigenvalues of G, certificate.

    Raises
    ------
    ValueError
        An argument is out of range, or best_of or subsample is given without n.
    TypeError
        An argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        No draw passed.

    Notes
    -----
    Each point has the density ||phi||^2 / m, hence E[G] = I. Cost: that of `sample_dpp` for each repetition, and n m^2 for G.

    References
    ----------
    .. [1] Nouy and Michel, Weighted least-squares approximation with determinantal point processes and generalized
       volume sampling, arXiv:2312.14057. Independent repetitions need far fewer points in practice.

    Examples
    --------
    >>> from lowrank_la.dpp import Legendre, repeated_dpp
    >>> design = repeated_dpp(Legendre(10), rng=0)
    >>> bool(20 <= design.size <= 40 and design.lambda_min >= 0.1)
    True
    """
    check_basis(NAME, basis)
    seed = _random.seed_of(NAME, rng)
    search = Search(NAME, delta, max_trials, best_of, subsample)
    if n is None:
        if best_of > 1 or subsample:
            raise ValueError(f"{NAME}: n must be given with best_of or subsample; got None")
        return _growing(basis, delta, seed)
    n = _checks.integer(NAME, "n", n, basis.size)
    repeats = -(-n // basis.size)

    def draw(trial: int) -> tuple[Sites, int]:
        x, proposals = determinantal(basis, repeats, _random.host_generator(seed, f"{NAME} {trial}"))
        return sites_at(basis, x[:n]), proposals  # the order within a sample is random, so that each point has the law of nu

    return search.design(basis, draw, NAME, repeats=repeats)


def _growing(basis: Basis, delta: float | None, seed: int) -> Design:
    """Add determinantal samples until the least eigenvalue of G is large enough."""
    generator = _random.host_generator(seed, NAME)
    x, proposals = determinantal(basis, FIRST, generator)
    sites, repeats = sites_at(basis, x), FIRST
    while delta is not None and shortfall(basis, sites) > delta and repeats < MOST:
        x, more = determinantal(basis, 1, generator)
        sites, proposals, repeats = join(sites, sites_at(basis, x)), proposals + more, repeats + 1
    passed = delta is None or shortfall(basis, sites) <= delta
    design = make_design(basis, sites, kind=NAME, repeats=repeats, proposals=proposals, converged=passed)
    warn_unless_passed(NAME, design, delta)
    return design
