"""`sample_l_ensemble`: determinantal samples of items from a kernel, of random or of fixed size."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.dpp import _chain
from lowrank_la.dpp._sizes import Choice, fixed_size, random_size
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import U
from lowrank_la.factor._orth import orthonormal

NAME = "sample_l_ensemble"
CLAIM = "total variation distance between the law of a sample and the exact law <= bound"
CLOSE = 0.01  # a larger distance is worth a warning


@dataclass(frozen=True, repr=False)
class ItemSample(Result):
    """Samples of items.

    Attributes
    ----------
    indices : array (repeats, largest size), int64
        Items of each sample in random order; -1 behind those of a sample that is smaller than the largest.
    sizes : array (repeats,), int64
        Number of items in each.
    eigenvalues : array (r,)
        Positive eigenvalues of L as computed, in ascending order, in double precision, NumPy.
    expected_size : float
        Expected number of items.
    converged : bool
        The bound of the certificate is at most 0.01.
    certificate : Certificate
        Bounds how far the law of a sample is from the exact one.
    """

    indices: Array
    sizes: Array
    eigenvalues: np.ndarray
    expected_size: float
    converged: bool
    certificate: Certificate

    @property
    def sets(self) -> list[Array]:
        """The samples, each an array of its size."""
        return [self.indices[r, : int(self.sizes[r])] for r in range(self.sizes.shape[0])]


@dataclass(frozen=True)
class _Spectrum:
    """L ~ V diag(values) V^H with positive values, ascending.

    Either L itself is within `slack` of that in the nuclear norm, or its factor is within `slack` of V diag(values)^(1/2) W^H in
    the Frobenius norm (`dual`), for matrices V and W with orthonormal columns; the computed V is within `spread` of them.
    """

    values: np.ndarray
    V: Array
    slack: float
    spread: float
    dual: bool


def sample_l_ensemble(
    L: Array | None = None, *, factor: Array | None = None, size: int | None = None, repeats: int = 1, rng: _random.RNG = None
) -> ItemSample:
    """Draw sets S of items with probability det(L_S) / det(I + L), or those of a given size with probability prop. to det(L_S).

    The first is an L-ensemble, the second a k-DPP. The matrix is taken apart once for all samples.

    Parameters
    ----------
    L : array (N, N), optional
        Hermitian and positive semidefinite, of any condition.
    factor : array (N, r), optional
        B with L = B B^H, in place of L. Better where L is ill conditioned: only L keeps, of small
        eigenvalues, no digits.
    size : int, 0 <= size <= N (with a factor, <= r), optional
        Number of items of each sample; by default it is random.
    repeats : int, repeats >= 1
        Number of independent samples.
    rng : None, int or numpy.random.Generator
        An int gives the same samples for every number of threads, and on every backend up to rounding.

    Returns
    -------
    ItemSample
        indices (repeats, largest size), int64, of the library and device of the input; sizes (repeats,).
        certificate : bounds the total variation distance between the law of a sample and the exact law: no probability of an event is
        off by more. Confidence 1; method "residual of eigenpairs".

    Raises
    ------
    ValueError
        Both or neither of L and factor are given, they are not finite matrices, L is not Hermitian and positive semidefinite but
        for rounding, or size exceeds the rank.
    TypeError
        An argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The bound exceeds 0.01: rounding errors of eigenvalues matter.

    Notes
    -----
    Eigenvectors are chosen first: independently with probability l / (1 + l) for the eigenvalue l [1]_; for a given size,
    by the law of independent choices with odds c l, given their number. c makes the expected number the right one, so that
    the table of the conditional law neither overflows nor loses digits. Then the projection process of the chosen vectors is
    drawn by `sample_dpp`'s chain rule, which normalises nothing and hence does not fail.

    Cost: the eigenvalues, O(N^3), or O(N r^2) with a factor; tables of 24 N bytes for each eigenvector that occurs; then 4 k^3 flops for a
    sample of k items; for a given size O(r size) once and O(r) for each sample.

    Certificate. Let M exceed L and the matrix of the computed pairs, in the order of Hermitian matrices. Minors only grow, so
    that both laws are within log det(I + M) - log det(I + .) of that of M; with E the difference of the two and M = L + E_+, the sum
    is at most the nuclear norm of E. For an error F of a factor, M = (1 + t) L + (1 + 1/t) F F^H gives a bound of order
    sqrt(expected size) ||F||_F, whatever ||L|| is. For a given size k, elementary symmetric polynomials take the place of
    determinants, and errors count relative to the sum of the N - k + 1 least eigenvalues.

    References
    ----------
    .. [1] Hough, Krishnapur, Peres and Virag, Determinantal processes and independence, Probab. Surv. 3, 2006. The
       choice of eigenvectors.
    .. [2] Kulesza and Taskar, k-DPPs: fixed-size determinantal point processes, ICML 2011. Samples of fixed size.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import sample_l_ensemble
    >>> x = np.linspace(0, 1, 200)
    >>> L = np.exp(-50 * (x[:, None] - x) ** 2)
    >>> sample = sample_l_ensemble(L, size=6, repeats=3, rng=0)
    >>> sample.indices.shape
    (3, 6)
    >>> bool(sample.certificate.bound < 1e-6)
    True
    """
    seed = _random.seed_of(NAME, rng)
    if (L is None) == (factor is None):
        raise ValueError(f"{NAME}: L or factor must be given; got {'both' if L is not None else 'neither'}")
    repeats = _checks.integer(NAME, "repeats", repeats, 1)
    door, [A] = _dense.enter(NAME, **({"L": L} if factor is None else {"factor": factor}))
    _checks.ndim(NAME, "factor" if L is None else "L", A, 2)
    spectrum = _of_factor(A) if L is None else _of_matrix(A)
    if size is not None:
        size = _checks.integer(NAME, "size", size, 0, min(A.shape))
        if size > spectrum.values.size:
            raise ValueError(f"{NAME}: size must be at most the rank of L, {spectrum.values.size}; got {size}")
    generator = _random.host_generator(seed, "dpp eigenvectors")
    choice = random_size(spectrum.values, repeats, generator) if size is None else fixed_size(spectrum.values, size, repeats, generator)
    indices = _items(spectrum, choice, seed)
    bound = _distance(spectrum, A.shape[0], size, int(choice.sizes.max()))
    if not bound <= CLOSE:
        words = "rounding errors of eigenvalues matter" + ("; pass factor=B with L = B B^H if there is one" if L is not None else "")
        warnings.warn(f"{NAME}: the law may be off by {bound:.2g} in total variation: {words}", ConvergenceWarning, stacklevel=2)
    return ItemSample(
        indices=door.leave(_arrays.from_numpy(indices, A)),
        sizes=door.leave(_arrays.from_numpy(choice.sizes, A)),
        eigenvalues=spectrum.values,
        expected_size=float(size if size is not None else np.sum(spectrum.values / (1 + spectrum.values))),
        converged=bound <= CLOSE,
        certificate=_dense.always(CLAIM, bound, "residual of eigenpairs"),
    )


def _of_matrix(L: Array) -> _Spectrum:
    """Take L apart.

    Raises
    ------
    ValueError
        L is not square, not Hermitian, or not positive semidefinite.
    """
    if L.shape[0] != L.shape[1]:
        raise ValueError(f"{NAME}: L must be square; got shape {tuple(L.shape)}")
    xp = _arrays.namespace(L)
    tolerance = 10 * L.shape[0] * _arrays.unit_roundoff(xp, L.dtype)
    H = _dense.hermitian(NAME, "L", L)
    eigen = _dense.semidefinite(NAME, "L", H, tolerance)
    values = _dense.host(eigen.values)
    first = int((values <= 0).sum())
    asymmetric = float(_dense.norms(_dense.wide(L) - H))
    slack = math.sqrt(L.shape[0]) * (float(eigen.slack) + asymmetric) - float(values[:first].sum())
    return _Spectrum(values[first:], eigen.V[:, first:], slack, float(_dense.defect(eigen.V)), False)


def _of_factor(B: Array) -> _Spectrum:
    """Take B B^H apart by the singular values of B."""
    B = _dense.wide(B)
    xp = _arrays.namespace(B)
    Q, R = orthonormal(B, 0) if B.shape[0] > B.shape[1] else (None, B)
    V, s, Wh = xp.linalg.svd(R, full_matrices=False)
    V = V if Q is None else Q @ V
    spread, side = float(_dense.defect(V)), float(_dense.defect(_dense.adjoint(Wh)))
    sizes = _dense.host(s)
    slack = float(_dense.residual(B, V * s[None, :], Wh)) + (spread + side + spread * side + 4 * U) * float(np.linalg.norm(sizes))
    order = np.flatnonzero(sizes > 0)[::-1]
    V = xp.take(V, _arrays.from_numpy(np.ascontiguousarray(order), V), axis=1)
    return _Spectrum(sizes[order] ** 2, V, slack, spread, True)


def _items(spectrum: _Spectrum, choice: Choice, seed: int) -> np.ndarray:
    """Draw the items for the chosen eigenvectors, of which only those that occur are kept."""
    if choice.sizes.max() == 0:
        return np.zeros((choice.sizes.size, 0), np.int64)
    used = np.unique(choice.columns[np.arange(choice.columns.shape[1])[None, :] < choice.sizes[:, None]])
    V = _arrays.namespace(spectrum.V).take(spectrum.V, _arrays.from_numpy(used, spectrum.V), axis=1)
    columns = np.minimum(np.searchsorted(used, choice.columns), used.size - 1)
    return _chain.selected(V, columns, choice.sizes, seed)[0]


def _distance(spectrum: _Spectrum, items: int, size: int | None, most: int) -> float:
    """Bound the total variation distance of the law of a sample from the exact law."""
    kernel = kernel_distance(spectrum.values, spectrum.slack, spectrum.dual, size)
    if not spectrum.spread < 0.5:
        return 1.0
    vectors = spectrum.spread / (1 - spectrum.spread)  # sin of the angle between the chosen vectors as computed, and orthonormal ones
    choices = 8 * spectrum.values.size * U
    return min(1.0, kernel + vectors + choices + _chain.law_bound(most, items, spectrum.spread))


def kernel_distance(values: np.ndarray, slack: float, dual: bool, size: int | None) -> float:
    """Bound the distance between the laws of two kernels, one of which has these eigenvalues, and which differ by `slack`.

    The difference is one of kernels, in the nuclear norm, or of their factors, in the Frobenius norm (`dual`).
    """
    if slack == 0 or size == 0:
        return 0.0
    if size is None:
        return min(1.0, _free_distance(values, slack) if dual else slack)
    tail = float(values[: values.size - size + 1].sum())  # of the eigenvalues without the size - 1 largest
    if not dual:
        return min(1.0, size * slack / (tail - slack)) if tail > slack else 1.0
    least = max(math.sqrt(tail) - slack, 0.0) ** 2  # of the same sum for the other kernel
    if least == 0:
        return 1.0
    t = slack / math.sqrt(least)
    return min(1.0, 3 * size * (2 * t + t**2))


def _free_distance(values: np.ndarray, slack: float) -> float:
    """Bound the distance between the laws of L-ensembles by that of their factors."""
    mean = float(np.sum(values / (1 + values)))
    t = slack / math.sqrt(mean) if mean > slack**2 else 1.0
    rest = (1 + 1 / t) * slack**2
    larger = (1 + t) * mean + rest  # bounds the other expected size
    return 2 * (t * mean + rest) + t * larger + rest
