"""Sylvester equations with semidefinite coefficients, against conjugate gradients in long double."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.factor import sylvester_spd


def problem(seed, n, m, *, cond=10.0, complex=False, dtype=np.float64):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)

    def spd(k):
        V = np.linalg.qr(draw(k, k))[0]
        H = (V * np.geomspace(1, 1 / cond, k)) @ V.conj().T
        return (H + H.conj().T) / 2

    P, Q, R = spd(n), spd(m), draw(n, m)
    kind = np.result_type(dtype, np.complex64) if complex else dtype
    return P.astype(kind), Q.astype(kind), R.astype(kind)


def oracle(P, Q, R):
    """Conjugate gradients on the Kronecker form in long double, restarted until nothing changes."""
    kind = np.clongdouble if np.iscomplexobj(R) else np.longdouble
    P, Q, R = P.astype(kind), Q.astype(kind), R.astype(kind)
    P, Q = (P + P.conj().T) / 2, (Q + Q.conj().T) / 2
    X = np.zeros_like(R)
    for _ in range(4):
        r = R - P @ X - X @ Q
        d, rr = r, (np.abs(r) ** 2).sum()
        for _ in range(4 * R.size + 10):
            if rr == 0:
                break
            a = P @ d + d @ Q
            step = rr / (np.conj(d) * a).sum().real
            X, r = X + step * d, r - step * a
            new = (np.abs(r) ** 2).sum()
            d, rr = r + new / rr * d, new
    return X


def norm(E):
    return float(np.sqrt((np.abs(E) ** 2).sum()))


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 7),
    m=st.integers(1, 7),
    log_cond=st.floats(0, 4),
    complex=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_solutions_are_right_and_bounds_hold(seed, n, m, log_cond, complex, dtype):
    P, Q, R = problem(seed, n, m, cond=10**log_cond, complex=complex, dtype=dtype)
    result = sylvester_spd(P, Q, R)
    truth = oracle(P, Q, R)
    error = norm(result.X - truth)
    eps = np.finfo(dtype).eps
    assert result.X.dtype == P.dtype
    assert result.converged
    assert result.certificate.confidence == 1
    assert error <= result.certificate.bound + 1e-17 * norm(truth)
    assert result.certificate.bound <= 500 * eps * result.condition * norm(truth)
    assert result.condition <= 2 * 10**log_cond * (1 + 1e-3)
    if dtype == np.float64:
        assert result.residual_norm <= 30 * eps * norm(P) * norm(truth)


def test_bounds_hold_for_many_problems():
    rng = np.random.default_rng(2)
    for seed in range(300):
        n, m = rng.integers(1, 6, 2)
        P, Q, R = problem(seed, n, m, cond=10 ** rng.uniform(0, 5), complex=bool(rng.integers(2)))
        truth = oracle(P, Q, R)
        assert norm(sylvester_spd(P, Q, R).X - truth) <= sylvester_spd(P, Q, R).certificate.bound + 1e-17 * norm(truth)


def test_one_side_may_be_singular():
    Q = np.diag([0.0, 2.0])
    X = sylvester_spd(np.eye(3), Q, np.ones((3, 2))).X
    np.testing.assert_allclose(X, [[1, 1 / 3]] * 3, rtol=1e-15)
    with pytest.warns(ConvergenceWarning, match="P and Q are both singular"):
        result = sylvester_spd(np.diag([0.0, 1.0]), Q, np.ones((2, 2)))
    assert not result.converged
    assert result.certificate.bound == result.condition == np.inf
    np.testing.assert_allclose(result.X, [[0, 1 / 2], [1, 1 / 3]], rtol=1e-14)
    with pytest.warns(ConvergenceWarning):
        assert not sylvester_spd(np.zeros((2, 2)), np.zeros((2, 2)), np.ones((2, 2))).X.any()


def test_batches_are_single_answers():
    P, Q, R = (np.stack(parts) for parts in zip(*(problem(seed, 4, 3) for seed in range(3)), strict=True))
    together = sylvester_spd(P, Q, R)
    bounds = []
    for i in range(3):
        one = sylvester_spd(P[i], Q[i], R[i])
        np.testing.assert_allclose(together.X[i], one.X, atol=1e-13)
        assert together.condition[i] == pytest.approx(one.condition)
        bounds.append(one.certificate.bound)
    assert together.certificate.bound == pytest.approx(max(bounds), rel=0.5)


def test_works_on_every_backend(backend):
    P, Q, R = problem(5, 5, 4)
    result = sylvester_spd(*(backend.array(x) for x in (P, Q, R)))
    np.testing.assert_allclose(backend.numpy(result.X), oracle(P, Q, R).astype(float), atol=1e-13)


def test_mixed_kinds_and_inputs_left_alone():
    P, Q, R = problem(6, 3, 3)
    before = P.copy(), R.copy()
    X = sylvester_spd(P.T, Q, 1j * R.T).X
    assert X.dtype == np.complex128
    np.testing.assert_allclose(P @ X + X @ Q, 1j * R.T, atol=1e-14)
    assert np.array_equal(P, before[0])
    assert np.array_equal(R, before[1])
    assert not sylvester_spd(P, Q, 0 * R).X.any()
    assert sylvester_spd(P, Q, 0 * R).certificate.bound == 0
    assert sylvester_spd([[2]], [[1]], [[6]]).X[0, 0] == pytest.approx(2)


P, Q, R = problem(0, 3, 2)
BAD = [
    ("P misfits", (Q, Q, R), ValueError, r"sylvester_spd: P must have shape \(3, 3\); got \(2, 2\)"),
    ("Q misfits", (P, P, R), ValueError, r"sylvester_spd: Q must have shape \(2, 2\); got \(3, 3\)"),
    ("vector", (P, Q, R[:, 0]), ValueError, "R must be 2-dimensional"),
    ("not Hermitian", (np.triu(P), Q, R), ValueError, "P must be Hermitian"),
    ("indefinite", (P, Q - 2 * np.eye(2), R), ValueError, "Q must be positive semidefinite; got an eigenvalue of -1.9"),
    ("NaN", (P, Q, np.nan * R), ValueError, "R must be finite; got 6"),
    ("empty", (P, Q[:0, :0], R), ValueError, "Q must have at least one entry"),
]


@pytest.mark.parametrize(("args", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, error, message):
    with pytest.raises(error, match=message):
        sylvester_spd(*args)
