"""Conjugate directions: conjugate gradients as a special case, learned maps, hostile maps, bad input."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.solvers import conjugate_directions, conjugate_gradients, direction_loss
from tests.solvers.problems import exact_residual, poisson, spd, textbook_cg

RNG = np.random.default_rng(6)


def deflation(A, rank, samples, seed=0):
    """Fit r -> r / ||A|| + V (V^T A V)^-1 V^T r to solutions for random right-hand sides."""
    S = np.linalg.solve(A.toarray(), np.random.default_rng(seed).standard_normal((A.shape[0], samples)))
    V = np.linalg.svd(S, full_matrices=False)[0][:, :rank]
    C = np.linalg.inv(V.T @ (A @ V))
    return lambda r: r / 8 + V @ (C @ (V.T @ r))


def test_the_identity_gives_conjugate_gradients():
    A, b = spd(40, 100.0, 0), RNG.standard_normal(40)
    for steps, expected in enumerate(textbook_cg(A, b, 12), 1):
        with pytest.warns(ConvergenceWarning):
            result = conjugate_directions(A, b, lambda r: r, max_iter=steps)
        np.testing.assert_allclose(result.x, expected, atol=1e-11)
    A, b = poisson(30), RNG.standard_normal(900)
    ours, theirs = conjugate_directions(A, b, lambda r: 5 * r), conjugate_gradients(A, b)
    assert ours.n_iter == theirs.n_iter
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-12)
    np.testing.assert_allclose(ours.history, theirs.history, rtol=1e-6)
    assert ours.conjugacy < 1e-10
    assert ours.replaced == 0


def test_a_fitted_deflation_map_takes_a_third_of_the_steps():
    A, b = poisson(30), RNG.standard_normal(900)
    plain = conjugate_gradients(A, b)
    learned = conjugate_directions(A, b, deflation(A, 75, 400))
    assert 90 <= plain.n_iter <= 100
    assert learned.n_iter <= 36
    assert learned.converged
    assert learned.conjugacy < 1e-12
    np.testing.assert_allclose(learned.x, plain.x, atol=1e-6)


@settings(max_examples=40)
@given(n=st.integers(1, 20), keep=st.integers(1, 5), seed=st.integers(0, 10**6), kind=st.sampled_from(["real", "complex"]))
def test_any_map_leads_to_the_solution(n, keep, seed, kind):
    """Maps that are nonlinear, random or zero cost steps, never correctness."""
    A = spd(n, 20.0, seed, kind)
    rng = np.random.default_rng(seed)
    b = rng.standard_normal(n)
    maps = [
        lambda r: r / (1 + abs(r)),
        lambda r: 0 * r,
        lambda r: r * rng.uniform(0.2, 1, n),
        lambda r: r.real / (1 + abs(r)) if keep > 2 else r,
    ]
    pick = maps[seed % 4]
    energies = []
    x_star = np.linalg.solve(A, b)
    result = conjugate_directions(A, b, pick, keep=keep, tol=1e-8, max_iter=5000)
    assert result.converged
    assert np.linalg.norm(exact_residual(A, result.x, b).astype(complex)) <= result.certificate.bound
    for steps in (1, 2, 4):
        if steps <= result.n_iter and seed % 4 != 2:
            with pytest.warns(ConvergenceWarning) if steps < result.n_iter else pytest.MonkeyPatch.context():
                e = conjugate_directions(A, b, pick, keep=keep, tol=1e-8, max_iter=steps).x - x_star
            energies.append(float((e.conj() @ (A @ e)).real))
    assert all(after <= before * (1 + 1e-9) + 1e-18 for before, after in pairwise(energies))


def test_useless_directions_are_replaced_and_counted():
    A, b = poisson(6), RNG.standard_normal(36)
    result = conjugate_directions(A, b, np.zeros_like)
    assert result.converged
    assert result.replaced == result.n_iter
    constant = conjugate_directions(A, b, lambda r: np.ones_like(r), tol=1e-6)
    assert constant.converged
    assert 0 < constant.replaced < constant.n_iter


def test_more_directions_help_a_nonlinear_map():
    A, b = poisson(20), RNG.standard_normal(400)

    def crooked(r):
        return r * (1 + 0.5 * np.tanh(r / np.linalg.norm(r) * 20))

    few, many = (conjugate_directions(A, b, crooked, keep=keep, max_iter=3000) for keep in (1, 20))
    assert many.n_iter < few.n_iter


def test_certificates_and_backends(backend):
    A, b = spd(25, 30.0, 7), RNG.standard_normal(25)
    for dtype in (np.float64, np.float32, np.complex128):
        a, rhs = backend.array(A.astype(dtype)), backend.array(b.astype(dtype))
        seen = []
        result = conjugate_directions(a, rhs, lambda r, seen=seen: seen.append(type(r)) or r * 2.0, least_eigenvalue=0.99)
        x = backend.numpy(result.x)
        assert set(seen) == {type(rhs)}
        assert x.dtype == dtype
        assert result.converged
        np.testing.assert_allclose(x, np.linalg.solve(A, b), atol=1e-5 if dtype == np.float32 else 1e-7)
        e = np.linalg.solve(A.astype(dtype).astype(complex), b.astype(dtype)) - x
        assert np.sqrt((e.conj() @ (A @ e)).real) <= result.error.bound + 1e-13


def test_callbacks_stop_and_maps_see_the_caller_s_numbers():
    A, b, seen = spd(25, 30.0, 7), RNG.standard_normal(25) * 1e-170, []
    with pytest.warns(ConvergenceWarning, match="after 3 iterations"):
        result = conjugate_directions(A, b, lambda r: seen.append(r) or r, callback=lambda n_iter, norms: n_iter == 3)
    assert result.n_iter == 3
    np.testing.assert_allclose(seen[0], b)
    np.testing.assert_allclose(result.history[0], np.linalg.norm(b * 1e170) * 1e-170)


def test_the_loss_is_the_least_over_lengths():
    A, R, D = spd(12, 9.0, 1), RNG.standard_normal((12, 3)), RNG.standard_normal((12, 3))
    loss = direction_loss(A, R, D)
    for j in range(3):
        q = A @ D[:, j]
        best = np.linalg.lstsq(q[:, None], R[:, j])[1][0] ** 0.5
        assert loss[j] == pytest.approx(best / np.linalg.norm(R[:, j]))
    assert direction_loss(A, R, np.linalg.solve(A, R)).max() < 1e-14
    np.testing.assert_array_equal(direction_loss(A, R, 0 * D), 1)
    np.testing.assert_array_equal(direction_loss(A, 0 * R, D), 1)
    Z = D + 1j * R
    assert direction_loss(A, A @ Z * (2 - 3j), Z).max() < 1e-14
    with pytest.raises(ValueError, match=r"direction_loss: D must have shape \(12, 3\)"):
        direction_loss(A, R, D[:, :2])


def test_the_loss_has_gradients():
    torch = pytest.importorskip("torch")
    A, R = torch.asarray(spd(12, 9.0, 1)), torch.asarray(RNG.standard_normal((12, 3)))
    D = torch.asarray(RNG.standard_normal((12, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: direction_loss(A, R, d), (D,))


def same(r):
    return r


A, B = np.eye(3), np.ones(3)
BAD = [
    ("matrix b", (A, np.ones((3, 2)), same), {}, ValueError, r"conjugate_directions: b must be 1-dimensional; got shape \(3, 2\)"),
    ("no function", (A, B, A), {}, TypeError, "direction must be a function; got ndarray"),
    ("shape of directions", (A, B, lambda r: r[:2]), {}, ValueError, "what direction returns, as a column, must have shape"),
    ("NaN direction", (A, B, lambda r: r * np.nan), {}, ValueError, "what direction returns, as a column, must be finite"),
    ("text direction", (A, B, lambda r: "d"), {}, TypeError, "what direction returns, as a column, must be an array"),
    ("keep", (A, B, same), {"keep": 0}, ValueError, "keep must be an integer of at least 1; got 0"),
    ("tol", (A, B, same), {"tol": -1}, ValueError, "tol must be a number above 0"),
    ("max_iter", (A, B, same), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    ("least_eigenvalue", (A, B, same), {"least_eigenvalue": 0}, ValueError, "least_eigenvalue must be a number above 0"),
    ("callback", (A, B, same), {"callback": 1}, TypeError, "callback must be a function; got int"),
    ("short b", (A, B[:2], same), {}, ValueError, "b must have 3 rows"),
    ("x0", (A, B, same), {"x0": B[:2]}, ValueError, r"x0 must have shape \(3,\)"),
    ("indefinite", (np.array([[1.0, 3], [3, 1]]), np.array([1.0, -1]), same), {}, ValueError, "A must be positive definite"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        conjugate_directions(*args, **options)
