"""Measurements: against the matrices they stand for, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank_la.recovery import dense_gaussian, entry_mask, fourier, rank_one
from tests.recovery.problems import KINDS, normal, operator

SHAPE, COUNT, K = (9, 7), 30, 3


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_matrices(kind, is_complex, backend):
    if kind in ("complex", "fourier") and not is_complex:
        is_complex = True
    rng = np.random.default_rng(1)
    op, A = operator(kind, COUNT, SHAPE, convert=backend.array)
    assert op.shape == A.shape
    U, V, z = (normal(rng, *s, is_complex=is_complex) for s in ((9, K), (7, K), (COUNT,)))
    D = np.tensordot(z, A, 1)
    given = [backend.array(x) for x in (U, V, z)]
    answers = op.apply(*given[:2]), op.adjoint_matmat(given[2], given[1]), op.adjoint_rmatmat(given[2], given[0])
    truth = np.einsum("lij,ij->l", A.conj(), U @ V.conj().T), D @ V, D.conj().T @ U
    for answer, exact in zip(answers, truth, strict=True):
        np.testing.assert_allclose(backend.numpy(answer), exact, atol=1e-12)


def test_fourier_measurements_are_coefficients_of_fft2():
    M = np.random.default_rng(0).standard_normal((6, 5))
    rows, cols = np.divmod(np.arange(30), 5)
    y = fourier(rows, cols, shape=(6, 5)).apply(M, np.eye(5))
    np.testing.assert_allclose(y, np.fft.fft2(M, norm="ortho").ravel(), atol=1e-13)


def test_gaussian_matrices_depend_on_the_seed_only(backend):
    like = backend.array(np.zeros(2, dtype=np.float32))
    A = dense_gaussian(20, (4, 3), like=like, rng=7).A
    assert str(A.dtype).endswith("float32")
    exact = dense_gaussian(20, (4, 3), rng=7).A
    np.testing.assert_allclose(np.asarray(A if isinstance(A, np.ndarray) else backend.numpy(A)), exact, rtol=1e-6)
    assert not np.array_equal(exact, dense_gaussian(20, (4, 3), rng=8).A)


def test_one_array_of_vectors_serves_both_sides():
    a = np.random.default_rng(0).standard_normal((5, 4))
    U = np.eye(4)
    np.testing.assert_allclose(rank_one(a).apply(U, U), np.sum(a * a, axis=1))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: dense_gaussian(0, (3, 3)), ValueError, "dense_gaussian: count must be an integer of at least 1; got 0"),
        (lambda: dense_gaussian(3, 3), ValueError, r"dense_gaussian: shape must be two integers \(m, n\); got 3"),
        (lambda: dense_gaussian(3, (3, 0)), ValueError, r"dense_gaussian: shape\[1\] must be"),
        (lambda: rank_one(np.ones(3)), ValueError, "rank_one: a must be 2-dimensional"),
        (lambda: rank_one(np.ones((3, 2)), np.ones((4, 2))), ValueError, "rank_one: b must have 3 rows, as many as a"),
        (lambda: rank_one(np.full((3, 2), np.nan)), ValueError, "rank_one: a must be finite"),
        (lambda: rank_one("no"), TypeError, "rank_one: a must be an array of numbers"),
        (lambda: entry_mask(np.array([0, 3]), np.array([0, 1]), shape=(3, 3)), ValueError, "entry_mask: rows must be from 0 to 2"),
        (lambda: entry_mask(np.array([0]), np.array([0, 1]), shape=(3, 3)), ValueError, "entry_mask: cols must have 1 rows"),
        (lambda: entry_mask(np.array([0.5]), np.array([0]), shape=(3, 3)), TypeError, "entry_mask: rows must be integers"),
        (lambda: fourier(np.array([], dtype=int), np.array([], dtype=int), shape=(3, 3)), ValueError, "fourier: rows must have"),
        (lambda: fourier(np.array([0]), np.array([5]), shape=(3, 3)), ValueError, "fourier: cols must be from 0 to 2"),
    ],
)
def test_bad_input_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
