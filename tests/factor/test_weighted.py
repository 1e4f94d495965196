"""Weighted approximations are the best ones of their rank, and say by how little they may not be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.factor import _partial, weighted_svd

KINDS = ["none", "diagonal", "gram", "thin gram", "factor", "slim factor", "zeros"]


def side(kind, n, rng, complex):
    """One side's keyword, its value, and its exact root X with ||X^H E|| the norm, in long double."""
    X = rng.standard_normal((n, 3 * n + 2)) * np.geomspace(1, 1e-3, n)[:, None]
    if complex:
        X = X + 1j * rng.standard_normal(X.shape) * np.geomspace(1, 1e-3, n)[:, None]
    if kind in {"thin gram", "slim factor"}:
        X = X[:, : max(1, n // 2)]
    if kind in {"diagonal", "zeros"}:
        w = rng.random(n) ** 4
        w[: n // 3 if kind == "zeros" else 0] = 0
        return "", w, np.diag(np.sqrt(w.astype(np.longdouble)))
    if kind == "none":
        return "", None, np.eye(n, dtype=np.longdouble)
    long = X.astype(np.clongdouble if complex else np.longdouble)
    if "factor" in kind:
        return "_factor", X, long
    return "", X @ X.conj().T, long


def problem(seed, m, n, left, right, complex):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((m, n)) * np.geomspace(1, 1e-2, n)
    if complex:
        M = M + 1j * rng.standard_normal((m, n))
    (a, A, L), (b, B, R) = side(left, m, rng, complex), side(right, n, rng, complex)
    return M, {f"left{a}": A, f"right{b}": B}, L, R


def weighted_norm(E, L, R):
    E = np.asarray(E).astype(np.clongdouble if np.iscomplexobj(E) else np.longdouble)
    return float(np.sqrt((np.abs(np.conj(L).T @ E @ R) ** 2).sum()))


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 14),
    n=st.integers(1, 14),
    left=st.sampled_from(KINDS),
    right=st.sampled_from(KINDS),
    complex=st.booleans(),
)
def test_no_matrix_of_the_rank_is_nearer(seed, m, n, left, right, complex):
    M, weights, L, R = problem(seed, m, n, left, right, complex)
    rank = 1 + seed % min(m, n)
    result = weighted_svd(M, rank, **weights)
    true = weighted_norm(M - result.to_dense(), L, R)
    best = np.sqrt((np.linalg.svd((np.conj(L).T @ M @ R).astype(M.dtype), compute_uv=False)[rank:] ** 2).sum())
    scale = np.linalg.norm(L) * np.linalg.norm(R) * np.linalg.norm(M)
    gram = 3e-7 if "gram" in left + right or {"factor"} & {left, right} else 1e-11
    assert result.certificate.confidence == 1
    assert true <= result.certificate.bound * (1 + 1e-12)
    assert abs(true - best) <= 1e-11 * scale
    assert result.optimum <= best + 1e-13 * scale
    assert result.certificate.bound - result.optimum <= 20 * gram * scale
    assert result.clipped < 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_certificates_hold_for_many_problems(dtype):
    rng = np.random.default_rng(4)
    for seed in range(300):
        left, right = rng.choice(KINDS, 2)
        m, n = rng.integers(1, 12, 2)
        M, weights, L, R = problem(seed, m, n, left, right, complex=False)
        M = M.astype(dtype)
        weights = {name: None if w is None else w.astype(dtype) for name, w in weights.items()}
        L, R = (given_root(side, weights, root) for side, root in (("left", L), ("right", R)))
        rank = int(rng.integers(1, min(m, n) + 1))
        result = weighted_svd(M, rank, **weights)
        U, s, V = (x.astype(np.longdouble) for x in (result.U, result.s, result.V))
        true = weighted_norm(M.astype(np.longdouble) - (U * s) @ V.T, L, R)
        assert true <= result.certificate.bound * (1 + 1e-15), seed
        assert result.optimum <= true * (1 + 1e-15), seed


def given_root(side, weights, root):
    """The root of the weights as they were given, after their rounding to float32 or to a Gram matrix."""
    if weights.get(f"{side}_factor") is not None:
        return weights[f"{side}_factor"].astype(np.longdouble)
    H = weights.get(side)
    if H is None:
        return root
    if H.ndim == 1:
        return np.diag(np.sqrt(H.astype(np.longdouble)))
    values, V = np.linalg.eigh((H.astype(float) + H.T) / 2)
    return (V * np.sqrt(np.maximum(values, 0))).astype(np.longdouble)


def test_a_gram_matrix_and_its_factor_give_the_same_answer():
    rng = np.random.default_rng(0)
    M, X, Y = rng.standard_normal((20, 15)), rng.standard_normal((20, 60)), rng.standard_normal((15, 40))
    one = weighted_svd(M, 4, left=X @ X.T, right=Y @ Y.T, damping=0.01)
    two = weighted_svd(M, 4, left_factor=X, right_factor=Y, damping=0.01)
    np.testing.assert_allclose(one.to_dense(), two.to_dense(), atol=1e-10)
    np.testing.assert_allclose(one.weighted_values, two.weighted_values, rtol=1e-10)


def test_weights_of_one_side_project():
    rng = np.random.default_rng(1)
    M, X = rng.standard_normal((30, 20)), rng.standard_normal((20, 6))
    result = weighted_svd(M, 5, right_factor=X)
    np.testing.assert_allclose(result.U @ (result.U.T @ M), result.to_dense(), atol=1e-12)
    w = rng.random(30)
    result = weighted_svd(M, 5, left=w)
    np.testing.assert_allclose((M @ result.V) @ result.V.T, result.to_dense(), atol=1e-12)


def test_plain_and_equal_weights_are_the_plain_svd():
    M = np.random.default_rng(2).standard_normal((9, 7))
    U, s, Vh = np.linalg.svd(M)
    plain = (U[:, :3] * s[:3]) @ Vh[:3]
    for weights in ({}, {"left": np.full(9, 2.0)}, {"right": 3 * np.eye(7)}, {"left": np.full(9, 2.0), "right_factor": np.eye(7)}):
        np.testing.assert_allclose(weighted_svd(M, 3, **weights).to_dense(), plain, atol=1e-12)
    result = weighted_svd(M, 3)
    assert result.error == pytest.approx(np.sqrt((s[3:] ** 2).sum()), rel=1e-13)
    assert result.certificate.bound / result.optimum - 1 < 1e-11


def test_full_weights_beat_their_diagonal_and_the_plain_svd():
    rng = np.random.default_rng(3)
    M, X = rng.standard_normal((40, 30)), rng.standard_normal((30, 100)) * np.geomspace(10, 0.1, 30)[:, None]
    X = np.linalg.qr(rng.standard_normal((30, 30)))[0] @ X
    H = X @ X.T

    def loss(result):
        return np.linalg.norm((M - result.to_dense()) @ X)

    full, diagonal, plain = weighted_svd(M, 5, right=H), weighted_svd(M, 5, right=np.diag(H).copy()), weighted_svd(M, 5)
    assert loss(full) < min(loss(diagonal), loss(plain))
    assert loss(full) == pytest.approx(full.error, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weights", ["none", "gram", "factor", "both"])
def test_large_matrices_go_through_svd(weights, dtype, monkeypatch):
    monkeypatch.setattr(_partial, "LARGE", 100)
    monkeypatch.setattr(_partial, "FEW", 5)
    rng = np.random.default_rng(9)
    m, n = 140, 120
    M = (
        (rng.standard_normal((m, 60)) * np.geomspace(1, 0.01, 60)) @ rng.standard_normal((60, n)) + 0.05 * rng.standard_normal((m, n))
    ).astype(dtype)
    X, w = rng.standard_normal((n, 200)).astype(dtype) * np.geomspace(1, 0.1, n).astype(dtype)[:, None], rng.random(m).astype(dtype)
    options = {"none": {}, "gram": {"right": X @ X.T}, "factor": {"right_factor": X}, "both": {"left": w, "right_factor": X}}[weights]
    fast, exact = weighted_svd(M, 20, rng=0, **options), weighted_svd(M, 20, method="exact", **options)
    assert fast.weighted_values.shape == (20,)
    assert exact.weighted_values.shape == (120,)
    assert exact.error * (1 - 1e-5) <= fast.error <= exact.error * 1.01
    assert fast.optimum <= exact.error
    assert 0 <= fast.certificate.bound / fast.optimum - 1 < 0.05
    assert 0 <= exact.certificate.bound / exact.optimum - 1 < 1e-3


def test_damping_is_a_share_of_the_mean_diagonal():
    rng = np.random.default_rng(4)
    M, w = rng.standard_normal((8, 6)), rng.random(8)
    damped = weighted_svd(M, 2, left=w, damping=0.1)
    np.testing.assert_allclose(damped.to_dense(), weighted_svd(M, 2, left=w + 0.1 * w.mean()).to_dense(), atol=1e-13)
    H = np.diag(w)
    np.testing.assert_allclose(damped.to_dense(), weighted_svd(M, 2, left=H, damping=0.1).to_dense(), atol=1e-12)
    X = np.diag(np.sqrt(w))
    np.testing.assert_allclose(damped.to_dense(), weighted_svd(M, 2, left_factor=X, damping=0.1).to_dense(), atol=1e-12)


def test_small_negative_eigenvalues_are_clipped_and_reported():
    H = np.diag([4.0, 1.0, -1e-10])
    result = weighted_svd(np.eye(3), 1, right=H)
    assert result.clipped == pytest.approx(1e-10 / 5, rel=1e-3)
    assert result.error == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_batches_are_single_answers(dtype):
    rng = np.random.default_rng(5)
    M, H = rng.standard_normal((4, 10, 8)).astype(dtype), rng.standard_normal((4, 8, 20)).astype(dtype)
    w = rng.random((4, 10)).astype(dtype)
    together = weighted_svd(M, 3, left=w, right=H @ np.swapaxes(H, -1, -2))
    assert together.U.dtype == dtype
    tolerance = 100 * np.finfo(dtype).eps
    for i in range(4):
        one = weighted_svd(M[i], 3, left=w[i], right=H[i] @ H[i].T)
        np.testing.assert_allclose(together.to_dense()[i], one.to_dense(), atol=20 * tolerance)
        assert float(together.error[i]) == pytest.approx(one.error, rel=float(tolerance))
        assert together.optimum[i] <= together.error[i] * (1 + tolerance) <= together.certificate.bound * (1 + 2 * tolerance)


def test_works_on_every_backend(backend):
    rng = np.random.default_rng(6)
    M, w, X = rng.standard_normal((9, 7)), rng.random(9), rng.standard_normal((7, 20))
    result = weighted_svd(backend.array(M), 3, left=backend.array(w), right_factor=backend.array(X))
    reference = weighted_svd(M, 3, left=w, right_factor=X)
    np.testing.assert_allclose(backend.numpy(result.U), reference.U, atol=1e-11)
    np.testing.assert_allclose(backend.numpy(result.to_dense()), reference.to_dense(), atol=1e-11)
    assert result.error == pytest.approx(reference.error, rel=1e-12)


def test_complex_weights_of_a_real_matrix():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((6, 9)) + 1j * rng.standard_normal((6, 9))
    result = weighted_svd(rng.standard_normal((8, 6)), 2, right_factor=X)
    assert result.V.dtype == np.complex128


def test_zero_matrices_rows_columns_and_inputs_left_alone():
    assert weighted_svd(np.zeros((4, 3)), 2, left=np.ones(4)).certificate.bound == 0
    assert weighted_svd(np.ones((1, 5)), 1, right=np.arange(5)).error < 1e-14
    assert weighted_svd(np.ones((5, 1)), 1, left=np.zeros(5)).error == 0
    M = np.asfortranarray(np.random.default_rng(8).standard_normal((5, 4)))
    H = np.eye(5)
    before = M.copy(), H.copy()
    weighted_svd(M.T, 2, right=H)
    assert np.array_equal(M, before[0])
    assert np.array_equal(H, before[1])
    assert weighted_svd([[1, 2], [3, 4]], 1).U.dtype == np.float64


M = np.arange(12.0).reshape(4, 3)
BAD = [
    ("rank", (M, 4), {}, ValueError, "weighted_svd: rank must be an integer between 1 and 3; got 4"),
    ("vector", (M[0], 1), {}, ValueError, "M must be 2-dimensional or 3-dimensional"),
    ("empty", (M[:0], 1), {}, ValueError, r"M must have at least one entry; got shape \(0, 3\)"),
    ("NaN", (M * np.nan, 1), {}, ValueError, "M must be finite; got 12"),
    ("huge", (M * 1e200, 1), {}, ValueError, "M must have entries whose squares do not overflow"),
    ("short weights", (M, 1), {"left": np.ones(3)}, ValueError, r"left must have shape \(4,\); got \(3,\)"),
    ("negative weights", (M, 1), {"left": -np.ones(4)}, ValueError, "left must be nonnegative; got -1"),
    ("complex weights", (M, 1), {"left": 1j * np.ones(4)}, TypeError, "left must be real"),
    ("Gram misfits", (M, 1), {"right": np.eye(4)}, ValueError, r"right must have shape \(3, 3\); got \(4, 4\)"),
    ("not Hermitian", (M, 1), {"right": np.triu(np.ones((3, 3)))}, ValueError, "right must be Hermitian"),
    ("indefinite", (M, 1), {"right": np.diag([1.0, 1, -1])}, ValueError, "right must be positive semidefinite; got an eigenvalue of -1"),
    ("factor misfits", (M, 1), {"left_factor": np.ones((3, 5))}, ValueError, "left_factor must have 4 rows"),
    ("factor vector", (M, 1), {"left_factor": np.ones(4)}, ValueError, "left_factor must be 2-dimensional"),
    ("both", (M, 1), {"left": np.ones(4), "left_factor": np.eye(4)}, ValueError, "left and left_factor exclude each other"),
    ("both right", (M, 1), {"right": np.ones(3), "right_factor": np.eye(3)}, ValueError, "right and right_factor exclude each other"),
    ("method", (M, 1), {"method": "svd"}, ValueError, "method must be one of 'auto', 'exact'"),
    ("damping", (M, 1), {"damping": -1}, ValueError, "damping must be a number of at least 0; got -1"),
    ("inf in H", (M, 1), {"right": np.full((3, 3), np.inf)}, ValueError, "right must be finite"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        weighted_svd(*args, **options)


def test_extreme_scales_are_refused_and_large_ones_not():
    M32 = M.astype(np.float32)
    with pytest.raises(ValueError, match="must have entries whose squares do not underflow"):
        weighted_svd(M32 * np.float32(1e-30), 1)
    with pytest.raises(ValueError, match="must have entries whose squares do not overflow"):
        weighted_svd(M32 * np.float32(1e25), 1)
    with pytest.raises(ValueError, match="M must be 2-dimensional"):
        weighted_svd(3.0, 1)
    for scale in (1e-120, 1e120):
        result = weighted_svd(M * scale, 1)
        assert result.certificate.bound == pytest.approx(scale * weighted_svd(M, 1).certificate.bound, rel=1e-9)
