"""`FunctionalTucker`: few and odd data, predictions far away, streams, files, bad input."""

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import ConvergenceWarning
from lowrank_la.functional_tucker import FunctionalTucker
from tests.functional_tucker.test_model import function, sample

pytestmark = pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")  # where accuracy is what counts
QUICK = {"ranks": 2, "rng": 0, "tol": 1e-3, "held_out": 0}


def is_usable(model, x):
    mean, std = model.predict(x, return_std=True)
    assert np.all(np.isfinite(mean))
    assert np.all(np.isfinite(std))
    assert np.all(std > 0)
    return mean, std


def test_one_datum():
    model = FunctionalTucker(**QUICK).fit([[0.3, 5.0]], [7.0])
    mean, _ = is_usable(model, np.array([[0.3, 5.0], [100.0, -100.0]]))
    np.testing.assert_allclose(mean, 7.0)
    assert model.calibration_ is None
    assert model.certificate_.bound == 1.0


@pytest.mark.parametrize("level", [0.0, 5.0, -1e200, 1e-200])
def test_constant_values(level):
    x, _ = sample(60)
    model = FunctionalTucker(**QUICK).fit(x, np.full(60, level))
    mean, std = is_usable(model, x)
    size = abs(level) or 1.0
    np.testing.assert_allclose(mean / size, np.sign(level), atol=1e-6)
    assert np.max(std) < 0.1 * size


def test_a_mode_with_one_abscissa():
    x, y = sample(150)
    x[:, 1] = 4.0
    model = FunctionalTucker(**QUICK).fit(x, y)
    is_usable(model, x + 1)
    assert model.abscissae(1).tolist() == [4.0]


def test_duplicates_with_different_values_are_averaged():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((40, 2)), 25, axis=0)
    y = function(x) + 0.3 * rng.standard_normal(1000)
    model = FunctionalTucker(2, rng=0).fit(x, y)
    assert model.noise_std_ == pytest.approx(0.3, rel=0.1)
    means = y.reshape(40, 25).mean(axis=1)
    assert np.sqrt(np.mean((model.predict(x[::25]) - means) ** 2)) < 0.15


def test_coordinates_that_differ_by_rounding_are_the_same():
    x, y = sample(200, values=9)
    jitter = x * (1 + 4e-16 * np.random.default_rng(0).integers(-2, 3, x.shape))
    model, rounded = (FunctionalTucker(**QUICK).fit(points, y) for points in (x, jitter))
    assert [rounded.abscissae(k).size for k in range(3)] == [9, 9, 9]
    np.testing.assert_allclose(rounded.predict(x), model.predict(x), atol=1e-6)


def test_missing_values_are_dropped_and_counted():
    x, y = sample(200)
    holes = np.arange(200) % 5 == 0
    with_holes = FunctionalTucker(**QUICK).fit(x, np.where(holes, np.nan, y))
    without = FunctionalTucker(**QUICK).fit(x[~holes], y[~holes])
    assert with_holes.n_dropped_ == 40
    np.testing.assert_array_equal(with_holes.predict(x), without.predict(x))


@pytest.mark.parametrize("ranks", [(5, 1, 1), (1, 7, 2), (6, 6, 6)])
def test_ranks_above_the_product_of_the_others_and_above_the_data(ranks):
    x, y = sample(80, values=4)
    model = FunctionalTucker(ranks, rng=0, held_out=0, tol=1e-3).fit(x, y)
    is_usable(model, x)
    assert model.ranks_ == ranks


@pytest.mark.parametrize("kernel", ["matern12", "matern32", "matern52", "rbf-approx"])
def test_far_from_the_data_the_prior_comes_back(kernel):
    x, y = sample(300, K=2)
    model = FunctionalTucker(2, kernel=kernel, rng=0, held_out=0, tol=1e-3).fit(x, y)
    away = np.array([0.0, 0.3, 1.0, 3.0, 1e3, 1e6])
    for side in (1 + away, -away):
        _, covariance = model.factors(0, side)
        spread = np.trace(covariance, axis1=1, axis2=2)
        assert np.all(np.diff(spread) >= -1e-9)
        np.testing.assert_allclose(covariance[-1], model._fitted.state.factors[0].prior.variance * np.eye(2), rtol=1e-6, atol=1e-9)
        mean, std = is_usable(model, np.stack([side, np.full(6, 0.5)], axis=1))
        assert np.all(std >= model.noise_std_)
        assert abs(mean[-1] - model.predict([[1e9, -1e9]])[0]) < 1e-6


