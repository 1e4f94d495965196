"""`FunctionalTucker`: dense Gaussian-process regression, the evidence bound, invariances, calibration."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.functional_tucker import FunctionalTucker, _data, _fit, _gauge, _moments, _published, _statistics, _sweeps
from lowrank_la.functional_tucker._core import Core
from tests.functional_tucker.oracles_gp import kernel as correlation

pytestmark = pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")  # where accuracy is what counts


def function(x):
    return np.sin(6 * x[:, 0]) * x[:, 1] + np.cos(5 * x[:, -1]) * np.exp(-x[:, 0])


def sample(N=400, K=3, noise=0.05, seed=0, values=None):
    rng = np.random.default_rng(seed)
    x = rng.random((N, K)) if values is None else rng.integers(0, values, (N, K)) / (values - 1)
    return x, function(x) + noise * rng.standard_normal(N)


def prepared(x, y, ranks, weights=None, seed=None, **options):
    """A problem and a state to start from, as `fit` makes them."""
    data = _data.enter("test", x, y, weights, None)
    start_of = 2 if seed else 1
    chosen = FunctionalTucker(ranks, **{"lengthscale": 0.3, "n_init": start_of} | options)._options.spread("test", x.shape[1])
    axes, places = _fit._opened(data)
    scale = _data.Scale.of(data)
    start = _fit._starts(data, axes, places, scale, chosen, seed or 0)[-1]
    problem, _ = _fit.ready(data, axes, places, scale, _sweeps.Past(_sweeps.Noise(1.0, 1e-6)), _fit.Rules(1, 0.0, False))
    return problem, start


def after(problem, state, sweeps=2, **options):
    for _ in range(sweeps):
        *_, state = _sweeps.sweep(problem, state, learn=False, **options)
    return state


def test_one_mode_is_gaussian_process_regression():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 5, (150, 1))
    y = 4 + np.sin(2 * x[:, 0]) + 0.1 * rng.standard_normal(150)
    new = rng.uniform(-5, 7, (60, 1))
    for kernel in ("matern12", "matern32", "matern52"):
        model = FunctionalTucker(1, kernel=kernel, format="cp", held_out=0, rng=0).fit(x, y)
        problem, _ = prepared(x, y, 1, format="cp")
        state = _sweeps.with_factor(problem, model._fitted.state, 0, learn=False)  # for the final noise and offset
        model._fitted = dataclasses.replace(model._fitted, state=state)
        scale, axis = model._fitted.scale, model._fitted.axes[0]
        z, variance = (y - scale.mean) / scale.size - state.offset.mean, 1 / state.noise.precision
        here, there = axis.scaled(x[:, 0]), axis.scaled(new[:, 0])
        prior = state.factors[0].prior
        K, K_new = (prior.variance * correlation(kernel, t[:, None] - here, prior.lengthscale).astype(float) for t in (here, there))
        solved = np.linalg.solve(K + variance * np.eye(150), np.stack([*K_new, z], axis=1))
        mean, spread = K_new @ solved[:, -1], prior.variance - np.sum(K_new.T * solved[:, :-1], axis=0)
        expected = scale.mean + scale.size * (state.offset.mean + mean)
        got, std = model.predict(new, return_std=True)
        np.testing.assert_allclose(got, expected, atol=1e-8)
        total = spread + state.offset.variance + state.noise.variance
        np.testing.assert_allclose(std, scale.size * np.sqrt(total), atol=1e-8)


@settings(max_examples=30)
@given(
    N=st.integers(1, 60),
    ranks=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    kernel=st.sampled_from(["matern12", "matern32", "matern52", "iid"]),
    cp=st.booleans(),
    core=st.sampled_from(["full", "independent"]),
    learn=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_the_evidence_bound_never_falls(N, ranks, kernel, cp, core, learn, weighted, seed):
    """Whatever the data: after each update of each part, and after the change of coordinates between sweeps."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((N, len(ranks))).round(1), rng.standard_normal(N)
    weights = rng.uniform(0.1, 2, N) if weighted else None
    ranks = ranks[0] if cp else tuple(ranks)
    problem, state = prepared(
        x, y, ranks, weights, seed, kernel=kernel, core_posterior=core, format="cp" if cp else "tucker", noise_prior=(1.0, 1e-3)
    )
    bounds = []
    for sweep in range(4):
        states = list(_sweeps.sweep(problem, state, learn=learn))
        bounds += [_sweeps.elbo(problem, s) for s in states] if sweep else []
        state = states[-1]
        if sweep and not cp:
            state = _gauge.improved(state)
            bounds.append(_sweeps.elbo(problem, state))
    rounding = 1e-13 * max(problem.energy * state.noise.precision, problem.total, 1.0)
    assert all(b >= a - rounding - 1e-9 * abs(a) for a, b in itertools.pairwise(bounds))


