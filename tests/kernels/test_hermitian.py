"""Products that read half of a Hermitian matrix: every layout and dtype against exact ones; the same bits for any thread count."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.kernels import hermitian
from lowrank_la.kernels._engine import use_engine

RNG = np.random.default_rng(3)
LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "every second": lambda A: np.repeat(np.repeat(A, 2, 0), 2, 1)[::2, ::2],
}


def symmetric(n, dtype):
    G = RNG.standard_normal((n, n)).astype(dtype)
    return G + G.conj().T


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("n", [1, 17, 257, 1083])
def test_products_sizes_and_sums(n, dtype, layout):
    A = LAYOUTS[layout](symmetric(n, dtype))
    sums, same = hermitian.inspect(A)
    assert same
    np.testing.assert_allclose(sums, np.abs(A).astype(float).sum(axis=1), rtol=1e-14 if dtype == np.float64 else 1e-6)
    exact = A.astype(np.complex128 if dtype == np.complex128 else np.float64)
    for c in (1, 3, 4, 6):
        X = RNG.standard_normal((n, c))
        np.testing.assert_allclose(hermitian.sizes(A, abs(X)), abs(exact) @ abs(X), rtol=1e-13 if dtype == np.float64 else 1e-6)
        for Z in (X, X + 1j * X[::-1]):
            expected = exact @ Z
            assert np.linalg.norm(hermitian.times(A, Z) - expected) <= 2e-15 * np.linalg.norm(expected) + 1e-15
    assert hermitian.times(A, X).dtype == (np.complex128 if dtype == np.complex128 else np.float64)


@pytest.mark.parametrize("n", [40, 300, 1030])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_one_differing_bit_is_seen(n, dtype):
    for _ in range(20):
        A = symmetric(n, dtype)
        i, j = np.sort(RNG.choice(n, 2, replace=False))
        A[i, j] = np.nextafter(A[i, j].real, 9) if dtype != np.complex64 else A[i, j].conj() + 1e-3j
        assert not hermitian.inspect(A)[1]
    A[i, j] = np.nan
    assert not np.isfinite(hermitian.inspect(A)[0]).all()


def test_the_reference_agrees():
    A, X = symmetric(400, np.float64), RNG.standard_normal((400, 3))
    answers = []
    for engine in ("cpu", "reference"):
        with use_engine(engine):
            answers.append((hermitian.times(A, X), hermitian.sizes(A, abs(X)), hermitian.inspect(A)[0]))
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_threads_do_not_change_a_bit():
    A, X = symmetric(1500, np.float64), RNG.standard_normal((1500, 3))
    with limit_threads(1):
        alone = hermitian.times(A, X), hermitian.sizes(A, abs(X)), hermitian.inspect(A)[0]
    for ours, theirs in zip((hermitian.times(A, X), hermitian.sizes(A, abs(X)), hermitian.inspect(A)[0]), alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
