"""Gradients in half precision, block-diagonal matrices, the damping, and bounds for long gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.curvature import MFAC, SlidingMFAC
from tests.test_curvature import D, check_certificate, dense_solve, gradients, inverse, matrix, norm


def rounded(G):
    """Round to bfloat16 by hand: 8 digits of the mantissa, ties to even."""
    mantissa, exponent = np.frexp(np.asarray(G, dtype=np.float64))
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


def block_matrix(G, damp, block):
    H = matrix(G, damp)
    places = np.arange(len(H)) // block
    return np.where(places[:, None] == places, H, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_window_of_bfloat16_is_that_of_the_rounded_gradients(dtype):
    G, b = gradients(9, dtype=dtype), np.random.default_rng(1).standard_normal((D, 2)).astype(dtype)
    fisher = SlidingMFAC(D, 5, damp=1e-2, storage="bfloat16")
    for g in G[:6]:
        fisher.push(g)
    fisher.push(G[6:])
    result = fisher.solve(b)
    assert result.x.dtype == dtype
    assert result.converged
    check_certificate(result, rounded(G[4:]), 1e-2, b.astype(np.float32))
    newest = rounded(G[8]).astype(dtype)
    check_certificate(fisher.push_solve(G[8]), rounded([*G[5:], G[8]]), 1e-2, newest)
    fisher.pop()
    check_certificate(fisher.solve(newest), rounded([*G[6:], G[8]]), 1e-2, newest)


def test_a_step_is_a_push_and_a_solve(backend):
    G, b = gradients(6), np.ones(D)
    one, two = SlidingMFAC(D, 4, damp=1e-2), SlidingMFAC(D, 4, damp=1e-2)
    for g in G:
        step = one.push_solve(backend.array(g))
        two.push(backend.array(g))
        np.testing.assert_array_equal(backend.numpy(step.x), backend.numpy(two.solve(backend.array(g)).x))
    check_certificate(type("Host", (), {**vars(step), "x": backend.numpy(step.x)}), G[2:], 1e-2, G[5])
    with pytest.raises(ValueError, match=r"SlidingMFAC\.push_solve: g must be 1-dimensional; got shape \(1, 40\)"):
        one.push_solve(backend.array(b[None, :]))
    with pytest.raises(ValueError, match=r"SlidingMFAC\.push_solve: g must be finite"):
        one.push_solve(backend.array(b * np.nan))
    assert one.n == 4


def test_large_windows_of_bfloat16_take_the_compiled_loops():
    G = gradients(40, 30_000, dtype=np.float32)
    fisher, plain = SlidingMFAC(30_000, 40, damp=1e-2, storage="bfloat16"), SlidingMFAC(30_000, 40, damp=1e-2)
    for part in (G, G[:1]):
        fisher.push(part)
        plain.push(rounded(part).astype(np.float32))
    for b in (G[3], rounded(G[0]).astype(np.float32)):
        result, wanted = fisher.solve(b), plain.solve(b)
        np.testing.assert_allclose(result.x, wanted.x, rtol=0, atol=1e-6 * np.abs(wanted.x).max())
    assert fisher._G.nbytes * 2 == plain._G.nbytes


def test_numbers_that_round_beyond_bfloat16_are_refused():
    fisher = SlidingMFAC(3, 2, storage="bfloat16")
    fisher.push(np.ones(3, dtype=np.float32))
    for bad in (np.finfo(np.float32).max, np.nan, -np.inf):
        with pytest.raises(ValueError, match=r"SlidingMFAC\.push: g must be finite; got 1 NaN or infinite entry"):
            fisher.push(np.array([[1, 1, 1], [1, 1, bad]], dtype=np.float32))
    assert fisher.n == 1


def test_a_window_of_bfloat16_goes_on_from_a_file(tmp_path):
    G, b = gradients(9, dtype=np.float32), np.ones(D, dtype=np.float32)
    fisher = SlidingMFAC(D, 5, damp=1e-2, storage="bfloat16")
    fisher.push(G[:4])
    fisher.save(tmp_path / "window.npz")
    again = SlidingMFAC.load(tmp_path / "window.npz")
    for each in (fisher, again):
        each.push(G[4:])
    np.testing.assert_array_equal(again.solve(b).x, fisher.solve(b).x)
    assert again._G.dtype == np.uint16


def test_bfloat16_needs_the_cpu():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"SlidingMFAC\.push: g must be a NumPy array or a tensor on the CPU for storage in bfloat16"):
        SlidingMFAC(3, 2, storage="bfloat16").push(strict.ones(3))
    with pytest.raises(ValueError, match="SlidingMFAC: storage must be one of None, 'bfloat16'; got 'int8'"):
        SlidingMFAC(3, 2, storage="int8")


def test_tensors_of_bfloat16_are_read_where_they_are():
    torch = pytest.importorskip("torch")
    G = torch.asarray(gradients(30, 12_000)).to(torch.bfloat16)
    b = torch.ones(12_000, dtype=torch.bfloat16)
    fisher, wanted = MFAC(G, damp=1e-2), MFAC(G.double(), damp=1e-2)
    assert np.shares_memory(fisher._G, G.view(torch.uint16).numpy())
    result, x = fisher.solve(b), wanted.solve(b.double()).x
    assert result.x.dtype == torch.bfloat16
    assert result.converged
    error = float(torch.linalg.vector_norm(result.x.double() - x) / torch.linalg.vector_norm(result.x.double()))
    assert 1e-4 < error <= result.error_bound
    np.testing.assert_allclose(fisher.diagonal().double(), wanted.diagonal(), rtol=2.0**-7)
    stream = SlidingMFAC(12_000, 30, damp=1e-2, storage="bfloat16")
    stream.push(G)
    np.testing.assert_array_equal(stream.solve(b).x.float(), result.x.float())
    with pytest.raises(TypeError, match="MFAC: grads must not require gradients"):
        MFAC(G.clone().requires_grad_(), damp=1e-2)
    G[2, 5] = torch.nan
    with pytest.raises(ValueError, match="MFAC: grads must be finite; got 1 NaN or infinite entry out of 360000, the first in row 2"):
        MFAC(G)


def test_a_refused_gradient_does_not_open_the_window():
    fisher = SlidingMFAC(3, 2)
    with pytest.raises(ValueError, match=r"SlidingMFAC\.push: g must be finite"):
        fisher.push(np.array([1, np.nan, 1], dtype=np.float32))
    fisher.push(np.ones(3))
    assert fisher.solve(np.ones(3)).x.dtype == np.float64


@pytest.mark.parametrize("block", [None, 7])
def test_bounds_cover_half_precision(block):
    G, b = gradients(dtype=np.float16), np.random.default_rng(1).standard_normal(D).astype(np.float16)
    result = MFAC(G, damp=1.0, block=block).solve(b)
    H = matrix(G, 1.0) if block is None else block_matrix(G, 1.0, block)
    error = norm(result.x - dense_solve(H, b)) / norm(result.x)
    assert 1e-5 < error <= result.error_bound < 1e-3
    assert norm(H @ result.x.astype(np.longdouble) - b) <= result.certificate.bound * norm(b)


@given(
    seed=st.integers(0, 10**6),
    m=st.integers(1, 12),
    d=st.integers(1, 30),
    block=st.integers(1, 31),
    damp=st.sampled_from([1e-4, 1e-2, 1.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_blocks_are_those_of_the_dense_matrix(seed, m, d, block, damp, dtype):
    G, rng = gradients(m, d, 1.0, seed, dtype), np.random.default_rng(seed)
    b, w = rng.standard_normal((d, 2)).astype(dtype), rng.standard_normal(d).astype(dtype)
    fisher, H = MFAC(G, damp=damp, block=block), block_matrix(G, damp, block)
    wanted = dense_solve(H, np.eye(d)).astype(float)
    result = fisher.solve(b)
    exact = dense_solve(H, b)
    assert np.max(norm(H @ result.x.astype(np.longdouble) - b) / norm(b)) <= result.certificate.bound
    assert np.max(norm(result.x - exact) / norm(result.x)) <= result.error_bound
    scale = wanted.max()
    tolerance = 1e-6 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(fisher.diagonal(), np.diag(wanted), rtol=tolerance, atol=1e-11 * scale)
    rows, cols = np.divmod(np.arange(d * d), d)
    np.testing.assert_allclose(fisher.elements(rows, cols).reshape(d, d), wanted, rtol=0, atol=tolerance * scale)
    Q = rng.choice(d, min(d, 3), replace=False)
    pruned = w - wanted[:, Q] @ np.linalg.solve(wanted[np.ix_(Q, Q)], w[Q])
    np.testing.assert_allclose(fisher.pruning_update(w, Q), pruned, atol=1e3 * tolerance)
    assert not fisher.pruning_update(w, Q)[Q].any()
    assert fisher.logdet() == pytest.approx(np.linalg.slogdet(H.astype(float))[1], abs=1e-8 * d)


def test_blocks_of_several_batches(monkeypatch):
    from lowrank_la.curvature import _blocks

    G, b = gradients(6, 55), np.ones(55)
    whole = MFAC(G, damp=1e-2, block=10)
    monkeypatch.setattr(_blocks, "BATCH", 130)
    cut = MFAC(G, damp=1e-2, block=10)
    assert len(cut._entries.batches) == 4
    np.testing.assert_allclose(cut.solve(b).x, whole.solve(b).x, rtol=1e-12)
    places = np.arange(55)
    np.testing.assert_allclose(cut.elements(places, places[::-1].copy()), whole.elements(places, places[::-1].copy()), atol=1e-12)


def test_blocks_of_other_libraries(backend):
    G, b, w, index = gradients(), np.ones(D), np.linspace(1, 2, D), np.array([4, 17])
    wanted, fisher = MFAC(G, damp=1e-2, block=15), MFAC(backend.array(G), damp=1e-2, block=15)
    places = backend.array(index)
    np.testing.assert_allclose(backend.numpy(fisher.solve(backend.array(b)).x), wanted.solve(b).x, atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.diagonal()), wanted.diagonal(), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.elements(places, places)), wanted.elements(index, index), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.pruning_update(backend.array(w), places)), wanted.pruning_update(w, index), atol=1e-9)
    whole = MFAC(backend.array(G), damp=1e-2)
    np.testing.assert_allclose(backend.numpy(whole.spectrum()), MFAC(G, damp=1e-2).spectrum(), atol=1e-9)


@pytest.mark.parametrize(("m", "d"), [(12, 40), (30, 8)])
def test_the_damping_may_change_without_the_gradients(m, d):
    G, b = gradients(m, d, dtype=np.float32), np.ones(d, dtype=np.float32)
    fisher = MFAC(G, damp=1.0)
    values = np.linalg.eigvalsh(G.T.astype(float) @ G / m)[::-1][: min(m, d)]
    np.testing.assert_allclose(fisher.spectrum(), values, atol=1e-9 * values[0])
    for damp in (1e-2, 10.0):
        other = fisher.with_damp(damp)
        np.testing.assert_array_equal(other.solve(b).x, MFAC(G, damp=damp).solve(b).x)
        np.testing.assert_array_equal(other.diagonal(), MFAC(G, damp=damp).diagonal())
        assert other.logdet() == pytest.approx(np.linalg.slogdet(matrix(G, damp).astype(float))[1], rel=1e-9)
    assert fisher.damp == 1.0
    assert fisher.logdet() == pytest.approx(np.linalg.slogdet(matrix(G, 1.0).astype(float))[1], rel=1e-9)


def test_columns_that_are_known_are_not_computed_again(monkeypatch):
    from lowrank_la.curvature import _entries

    fisher, wanted = MFAC(gradients(), damp=1e-2), inverse(gradients(), 1e-2).astype(float)
    asked, columns = [], _entries.columns
    monkeypatch.setattr(_entries, "columns", lambda G, places: asked.extend(places.tolist()) or columns(G, places))
    for i, j in [(3, 7), (7, 3), (3, 3), (9, 3), (2, 9), (7, 2)]:
        assert fisher.element(i, j) == pytest.approx(wanted[i, j], rel=1e-8)
    assert sorted(asked) == [2, 3, 7, 9]


def test_bounds_of_long_gradients_are_near_the_truth():
    """Sums that are cut early keep the bound of float64 within reach of the error, and a small damping from false alarms."""
    G = gradients(40, 100_000)
    wide = G.astype(np.longdouble)
    for damp, most in ((1e-2, 1e-7), (1e-6, 1e-3)):
        result = MFAC(G, damp=damp).solve(G[-1])
        wanted = 40 * wide.T @ dense_solve(wide @ wide.T + 40 * np.longdouble(damp) * np.eye(40), np.eye(40)[-1])
        error = norm(result.x - wanted) / norm(result.x)
        assert result.converged
        assert error <= result.error_bound < most


def test_the_newest_gradient_keeps_its_digits_at_any_damping():
    G = gradients(30, 20_000, strong=30.0, dtype=np.float32)
    wide = G.astype(np.longdouble)
    for damp in (1e-3, 1e-6, 1e-9):
        fisher = SlidingMFAC(20_000, 30, damp=damp)
        fisher.push(G)
        result = fisher.solve(G[-1])
        wanted = 30 * wide.T @ dense_solve(wide @ wide.T + 30 * np.longdouble(damp) * np.eye(30), np.eye(30)[-1])
        error = norm(result.x - wanted) / norm(result.x)
        assert result.converged
        assert error <= result.error_bound
        assert error < 1e-6


def test_a_window_does_not_depend_on_the_number_of_threads():
    G = gradients(12, 40_000, dtype=np.float32)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            fisher = SlidingMFAC(40_000, 10, damp=1e-3)
            for part in (G[:10], G[10], G[11]):
                fisher.push(part)
            answers.append((fisher.solve(G[11]).x, fisher.solve(np.ones(40_000, dtype=np.float32)).x))
    for one, two in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MFAC(np.ones((2, 3)), block=0), "MFAC: block must be an integer of at least 1; got 0"),
        (lambda: MFAC(np.full((2, 3), np.nan), block=2), "MFAC: grads must be finite"),
        (lambda: MFAC(np.ones((2, 3)), block=2).spectrum(), r"MFAC\.spectrum: block must be None; got 2"),
        (lambda: MFAC(np.ones((2, 3)), block=2).with_damp(1.0), r"MFAC\.with_damp: block must be None; got 2"),
        (lambda: MFAC(np.ones((2, 3))).with_damp(0), r"MFAC\.with_damp: damp must be a number above 0"),
        (lambda: SlidingMFAC(3, 2).push([[np.nan, 1, 1], [1, 1, 1], [1, 1, 1]]), r"SlidingMFAC\.push: g must be finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