def test_changing_coordinates_leaves_the_function_alone():
    x, y = sample()
    problem, state = prepared(x, y, (2, 3, 2))
    state = after(problem, state)
    moved = _gauge.improved(state)
    assert _sweeps.elbo(problem, moved) > _sweeps.elbo(problem, state) + 0.1
    np.testing.assert_allclose(_evaluated(moved, problem), _evaluated(state, problem), atol=1e-10)


def _evaluated(state, problem):
    """Posterior mean and second moment at the data, by brute force."""
    places = problem.groups[0].places
    u = [factor.mean[places[:, k]] for k, factor in enumerate(state.factors)]
    M = [(factor.cov + factor.mean[:, :, None] * factor.mean[:, None, :])[places[:, k]] for k, factor in enumerate(state.factors)]
    ranks = state.core.mean.shape
    S = state.core.cov if state.core.cov.ndim == 2 else np.diag(state.core.cov)
    WW = (S + np.outer(state.core.mean, state.core.mean)).reshape(*ranks, *ranks)
    f = np.einsum("abc,na,nb,nc->n", state.core.mean, *u)
    return np.stack([f, np.einsum("abcdef,nad,nbe,ncf->n", WW, *M, optimize=True)])


def test_messages_of_every_mode_contract_the_right_axes():
    """Unequal ranks: what a mode learns, times its factor, sums to the products of data and predictions."""
    x, y = sample(200, values=12)
    problem, state = prepared(x, y, (2, 3, 4))
    state = after(problem, state, 1)
    f, square = _evaluated(state, problem)
    for k, (group, factor) in enumerate(zip(problem.groups, state.factors, strict=True)):
        values = _evaluated(state, dataclasses.replace(problem, groups=(group,) * 3))[0]
        shift, precision = _sweeps.messages(group, state, k)
        assert np.sum(shift * factor.mean) == pytest.approx(_sweeps.residuals(group, state) @ values, rel=1e-10)
        second = factor.cov + factor.mean[:, :, None] * factor.mean[:, None, :]
        assert np.sum(precision * second) == pytest.approx(np.sum(square), rel=1e-10)
    assert f.shape == (200,)


def test_misread_axes_are_wrong_in_all_modes_but_the_middle_one():
    W = np.random.default_rng(0).standard_normal((3, 3, 3))
    np.testing.assert_array_equal(_published.misread(W, 1), W)
    assert not np.allclose(_published.misread(W, 0), W)
    assert not np.allclose(_published.misread(W, 2), W)
    symmetric = sum(W.transpose(p) for p in itertools.permutations(range(3)))
    for k in range(3):
        np.testing.assert_allclose(_published.misread(symmetric, k), symmetric)


