"""Classical polynomials of one variable: the determinantal sample is the spectrum of a random tridiagonal matrix.

The points of the first m orthonormal polynomials have the joint density prod_(i<j) (x_i - x_j)^2 prod_i w(x_i). The models
below have independent entries of known laws, and eigenvalues with this density [1]_, [2]_. A sample costs O(m^2).

References
----------
.. [1] Dumitriu and Edelman, Matrix models for beta ensembles, J. Math. Phys. 43, 2002. Hermite and Laguerre, at beta = 2.
.. [2] Killip and Nenciu, Matrix models for circular ensembles, IMRN 2004. Jacobi, at beta = 2, by canonical moments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Entries = tuple[np.ndarray, np.ndarray]


def applies(basis: Any) -> bool:
    """Say whether a basis consists of all polynomials of one variable up to a degree, for a classical weight."""
    return getattr(basis, "family", "") in MODELS


def points(basis: Any, repeats: int, generator: np.random.Generator) -> np.ndarray:
    """Draw samples of m points (repeats, m, 1), each in random order."""
    diagonals, sides = MODELS[basis.family](basis.size, repeats, basis.parameters, generator)
    low, high = SUPPORT[basis.family]
    values = np.stack([_spectrum(d, e) for d, e in zip(diagonals, sides, strict=True)])
    t = generator.permuted(np.clip(values, low, high), axis=1)  # rounding may have left the support
    return (basis.shift + basis.scale * t)[:, :, None]


def _spectrum(diagonal: np.ndarray, side: np.ndarray) -> np.ndarray:
    from scipy.linalg import eigvalsh_tridiagonal

    return np.asarray(eigvalsh_tridiagonal(diagonal, side, check_finite=False)) if side.size else diagonal


def _hermite(m: int, repeats: int, parameters: tuple[float, ...], generator: np.random.Generator) -> Entries:
    """Weight exp(-t^2 / 2)."""
    return generator.standard_normal((repeats, m)), np.sqrt(generator.standard_gamma(np.arange(m - 1, 0, -1.0), (repeats, m - 1)))


def _laguerre(m: int, repeats: int, parameters: tuple[float, ...], generator: np.random.Generator) -> Entries:
    """Weight t^alpha exp(-t): B B^T for a bidiagonal B."""
    main = generator.standard_gamma(parameters[0] + np.arange(m, 0, -1.0), (repeats, m))
    below = generator.standard_gamma(np.arange(m - 1, 0, -1.0), (repeats, m - 1))
    diagonal = main.copy()
    diagonal[:, 1:] += below
    return diagonal, np.sqrt(main[:, :-1] * below)


def _jacobi(m: int, repeats: int, parameters: tuple[float, ...], generator: np.random.Generator) -> Entries:
    """Weight (1 - t)^alpha (1 + t)^beta: canonical moments of a measure on (0, 1), mapped to t = 2 s - 1."""
    alpha, beta = parameters
    rest = np.arange(m - 1, -1, -1.0)
    odd = generator.beta(rest + beta + 1, rest + alpha + 1, (repeats, m))
    even = generator.beta(rest[:-1], rest[1:] + alpha + beta + 2, (repeats, m - 1))
    chain = odd.copy()
    chain[:, 1:] *= 1 - even
    diagonal = chain.copy()
    diagonal[:, 1:] += (1 - odd[:, :-1]) * even
    return 2 * diagonal - 1, 2 * np.sqrt(chain[:, :-1] * (1 - odd[:, :-1]) * even)


MODELS = {"hermite": _hermite, "laguerre": _laguerre, "jacobi": _jacobi}
SUPPORT = {"hermite": (-np.inf, np.inf), "laguerre": (0.0, np.inf), "jacobi": (-1.0, 1.0)}