def test_huge_gaps_between_abscissae():
    x, y = sample(200)
    x[:100] += 1e9
    is_usable(FunctionalTucker(**QUICK).fit(x, y), x)


def test_predictions_at_the_data_are_the_stored_values_and_new_points_do_not_change_them():
    x, y = sample(150)
    model = FunctionalTucker(**QUICK).fit(x, y)
    for k in range(3):
        stored, again = model.factors(k), model.factors(k, model.abscissae(k))
        np.testing.assert_allclose(again.mean, stored.mean, atol=1e-8)
        np.testing.assert_allclose(again.covariance, stored.covariance, atol=1e-8)


@pytest.mark.parametrize("kernel", ["iid", "periodic"])
def test_categories_and_seasons(kernel):
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 12, 500) if kernel == "iid" else rng.uniform(0, 48, 500), rng.random(500)], axis=1)
    level = rng.standard_normal(12)
    y = (level[x[:, 0].astype(int) % 12] if kernel == "iid" else np.sin(2 * np.pi * x[:, 0] / 12)) * np.cos(3 * x[:, 1])
    y = y + 0.05 * rng.standard_normal(500)
    period = (12.0, None) if kernel == "periodic" else None
    model = FunctionalTucker(2, kernel=(kernel, "matern32"), period=period, rng=0).fit(x, y)
    assert model.noise_std_ < 0.07
    new = np.stack([x[:100, 0] + (120 if kernel == "periodic" else 0), rng.random(100)], axis=1)
    truth = (level[x[:100, 0].astype(int)] if kernel == "iid" else np.sin(2 * np.pi * new[:, 0] / 12)) * np.cos(3 * new[:, 1])
    assert np.sqrt(np.mean((model.predict(new) - truth) ** 2)) < 0.05


def test_a_stream_comes_near_the_fit_to_all_data():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 120, (2400, 2)) / 119
    x = x[np.argsort(x[:, 1])]
    y = function(x) + 0.05 * rng.standard_normal(2400)
    new = rng.random((500, 2))
    model = FunctionalTucker(3, rng=0)
    for part in np.split(np.arange(2400), 6):
        model.partial_fit(x[part], y[part])
        assert np.all(np.diff(model.elbo_trace_) >= -1e-6 * abs(model.elbo_))
    whole = FunctionalTucker(3, rng=0).fit(x, y)
    errors = [np.sqrt(np.mean((m.predict(new) - function(new)) ** 2)) for m in (whole, model)]
    assert errors[1] < 0.06
    assert errors[0] < 0.02
    assert model.noise_std_ == pytest.approx(0.05, rel=0.25)
    assert model.calibration_.n == 400
    assert model.abscissae(1).size == whole.abscissae(1).size