@given(ranks=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_packed_moments_are_those_of_the_matrix(ranks, seed):
    rng = np.random.default_rng(seed)
    P = int(np.prod(ranks))
    M = [B @ B.T for B in (rng.standard_normal((R, R)) for R in ranks)]
    S = rng.standard_normal((P, P))
    S, w = S @ S.T, rng.standard_normal(ranks)
    kron = M[0]
    for B in M[1:]:
        kron = np.kron(kron, B)
    product = _moments.pack(M[0][None])[0]
    for B in M[1:]:
        product = np.multiply.outer(product, _moments.pack(B[None])[0])
    np.testing.assert_allclose(_moments.unfold(product[None], ranks)[0], kron)
    np.testing.assert_allclose(_moments.diagonal(product, ranks).ravel(), np.diagonal(kron))
    expected = np.sum((S + np.outer(w, w)) * kron)
    assert np.sum(_moments.core_moments(w, S) * product) == pytest.approx(expected)
    variances = np.diagonal(S)
    assert np.sum(_moments.core_moments(w, variances) * product) == pytest.approx(np.sum((np.diag(variances) + np.outer(w, w)) * kron))


def test_large_cores_have_the_same_moments_block_by_block(monkeypatch):
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal((3, 2, 4)), rng.random(24)
    at_once = _moments.core_moments(w, v)
    monkeypatch.setattr(_moments, "LARGEST", 1)
    np.testing.assert_allclose(_moments.core_moments(w, v), at_once)


def test_independent_core_has_the_mean_and_the_best_variances():
    """Conjugate gradients reach the dense mean; variances are one over the diagonal of the precision."""
    x, y = sample(300)
    problem, state = prepared(x, y, (3, 3, 3), core_posterior="independent")
    state = after(problem, state)
    dense = dataclasses.replace(state, core=Core(state.core.mean, np.eye(27), state.core.precision, state.core.shift))
    full, independent = (_sweeps.with_core(problem, s, learn=False).core for s in (dense, state))
    np.testing.assert_allclose(independent.mean, full.mean, atol=1e-6)
    np.testing.assert_allclose(1 / independent.cov, np.diagonal(np.linalg.inv(full.cov)), rtol=1e-8)


def test_cp_is_tucker_with_a_superdiagonal_core():
    x, y = sample(150)
    problem, cp = prepared(x, y, 2, format="cp")
    cp = after(problem, cp)
    W = np.zeros((2, 2, 2))
    W[0, 0, 0] = W[1, 1, 1] = 1
    packed = np.zeros((3, 3, 3))
    tucker = dataclasses.replace(cp, core=Core(W, np.zeros(8), packed, np.zeros((2, 2, 2))))
    for k in range(3):
        one, two = (_sweeps.with_factor(problem, s, k, learn=False) for s in (cp, tucker))
        np.testing.assert_allclose(one.factors[k].mean, two.factors[k].mean, atol=1e-10)
        np.testing.assert_allclose(one.factors[k].cov, two.factors[k].cov, atol=1e-10)
        assert one.misfit == pytest.approx(two.misfit)


OPTIONS = [{}, {"format": "cp"}, {"core_posterior": "independent"}, {"kernel": ("matern12", "iid", "matern52")}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_predictions_do_not_depend_on_order_names_or_units(options):
    x, y = sample(250, values=9)
    new = np.random.default_rng(1).random((40, 3))
    given = {"ranks": 2, "learn": False, "held_out": 0, "max_iter": 8, "tol": 0.0, "rng": 0}
    with pytest.warns(ConvergenceWarning):
        mean, std = FunctionalTucker(**given | options).fit(x, y).predict(new, return_std=True)
    shuffled = np.random.default_rng(2).permutation(250)
    units = np.array([1e3, -2.0, 1e-4])
    cases = [
        (x[shuffled], y[shuffled], new, 1.0, 0.0),
        (x * units + 7, y, new * units + 7, 1.0, 0.0),
        (x, 1e5 * y + 3e6, new, 1e5, 3e6),
    ]
    for xx, yy, at, size, shift in cases:
        with pytest.warns(ConvergenceWarning):
            again, std_again = FunctionalTucker(**given | options).fit(xx, yy).predict(at, return_std=True)
        np.testing.assert_allclose((again - shift) / size, mean, atol=1e-6)
        np.testing.assert_allclose(std_again / size, std, rtol=1e-6)


def test_predictions_do_not_depend_on_the_order_of_modes():
    x, y = sample(400, values=9)
    new = np.random.default_rng(1).random((40, 3))
    given = {"lengthscale": 0.3, "learn": False, "tol": 1e-8, "held_out": 0, "rng": 0}
    one = FunctionalTucker((2, 1, 2), kernel=("matern32", "matern12", "iid"), **given).fit(x, y)
    two = FunctionalTucker((1, 2, 2), kernel=("matern12", "iid", "matern32"), **given).fit(x[:, [1, 2, 0]], y)
    np.testing.assert_allclose(two.predict(new[:, [1, 2, 0]]), one.predict(new), atol=1e-3)
    assert two.elbo_ == pytest.approx(one.elbo_, abs=0.1)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_data_twice_with_half_the_weight_are_the_same(options):
    x, y = sample(200)
    w = np.random.default_rng(3).uniform(0.2, 2, 200)
    given = {"ranks": 2, "held_out": 0, "max_iter": 6, "tol": 0.0, "rng": 0} | options
    with pytest.warns(ConvergenceWarning):
        once = FunctionalTucker(**given).fit(x, y, weights=w)
    with pytest.warns(ConvergenceWarning):
        twice = FunctionalTucker(**given).fit(np.repeat(x, 2, axis=0), np.repeat(y, 2), weights=np.repeat(w / 2, 2))
    new = np.random.default_rng(1).random((40, 3))
    np.testing.assert_allclose(twice.predict(new, return_std=True), once.predict(new, return_std=True), atol=1e-7)
    np.testing.assert_allclose(twice.elbo_trace_, once.elbo_trace_, rtol=1e-8)


def test_weights_are_precisions_of_the_noise():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (1000, 2)) / 49
    sd = np.where(rng.random(1000) < 0.5, 0.02, 0.5)
    y = function(x) + sd * rng.standard_normal(1000)
    new = rng.random((500, 2))
    errors = [
        np.sqrt(np.mean((FunctionalTucker(2, rng=0).fit(x, y, weights=w).predict(new) - function(new)) ** 2))
        for w in (None, np.mean(sd**2) / sd**2 / np.mean(1 / sd**2))
    ]
    assert errors[1] < 0.5 * errors[0]


def test_the_published_surface():
    x, y, new, truth = surface(0)
    for options in ({"ranks": 1, "format": "cp"}, {"ranks": 2}, {"ranks": 3}):
        model = FunctionalTucker(rng=0, **options).fit(x, y)
        assert np.sqrt(np.mean((model.predict(new) - truth) ** 2)) < 1e-5
        assert model.converged_


def surface(seed):
    """The synthetic data of the paper's notebook: six random grids of 15 x 15, half to train."""
    rng = np.random.default_rng(seed)
    grids = [np.stack(np.meshgrid(rng.random(15), rng.random(15), indexing="ij"), axis=-1).reshape(-1, 2) for _ in range(6)]
    x = np.round(np.concatenate(grids), 6)
    y = np.sin(2 * np.pi * x[:, 0]) ** 2 * np.cos(2 * np.pi * x[:, 0]) * np.exp(-2 * x[:, 1]) * np.sin(1.5 * np.pi * x[:, 1])
    order = rng.permutation(1350)
    return x[order[:675]], y[order[:675]], x[order[675:]], y[order[675:]]


def test_noise_and_effective_ranks_are_found():
    x, y = sample(1500, noise=0.05, values=41)
    model = FunctionalTucker((3, 3, 3), rng=0).fit(x, y)
    assert 0.045 < model.noise_std_ < 0.056
    assert all(1 <= r <= 3 for r in model.effective_ranks_)
    assert model.core_.shape == (3, 3, 3)
    rank_one = FunctionalTucker(3, rng=0).fit(x, np.prod(np.sin(3 * x), axis=1) + 0.01 * y)
    assert max(rank_one.effective_ranks_) <= 3


@pytest.mark.parametrize("kernel", [("periodic", "matern32"), ("periodic", "matern52"), ("matern32", "matern32")], ids=str)
def test_learning_does_not_take_a_mode_for_constant(kernel):
    """Months explain most of these temperatures: a lengthscale of a thousand years is a local optimum, no better than their means."""
    elnino = pytest.importorskip("statsmodels.datasets.elnino")
    table = elnino.load_pandas().data.to_numpy()
    month, year = np.meshgrid(np.arange(12) + 0.5, table[:, 0])
    x, y = np.stack([month.ravel(), year.ravel()], axis=1), table[:, 1:].ravel()
    hidden = np.random.default_rng(0).random(y.size) < 1 / 3
    period = (12 if kernel[0] == "periodic" else None, None)
    model = FunctionalTucker(3, kernel=kernel, period=period, rng=0).fit(x[~hidden], y[~hidden])
    assert model.lengthscales_[1] < 10
    assert np.sqrt(np.mean((model.predict(x[hidden]) - y[hidden]) ** 2)) < 0.8  # 1.2 from the means of months


def test_intervals_cover_well_specified_data():
    """Draws from the model, many seeds: 90% intervals hold between 85% and 95% of new values, and certificates hold."""
    inside, misses, holds = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 60, (900, 2)) / 59
        t = [np.unique(x[:, k]) for k in range(2)]
        K = [correlation("matern32", points[:, None] - points, 0.3).astype(float) for points in t]
        u = [np.linalg.cholesky(k + 1e-9 * np.eye(len(k))) @ rng.standard_normal((len(k), 2)) for k in K]
        at = [np.searchsorted(t[k], x[:, k]) for k in range(2)]
        f = np.einsum("na,ab,nb->n", u[0][at[0]], rng.standard_normal((2, 2)), u[1][at[1]])
        y = f + 0.2 * rng.standard_normal(900)
        model = FunctionalTucker(2, rng=seed, lengthscale=0.3).fit(x[:600], y[:600])
        mean, std = model.predict(x[600:], return_std=True)
        inside.append(np.mean(abs(y[600:] - mean) <= 1.6448536 * std))
        misses.append(1 - model.calibration_.coverage)
        holds.append(1 - inside[-1] <= model.certificate_.bound)
        assert model.calibration_.n == 60
        assert model.calibration_.ks < 0.3
    assert 0.85 <= np.mean(inside) <= 0.95
    assert abs(np.mean(misses) - (1 - np.mean(inside))) < 0.05
    assert np.mean(holds) >= 0.75
    assert model.certificate_.confidence == 0.95
    assert model.certificate_.bound < 0.3


