"""`spectral_density`: how the eigenvalues of a Hermitian matrix are spread, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _lanczos, _probes, _square
from lowrank_la.factor._lanczos import Tridiagonal
from lowrank_la.factor._matrix import Matrix
from lowrank_la.factor._trace import CLAIM as TRACE_CLAIM
from lowrank_la.factor._trace import SAFETY, TraceResult

NAME = "spectral_density"
CLAIM = "|density - the smoothed spectral density of A| <= error <= bound, at each point of the grid"
PROBES, DEGREE, POINTS = 16, 80, 400
SMOOTH = 1.5  # default width * degree / range: quadrature is then correct to 1e-4 of the highest peak
MARGIN = 0.05  # of the range of Ritz values, by which eigenvalues may lie outside
STEEPEST = math.exp(-0.5) / math.sqrt(2 * math.pi)  # slope of the normal density
ROUNDING = 10  # roundoff units times sqrt(n): errors of products, relative to the largest eigenvalue


@dataclass(frozen=True, repr=False)
class DensityResult(Result):
    """The density of eigenvalues, smoothed, with error bars.

    Attributes
    ----------
    grid : array (m,), real
        Where the density is given.
    density : array (m,), real
        Mean over the eigenvalues of Gaussians of the given width around them: its integral is 1.
    standard_error : array (m,), real
        Estimated standard deviation of the density, from the scatter of the probes.
    error : array (m,), real
        Half width of the interval in which the smoothed density lies, point by point, with the certificate's confidence.
    width : float
        Standard deviation of the Gaussians, in the units of A.
    low, high : float
        Smallest and largest Ritz value: some eigenvalues are at or beyond them.
    products : int
        Products of A with vectors.
    certificate : Certificate
        Bounds the error; its bound is the largest one on the grid.
    """

    grid: Array
    density: Array
    standard_error: Array
    error: Array
    width: float
    low: float
    high: float
    products: int
    certificate: Certificate
    order: int = field(repr=False)
    quadrature: Tridiagonal = field(repr=False)

    def trace(self, function: Callable[[np.ndarray], Any], *, delta: float = 0.05) -> TraceResult:
        """Estimate the trace of a function of A, as ``trace(numpy.log)`` for the logarithm of the determinant.

        Parameters
        ----------
        function : callable
            Takes a NumPy array of numbers from the spectrum, gives as many real numbers.
        delta : float, 0 < delta < 1
            Chance that the bound fails.

        Returns
        -------
        TraceResult
            Its certificate adds to Student's t quantile of the probes what the last eighth of the Lanczos steps
            changed: an estimate of the quadrature error, which is small if the function is smooth.

        Raises
        ------
        ValueError
            The function is not finite on the spectrum, or delta is out of range.
        """
        delta = _checks.real(f"{NAME}: trace", "delta", delta, 0, 1, open=True)
        steps = self.quadrature.alpha.shape[0]
        samples, before = (self.order * _quadrature(self.quadrature, k, function) for k in (steps, steps - steps // 8))
        error = float(np.std(samples, ddof=1)) / samples.size**0.5
        change = abs(float(np.mean(samples) - np.mean(before)))
        certificate = Certificate(TRACE_CLAIM, _quantile(samples.size, delta) * error + change, 1 - delta, f"{samples.size} probes")
        return TraceResult(float(np.mean(samples)), error, self.products, "lanczos quadrature", True, certificate)


def spectral_density(
    A: Any,
    *,
    probes: int = PROBES,
    degree: int = DEGREE,
    width: float | None = None,
    grid: int | Array = POINTS,
    delta: float = 0.05,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> DensityResult:
    """Estimate the density of eigenvalues of a Hermitian matrix from products with it.

    Each of a few random vectors goes through some Lanczos steps; the eigenvalues of its tridiagonal
    matrix, with the weights of Gauss quadrature, stand for the spectrum as that vector sees it.

    Parameters
    ----------
    A : array (n, n), sparse matrix, linear operator, row blocks, or function
        Symmetric or Hermitian. A function A(X) multiplies and needs `like`.
    probes : int, probes >= 2
        Random vectors. Errors fall with their square root.
    degree : int, degree >= 2
        Lanczos steps of each. They resolve details of about 1 / degree of the range.
    width : float, width > 0, optional
        Standard deviation of the Gaussians that smooth the density; 1.5 / degree of the range by default.
    grid : int, or array (m,) of real numbers
        Points, or their number: equally spaced over the range and four widths beyond.
    delta : float, 0 < delta < 1
        Chance, at each point, that the error bar fails.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, probes).
    rng : None, int or numpy.random.Generator
        An int gives the same vectors on every backend.

    Returns
    -------
    DensityResult
        grid, density, standard_error, error, width, low, high, products and certificate; its method
        `trace` gives traces of functions of A from the same quadrature.

    Raises
    ------
    ValueError
        A is not square, is empty, not finite, or products show that it is not Hermitian; or an argument is
        out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Notes
    -----
    Cost: probes * degree products, all vectors at once; memory three n x probes arrays. No vector is
    orthogonalized again: quadrature does not need it [2]_.

    Certificate: two parts. The probes scatter; two and a half times Student's t quantile times their standard error,
    which calibration found enough for skew samples, stands for that. And Gauss quadrature with k nodes misses
    at most twice the distance of the Gaussian from polynomials of degree 2k - 1, which its
    size on ellipses around the spectrum bounds [3]_; the spectrum is taken to reach at most a twentieth of
    the range beyond the Ritz values. The density at a single point is bounded, not that at all points together.

    References
    ----------
    .. [1] Lin, Saad and Yang, Approximating spectral densities of large matrices, SIAM Review 58, 2016.
    .. [2] Chen, Trogdon and Ubaru, Analysis of stochastic Lanczos quadrature for spectrum approximation, ICML 2021.
    .. [3] Trefethen, Approximation Theory and Approximation Practice, SIAM 2013, theorem 8.2.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import spectral_density
    >>> eigenvalues = np.linspace(1, 2, 1000)
    >>> result = spectral_density(np.diag(eigenvalues), rng=0)
    >>> bool(abs(np.sum(result.density) * (result.grid[1] - result.grid[0]) - 1) < 1e-3)
    True
    >>> logdet = result.trace(np.log)
    >>> bool(abs(logdet.value - np.sum(np.log(eigenvalues))) <= logdet.certificate.bound < 20)
    True
    """
    matrix = _square.enter(NAME, A, like)
    n = matrix.shape[0]
    probes = _checks.integer(NAME, "probes", probes, 2)
    degree = min(n, _checks.integer(NAME, "degree", degree, 2))
    given_width = None if width is None else _checks.real(NAME, "width", width, 0, open=True)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    points = _checks.integer(NAME, "grid", grid, 2) if isinstance(grid, int) else _points(matrix, grid)

    with _square.one_blas_thread(matrix):
        T = _lanczos.tridiagonal(matrix, _probes.sphere(matrix.like, n, probes, seed, NAME) / n**0.5, degree)
        _square.check_hermitian(NAME, matrix, T.skewness)
        nodes, weights = T.nodes
    low, high = float(nodes[weights > 0].min()), float(nodes[weights > 0].max())
    blur = ROUNDING * n**0.5 * matrix.roundoff * max(-low, high)
    spread = high - low if high - low > blur else 0.0
    size = given_width or SMOOTH * spread / degree or 0.01 * abs(high) or 1.0
    if isinstance(points, int):
        points = np.linspace(low - 4 * size, high + 4 * size, points)
    samples = np.stack([_smooth(points, *pair, size) for pair in zip(nodes, weights, strict=True)])
    standard_error = np.std(samples, axis=0, ddof=1) / probes**0.5
    error = _quantile(probes, delta) * standard_error + _quadrature_error(spread, size, degree) + blur * STEEPEST / size**2
    certificate = Certificate(CLAIM, float(np.max(error)), 1 - delta, f"{probes} probes")
    x, density, scatter, bars = (_lanczos.to_caller(matrix, part) for part in (points, samples.mean(axis=0), standard_error, error))
    return DensityResult(x, density, scatter, bars, size, low, high, probes * degree, certificate, n, T)


def _points(matrix: Matrix, grid: Any) -> np.ndarray:
    """Bring the points of a grid to the host."""
    points = _checks.ndim(NAME, "grid", _arrays.beside(NAME, "grid", grid, matrix.like), 1)
    _checks.finite(NAME, "grid", _checks.real_dtype(NAME, "grid", points))
    return _arrays.to_numpy(_checks.not_empty(NAME, "grid", points)).astype(float)


def _smooth(points: np.ndarray, nodes: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """Sum Gaussians around the nodes."""
    return np.exp(-0.5 * ((points[:, None] - nodes) / width) ** 2) @ weights / (width * math.sqrt(2 * math.pi))


def _quantile(samples: int, delta: float) -> float:
    from scipy.special import stdtrit

    return SAFETY * float(stdtrit(samples - 1, 1 - delta / 2))


def _quadrature_error(spread: float, width: float, degree: int) -> float:
    """Bound the error of Gauss quadrature for a Gaussian, over Bernstein ellipses of parameter r.

    On the ellipse |exp(-z^2 / 2)| is at most exp(y^2 / 2) for the half axis y in units of the width, and the
    best polynomial of degree 2 k - 1 is at most 2 r^(1 - 2 k) / (r - 1) times that away.
    """
    peak = 1 / (width * math.sqrt(2 * math.pi))
    half = (0.5 + MARGIN) * spread / width
    if half == 0.0:
        return 0.0
    r = 1 + np.geomspace(1e-6, 1e6, 400)
    y = half * (r - 1 / r) / 2
    logarithm = math.log(4) + y * y / 2 + (1 - 2 * degree) * np.log(r) - np.log(r - 1)
    return peak * math.exp(min(0.0, float(np.min(logarithm))))


def _quadrature(T: Tridiagonal, steps: int, function: Callable[[np.ndarray], Any]) -> np.ndarray:
    """Apply the quadrature of the first Lanczos steps of each probe to a function.

    Raises
    ------
    ValueError
        The function is not finite where the weights are not zero.
    """
    nodes, weights = T.first(steps).nodes
    seen = weights > 0
    with np.errstate(all="ignore"):
        values = np.asarray(function(np.where(seen, nodes, nodes[seen][0])), dtype=float)
    if values.shape != nodes.shape or not np.isfinite(values).all():
        raise ValueError(
            f"{NAME}: trace: function must give finite numbers from {nodes[seen].min():.6g} to {nodes[seen].max():.6g}; "
            f"got {values.size - int(np.isfinite(values).sum())} NaN or infinite ones in an answer of shape {values.shape}"
        )
    return np.sum(weights * values, axis=1)
