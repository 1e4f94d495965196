"""`volume_sample`: points for which weighted least squares is unbiased."""

from __future__ import annotations

import numpy as np

from lowrank_la import _checks, _random
from lowrank_la.dpp._bases import Basis, check_basis
from lowrank_la.dpp._boost import Search
from lowrank_la.dpp._christoffel import default_size
from lowrank_la.dpp._design import Design, Sites, join, sites_at
from lowrank_la.dpp._sample import determinantal

NAME = "volume_sample"


def volume_sample(
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
    """Draw n points with density proportional to det G: generalized volume-rescaled sampling.

    One determinantal sample of m points and n - m independent ones from ||phi||^2 / m dmu, shuffled.

    Parameters
    ----------
    basis : Basis
        m orthonormal functions.
    n : int, n >= m, optional
        Number of points; by default as many as `christoffel_sample` takes.
    delta : float, 0 < delta < 1, or None
        Draw again until ||G - I|| <= delta. None takes the first draw as it is: only then are least-squares coefficients unbiased.
    eta, max_trials, best_of, subsample
        As for `christoffel_sample`.
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
    With ``delta=None``, the expectation of the least-squares coefficients is the best approximation of f, whatever f is [1]_, so that
    averages over independent designs converge to it. For a single stable fit with so many points, `repeated_dpp` is better conditioned.

    References
    ----------
    .. [1] Derezinski, Warmuth and Hsu, Correcting the bias in least squares regression with volume-rescaled
       sampling, AISTATS 2019. The decomposition in a determinantal and an independent part.
    .. [2] Nouy and Michel, Weighted least-squares approximation with determinantal point processes and generalized
       volume sampling, arXiv:2312.14057.

    Examples
    --------
    >>> from lowrank_la.dpp import Legendre, volume_sample
    >>> design = volume_sample(Legendre(6), 40, rng=0)
    >>> design.points.shape, design.repeats
    ((40,), 1)
    """
    check_basis(NAME, basis)
    seed = _random.seed_of(NAME, rng)
    search = Search(NAME, delta, max_trials, best_of, subsample)
    m = basis.size
    n = _checks.integer(NAME, "n", max(m, default_size(NAME, m, delta, eta, best_of)) if n is None else n, m)

    def draw(trial: int) -> tuple[Sites, int]:
        generator = _random.host_generator(seed, f"{NAME} {trial}")
        first, proposals = determinantal(basis, 1, generator)
        sites = join(sites_at(basis, first), sites_at(basis, basis.draw(n - m, generator)))
        return sites.take(generator.permutation(np.arange(n))), proposals

    return search.design(basis, draw, "volume", repeats=1)
