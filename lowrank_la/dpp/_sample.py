"""`sample_dpp`: points that repel each other, as many as there are functions."""

from __future__ import annotations

import numpy as np

from lowrank_la import _checks, _random
from lowrank_la._arrays import Array
from lowrank_la.dpp import _chain
from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._design import Design, make_design
from lowrank_la.dpp._discrete import DiscreteFeatures

NAME = "sample_dpp"


def sample_dpp(basis: Basis | Array, *, measure: Array | None = None, repeats: int = 1, rng: _random.RNG = None) -> Design:
    """Draw samples of a projection determinantal point process: m points each for m functions.

    The points x_1, ..., x_m have a joint density proportional to |det phi_j(x_i)|^2: they avoid each other and all
    positions at which functions of the span are hard to tell apart.

    Parameters
    ----------
    basis : Basis, or array (N, p)
        m orthonormal functions; or features of N items, real or complex, of any backend, N >= p. These are made orthonormal
        by `DiscreteFeatures`, and columns that depend on others are dropped.
    measure : array (N,), optional
        Weights >= 0 of the items, with features only; 1/N each by default.
    repeats : int, repeats >= 1
        Number of independent samples. They follow each other in the answer.
    rng : None, int or numpy.random.Generator
        An int gives the same points for every number of threads.

    Returns
    -------
    Design
        points (repeats * m, dim) or indices (repeats * m,), weights m / ||phi||^2, eigenvalues of G, certificate, and the
        number of proposals. The order within a sample is random.

    Raises
    ------
    ValueError
        An argument is out of range, the features are no finite matrix, or the measure does not fit.
    TypeError
        An argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        Columns of the features depend on others and are dropped.

    Notes
    -----
    Each point has the density ||phi||^2 / m. One sample makes interpolation possible, but not stable: see `repeated_dpp`.

    Classical polynomials of one variable: the points are the eigenvalues of a random tridiagonal matrix [1]_, at O(m^2)
    flops. All else: the chain rule [2]_ with proposals from ||phi||^2 / m, m (1 + 1/2 + ... + 1/m) of them on average [3]_, tested
    in blocks by matrix products: 4 m^3 flops for a sample, whatever N is, and m^2 numbers of memory for each that is in
    work. Orthonormal columns come before that, at 4 N p^2 flops.

    The law is exact up to rounding: the rejection tests need no normalisation, so that they do not fail for ill-conditioned features. An
    item is never drawn twice in a sample, items of measure zero never.

    References
    ----------
    .. [1] Dumitriu and Edelman, Matrix models for beta ensembles, J. Math. Phys. 43, 2002; Killip and Nenciu, Matrix
       models for circular ensembles, IMRN 2004. The tridiagonal models.
    .. [2] Hough, Krishnapur, Peres and Virag, Determinantal processes and independence, Probab. Surv. 3, 2006.
    .. [3] Barthelme, Tremblay and Amblard, A faster sampler for discrete determinantal point processes,
       arXiv:2210.17358. Proposals from the leverage scores.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Legendre, sample_dpp
    >>> sample_dpp(Legendre(10), repeats=3, rng=0).points.shape
    (30,)
    >>> Phi = np.vander(np.linspace(-1, 1, 1000), 8)
    >>> design = sample_dpp(Phi, rng=0)
    >>> len(set(design.indices.tolist()))
    8
    """
    seed = _random.seed_of(NAME, rng)
    repeats = _checks.integer(NAME, "repeats", repeats, 1)
    if not isinstance(basis, Basis):
        basis = DiscreteFeatures(basis, measure)
    elif measure is not None:
        raise ValueError(f"{NAME}: measure must not be given with a basis, which has its own")
    x, proposals = determinantal(basis, repeats, seed)
    return make_design(basis, x, kind="dpp", repeats=repeats, proposals=proposals)


def determinantal(basis: Basis, repeats: int, rng: _random.RNG) -> tuple[np.ndarray, int]:
    """Draw samples, points or row indices, one after the other, and say how many points were proposed for them."""
    seed = _random.seed_of(NAME, rng)
    rows = isinstance(basis, DiscreteFeatures)
    x, proposals = _chain.rows(basis.inside, repeats, seed) if rows else _chain.points(basis, repeats, seed)
    return x.reshape(-1, *x.shape[2:]), proposals
