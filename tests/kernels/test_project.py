"""Projections of tall matrices with what they leave: every engine against plain NumPy."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.kernels import project
from lowrank_la.kernels._engine import use_engine

RNG = np.random.default_rng(0)


def problem(rows, n, c, dtype=np.float64):
    A = RNG.standard_normal((rows, n)) * 10.0 ** -np.arange(n)
    if np.issubdtype(dtype, np.complexfloating):
        A = A * np.exp(2j * np.pi * RNG.random(A.shape))
    return A.astype(dtype), np.linalg.svd(A, full_matrices=False)[2][:c].conj().T.astype(dtype)


def check(A, X, answer):
    """Sums of squares are those of the answer as it was rounded."""
    Y, kept, left = answer
    wide = np.complex128 if np.iscomplexobj(A) else np.float64
    expected = A.astype(wide) @ X.astype(wide)
    np.testing.assert_allclose(Y.T, expected, atol=1e-6 if Y.dtype.char in "fF" else 1e-13)
    assert Y.dtype == A.dtype
    rounded = Y.T.astype(wide)
    assert kept == pytest.approx(np.linalg.norm(rounded) ** 2, rel=1e-12)
    rest = np.linalg.norm(A.astype(wide) - rounded @ X.astype(wide).conj().T) ** 2
    assert left == pytest.approx(rest, rel=1e-9, abs=1e-28 * kept)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("rows", "n"), [(9001, 8), (3000, 29), (700, 100), (5, 20000), (1, 3), (66000, 1)])
def test_engines(engine, dtype, rows, n):
    for c in {1, min(n, 7), min(n, 8), min(n, 20), min(n, 65)}:
        A, X = problem(rows, n, min(c, rows), dtype)
        with use_engine(engine):
            check(A, X, project.project(A, X))


def test_other_layouts_and_nan():
    A, X = problem(4000, 40, 5)
    check(A[::2], X, project.project(A[::2], X))
    check(np.asfortranarray(A), X, project.project(np.asfortranarray(A), X))
    A[3999, 39] = np.nan
    assert np.isnan(project.project(A, X)[2])


def test_threads_do_not_show():
    A, X = problem(50000, 30, 6)
    first = project.project(A, X)
    with limit_threads(1):
        alone = project.project(A, X)
    assert np.array_equal(first[0], alone[0])
    assert first[1:] == alone[1:]


def test_arrays_of_other_libraries(backend):
    A, X = problem(3000, 40, 5)
    Y, kept, left = project.project(backend.array(A), backend.array(X)) if backend.name != "torch" else project.project(A, X)
    check(A, X, (Y if backend.name == "torch" else backend.numpy(Y), kept, left))
