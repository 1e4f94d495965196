"""Several leading eigenvectors of a stream, against `eigh` of all of A^H A."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.streaming import TopEigenvector, top_eigenvector

D, R = 16, 3
SPIKES = np.random.default_rng(0).standard_normal((8000, D)) * np.array([4.0, 3.5, 3.0] + [1.0] * (D - 3))
METHODS = ("blocks", "gram", "directions")
pytestmark = pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")


def truth(A):
    values, V = np.linalg.eigh(A.conj().T @ A)
    return values[::-1], V[:, ::-1]


def streamed(pieces, d=D, **options):
    stream = TopEigenvector(d, **{"n_vectors": R, "rng": 0} | options)
    for piece in pieces:
        stream.partial_fit(piece)
    return stream


def options(method):
    return {"method": method, "order": "random" if method == "blocks" else "arbitrary"}


def sine(V, W):
    """The largest angle between two subspaces; W is orthonormal."""
    Q = np.linalg.qr(V)[0]
    return np.linalg.norm(W - Q @ (Q.conj().T @ W), 2)


@pytest.mark.parametrize(("method", "error"), [("blocks", 0.1), ("gram", 1e-12), ("directions", 1e-3)])
def test_it_finds_the_leading_eigenvectors(method, error):
    result = streamed(np.array_split(SPIKES, 7), **options(method)).result()
    values, W = truth(SPIKES)
    assert result.V.shape == (D, R)
    assert sine(result.V, W[:, :R]) < error
    assert sine(result.V[:, :1], W[:, :1]) < error + 0.05
    np.testing.assert_allclose(result.V.T @ result.V, np.eye(R), atol=1e-12)
    np.testing.assert_allclose(result.values, values[:R], rtol=0.15 if method == "blocks" else 1e-3)
    assert result.next_value == pytest.approx(values[R], rel=0.15 if method == "blocks" else 1e-2)
    assert np.all(result.V[np.argmax(np.abs(result.V), axis=0), np.arange(R)] > 0)
    np.testing.assert_array_equal(result.v, result.V[:, 0])
    assert result.value == result.values[0]
    assert result.converged


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("method", METHODS)
def test_backends(backend, dtype, method):
    A = (SPIKES[:3000] * (1 + 1j if dtype == np.complex64 else 1)).astype(dtype)
    result = streamed([backend.array(part) for part in np.array_split(A, 3)], **options(method)).result()
    V = backend.numpy(result.V)
    assert V.dtype == dtype
    assert sine(V, truth(A)[1][:, :R]) < 0.15
    assert sine(V, streamed(np.array_split(A, 3), **options(method)).result().V) < 1e-4


KINDS = {
    "spikes": lambda rng, n, d: rng.standard_normal((n, d)) * np.array([3.0, 2.0] + [1.0] * (d - 2)),
    "flat": lambda rng, n, d: rng.standard_normal((n, d)),
    "decaying": lambda rng, n, d: rng.standard_normal((n, d)) * 0.6 ** np.arange(d),
    "heavy tails": lambda rng, n, d: rng.standard_t(1.5, (n, d)),
}


def bounds_hold(A, result, r):
    values, _ = truth(A)
    total, carried, slack = np.sum(values[:r]), np.linalg.norm(A @ result.V) ** 2, 1e-12 * np.sum(values)
    return result.lower <= carried + slack and total <= result.upper + slack


@pytest.mark.parametrize("method", ["gram", "directions"])
@pytest.mark.parametrize("kind", KINDS)
def test_certificates_for_every_order_always_hold(method, kind):
    with limit_threads(1):
        for trial in range(20):
            rng = np.random.default_rng(trial)
            n, d = int(rng.integers(1, 200)), int(rng.integers(2, 60))
            A = KINDS[kind](rng, n, d)
            A = A[np.argsort(np.sum(A**2, axis=1))]
            r = int(rng.integers(1, min(d, 20) + 1))
            result = streamed(np.array_split(A, 3), d, n_vectors=r, **options(method)).result()
            assert bounds_hold(A, result, r)
            assert sine(result.V, truth(A)[1][:, :r]) <= result.sin_angle + 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pass_always_holds(kind):
    claims = set()
    for trial in range(10):
        rng = np.random.default_rng(trial)
        A = KINDS[kind](rng, 2000, 12)
        A = A[np.argsort(A[:, 0])] if trial % 2 else A
        result = top_eigenvector(A, n_vectors=2, k=6, rng=trial)
        values, W = truth(A)
        if "angle" in result.certificate.claim:
            assert sine(result.V, W[:, :2]) <= result.certificate.bound + 1e-9
        else:
            assert all(np.min(np.abs(values - value)) <= result.certificate.bound for value in result.values)
        assert bounds_hold(A, result, 2)
        claims.add(result.certificate.claim)
    assert kind != "decaying" or all("angle" in claim for claim in claims)


def test_held_back_rows_give_the_stated_confidence():
    missed, tight = 0, []
    with limit_threads(1):
        for trial in range(60):
            for draw in KINDS.values():
                A = draw(np.random.default_rng(trial), 5000, 6)
                result = TopEigenvector(6, n_vectors=2, rng=trial).partial_fit(A).result()
                carried = np.linalg.norm(A @ result.V) ** 2
                missed += result.certificate.bound > carried * (1 + 1e-12)
                tight.append(result.certificate.bound / carried)
    assert missed <= 8
    assert np.median(tight) > 0.7


@settings(max_examples=15)
@given(st.integers(0, 8000), st.sampled_from(METHODS))
def test_resumed_and_merged_streams(tmp_path_factory, cut, method):
    path = tmp_path_factory.mktemp("state") / "stream.npz"
    whole = streamed([SPIKES[:cut], SPIKES[cut:]], **options(method))
    streamed([SPIKES[:cut]], **options(method)).save(path)
    resumed = TopEigenvector.load(path).partial_fit(SPIKES[cut:])
    np.testing.assert_array_equal(resumed.result().V, whole.result().V)
    merged = streamed([SPIKES[:cut]], **options(method))
    merged.merge(streamed([SPIKES[cut:]], **options(method)))
    assert sine(merged.result().V, truth(SPIKES)[1][:, :R]) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_all_vectors(method):
    A = SPIKES[:3000, :5]
    result = streamed([A], 5, n_vectors=5, **options(method)).result()
    assert result.sin_angle == 0
    assert result.next_value == 0
    np.testing.assert_allclose(result.V.T @ result.V, np.eye(5), atol=1e-12)
    twice = top_eigenvector(A, n_vectors=5, rng=0)
    np.testing.assert_allclose(twice.values, truth(A)[0], rtol=1e-12)
    assert twice.certificate.bound == 0


@pytest.mark.parametrize("method", METHODS)
def test_no_gap_behind_the_last_one(method):
    with pytest.warns(ConvergenceWarning, match="TopEigenvector: the sine of the angle to the 3 leading eigenvectors"):
        result = streamed([np.tile(np.eye(D), (250, 1))], **options(method)).result()
    assert not result.converged
    assert bounds_hold(np.tile(np.eye(D), (250, 1)), result, R)


def test_a_narrow_power_iteration_keeps_what_is_wanted():
    A = np.random.default_rng(2).standard_normal((30_000, 60)) * np.sqrt([20.0, 19.0, 18.0, 17.0, 16.0] + [1.0] * 55)
    result = streamed(np.array_split(A, 9), 60, n_vectors=5).result()
    assert sine(result.V, truth(A)[1][:, :5]) < 0.1
    assert result.space < (3 * 9 + 256 + 1024) * 63 + 9
