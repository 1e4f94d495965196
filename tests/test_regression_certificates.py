"""The certificates of `sketch_lstsq` hold at their stated rate, and are tight where the problem is easy."""

import functools
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import ConvergenceWarning, limit_threads, sketch_lstsq
from tests import oracles_regression as oracles

KINDS = ["incoherent", "coherent", "heavy", "scaled", "fortran", "deficient"]
CONDITIONS = [1e1, 1e4, 1e8, 1e11, 1e14]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small problems more than they bring."""
    with limit_threads(1):
        yield


@functools.cache
def problems(count=600, n=400, d=6):
    """Draw problems of every kind, condition and noise, with their solutions; n lets the sketches be smaller than A."""
    drawn = []
    for seed in range(count):
        kind = KINDS[seed % len(KINDS)]
        cond = CONDITIONS[seed // len(KINDS) % len(CONDITIONS)]
        noise = (0.0, 1e-6, 1e-2, 10.0)[seed % 4]
        A, b = oracles.problem(n + 7 * (seed % 50), d + seed % 5, cond=cond, noise=noise, kind=kind, seed=seed)
        drawn.append((seed, kind, A, b, None if kind == "deficient" else oracles.solve(A, b)))
    return drawn


def misses(method, **options):
    """Number of problems in which some entry of x errs more than its bound says, and number of finite bounds."""
    missed = finite = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed, kind, A, b, exact in problems():
            result = sketch_lstsq(A, b, method=method, rng=seed, **options)
            if kind == "deficient":
                assert result.certificate.bound == np.inf
                assert not result.converged
                continue
            missed += bool((abs(result.x - exact) > result.x_bound).any())
            finite += np.isfinite(result.certificate.bound)
    return missed, finite


@pytest.mark.parametrize("method", ["direct", "cholqr"])
def test_deterministic_bounds_always_hold(method):
    missed, finite = misses(method)
    assert missed == 0
    assert finite >= 400  # of 500 that have full rank


@pytest.mark.parametrize("method", ["solve", "spir", "fossils", "ihs"])
def test_bounds_from_the_embedding_hold(method):
    missed, finite = misses(method)
    assert missed <= 0.01 * 500 + 2
    assert finite >= 490


@pytest.mark.parametrize("sketch", ["gaussian", "srht", "srdct", "bgp"])
def test_statistical_bounds_hold_at_their_rate(sketch):
    delta, draws, missed = 0.1, 300, 0
    A, b = oracles.problem(1024, 8, kind="coherent", noise=1.0)
    exact = oracles.solve(A, b)
    for seed in range(draws):
        result = sketch_lstsq(A, b, method="solve", sketch=sketch, sketch_rows=128, delta=delta, rng=seed)
        assert result.certificate.method == "L0"
        assert result.certificate.confidence == pytest.approx(0.9)
        missed += bool((abs(result.x - exact) > result.x_bound).any())
    assert missed <= (delta + 0.05) * draws
    assert missed >= 1, "a bound that is never missed is not a 90 percent bound"


@pytest.mark.parametrize("sketch", ["gaussian", "srht", "srdct", "bgp"])
def test_statistical_bounds_hold_on_problems_of_every_kind(sketch):
    delta = 0.1
    missed, finite = misses("solve", sketch=sketch, sketch_rows=96, delta=delta)
    assert finite == 500
    assert missed <= (delta + 0.04) * finite


def test_eps_is_kept():
    A, b = oracles.problem(20000, 8, cond=1e3, noise=1.0)
    exact = np.linalg.lstsq(A, b)[0]
    unit = np.linalg.norm(b - A @ exact) * np.linalg.norm(np.linalg.pinv(A), 2) / np.sqrt(8)
    for seed in range(20):
        result = sketch_lstsq(A, b, eps=0.3, delta=0.05, rng=seed)
        assert result.method == "solve"
        assert abs(result.x - exact).max() <= 0.3 * unit


@pytest.mark.parametrize(
    ("method", "options"), [("solve", {}), ("solve", {"sketch": "gaussian"}), ("cholqr", {}), ("direct", {}), ("spir", {})]
)
def test_tight_on_easy_problems(method, options):
    ratios = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((6000, 20))
        b = A @ rng.standard_normal(20) + rng.standard_normal(6000)
        exact = oracles.solve(A, b)
        result = sketch_lstsq(A, b, method=method, rng=seed, **options)
        error = max(abs(result.x - exact).max(), 2.0**-53 * abs(exact).max())  # no float64 can be known better
        ratios.append(result.certificate.bound / error)
    assert max(ratios) < 100
    assert np.median(ratios) <= 10


def test_sparse_and_blocked_data_have_equal_certificates():
    A, b = oracles.problem(1500, 8, cond=1e6)
    exact = oracles.solve(A, b)
    for given in (sp.csr_array(A), sp.csc_array(A), [A[:600], A[600:]], [sp.csr_array(A[:600]), A[600:]]):
        result = sketch_lstsq(given, b, method="cholqr", rng=0)
        assert (abs(result.x - exact) <= result.x_bound).all()
        assert result.certificate.bound < 1e-11


def test_the_deterministic_bound_reaches_condition_1e12():
    A, b = oracles.problem(3000, 40, cond=1e12, noise=1e-3, seed=1)
    exact = oracles.solve(A, b)
    result = sketch_lstsq(A, b, method="cholqr", rng=0)
    assert result.certificate.method == "L2"
    assert (abs(result.x - exact) <= result.x_bound).all()
    assert result.certificate.bound < 0.1 * abs(exact).max()


def test_many_columns_with_a_float32_gram_matrix():
    """Columns of b that are solved at different speeds: noise, none, zero, and a large one."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3000, 256)) * np.logspace(-5, 0, 256)
    B = np.stack([rng.standard_normal(3000), A @ np.ones(256), np.zeros(3000), 1e8 * rng.standard_normal(3000)], axis=1)
    exact = sketch_lstsq(A, B, method="direct")
    result = sketch_lstsq(A, B, method="cholqr", rng=0)
    assert result.converged
    assert exact.certificate.method == result.certificate.method == "L2"
    assert (abs(result.x - exact.x) <= result.x_bound + exact.x_bound).all()
    assert (result.x_bound <= 1e-8 * abs(exact.x).max(axis=0)).all()
    A[:, 7] = A[:, 9]
    with pytest.warns(ConvergenceWarning, match="rank 255 of 256"):
        deficient = sketch_lstsq(A, B, method="cholqr", rng=0)
    assert deficient.certificate.bound == np.inf
    np.testing.assert_allclose(deficient.x[7], deficient.x[9], rtol=1e-6, atol=1e-9 * abs(deficient.x).max())


