"""Penalized least squares: dense ridge regression as oracle where ranks are full, recovery, certificate, edges, bad input."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.functional_tucker import _alternating, _basis, _data
from lowrank_la.functional_tucker._ls import functional_tucker_ls
from lowrank_la.functional_tucker._ls_fit import Task
from lowrank_la.functions import FunctionTucker
from tests.functional_tucker.oracles_gp import eliminate

BASES = ("chebyshev", "bspline")


def wave(x):
    """Multilinear ranks (2, 2, 2), and a constant."""
    return np.sin(4 * x[:, 0]) * x[:, 1] + np.cos(3 * x[:, 2]) * np.exp(-x[:, 0]) + 5.0


def scattered(N, K=3, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((N, K))
    f = wave(x) if K == 3 else np.cos(3 * x).prod(axis=1) + x[:, 0]
    return x, f + noise * rng.standard_normal(N)


def fitted(x, y, ranks=3, **options):
    return functional_tucker_ls(x, y, ranks=ranks, **{"penalty": 1e-6, "held_out": 0.0, "rng": 0, **options})


def ridge(x, y, weights, bases, penalty, at):
    """Minimize the objective over all coefficient tensors by dense elimination in long double; return values at new points."""
    w = weights / weights.sum()
    mean = w @ y
    size = math.sqrt(w @ (y - mean) ** 2)

    def design(points):
        rows = np.ones((len(points), 1), dtype=np.longdouble)
        for basis, column in zip(bases, points.T, strict=True):
            rows = np.einsum("ni,nj->nij", rows, basis(column)).reshape(len(points), -1)
        return np.concatenate([np.ones((len(points), 1)), rows], axis=1)

    rough = np.zeros(1)
    for basis in bases:
        rough = (rough[:, None] + basis.roughness).ravel()
    weight = np.concatenate([[0.0], 1.0 + rough])
    A = design(x)
    c, _ = eliminate(A.T @ (w[:, None] * A) + penalty * np.diag(weight), (A.T @ (w * (y - mean) / size))[:, None])
    return np.asarray(mean + size * (design(at) @ c)[:, 0], dtype=np.float64)


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("K", [1, 2, 3])
def test_with_full_ranks_it_is_dense_ridge_regression(kind, K):
    rng = np.random.default_rng(K)
    x, y, w = rng.random((60, K)), rng.standard_normal(60), rng.uniform(0.1, 2.0, 60)
    x[:, 0] = rng.integers(0, 9, 60) / 8.0
    box = np.array([[0.0, 1.0]] * K)
    at = rng.random((20, K))
    result = fitted(x, y, 4, basis=kind, degree=3, penalty=1e-3, weights=w, domain=box, tol=1e-13, max_iter=2000)
    bases = [_basis.make(kind, (0.0, 1.0), 4)] * K
    np.testing.assert_allclose(result.predict(at), ridge(x, y, w, bases, 1e-3, at), atol=2e-6)


@pytest.mark.parametrize("kind", BASES)
def test_basis_functions_are_orthonormal_and_apart_in_roughness(kind):
    basis = _basis.make(kind, (-2.0, 3.0), 9)
    if kind == "chebyshev":
        s = np.cos((np.arange(64) + 0.5) * np.pi / 64)
        w = np.full(64, 1 / 64)
    else:
        s, w = np.polynomial.legendre.leggauss(600)
        w = w / 2
    V = basis(0.5 + 2.5 * s)
    np.testing.assert_allclose(V.T @ (w[:, None] * V), np.eye(9), atol=1e-4 if kind == "bspline" else 1e-13)
    assert basis.size == 9
    assert (np.diff(basis.roughness) >= 0).all()
    assert basis.roughness[0] == 0.0
    if kind == "bspline":  # second derivatives, on [-1, 1], by differences
        h = 1e-4
        inner = np.linspace(-0.999, 0.999, 20_001)
        second = (basis(0.5 + 2.5 * (inner + h)) - 2 * basis(0.5 + 2.5 * inner) + basis(0.5 + 2.5 * (inner - h))) / h**2
        energy = np.mean(second**2, axis=0)
        np.testing.assert_allclose(energy[2:], basis.roughness[2:], rtol=0.01)


def test_a_polynomial_of_low_rank_is_recovered_with_its_calculus():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 2, (800, 3))
    y = (x[:, 0] ** 3 - x[:, 1]) * (1 + x[:, 2] ** 2) + 7.0
    result = fitted(x, y, 2, degree=4, penalty=1e-12, domain=[[-1, 2]] * 3, tol=1e-10)
    f = result.function
    assert isinstance(f, FunctionTucker)
    assert result.residual_rms < 1e-7
    points = rng.uniform(-1, 2, (50, 3))
    np.testing.assert_allclose(f(points), (points[:, 0] ** 3 - points[:, 1]) * (1 + points[:, 2] ** 2) + 7.0, atol=1e-5)
    np.testing.assert_allclose(f.derivative(0)(points), 3 * points[:, 0] ** 2 * (1 + points[:, 2] ** 2), atol=1e-4)
    np.testing.assert_allclose(f(points), result.predict(points), atol=1e-12)
    assert f.certificate == result.certificate


@pytest.mark.parametrize("kind", BASES)
def test_the_penalty_is_chosen_by_what_the_data_say(kind):
    at = np.random.default_rng(1).random((500, 3)) * 0.98 + 0.01
    errors, penalties = [], []
    for noise in (0.0, 0.3):
        x, y = scattered(1500, noise=noise)
        result = functional_tucker_ls(x, y, ranks=2, basis=kind, rng=0, domain=[[0, 1]] * 3)
        errors.append(np.sqrt(np.mean((result.predict(at) - wave(at)) ** 2)))
        penalties.append(result.penalty)
        assert result.converged
        assert 0.9 * noise <= result.held_out_rms <= 1.2 * noise + 1e-3
    assert errors[0] < 1e-3
    assert errors[1] < 0.1
    assert penalties[0] < 1e-7 < penalties[1]


def test_the_published_surface_from_scattered_grids():
    """A surface of rank 1 that the authors of functional Tucker models fit to an error of 0.004."""
    rng = np.random.default_rng(0)
    x = np.concatenate([np.stack(np.meshgrid(*np.round(rng.random((2, 15)), 6)), -1).reshape(-1, 2) for _ in range(6)])
    y = np.sin(2 * np.pi * x[:, 0]) ** 2 * np.cos(2 * np.pi * x[:, 0]) * np.exp(-2 * x[:, 1]) * np.sin(1.5 * np.pi * x[:, 1])
    order = rng.permutation(1350)
    result = functional_tucker_ls(x[order[:675]], y[order[:675]], ranks=1, degree=25, domain=[[0, 1], [0, 1]], rng=0)
    assert np.sqrt(np.mean((result.predict(x[order[675:]]) - y[order[675:]]) ** 2)) < 1e-6


@settings(max_examples=40)
@given(
    N=st.integers(1, 40),
    K=st.integers(1, 4),
    rank=st.integers(1, 3),
    kind=st.sampled_from(BASES),
    penalty=st.floats(-12, 2),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")
def test_the_objective_never_rises(N, K, rank, kind, penalty, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 7, (N, K)).astype(float), rng.standard_cauchy(N)
    result = fitted(x, y, rank, basis=kind, degree=5, penalty=10.0**penalty, max_iter=15, tol=0.0)
    trace = np.array(result.objective)
    assert (np.diff(trace) <= 1e-10 * (1 + trace[:-1])).all()
    assert np.isfinite(result.predict(x)).all()
    if kind == "chebyshev":  # otherwise the basis is not small
        assert trace[-1] <= 1.0 + 1e-9  # that of the mean


@pytest.mark.parametrize("kind", BASES)
def test_units_and_the_order_of_data_do_not_matter(kind):
    x, y = scattered(400, noise=0.1)
    at = x[:20]
    wanted = fitted(x, y, 2, basis=kind).predict(at)
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_allclose(fitted(x[order], y[order], 2, basis=kind).predict(at), wanted, atol=1e-8)
    np.testing.assert_allclose(fitted(1e5 * x - 7e4, y, 2, basis=kind).predict(1e5 * at - 7e4), wanted, atol=1e-6)
    np.testing.assert_allclose(fitted(x, 1e-7 * y + 3.0, 2, basis=kind).predict(at), 1e-7 * wanted + 3.0, atol=1e-13)
    twice = fitted(np.repeat(x, 2, axis=0), np.repeat(y, 2), 2, basis=kind, weights=np.full(800, 0.5)).predict(at)
    np.testing.assert_allclose(twice, wanted, atol=2e-3)  # bins are smaller for more data, and so the start differs


def test_a_large_core_takes_steps_instead(monkeypatch):
    x, y = scattered(300, noise=0.05)
    wanted = fitted(x, y, 2, tol=1e-6, max_iter=500)
    monkeypatch.setattr(_alternating, "FULL", 4)
    got = fitted(x, y, 2, tol=1e-6, max_iter=500)
    assert (np.diff(got.objective) <= 1e-10).all()
    np.testing.assert_allclose(got.objective[-1], wanted.objective[-1], rtol=1e-3)


def test_the_certificate_holds_as_often_as_it_says_and_is_not_loose():
    held, ratios = 0, []
    quantile = 0.1 * 1.6449
    for seed in range(60):
        x, y = scattered(500, K=2, noise=0.1, seed=seed)
        result = functional_tucker_ls(x, y, ranks=2, degree=6, penalty=1e-5, rng=seed)
        new, values = scattered(4000, K=2, noise=0.1, seed=1000 + seed)
        low, high = result.domain.T
        inside = ((new >= low) & (new <= high)).all(axis=1)
        covered = np.mean(abs(values[inside] - result.predict(new[inside])) <= result.certificate.bound)
        held += covered >= 0.9
        ratios.append(result.certificate.bound / quantile)
    assert held >= 52  # 57 expected, of 60
    assert 1.0 < np.median(ratios) < 1.6
    assert result.certificate.confidence == 0.95
    assert "90%" in result.certificate.claim


def test_backends_agree(backend):
    x, y = scattered(120, noise=0.1)
    x, w = np.round(8 * x) / 8, np.linspace(0.5, 2.0, 120)
    for dtype in (np.float64, np.float32):
        wanted = fitted(x.astype(dtype), y.astype(dtype), 2, weights=w.astype(dtype))
        got = fitted(backend.array(x.astype(dtype)), backend.array(y.astype(dtype)), 2, weights=backend.array(w.astype(dtype)))
        np.testing.assert_allclose(got.objective, wanted.objective, rtol=1e-8)
        values = got.predict(backend.array(x[:9].astype(dtype)))
        assert str(got.core.dtype).endswith(np.dtype(dtype).name)
        assert str(values.dtype).endswith(np.dtype(dtype).name)
        np.testing.assert_allclose(backend.numpy(values), wanted.predict(x[:9].astype(dtype)), rtol=1e-4 if dtype == np.float32 else 1e-9)
        at = backend.numpy(got.function(backend.array(x[:9].astype(dtype))))
        np.testing.assert_allclose(at, backend.numpy(values), rtol=1e-4 if dtype == np.float32 else 1e-9)


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    x, y = scattered(2000, noise=0.1)
    copies = x.copy(), y.copy()
    before, results = numba.get_num_threads(), []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        results.append(functional_tucker_ls(x, y, ranks=2, rng=7))
    numba.set_num_threads(before)
    one, two = results
    assert np.array_equal(one.core, two.core)
    assert one.certificate == two.certificate
    assert np.array_equal(x, copies[0])
    assert np.array_equal(y, copies[1])
    assert functional_tucker_ls(x, y, ranks=2, rng=8).certificate != one.certificate


def test_constants_single_values_and_few_data():
    x, y = scattered(50)
    constant = fitted(x, np.full(50, 3.25))
    np.testing.assert_allclose(constant.predict(x[:5]), 3.25, rtol=1e-14)
    assert constant.residual_rms < 1e-14
    zero = functional_tucker_ls(x, np.zeros(50), ranks=2, rng=0)
    assert np.array_equal(zero.predict(x[:5]), np.zeros(5))
    x[:, 1] = 4.0
    flat = fitted(x, y, 2)
    assert flat.ranks[1] == 1
    assert np.isfinite(flat.predict(x)).all()
    one = functional_tucker_ls([[1.0, 2.0]], [5.0], ranks=2)
    assert one.predict([[1.0, 2.0]])[0] == 5.0
    assert one.certificate.bound == math.inf
    assert math.isnan(one.held_out_rms)
    assert one.function([[1.0, 2.0]])[0] == pytest.approx(5.0)


def test_missing_values_are_dropped_and_weights_of_zero_too():
    x, y = scattered(200, noise=0.1)
    holes = y.copy()
    holes[::4] = np.nan
    result = fitted(x, holes, 2)
    assert result.n_dropped == 50
    present = ~np.isnan(holes)
    wanted = fitted(x[present], y[present], 2, domain=result.domain)
    np.testing.assert_allclose(result.predict(x[present]), wanted.predict(x[present]), atol=1e-10)
    weighted = fitted(x, y, 2, weights=present.astype(float), domain=result.domain)
    np.testing.assert_allclose(weighted.predict(x[present]), wanted.predict(x[present]), atol=1e-10)


def test_ranks_are_cut_to_what_the_others_and_the_basis_allow():
    x, y = scattered(300)
    assert fitted(x, y, (9, 2, 2)).ranks == (4, 2, 2)
    assert fitted(x, y, (2, 3, 5), degree=(15, 1, 15)).ranks == (2, 2, 4)
    assert fitted(x[:, :1], y, 5).ranks == (1,)


def test_results_say_what_they_are():
    x, y = scattered(300, noise=0.1)
    with pytest.warns(ConvergenceWarning, match="functional_tucker_ls: the objective still fell after 1 sweeps"):
        result = fitted(x, y, 2, max_iter=1, tol=0.0, basis="bspline")
    assert not result.converged
    assert result.n_iter == 1
    assert "objective" in repr(result)
    with pytest.raises(ValueError, match=r"LeastSquaresFit\.function: basis must be 'chebyshev' for a FunctionTucker; got 'bspline'"):
        _ = result.function
    with pytest.raises(ValueError, match=r"LeastSquaresFit\.predict: coords must be inside the domain, .* in column 1; got 9 in row 1"):
        result.predict([[0.5, 0.5, 0.5], [0.5, 9.0, 0.5]])
    with pytest.raises(ValueError, match="predict: coords must have 3 columns"):
        result.predict([[0.5, 0.5]])
    with pytest.raises(ValueError, match="predict: coords must be finite"):
        result.predict([[0.5, 0.5, np.nan]])
    np.testing.assert_allclose(result.predict(x[:3]), result.predict(x)[:3], rtol=1e-12)


def test_a_start_is_near_the_data_where_they_fill_the_bins():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 12)] * 3, indexing="ij"), -1).reshape(-1, 3)
    task = Task.of(_data.enter("test", grid, wave(grid), None, None), np.array([[0.0, 1.0]] * 3), "chebyshev", (15,) * 3, (3,) * 3)
    assert np.sqrt(np.mean((task.at(task.start(), grid) - wave(grid)) ** 2)) < 0.05


X, Y = scattered(30)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"coords": X[:, 0]}, ValueError, "coords must be 2-dimensional"),
        ({"coords": X[:, :0]}, ValueError, "coords must have at least one column"),
        ({"coords": X[:0], "y": Y[:0]}, ValueError, "coords must have at least one entry"),
        ({"coords": np.where(X > 0.9, np.inf, X)}, ValueError, "coords must be finite"),
        ({"coords": X + 0j}, TypeError, "coords must be real"),
        ({"y": Y[:-1]}, ValueError, r"y must have shape \(30,\); got \(29,\)"),
        ({"y": np.where(Y > 5.5, np.inf, Y)}, ValueError, "y must be finite"),
        ({"y": np.full(30, np.nan)}, ValueError, "y must have a value"),
        ({"weights": -np.ones(30)}, ValueError, "weights must not be negative"),
        ({"ranks": 0}, ValueError, "ranks must be an integer of at least 1; got 0"),
        ({"ranks": (2, 2)}, ValueError, "ranks must be one integer, or one for each of 3 modes; got 2"),
        ({"ranks": 1.5}, TypeError, "ranks must be an integer"),
        ({"degree": -1}, ValueError, "degree must be an integer of at least 0; got -1"),
        ({"basis": "fourier"}, ValueError, "basis must be one of 'chebyshev', 'bspline'; got 'fourier'"),
        ({"penalty": 0.0}, ValueError, "penalty must be a number above 0; got 0.0"),
        ({"held_out": 1.0}, ValueError, "held_out must be a number between 0 and 0.9; got 1.0"),
        ({"tol": -1.0}, ValueError, "tol must be a number of at least 0; got -1.0"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1; got 0"),
        ({"domain": [[0, 1]]}, ValueError, r"domain must have shape \(3, 2\)"),
        ({"domain": [[0, 1], [0, 0.5], [0, 1]]}, ValueError, "domain must be an interval that contains all coordinates"),
        ({"rng": "x"}, TypeError, "rng must be None, an int"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, error, words):
    arguments = {"coords": X, "y": Y, "ranks": 2, **arguments}
    with pytest.raises(error, match=f"functional_tucker_ls: {words}"):
        functional_tucker_ls(arguments.pop("coords"), arguments.pop("y"), **arguments)


def test_arrays_of_two_libraries_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="functional_tucker_ls: arrays must belong to one library"):
        functional_tucker_ls(X, torch.asarray(Y), ranks=2)
