"""Orthonormal bases of matrices of any condition."""

import numpy as np
import pytest

from lowrank_la.factor import orth

RNG = np.random.default_rng(3)


def conditioned(n, m, cond, complex_=False):
    def basis(rows):
        X = RNG.standard_normal((rows, m))
        return np.linalg.qr(X + 1j * RNG.standard_normal(X.shape) if complex_ else X)[0]

    return (basis(n) * np.geomspace(1, 1 / cond, m)) @ basis(m).conj().T


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("cond", [1.0, 1e4, 1e8, 1e12, 1e15])
@pytest.mark.parametrize("shape", [(3000, 12), (40, 12), (12, 12)])
def test_orthonormal_to_rounding_whatever_the_condition(shape, cond, complex_):
    Y = conditioned(*shape, cond, complex_)
    Q = orth(Y, rng=0)
    assert abs(Q.conj().T @ Q - np.eye(Q.shape[1])).max() < 1e-14
    assert np.linalg.norm(Y - Q @ (Q.conj().T @ Y)) < 1e-12 * np.linalg.norm(Y)
    assert Q.shape[1] == 12 or cond == 1e15


@pytest.mark.parametrize("n", [20, 2000])
def test_rank_deficient_columns_are_dropped(n):
    X = RNG.standard_normal((n, 4))
    Y = np.concatenate([X, X @ RNG.standard_normal((4, 3)), np.zeros((n, 1))], axis=1)
    Q = orth(Y, rng=1)
    assert Q.shape == (n, 4)
    assert abs(Q.T @ Q - np.eye(4)).max() < 1e-14
    assert np.linalg.norm(Y - Q @ (Q.T @ Y)) < 1e-12 * np.linalg.norm(Y)
    assert orth(np.zeros((n, 3)), rng=1).shape == (n, 0)


def test_wide_matrices_have_no_more_columns_than_rows():
    Q = orth(RNG.standard_normal((5, 9)))
    assert Q.shape == (5, 5)
    assert abs(Q.T @ Q - np.eye(5)).max() < 1e-14


def test_float32_and_extreme_scales():
    for scale in (1e-30, 1.0, 1e30):
        Q = orth((scale * RNG.standard_normal((2000, 6))).astype(np.float32), rng=0)
        assert Q.dtype == np.float32
        assert abs(Q.T.astype(float) @ Q - np.eye(6)).max() < 2e-6
    Q = orth(1e300 * RNG.standard_normal((2000, 6)), rng=0)
    assert abs(Q.T @ Q - np.eye(6)).max() < 1e-14


def test_backends(backend):
    Y = conditioned(800, 5, 1e6)
    np.testing.assert_allclose(backend.numpy(orth(backend.array(Y), rng=4)), orth(Y, rng=4), atol=1e-9)


BAD = [
    (np.zeros((0, 3)), ValueError, r"orth: Y must have at least one entry; got shape \(0, 3\)"),
    (np.zeros(3), ValueError, "orth: Y must be 2-dimensional"),
    (np.full((4, 2), np.nan), ValueError, "orth: Y must be finite; got 8 NaN or infinite entries"),
    ("text", TypeError, "orth: Y must be an array of numbers"),
]


@pytest.mark.parametrize(("Y", "error", "message"), BAD)
def test_bad_input(Y, error, message):
    with pytest.raises(error, match=message):
        orth(Y)