@pytest.mark.parametrize("weight", [0.25, 4.0])
def test_calibration_does_not_depend_on_the_scale_of_weights(weight):
    """Weights that are all alike are repetitions, or none: a new value is spread like the data."""
    covered = []
    for seed in range(4):
        x, y = sample(1200, noise=0.1, seed=seed, values=20)
        model = FunctionalTucker((2, 3, 2), lengthscale=0.3, rng=seed).fit(x, y, weights=np.full(len(y), weight))
        covered.append(model.calibration_.coverage)
    assert 0.83 < np.mean(covered) < 0.96


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("format", ["tucker", "cp"])
def test_backends(backend, dtype, format):
    x, y = (a.astype(dtype) for a in sample(120, values=7))
    given = {"ranks": 2, "format": format, "rng": 0, "max_iter": 4, "learn": False}
    with pytest.warns(ConvergenceWarning):
        model = FunctionalTucker(**given).fit(backend.array(x), backend.array(y))
    with pytest.warns(ConvergenceWarning):
        plain = FunctionalTucker(**given).fit(x.astype(float), y.astype(float))
    mean, std = model.predict(backend.array(x), return_std=True)
    assert str(mean.dtype).split(".")[-1] == str(std.dtype).split(".")[-1] == np.dtype(dtype).name
    for got, expected in zip((mean, std), plain.predict(x.astype(float), return_std=True), strict=True):
        np.testing.assert_allclose(backend.numpy(got), expected, atol=1e-4 if dtype == np.float32 else 1e-8)
    values = model.factors(1, backend.array(x[:5, 1]))
    assert backend.numpy(values.mean).shape == (5, 2)
    assert backend.numpy(values.covariance).shape == (5, 2, 2)
    assert values.mean.dtype == mean.dtype


