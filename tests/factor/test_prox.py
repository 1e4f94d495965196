"""Proximal maps: closed forms, brute force, optimality conditions, and certificates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.factor import _partial, prox
from lowrank_la.factor._thresholds import Power


def draw(rng, *shape, complex=False):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)


def penalty(X, kind, p=1.0, axis=-1):
    """f(X) in long double, singular values from a long-double eigenproblem being out of reach, in double."""
    if kind in {"nuclear", "schatten"}:
        s = np.linalg.svd(X, compute_uv=False)
        s = s[s > 1e-13 * max(s.max(), 1e-300)]
        return (s**p).sum() if p else len(s)
    if kind == "l1":
        return np.abs(X).sum()
    return np.linalg.norm(X, axis=axis).sum() if kind == "group" else np.linalg.norm(X)


def objective(X, M, lam, kind, **options):
    return lam * penalty(X, kind, **options) + 0.5 * np.linalg.norm(X - M) ** 2


@given(y=st.floats(1e-3, 1e3), lam=st.floats(1e-3, 1e2), p=st.sampled_from([0.0, 0.01, 0.3, 0.5, 2 / 3, 0.9, 0.999, 1.0]))
def test_scalar_maps_find_the_global_minimum(y, lam, p):
    power = Power(lam, p)
    x = power.map(np.array([y]))
    grid = np.concatenate([[0.0], y * np.linspace(1e-6, 1, 20001), y * np.geomspace(1e-12, 1, 4001)])[:, None]
    best = power.value(grid, y).min()
    assert power.value(x, np.array([y])) <= best * (1 + 1e-12)
    if x[0] > 0:
        assert x[0] + lam * p * x[0] ** (p - 1) == pytest.approx(y, rel=1e-12)


def test_halves_and_two_thirds_have_closed_forms():
    y = np.linspace(0.1, 9, 500)
    half = Power(0.8, 0.5)
    angle = np.arccos(0.8 / 4 * (y / 3) ** -1.5, where=y > half.threshold, out=np.zeros_like(y))
    np.testing.assert_allclose(half.map(y), np.where(y > half.threshold, 2 / 3 * y * (1 + np.cos(2 * np.pi / 3 - 2 / 3 * angle)), 0))
    assert half.threshold == pytest.approx(1.5 * 0.8 ** (2 / 3))
    two = Power(0.8, 2 / 3)
    a = 2 * 0.8
    phi = np.arccosh(np.maximum(27 * y**2 / 16 * a**-1.5, 1))
    big = 2 / np.sqrt(3) * a**0.25 * np.sqrt(np.cosh(phi / 3))
    closed = ((big + np.sqrt(np.maximum(2 * y / np.maximum(big, 1e-9) - big**2, 0))) / 2) ** 3
    np.testing.assert_allclose(two.map(y), np.where(y > two.threshold, closed, 0), rtol=1e-9)


CONVEX = st.sampled_from([("nuclear", None), ("l1", None), ("group", -1), ("group", -2), ("frobenius", None)])


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 9),
    n=st.integers(1, 9),
    lam=st.sampled_from([0.0, 0.1, 1.0, 100.0]),
    which=CONVEX,
    complex=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_convex_maps_meet_their_optimality_conditions(seed, m, n, lam, which, complex, dtype):
    kind, axis = which
    rng = np.random.default_rng(seed)
    M = draw(rng, m, n, complex=complex).astype(np.result_type(dtype, np.complex64) if complex else dtype)
    result = prox(M, lam, kind=kind, **({"axis": axis} if kind == "group" else {}))
    eps, size = float(np.finfo(dtype).eps), np.linalg.norm(M)
    assert result.X.dtype == M.dtype
    # Y = M - X has dual norm at most lam, and <X, Y> = lam f(X): by convexity these are sufficient.
    X, Y = result.X.astype(complex_or_double(complex)), (M - result.X).astype(complex_or_double(complex))
    if kind == "nuclear":
        dual = np.linalg.norm(Y, 2)
    elif kind == "l1":
        dual = np.abs(Y).max()
    else:
        dual = np.linalg.norm(Y, axis=axis).max() if kind == "group" else np.linalg.norm(Y)
    assert dual <= lam + 20 * eps * size
    options = {"axis": axis} if kind == "group" else {}
    assert lam * penalty(X, kind, **options) - (np.conj(X) * Y).sum().real <= 50 * eps * size * (size + lam * (m + n))
    assert result.certificate.confidence == 1
    assert result.certificate.bound <= 200 * eps * (m + n) * size
    assert float(result.value) == pytest.approx(objective(X, M, lam, kind, **options), rel=2e-5 if dtype == np.float32 else 1e-10)


def complex_or_double(complex):
    return np.complex128 if complex else np.float64


def test_distances_are_bounded_for_many_problems():
    rng = np.random.default_rng(0)
    for seed in range(300):
        m, n = rng.integers(1, 8, 2)
        Q, P = np.linalg.qr(rng.standard_normal((m, m)))[0], np.linalg.qr(rng.standard_normal((n, n)))[0]
        k = min(m, n)
        s = 10.0 ** rng.uniform(-3, 1, k)
        Q, P = Q.astype(np.longdouble), P.astype(np.longdouble)
        for _ in range(2):  # orthonormal to long double precision
            Q, P = (X @ (1.5 * np.eye(len(X)) - 0.5 * X.T @ X) for X in (Q, P))
        M = (Q[:, :k] * s) @ P[:, :k].T
        lam = float(rng.choice(s) * 0.7 + 1e-3)
        truth = (Q[:, :k] * np.maximum(s - np.longdouble(lam), 0)) @ P[:, :k].T
        rounded = M.astype([np.float64, np.float32][seed % 2])
        result = prox(rounded, lam)
        moved = float(np.sqrt(((M - rounded) ** 2).sum()))  # by which the exact answer for the rounded M differs at most
        assert float(np.sqrt(((result.X - truth) ** 2).sum())) <= result.certificate.bound + moved


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 8),
    n=st.integers(1, 8),
    lam=st.sampled_from([0.01, 0.5, 3.0]),
    p=st.sampled_from([0.0, 0.2, 0.5, 2 / 3, 0.95]),
    complex=st.booleans(),
)
def test_powers_of_singular_values_reach_the_minimum(seed, m, n, lam, p, complex):
    rng = np.random.default_rng(seed)
    M = draw(rng, m, n, complex=complex)
    result = prox(M, lam, kind="schatten", p=p)
    y = np.linalg.svd(M, compute_uv=False)
    power = Power(lam, p)
    grid = y * np.linspace(0, 1, 4001)[:, None]
    best = sum(power.value(grid[:, i : i + 1], y[i]).min() for i in range(len(y)))
    found = lam * ((result.s**p).sum() if p else result.rank) + 0.5 * np.linalg.norm(result.X - M) ** 2
    assert found <= best * (1 + 1e-9) + 1e-12
    assert found == pytest.approx(result.value, rel=1e-10, abs=1e-13)
    assert found - power.value(power.map(y), y) <= result.certificate.bound <= 1e-10 * np.linalg.norm(M) ** 2


def test_objectives_are_bounded_for_many_problems():
    rng = np.random.default_rng(8)
    for seed in range(300):
        m, n = rng.integers(1, 9, 2)
        p, lam = float(rng.choice([0, 0.3, 0.5, 0.8])), float(10 ** rng.uniform(-2, 1))
        M = rng.standard_normal((m, n)).astype([np.float64, np.float32][seed % 2])
        result = prox(M, lam, kind="schatten", p=p)
        power, y = Power(lam, p), np.linalg.svd(M.astype(float), compute_uv=False)
        X = (result.U.astype(float) * result.s) @ result.V.T.astype(float)
        found = lam * ((result.s.astype(float) ** p).sum() if p else result.rank) + 0.5 * np.linalg.norm(X - M) ** 2
        assert found - power.value(power.map(y), y) <= result.certificate.bound, seed


def test_p_of_one_is_nuclear():
    M = np.random.default_rng(1).standard_normal((9, 6))
    np.testing.assert_array_equal(prox(M, 0.7, kind="schatten", p=1).X, prox(M, 0.7).X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("kind", "options"), [("nuclear", {}), ("schatten", {"p": 0.5})])
def test_partial_decompositions_agree_with_full_ones(kind, options, dtype):
    rng = np.random.default_rng(2)
    M = rng.standard_normal((160, 6)) @ rng.standard_normal((6, 140)) + 0.05 * rng.standard_normal((160, 140))
    M = M.astype(dtype)
    tol = 1e-5 if dtype == np.float32 else 1e-9
    full = prox(M, 5.0, kind=kind, method="full", **options)
    partial = prox(M, 5.0, kind=kind, method="partial", tol=tol, rng=0, **options)
    assert (full.method, partial.method) == ("full", "partial")
    assert partial.rank == full.rank == 6
    assert partial.certificate.confidence == 0.99
    distance = np.linalg.norm(partial.X - full.X)
    assert distance <= 1e3 * tol * np.linalg.norm(M)
    if kind == "nuclear":
        assert distance <= partial.certificate.bound + full.certificate.bound
        assert partial.certificate.bound <= 2 * tol * np.linalg.norm(M)
    else:
        assert partial.value - full.value <= partial.certificate.bound + full.certificate.bound


def test_partial_decompositions_give_way_to_full_ones():
    rng = np.random.default_rng(3)
    M = rng.standard_normal((150, 140))
    assert prox(M, 0.5, method="partial", rng=0).method == "full"
    top = np.linalg.norm(M, 2)
    zero = prox(M, 2 * top, method="partial", rng=0)
    assert zero.rank == 0
    assert not zero.X.any()


def test_partial_bounds_hold_for_many_problems(monkeypatch):
    monkeypatch.setattr(_partial, "FIRST_RANK", 3)
    rng = np.random.default_rng(4)
    partial = 0
    for seed in range(200):
        s = np.concatenate([rng.uniform(1.5, 10, 2), rng.uniform(0.1, 0.8) * rng.random(30)])
        Q, P = (np.linalg.qr(rng.standard_normal((n, 32)))[0] for n in (40, 36))
        M = (Q * s) @ P.T
        result = prox(M, 1.0, method="partial", tol=float(rng.choice([1e-2, 1e-6])), rng=seed)
        truth = (Q * np.maximum(s - 1, 0)) @ P.T
        partial += result.method == "partial"
        assert np.linalg.norm(result.X - truth) <= result.certificate.bound + 1e-13
    assert partial > 150


def test_batches_are_single_answers():
    M = np.random.default_rng(5).standard_normal((3, 7, 5)) * np.array([0.1, 1, 3])[:, None, None]
    for kind, options in [("nuclear", {}), ("schatten", {"p": 0.5}), ("l1", {}), ("group", {"axis": -2}), ("frobenius", {})]:
        together = prox(M, 1.0, kind=kind, **options)
        for i in range(3):
            one = prox(M[i], 1.0, kind=kind, **options)
            np.testing.assert_allclose(together.X[i], one.X, atol=1e-13)
            assert together.value[i] == pytest.approx(one.value)
        if together.s is not None:
            np.testing.assert_allclose((together.U * together.s[:, None, :]) @ np.swapaxes(together.V, 1, 2), together.X, atol=1e-13)


def test_works_on_every_backend(backend):
    M = np.random.default_rng(6).standard_normal((8, 6))
    for kind, options in [("nuclear", {}), ("schatten", {"p": 0.5}), ("l1", {}), ("group", {"axis": -1}), ("frobenius", {})]:
        result = prox(backend.array(M), 0.9, kind=kind, **options)
        reference = prox(M, 0.9, kind=kind, **options)
        np.testing.assert_allclose(backend.numpy(result.X), reference.X, atol=1e-13)
    result = prox(backend.array(np.outer(M[:, 0], M[0])), 0.1, method="partial", rng=0)
    assert result.rank == 1


def test_zero_and_no_penalty_and_inputs_left_alone():
    M = np.random.default_rng(7).standard_normal((4, 5))
    before = M.copy()
    np.testing.assert_allclose(prox(M, 0.0).X, M, atol=1e-14)
    np.testing.assert_allclose(prox(M, 0.0, kind="schatten", p=0.5).X, M, atol=1e-14)
    assert np.array_equal(prox(M, 0.0, kind="l1").X, M)
    assert not prox(np.zeros((3, 2)), 1.0).X.any()
    assert not prox(np.zeros((3, 2)), 1.0, kind="group", axis=-1).X.any()
    assert prox(np.zeros((3, 2)), 1.0).value == 0
    assert np.array_equal(M, before)
    assert prox([[3, 0], [0, 1]], 1).X[0, 0] == pytest.approx(2)


M = np.arange(6.0).reshape(2, 3)
BAD = [
    ("lam", (M, -1), {}, ValueError, "prox: lam must be a number of at least 0; got -1"),
    ("kind", (M, 1), {"kind": "trace"}, ValueError, "prox: kind must be one of 'nuclear', 'schatten', 'l1', 'group', 'frobenius'"),
    ("no p", (M, 1), {"kind": "schatten"}, ValueError, 'p must be given for kind="schatten"; got None'),
    ("p", (M, 1), {"kind": "schatten", "p": 2}, ValueError, "p must be a number between 0 and 1; got 2"),
    ("p out of place", (M, 1), {"p": 0.5}, ValueError, 'p must be left out for kind="nuclear"; got 0.5'),
    ("no axis", (M, 1), {"kind": "group"}, ValueError, 'axis must be given for kind="group"; got None'),
    ("axis", (M, 1), {"kind": "group", "axis": 1}, ValueError, "axis must be an integer between -2 and -1; got 1"),
    ("axis out of place", (M, 1), {"axis": -1}, ValueError, 'axis must be left out for kind="nuclear"'),
    ("method", (M, 1), {"method": "svd"}, ValueError, "method must be one of"),
    ("tol", (M, 1), {"tol": 0}, ValueError, "tol must be a number between 0 and 1, ends excluded; got 0"),
    ("vector", (M[0], 1), {}, ValueError, "M must be 2-dimensional or 3-dimensional"),
    ("NaN", (M * np.nan, 1), {}, ValueError, "prox: M must be finite; got 6"),
    ("empty", (M[:0], 1), {}, ValueError, "M must have at least one entry"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        prox(*args, **options)
