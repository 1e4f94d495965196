"""Federated least squares: the central solution, the published update where it is right, noise, bad input."""

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import ConvergenceWarning
from lowrank_la.solvers import federated_wls
from tests.solvers.problems import clients, pooled, published_update

DATA = list(clients(10, 5))


@pytest.mark.parametrize("participation", [1.0, 0.5, 0.1])
def test_noiseless_rounds_lead_to_the_central_solution(participation):
    result = federated_wls(DATA, participation=participation, rounds=300 if participation >= 0.5 else 1500, rng=1)
    expected = pooled(DATA)
    np.testing.assert_allclose(result.x, expected, atol=1e-13)
    np.testing.assert_allclose(result.central, expected, atol=1e-13)
    assert result.converged
    assert np.linalg.norm(result.x - expected) <= result.certificate.bound < 1e-11


def test_rounds_are_those_of_the_published_update_where_nothing_is_lost():
    rho, means = 50.0, published_update(DATA, 50.0, 20)
    central = pooled(DATA)
    # the published update starts from local solutions, ours from zero multipliers at z = 0: the same fixed point and rate
    result = federated_wls(DATA, rho=rho, rounds=120, rng=0)
    theirs = np.linalg.norm(np.array(published_update(DATA, rho, 120)) - central, axis=1)
    assert np.linalg.norm(means[-1] - central) == pytest.approx(theirs[19])
    rate = [np.log(h[40] / h[15]) for h in (result.history, theirs)]
    assert rate[0] == pytest.approx(rate[1], rel=0.15)


def test_the_steady_error_is_linear_in_the_noise():
    errors = [
        np.mean([federated_wls(DATA, link_noise=s, rounds=400, participation=p, rng=seed).steady_error ** 2 for seed in range(4)])
        for p in (1.0, 0.5)
        for s in (1e-4, 1e-3, 1e-2)
    ]
    for part in (errors[:3], errors[3:]):
        np.testing.assert_allclose(np.diff(np.log10(part)), 2.0, atol=0.02)


def test_noise_does_not_add_up_over_the_rounds():
    short, long = (federated_wls(DATA, link_noise=1e-2, rounds=rounds, rng=3).steady_error for rounds in (200, 3000))
    assert long < 1.5 * short


def test_certificates_hold_with_noise_and_half_the_clients():
    expected = pooled(DATA)
    for seed in range(20):
        result = federated_wls(DATA, link_noise=10.0 ** -(seed % 5), participation=0.5, rounds=100, rng=seed)
        error = np.linalg.norm(result.x - expected)
        assert error <= result.certificate.bound + 1e-14
        assert result.certificate.bound <= 50 * error + 1e-11


def test_the_same_seed_gives_the_same_rounds(backend):
    expected = federated_wls(DATA, link_noise=1e-3, participation=0.3, rounds=200, rng=7)
    result = federated_wls([tuple(map(backend.array, c)) for c in DATA], link_noise=1e-3, participation=0.3, rounds=200, rng=7)
    np.testing.assert_allclose(backend.numpy(result.x), expected.x, atol=1e-12)
    np.testing.assert_allclose(result.history, expected.history, rtol=1e-6)
    single = [tuple(backend.array(v.astype(np.float32)) for v in c) for c in DATA]
    rounded = federated_wls(single, rng=0)
    assert backend.numpy(rounded.x).dtype == np.float32
    np.testing.assert_allclose(backend.numpy(rounded.x), expected.central, atol=1e-5)
    other = federated_wls(DATA, link_noise=1e-3, participation=0.3, rounds=200, rng=8)
    assert not np.array_equal(other.x, expected.x)


def test_weights_and_clients_of_any_size():
    data = [(X[: 2 * k + 1], y[: 2 * k + 1], q[: 2 * k + 1]) for k, (X, y, q) in enumerate(DATA)]  # the first has fewer rows than columns
    result = federated_wls(data, rounds=3000, rng=0)
    np.testing.assert_allclose(result.x, pooled(data), atol=1e-8)
    ones = [(X, y) for X, y, _ in DATA]
    weighted = [(X, y, np.ones(len(y))) for X, y, _ in DATA]
    np.testing.assert_array_equal(federated_wls(ones, rng=0).x, federated_wls(weighted, rng=0).x)
    alone = federated_wls(DATA[:1], rng=0)
    np.testing.assert_allclose(alone.x, pooled(DATA[:1]), atol=1e-12)


def test_what_cannot_be_reached_is_said():
    with pytest.warns(ConvergenceWarning, match="still falls"):
        hasty = federated_wls(DATA, rounds=3, rng=0)
    assert not hasty.converged
    assert np.linalg.norm(hasty.x - pooled(DATA)) <= hasty.certificate.bound
    flat = [(X * np.array([1, 1, 1, 1, 0.0]), y) for X, y, _ in DATA]
    with pytest.warns(ConvergenceWarning, match="do not determine"):
        result = federated_wls(flat, rng=0)
    assert result.certificate.bound == np.inf
    assert not result.converged
    assert np.isfinite(result.x).all()
    with pytest.warns(ConvergenceWarning, match="do not determine"):
        nothing = federated_wls([(np.zeros((3, 2)), np.zeros(3))], rng=0)
    assert not nothing.x.any()


X, Y = np.ones((4, 2)), np.ones(4)
BAD = [
    ("no clients", [], {}, ValueError, "federated_wls: clients must have at least one entry"),
    ("no sequence", 3, {}, TypeError, "clients must be a sequence of tuples"),
    ("no tuple", [X], {}, TypeError, r"clients\[0\] must be a tuple \(X, y\) or \(X, y, q\); got ndarray"),
    ("sparse", [(sp.csr_array(X), Y)], {}, TypeError, r"clients\[0\] must hold dense arrays"),
    ("columns", [(X, Y), (X[:, :1], Y)], {}, ValueError, r"clients\[1\]\[0\] must have shape \(4, 2\)"),
    ("short y", [(X, Y[:3])], {}, ValueError, r"clients\[0\]\[1\] must have shape \(4,\)"),
    ("vector X", [(Y, Y)], {}, ValueError, r"clients\[0\]\[0\] must be 2-dimensional"),
    ("empty X", [(X[:0], Y[:0])], {}, ValueError, r"clients\[0\]\[0\] must have at least one entry"),
    ("complex", [(X * 1j, Y)], {}, TypeError, r"clients\[0\]\[0\] must be real"),
    ("NaN", [(X, Y), (X, Y * np.nan)], {}, ValueError, r"clients\[1\]\[1\] must be finite"),
    ("negative weight", [(X, Y, -Y)], {}, ValueError, r"clients\[0\]\[2\] must be at least 0; got -1"),
    ("rho", [(X, Y)], {"rho": 0}, ValueError, "rho must be a number above 0"),
    ("rounds", [(X, Y)], {"rounds": 0}, ValueError, "rounds must be an integer of at least 1"),
    ("participation", [(X, Y)], {"participation": 0}, ValueError, "participation must be above 0"),
    ("too much of it", [(X, Y)], {"participation": 1.5}, ValueError, "participation must be a number between 0 and 1"),
    ("noise", [(X, Y)], {"link_noise": -1}, ValueError, "link_noise must be a number of at least 0"),
    ("rng", [(X, Y)], {"rng": "a"}, TypeError, "rng must be None, an int"),
]


@pytest.mark.parametrize(("data", "options", "error", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(data, options, error, message):
    with pytest.raises(error, match=message):
        federated_wls(data, **options)