def test_a_stream_of_one_mode_is_exact():
    """With one function and fixed noise nothing is approximate: later data give what all data at once give."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.random((300, 1)), axis=0)
    y = np.sin(9 * x[:, 0]) + 0.1 * rng.standard_normal(300)
    given = {"format": "cp", "ranks": 1, "learn": False, "noise_prior": (1e9, 1e7), "tol": 1e-14, "max_iter": 500, "held_out": 0, "rng": 0}
    stream = FunctionalTucker(**given).fit(x[:200], y[:200]).partial_fit(x[200:], y[200:])
    scale, offset = stream._fitted.scale, stream._fitted.state.offset.mean
    axis, factor = stream._fitted.axes[0], stream._fitted.state.factors[0]
    from tests.functional_tucker.oracles_gp import kernel as correlation

    t, z = axis.scaled(x[:, 0]), (y - scale.mean) / scale.size
    K = correlation("matern32", t[:, None] - t, factor.prior.lengthscale).astype(float)
    residual = z - offset
    residual[:200] = z[:200] - FunctionalTucker(**given).fit(x[:200], y[:200])._fitted.state.offset.mean
    np.testing.assert_allclose(factor.mean[:, 0], K @ np.linalg.solve(K + 0.01 * np.eye(300), residual), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"format": "cp"}, {"core_posterior": "independent"}, {"kernel": "iid"}], ids=str)
def test_a_saved_model_goes_on_bit_for_bit(tmp_path, options):
    x, y = sample(200, values=8)
    given = QUICK | {"max_iter": 3, "tol": 0.0} | options
    with pytest.warns(ConvergenceWarning):
        model = FunctionalTucker(**given).fit(x[:150], y[:150])
    model.save(tmp_path / "model.npz")
    loaded = FunctionalTucker.load(tmp_path / "model.npz")
    assert repr(loaded) == repr(model)
    assert loaded.certificate_ == model.certificate_
    for one in (model, loaded):
        with pytest.warns(ConvergenceWarning):
            one.partial_fit(x[150:], y[150:])
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_a_resumed_fit_is_one_longer_fit():
    x, y = sample(200)
    given = QUICK | {"tol": 0.0}
    with pytest.warns(ConvergenceWarning):
        long = FunctionalTucker(**given, max_iter=10).fit(x, y)
    with pytest.warns(ConvergenceWarning):
        short = FunctionalTucker(**given, max_iter=5).fit(x, y)
    with pytest.warns(ConvergenceWarning):
        short.fit(x, y, resume=True)
    assert short.n_iter_ == long.n_iter_ == 10
    np.testing.assert_array_equal(short.predict(x), long.predict(x))
    np.testing.assert_array_equal(short.elbo_trace_, long.elbo_trace_[5:])


def test_callback_stops():
    x, y = sample(100)
    seen = []
    with pytest.warns(ConvergenceWarning):
        FunctionalTucker(**QUICK | {"tol": 0.0}).fit(x, y, callback=lambda n, bound: seen.append((n, bound)) or n == 4)
    assert [n for n, _ in seen] == [1, 2, 3, 4]


def test_inputs_are_left_alone():
    x, y = sample(100)
    w = np.ones(100)
    kept = [a.copy() for a in (x, y, w)]
    for a in (x, y, w):
        a.flags.writeable = False
    FunctionalTucker(**QUICK).fit(x, y, weights=w).partial_fit(x, y).predict(x)
    for a, b in zip((x, y, w), kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_points_no_predictions():
    x, y = sample(60)
    mean, std = FunctionalTucker(**QUICK).fit(x, y).predict(np.zeros((0, 3)), return_std=True)
    assert mean.shape == std.shape == (0,)


X, Y = sample(30)
FIT = [
    ("no data", (X[:0], Y[:0]), {}, ValueError, r"FunctionalTucker.fit: coords must have at least one entry; got shape \(0, 3\)"),
    ("flat coords", (X[:, 0], Y), {}, ValueError, r"coords must be 2-dimensional; got shape \(30,\)"),
    ("short y", (X, Y[:-1]), {}, ValueError, r"y must have shape \(30,\); got \(29,\)"),
    ("infinite coordinate", (np.where(X > 0.9, np.inf, X), Y), {}, ValueError, "coords must be finite; got"),
    ("NaN coordinate", (X * np.nan, Y), {}, ValueError, "coords must be finite; got 90"),
    ("infinite value", (X, np.full(30, np.inf)), {}, ValueError, "y must be finite; got 30"),
    ("all NaN", (X, Y * np.nan), {}, ValueError, "y must have a value that is not NaN and has a positive weight"),
    ("no weight", (X, Y), {"weights": np.zeros(30)}, ValueError, "y must have a value that is not NaN and has a positive weight"),
    ("negative weight", (X, Y), {"weights": -np.ones(30)}, ValueError, "weights must not be negative; got -1"),
    ("short weights", (X, Y), {"weights": np.ones(3)}, ValueError, r"weights must have shape \(30,\)"),
    ("complex", (X + 0j, Y), {}, TypeError, "coords must be real"),
    ("sparse", (sp.csr_array(X), Y), {}, TypeError, "coords must be a dense array; got csr_array"),
    ("modes", (X[:, :2], Y), {}, ValueError, "coords must have 3 columns, one for each mode"),
]


@pytest.mark.parametrize(("arrays", "options", "error", "match"), [case[1:] for case in FIT], ids=[case[0] for case in FIT])
def test_bad_data(arrays, options, error, match):
    with pytest.raises(error, match=match):
        FunctionalTucker((2, 2, 2)).fit(*arrays, **options)


OPTIONS = [
    ({"ranks": 0}, ValueError, "ranks must be an integer of at least 1; got 0"),
    ({"ranks": 2.5}, TypeError, "ranks must be an integer"),
    ({"ranks": ()}, ValueError, "options for each mode must be given for the same number of modes"),
    ({"ranks": (2, 2), "kernel": ("iid",)}, ValueError, "got 2 ranks, 1 kernel"),
    ({"kernel": "rbf"}, ValueError, "kernel must be one of 'matern12'"),
    ({"lengthscale": 0.0}, ValueError, "lengthscale must be a number above 0"),
    ({"kernel": "periodic"}, ValueError, "period must be given for periodic modes"),
    ({"period": 3.0}, ValueError, "period must be given for periodic modes"),
    ({"format": "train"}, ValueError, "format must be one of 'tucker', 'cp'"),
    ({"core_posterior": "none"}, ValueError, "core_posterior must be one of"),
    ({"noise_prior": 1.0}, TypeError, "noise_prior must be a pair of numbers"),
    ({"noise_prior": (1.0, 0.0)}, ValueError, "noise_prior must be a number above 0"),
    ({"n_init": 0}, ValueError, "n_init must be an integer of at least 1"),
    ({"max_iter": 0}, ValueError, "max_iter must be"),
    ({"tol": -1.0}, ValueError, "tol must be"),
    ({"held_out": 1.0}, ValueError, "held_out must be a number between 0 and 0.9"),
    ({"learn": 1}, ValueError, "learn must be one of"),
    ({"as_published": "yes"}, ValueError, "as_published must be one of"),
]


@pytest.mark.parametrize(("options", "error", "match"), OPTIONS, ids=str)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        FunctionalTucker(**{"ranks": 2} | options)


def test_what_the_number_of_modes_shows():
    with pytest.raises(ValueError, match="ranks must be equal for format"):
        FunctionalTucker((1, 2, 2), format="cp").fit(X, Y)
    with pytest.raises(ValueError, match="ranks must be equal for as_published"):
        FunctionalTucker((1, 2, 2), as_published=True).fit(X, Y)
    with pytest.raises(ValueError, match="ranks must make at most"):
        FunctionalTucker(60).fit(X, Y)


def test_bad_use(tmp_path):
    model = FunctionalTucker(**QUICK)
    with pytest.raises(ValueError, match="predict: the model must be fitted before; got none"):
        model.predict(X)
    with pytest.raises(ValueError, match="the model must be fitted"):
        repr(model.elbo_)
    model.fit(X, Y)
    with pytest.raises(ValueError, match=r"predict: coords must have 3 columns, one for each mode; got shape \(30, 2\)"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="factors: k must be an integer between 0 and 2"):
        model.factors(3)
    with pytest.raises(ValueError, match="factors: t must be finite"):
        model.factors(0, np.array([np.nan]))
    np.savez(tmp_path / "other.npz", x=X)
    with pytest.raises(ValueError, match="must be a file that"):
        FunctionalTucker.load(tmp_path / "other.npz")
    with pytest.warns(ConvergenceWarning):
        published = FunctionalTucker(2, as_published=True, max_iter=2, held_out=0).fit(X, Y)
    with pytest.raises(ValueError, match="as_published must be False"):
        published.partial_fit(X, Y)
