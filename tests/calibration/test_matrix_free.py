"""The path by products alone: each option against dense oracles, for transforms and for operators of the caller's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.calibration import CodedFourier, _newton, _polish, _problem, self_calibrate
from lowrank_la.calibration._spectral import Options
from tests.calibration import oracles
from tests.solvers.problems import Map

MODELS = ("repeated", "diverse", "snapshots")
SIZES = {"repeated": (30, 9, 4), "diverse": (30, 7, 5), "snapshots": (30, 7, 12)}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    """Let small problems take the iterative path, to the end."""
    monkeypatch.setattr(_problem, "LARGEST", 4)
    monkeypatch.setattr(_newton, "SETTLED", 1e-18)
    monkeypatch.setattr(_newton, "INNER", 1e-3)


def operators(A, kind=aslinearoperator):
    return kind(A) if A.ndim == 2 else [kind(a) for a in A]


def fourier(rng, model, grid, p, snr=40):
    """Masks with zeros, dense matrices of theirs, and a problem."""
    m = int(np.prod(grid))
    masks = rng.choice([-1.0, 1.0], (p, *grid)) * np.where(rng.random((p, *grid)) < (1.0 if model == "repeated" else 0.3), 1, 0)
    A = CodedFourier(masks[0] if model == "snapshots" else masks, dims=len(grid))
    x = rng.standard_normal((2, p, m)) * (A.flat != 0)
    x = x[0] + 1j * x[1]
    x = x[0] if model == "repeated" else x
    d = (1 + 0.5 * rng.uniform(-1, 1, m)) * np.exp(2j * np.pi * rng.random(m))
    clean = d * A.apply(x)
    E = 10 ** (-snr / 20) * np.sqrt(np.mean(abs(clean) ** 2) / 2) * (rng.standard_normal((p, m)) + 1j * rng.standard_normal((p, m)))
    return oracles.Truth(clean + E, A.to_dense(), d, x, E), A


def likeliest(t, model, d, **options):
    """Alternate from gains that should not move, with dense matrices."""
    problem = _problem.Problem(model, t.Y, np.broadcast_to(t.A, (len(t.Y), *t.A.shape[-2:])) if model != "snapshots" else t.A)
    for _ in range(60):
        d = _polish.update(t.Y, _polish.signals(problem, d)[1], d, Options("polished", 0, **options))
    return d


def normal_matrix(t, model, v=1.0):
    """G with the signals eliminated, the measurements on the diagonal."""
    m = t.Y.shape[1]
    return oracles.schur(oracles.system(t.Y, t.A, model, v * np.ones(m)), m)


def assert_gains(d, expected, tol=1e-8):
    assert np.linalg.norm(oracles.aligned(d, expected) - expected) <= tol * np.linalg.norm(expected)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_operators_find_the_likeliest_gains(model, real):
    t = oracles.draw(np.random.default_rng(0), model, *SIZES[model], 30, real=real)
    for kind in (aslinearoperator, Map):
        result = self_calibrate(t.Y, operators(t.A, kind), model=model)
        assert oracles.error(result.d, t.d) < 0.1
        assert_gains(result.d, likeliest(t, model, result.d))
        assert result.d.dtype == t.Y.dtype
        assert result.x.shape == t.X.shape
        assert result.converged
        assert oracles.sine(result.d, t.d, result.weights) <= result.certificate.bound
    dense = self_calibrate(t.Y, t.A, model=model)
    assert result.noise_std == pytest.approx(dense.noise_std, rel=1e-4)
    np.testing.assert_allclose(result.d_error, dense.d_error, rtol=0.6)


@settings(max_examples=10)
@given(
    model=st.sampled_from(MODELS),
    grid=st.sampled_from([(24,), (31,), (5, 6), (36,)]),
    seed=st.integers(0, 1000),
    dead=st.integers(0, 2),
    held=st.integers(0, 3),
)
def test_transforms_find_the_likeliest_gains(model, grid, seed, dead, held):
    """Any grid, dead channels, known gains."""
    rng = np.random.default_rng(seed)
    t, A = fourier(rng, model, grid, {"repeated": 5, "diverse": 6, "snapshots": 20}[model])
    m = t.d.size
    order = rng.permutation(m)
    t.Y[:, order[:dead]] = 0
    places = order[dead : dead + held]
    result = self_calibrate(t.Y, A, model=model, known=(places, t.d[places]) if held else None)
    live = np.flatnonzero(~result.dead)
    assert np.array_equal(np.sort(order[dead:]), live)
    alive = oracles.Truth(t.Y[:, live], t.A[..., live, :], t.d[live], t.X, t.E[:, live])
    known = {"places": np.flatnonzero(np.isin(live, places)), "values": t.d[places]} if held else {}
    expected = likeliest(alive, model, result.d[live], **known)
    assert oracles.error(result.d[live], t.d[live]) < 0.1
    if held:
        np.testing.assert_allclose(result.d[live], expected, rtol=1e-7, atol=1e-8)
        assert (result.d_error[places] == 0).all()
    else:
        assert_gains(result.d[live], expected)
    assert np.isnan(result.d[result.dead]).all()
    assert (result.weights[result.dead] == 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_phases_alone(model):
    rng = np.random.default_rng(1)
    t, A = fourier(rng, model, (32,), {"repeated": 5, "diverse": 6, "snapshots": 20}[model], snr=25)
    Y = t.Y / abs(t.d)
    t = oracles.Truth(Y, t.A, t.d / abs(t.d), t.X, t.E)
    result = self_calibrate(Y, A, model=model, unit_modulus=True)
    np.testing.assert_allclose(abs(result.d), 1, rtol=1e-12)
    assert_gains(result.d, likeliest(t, model, result.d, unit_modulus=True))
    assert oracles.error(result.d, t.d) < 0.1


@pytest.mark.parametrize("model", MODELS)
def test_least_squares_with_a_row_for_the_scale(model):
    rng = np.random.default_rng(2)
    t = oracles.draw(rng, model, *SIZES[model], 40)
    t = oracles.Truth(t.Y / t.d * abs(t.d), t.A, abs(t.d), t.X, t.E)
    result = self_calibrate(t.Y, operators(t.A), model=model, method="lstsq")
    expected = 1 / np.linalg.solve(normal_matrix(t, model), np.ones(30))
    assert_gains(result.d, expected)
    assert oracles.error(result.d, t.d) < 0.1


@pytest.mark.parametrize("model", MODELS)
def test_the_spectral_answer_is_an_eigenvector(model):
    t = oracles.draw(np.random.default_rng(3), model, *SIZES[model], 30)
    result = self_calibrate(t.Y, operators(t.A), model=model, method="spectral")
    q = np.sqrt(np.sum(abs(t.Y) ** 2, axis=0))
    values, V = np.linalg.eigh(normal_matrix(t, model) / np.outer(q, q))
    assert_gains(result.d, q / V[:, 0], 1e-6)
    np.testing.assert_allclose(result.singular_values, np.sqrt(values[:2]), rtol=5e-3)
    np.testing.assert_allclose(result.weights, q**2)
    expected = np.linalg.lstsq((result.d[:, None] * np.broadcast_to(t.A, (len(t.Y), *t.A.shape[-2:])))[0], t.Y[0], rcond=None)[0]
    if model != "repeated":
        np.testing.assert_allclose(result.x[0], expected, rtol=1e-7)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_smooth_gains(model, known):
    """The penalised matrix, from its entries."""
    rng = np.random.default_rng(4)
    t = oracles.draw(rng, model, *SIZES[model], 30)
    grid = np.linspace(0, 1, 30)
    d = (1 + 0.4 * np.sin(4 * grid)) * np.exp(2j * grid)
    Y = (t.Y - t.E) / t.d * d + t.E
    Y[:, 11] = 0
    places = np.array([3, 20])
    options = {"known": (places, d[places])} if known else {}
    result = self_calibrate(Y, operators(t.A), model=model, smooth=0.3, **options)
    live = np.delete(np.arange(30), 11)
    t = oracles.Truth(Y[:, live], t.A[..., live, :], d[live], t.X, t.E)
    problem = _problem.Problem(model, t.Y, t.A)
    share = len(Y) - (9 if model == "repeated" else 7 * len(Y)) / 29
    mu = 0.3 * share / len(Y) * np.mean(np.sum(abs(t.Y) ** 2, axis=0))
    D = np.diff(np.eye(29), axis=0)
    G = normal_matrix(t, model) + mu * D.T @ D
    assert problem.m == 29
    if not known:
        assert_gains(result.d[live], 1 / np.linalg.eigh(G)[1][:, 0], 1e-7)
        return
    K = np.searchsorted(live, places)
    U = np.setdiff1d(np.arange(29), K)
    expected = np.ones(29, dtype=complex)
    expected[K] = 1 / d[places]
    expected[U] = -np.linalg.solve(G[np.ix_(U, U)], G[np.ix_(U, K)] @ expected[K])
    np.testing.assert_allclose(result.d[live], 1 / expected, rtol=1e-7)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), p=st.integers(1, 4), dims=st.sampled_from([(7,), (8,), (3, 5), (4, 4)]), together=st.booleans())
def test_adjoints(seed, p, dims, together):
    rng = np.random.default_rng(seed)
    m = int(np.prod(dims))

    def normal(*shape):
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    coded, general = CodedFourier(normal(p, *dims), dims=len(dims)), _problem.Operators("f", [Map(normal(m, 5)) for _ in range(p)])
    general.on(np.ones(1, complex))
    for A in (coded, general):
        x, y = normal(*(() if together else (p,)), A.shape[-1]), normal(p, m)
        left = np.vdot(y, A.image(x))
        right = np.vdot(A.correlate(y.copy(), together), x)
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)
        dense = A.matrices()
        np.testing.assert_allclose(A.image(x), (dense @ np.broadcast_to(x, (p, A.shape[-1]))[:, :, None])[..., 0], atol=1e-12)


def test_noiseless_data_to_the_last_digit():
    t, A = fourier(np.random.default_rng(5), "repeated", (64,), 4, snr=np.inf)
    result = self_calibrate(t.Y, A, model="repeated")
    assert oracles.error(result.d, t.d) < 1e-12
    assert result.converged


@pytest.mark.parametrize(
    ("given_", "error", "match"),
    [
        (lambda A: [aslinearoperator(A[0]), aslinearoperator(A[0][:, :3])], ValueError, "operators of one shape"),
        (lambda A: [aslinearoperator(A[0])] * 3, ValueError, "A must have 4 matrices"),
        (lambda A: [Broken(A[0])] * 4, TypeError, r"operators with rmatmat, \.H or \.T"),
        (lambda A: [aslinearoperator(a * np.nan) for a in A], ValueError, "products with A must be finite"),
        (lambda A: [Broken(A[0], short=True)] * 4, ValueError, "a product with A must have shape"),
    ],
)
def test_bad_operators(given_, error, match):
    t = oracles.draw(np.random.default_rng(6), "repeated", *SIZES["repeated"], 40)
    with pytest.raises(error, match="self_calibrate: .*" + match):
        self_calibrate(t.Y, given_(t.A), model="repeated")


class Broken:
    """An operator without an adjoint, or one that returns too little."""

    def __init__(self, A, short=False):
        self.A, self.shape, self.short = A, A.shape, short

    def __matmul__(self, X):
        return (self.A @ X)[int(self.short) :]