def test_same_answer_for_a_seed_and_any_number_of_threads():
    x, y = sample(600, values=21)
    new, answers = np.random.default_rng(1).random((50, 3)), []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(FunctionalTucker(2, n_init=2, rng=7, tol=1e-4).fit(x, y).predict(new))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-9)


def test_blocks_of_sums_do_not_matter(monkeypatch):
    x, y = sample(150)
    problem, state = prepared(x, y, (2, 2, 2))
    whole = after(problem, state)
    monkeypatch.setattr(_statistics, "BLOCK", 8)
    parts = after(problem, state)
    np.testing.assert_allclose(parts.factors[2].mean, whole.factors[2].mean, atol=1e-10)
    assert parts.misfit == pytest.approx(whole.misfit)


def test_restarts_take_the_best_bound():
    x, y = sample(300, values=15)
    single = FunctionalTucker(2, held_out=0, rng=0).fit(x, y)
    several = FunctionalTucker(2, held_out=0, n_init=3, rng=0).fit(x, y)
    assert several.elbo_ >= single.elbo_


def test_learned_lengthscales_raise_the_bound():
    x, y = sample(500, values=31)
    fixed = FunctionalTucker(2, lengthscale=0.02, learn=False, held_out=0, rng=0).fit(x, y)
    learned = FunctionalTucker(2, lengthscale=0.02, held_out=0, rng=0).fit(x, y)
    assert learned.elbo_ > fixed.elbo_ + 10
    assert min(learned.lengthscales_) > 0.04


def test_published_path_runs_and_differs():
    x, y = sample(400, noise=0.02, values=21)
    new = np.random.default_rng(1).random((300, 3))
    corrected = FunctionalTucker(2, held_out=0, rng=0).fit(x, y)
    with pytest.warns(ConvergenceWarning):
        published = FunctionalTucker(2, as_published=True, held_out=0, max_iter=30, tol=0.0, rng=0).fit(x, y)
    truth = function(new)
    errors = [np.sqrt(np.mean((m.predict(new) - truth) ** 2)) for m in (corrected, published)]
    assert errors[0] < errors[1]
    mean, std = published.predict(np.array([[-3.0, 0.5, 9.0]]), return_std=True)
    assert np.isfinite(mean[0])
    assert std[0] > 0