def test_backward_error_is_never_too_small():
    """The estimate is at least Karlson and Walden's, computed in long double from the singular values."""
    for seed in range(60):
        A, b = oracles.problem(600, 8, cond=10.0 ** (seed % 13), seed=seed)
        for method in ("cholqr", "spir", "solve"):
            result = sketch_lstsq(A, b, method=method, rng=seed)
            lengths = np.linalg.norm(A, axis=0)
            scale = 2.0 ** np.floor(np.log2(lengths))
            true = oracles.backward_error(A / scale, b, result.x * scale)
            assert result.backward_error >= 0.5 * true - 1e-17


@pytest.mark.slow
def test_figure_1_of_epperly_meier_and_nakatsukasa():
    """4000 x 50, condition 1e12: SPIR and FOSSILS reach the backward error of QR, iterative sketching less surely."""
    for noise in (1e-6, 1e-3):
        worst = dict.fromkeys(["qr", "spir", "fossils", "cholqr", "direct"], 0.0)
        for seed in range(20):
            A, b = oracles.problem(4000, 50, cond=1e12, noise=noise, seed=seed)
            Q, R = np.linalg.qr(A)
            answers = {"qr": np.linalg.solve(R, Q.T @ b)}
            answers |= {m: sketch_lstsq(A, b, method=m, rng=seed).x for m in worst if m != "qr"}
            for name, x in answers.items():
                worst[name] = max(worst[name], oracles.backward_error(A, b, x))
        assert all(error <= 10 * max(worst["qr"], 2.0**-54) for error in worst.values()), worst
