"""`MFAC` and `SlidingMFAC` against the dense inverse in long double."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.curvature import MFAC, SlidingMFAC

M, D = 12, 40


def gradients(m=M, d=D, strong=3.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (strong * rng.standard_normal((m, 2)) @ rng.standard_normal((2, d)) + rng.standard_normal((m, d))).astype(dtype)


def matrix(G, damp):
    """H in long double."""
    wide = np.asarray(G, dtype=np.longdouble)
    return np.longdouble(damp) * np.eye(wide.shape[1], dtype=np.longdouble) + wide.T @ wide / max(len(wide), 1)


def dense_solve(H, B):
    """Gaussian elimination in long double; H is positive definite, so that it needs no pivots."""
    H, X = H.copy(), np.array(B, dtype=np.longdouble).reshape(len(H), -1)
    for i in range(len(H)):
        factors = H[i + 1 :, i] / H[i, i]
        H[i + 1 :] -= factors[:, None] * H[i]
        X[i + 1 :] -= factors[:, None] * X[i]
    for i in reversed(range(len(H))):
        X[i] = (X[i] - H[i, i + 1 :] @ X[i + 1 :]) / H[i, i]
    return X.reshape(np.shape(B))


def inverse(G, damp):
    return dense_solve(matrix(G, damp), np.eye(np.shape(G)[1]))


def norm(x):
    return np.sqrt(np.sum(np.asarray(x, dtype=np.longdouble) ** 2, axis=0))


def check_certificate(result, G, damp, b):
    """Both bounds hold; the one on the error is not absurdly loose."""
    H, x = matrix(G, damp), np.asarray(result.x, dtype=np.longdouble)
    residual = np.max(norm(H @ x - b) / norm(b))
    error = np.max(norm(x - dense_solve(H, b)) / norm(x))
    assert residual <= result.certificate.bound
    assert error <= result.error_bound
    return float(residual), float(error)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("m", "d"), [(12, 40), (1, 7), (9, 9), (30, 8), (3, 1), (5, 5000)])
def test_solve_equals_the_dense_inverse(m, d, dtype):
    G, b = gradients(m, d, dtype=dtype), np.random.default_rng(1).standard_normal((d, 3)).astype(dtype)
    result = MFAC(G, damp=0.1).solve(b)
    assert result.x.dtype == dtype
    assert result.converged
    assert result.certificate.confidence == 1.0
    if d <= 100:
        check_certificate(result, G, 0.1, b)
        np.testing.assert_allclose(result.x, dense_solve(matrix(G, 0.1), b).astype(float), rtol=1e-5 if dtype == np.float32 else 1e-11)
    else:
        wide = G.astype(float)
        residual = 0.1 * result.x + wide.T @ (wide @ result.x) / m - b
        assert np.max(norm(residual) / norm(b)) <= result.certificate.bound < (1e-2 if dtype == np.float32 else 1e-6)
        assert result.error_bound < (1e-6 if dtype == np.float32 else 1e-9)


@given(
    seed=st.integers(0, 10**6),
    m=st.integers(1, 20),
    d=st.integers(1, 25),
    damp=st.sampled_from([1e-9, 1e-6, 1e-3, 1.0, 1e6]),
    strong=st.sampled_from([0.0, 1.0, 1e3]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_bounds_always_hold(seed, m, d, damp, strong, dtype):
    G = gradients(m, d, strong, seed, dtype)
    b = np.stack([G[0], np.random.default_rng(seed).standard_normal(d).astype(dtype)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = MFAC(G, damp=damp).solve(b)
    assert np.all(np.isfinite(result.x))
    check_certificate(result, G, damp, b)


def test_the_bounds_are_not_loose():
    for seed in range(10):
        for dtype, damp in ((np.float32, 1e-3), (np.float32, 1.0), (np.float64, 1e-3)):
            G = gradients(seed=seed, dtype=dtype)
            b = np.random.default_rng(seed).standard_normal(D).astype(dtype)
            result = MFAC(G, damp=damp).solve(b)
            residual, error = check_certificate(result, G, damp, b)
            loose = 10 if dtype == np.float32 else 3000
            assert result.certificate.bound < loose * residual
            assert result.error_bound < loose * error


def test_the_step_of_an_optimizer_in_float32_keeps_its_digits():
    rng = np.random.default_rng(0)
    G = (rng.standard_normal((32, 4)) @ rng.standard_normal((4, 200)) + 0.1 * rng.standard_normal((32, 200))).astype(np.float32)
    result = MFAC(G, damp=1e-6).solve(G[-1])
    assert result.converged
    assert check_certificate(result, G, 1e-6, G[-1])[1] < 1e-6
    K = G @ G.T + np.float32(32e-6) * np.eye(32, dtype=np.float32)
    plain = (G[-1] - G.T @ np.linalg.solve(K, G @ G[-1])) / np.float32(1e-6)
    wanted = dense_solve(matrix(G, 1e-6), G[-1])
    assert norm(plain - wanted) > 1e-3 * norm(wanted)


def test_a_correction_makes_up_for_the_rounding_errors_of_the_products():
    """One sweep alone leaves 6e-8 here: G b and G G^T differ in rounding errors that 1 / damp magnifies."""
    G = gradients(60, 20_000, strong=30.0)
    result = MFAC(G, damp=1e-2).solve(G[-1])
    wide = G.astype(np.longdouble)
    K = wide @ wide.T + np.longdouble(0.6) * np.eye(60)
    wanted = 60 * wide.T @ dense_solve(K, np.eye(60)[-1])
    error = norm(result.x - wanted) / norm(wanted)
    assert error <= result.error_bound
    assert error < 1e-8


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-6)])
def test_entries_of_the_inverse(dtype, rtol):
    G = gradients(dtype=dtype)
    fisher, wanted = MFAC(G, damp=1e-2), inverse(G, 1e-2).astype(float)
    np.testing.assert_allclose(fisher.diagonal(), np.diag(wanted), rtol=rtol)
    rows, cols = np.divmod(np.arange(D * D), D)
    entries = fisher.elements(rows, cols)
    assert entries.dtype == dtype
    np.testing.assert_allclose(entries.reshape(D, D), wanted, rtol=0, atol=rtol * wanted.max())
    assert fisher.element(3, 7) == pytest.approx(wanted[3, 7], rel=1e-8)
    assert fisher.elements(rows[:0], cols[:0]).shape == (0,)


def test_the_diagonal_stays_positive_where_rounding_errors_win():
    diagonal = MFAC(1e8 * np.eye(3, 5), damp=1e-9).diagonal()
    assert np.all(diagonal > 0)
    assert np.all(diagonal <= 1e9)
    np.testing.assert_allclose(diagonal[3:], 1e9)


def test_pruning_is_optimal_brain_surgery():
    G, w = gradients(), np.random.default_rng(2).standard_normal(D)
    fisher, wanted = MFAC(G, damp=1e-2), inverse(G, 1e-2).astype(float)
    scores = fisher.pruning_scores(w)
    np.testing.assert_allclose(scores, w**2 / (2 * np.diag(wanted)), rtol=1e-9)
    H = matrix(G, 1e-2).astype(float)
    new = fisher.pruning_update(w, 5)
    assert new[5] == 0
    assert (new - w) @ H @ (new - w) / 2 == pytest.approx(scores[5], rel=1e-9)
    Q = np.array([3, 39, 0])
    wanted = w - wanted[:, Q] @ np.linalg.solve(wanted[np.ix_(Q, Q)], w[Q])
    np.testing.assert_allclose(fisher.pruning_update(w, Q), wanted, atol=1e-9)
    assert not fisher.pruning_update(w, Q)[Q].any()
    np.testing.assert_array_equal(fisher.pruning_update(w, Q[:0]), w)


@given(seed=st.integers(0, 10**6), m=st.integers(1, 12))
def test_symmetries(seed, m):
    G = gradients(m, 20, seed=seed)
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 20))
    fisher = MFAC(G, damp=0.1)
    x = fisher.solve(b).x
    assert a @ x == pytest.approx(fisher.solve(a).x @ b, abs=1e-10)
    assert 0 < b @ x <= b @ b / 0.1 * (1 + 1e-12)
    changed = G[rng.permutation(m)] * rng.choice([-1.0, 1.0], (m, 1))
    np.testing.assert_allclose(MFAC(changed, damp=0.1).solve(b).x, x, atol=1e-10)
    np.testing.assert_allclose(MFAC(3 * G, damp=0.9).solve(b).x, x / 9, atol=1e-10)


@given(
    window=st.integers(1, 6),
    steps=st.lists(st.one_of(st.just("pop"), st.integers(0, 9)), max_size=25),
    seed=st.integers(0, 10**6),
)
def test_a_window_is_the_list_of_its_last_rows(window, steps, seed):
    rng = np.random.default_rng(seed)
    fisher, rows = SlidingMFAC(8, window, damp=0.1), []
    for step in steps:
        if step == "pop":
            if rows:
                fisher.pop()
                rows.pop(0)
            continue
        new = rng.standard_normal((step, 8))
        fisher.push(new[0] if step == 1 else new)
        rows = (rows + list(new))[-window:]
    b = rng.standard_normal(8)
    assert fisher.n == len(rows)
    wanted = MFAC(np.array(rows), damp=0.1).solve(b).x if rows else b / 0.1
    np.testing.assert_allclose(fisher.solve(b).x, wanted, rtol=1e-9, atol=1e-10)


def test_rows_may_come_one_by_one_or_together():
    G, b = gradients(30), np.ones(D)
    one, together = SlidingMFAC(D, 7, damp=1e-3), SlidingMFAC(D, 7, damp=1e-3)
    for g in G:
        one.push(g)
    together.push(G[:23])
    together.push(G[23:])
    np.testing.assert_allclose(one.solve(b).x, together.solve(b).x, rtol=1e-12)


def test_thousands_of_pushes_leave_no_trace():
    fisher, G = SlidingMFAC(D, 10, damp=1e-2), gradients(4000, strong=10.0)
    G[:3900] *= 1e4
    for g in G:
        fisher.push(g)
    b = G[-1]
    result, fresh = fisher.solve(b), MFAC(G[-10:], damp=1e-2).solve(b)
    np.testing.assert_allclose(result.x, fresh.x, rtol=0, atol=2 * fresh.error_bound * np.linalg.norm(fresh.x))
    check_certificate(result, G[-10:], 1e-2, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_window_that_was_saved_goes_on_bit_for_bit(tmp_path, dtype):
    G, b = gradients(20, dtype=dtype), np.ones(D, dtype=dtype)
    for cut in (0, 3, 13):
        fisher = SlidingMFAC(D, 7, damp=1e-3)
        fisher.push(G[:cut])
        if cut:
            fisher.pop()
        fisher.save(tmp_path / "window.npz")
        again = SlidingMFAC.load(tmp_path / "window.npz")
        for each in (fisher, again):
            each.push(G[cut:])
        np.testing.assert_array_equal(again.solve(b).x, fisher.solve(b).x)
        assert again.solve(b).certificate == fisher.solve(b).certificate
        assert (again.n, repr(again)) == (fisher.n, repr(fisher))


@pytest.mark.parametrize("storage", [None, "bfloat16"])
@pytest.mark.parametrize("cut", [0, 3, 13])
def test_a_window_that_goes_on_from_its_state_equals_one_that_never_stopped(cut, storage):
    G, b = gradients(20, dtype=np.float32), np.ones(D, dtype=np.float32)
    fisher = SlidingMFAC(D, 7, damp=1e-3, storage=storage)
    fisher.push(G[:cut])
    state = fisher.state_dict()
    kept = {name: value.copy() for name, value in state.items()}
    again = SlidingMFAC.from_state_dict(state)
    for g in G[cut:]:
        np.testing.assert_array_equal(again.push_solve(g).x, fisher.push_solve(g).x)
    assert again.solve(b).certificate == fisher.solve(b).certificate
    assert (again.n, repr(again)) == (fisher.n, repr(fisher))
    for name, value in kept.items():  # which neither window reaches
        np.testing.assert_array_equal(state[name], value)


@pytest.mark.parametrize("state", [{}, {"d": 3}, None, {"d": 3, "window": 2, "damp": 1.0, "next": 0, "n": 1, "grads": np.ones((1, 3))}])
def test_a_state_of_something_else_is_refused(state):
    with pytest.raises(ValueError, match=r"SlidingMFAC\.from_state_dict: state must be what SlidingMFAC\.state_dict returned"):
        SlidingMFAC.from_state_dict(state)


def test_a_gradient_with_nan_leaves_the_window_as_it_was():
    fisher, b = SlidingMFAC(D, 5, damp=1e-2), np.ones(D)
    fisher.push(gradients(5))
    before = fisher.solve(b).x
    bad = gradients(3, seed=1)
    bad[2, 4] = np.nan
    with pytest.raises(ValueError, match=r"SlidingMFAC\.push: g must be finite"):
        fisher.push(bad)
    np.testing.assert_array_equal(fisher.solve(b).x, before)


def test_a_float32_window_refuses_what_float32_cannot_hold():
    fisher = SlidingMFAC(D, 5)
    fisher.push(gradients(2, dtype=np.float32))
    with pytest.raises(ValueError, match=r"SlidingMFAC\.push: g must be finite"):
        fisher.push(np.full(D, 1e100))
    assert fisher.n == 2


def test_backends_agree(backend, tmp_path):
    G, b, w = gradients(), np.random.default_rng(3).standard_normal((D, 2)), np.random.default_rng(4).standard_normal(D)
    wanted, fisher = MFAC(G, damp=1e-2), MFAC(backend.array(G), damp=1e-2)
    index = np.array([4, 17])
    places = backend.array(index)
    np.testing.assert_allclose(backend.numpy(fisher.solve(backend.array(b)).x), wanted.solve(b).x, atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.diagonal()), wanted.diagonal(), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.elements(places, places)), wanted.elements(index, index), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.pruning_scores(backend.array(w))), wanted.pruning_scores(w), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(fisher.pruning_update(backend.array(w), places)), wanted.pruning_update(w, index), atol=1e-9)
    stream = SlidingMFAC(D, 5, damp=1e-2)
    stream.push(backend.array(G))
    wanted = MFAC(G[-5:], damp=1e-2).solve(b).x
    np.testing.assert_allclose(backend.numpy(stream.solve(backend.array(b)).x), wanted, atol=1e-9)
    stream.save(tmp_path / "window.npz")
    again = SlidingMFAC.load(tmp_path / "window.npz")
    other = SlidingMFAC.from_state_dict(stream.state_dict())
    for each in (stream, again, other):
        each.push(backend.array(b.T))
    solutions = [backend.numpy(each.solve(backend.array(b)).x) for each in (stream, again, other)]
    np.testing.assert_array_equal(*solutions[:2])
    np.testing.assert_array_equal(*solutions[1:])


def test_answers_do_not_depend_on_the_number_of_threads():
    G, b = gradients(20, 6000, dtype=np.float32), np.ones(6000, dtype=np.float32)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(MFAC(G, damp=1e-3).solve(b).x)
    np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-6 * np.abs(answers[0]).max())


@pytest.mark.parametrize(("dtype", "wanted"), [(np.float16, np.float16), (np.int64, np.float64), (bool, np.float64)])
def test_answers_have_the_dtype_of_the_gradients(dtype, wanted):
    G = gradients().astype(dtype)
    fisher = MFAC(G, damp=1.0)
    assert fisher.solve(np.ones(D)).x.dtype == fisher.diagonal().dtype == wanted
    stream = SlidingMFAC(D, 3, damp=1.0)
    stream.push(G)
    assert stream.solve(np.ones(D, dtype=int)).x.dtype in (wanted, np.float32)


def test_large_gradients_take_the_compiled_product():
    G = gradients(60, 100_000, dtype=np.float32)
    stream = SlidingMFAC(100_000, 60, damp=1e-2)
    for part in (G[:58], G[58], G[59]):
        stream.push(part)
    result, wanted = stream.solve(G[59]), MFAC(G.astype(float), damp=1e-2).solve(G[59])
    assert norm(result.x - wanted.x) <= (result.error_bound + wanted.error_bound) * norm(result.x)
    assert result.error_bound < 1e-6
    np.testing.assert_allclose(MFAC(G, damp=1e-2).solve(G[59]).x, wanted.x, rtol=0, atol=1e-6 * np.abs(wanted.x).max())


def test_nothing_is_modified():
    G, b = gradients(), np.ones(D)
    for x in (G, b):
        x.flags.writeable = False
    fisher = MFAC(G, damp=1e-2)
    fisher.solve(b)
    fisher.pruning_update(b, 3)
    stream = SlidingMFAC(D, 3)
    stream.push(G)
    stream.pop()
    stream.solve(b)


@pytest.mark.parametrize("rows", [np.zeros((3, D)), np.repeat(gradients(1), 4, axis=0), np.concatenate([gradients(2), np.zeros((2, D))])])
def test_zero_and_duplicate_gradients(rows):
    b = np.ones(D)
    result = MFAC(rows, damp=1e-2).solve(b)
    check_certificate(result, rows, 1e-2, b)
    assert result.error_bound < 1e-10


def test_a_zero_right_hand_side_has_the_answer_zero():
    result = MFAC(gradients(), damp=1e-2).solve(np.zeros(D))
    assert not result.x.any()
    assert result.converged
    assert result.certificate.bound == result.error_bound == 0


def test_a_damping_below_roundoff_is_told():
    G = np.repeat(1e6 * gradients(1), 3, axis=0)
    fisher = MFAC(G, damp=1e-12)
    with pytest.warns(ConvergenceWarning, match="damp = 1e-12 is too small beside the gradients"):
        result = fisher.solve(np.ones(D))
    assert not result.converged
    g = G[0].astype(np.longdouble)
    wanted = (1 - g * (g.sum() / (np.longdouble(1e-12) + g @ g))) / np.longdouble(1e-12)
    assert norm(result.x - wanted) <= result.error_bound * norm(result.x)


def test_a_refused_right_hand_side_does_not_open_the_window():
    fisher = SlidingMFAC(4, 2)
    with pytest.raises(ValueError, match=r"SlidingMFAC.solve: b must have 4 rows"):
        fisher.solve(np.ones(3, dtype=np.float32))
    fisher.push(np.ones(4))
    assert fisher.solve(np.ones(4)).x.dtype == np.float64


def test_a_pop_of_an_empty_window_is_refused():
    with pytest.raises(ValueError, match=r"SlidingMFAC\.pop: the window must hold a gradient"):
        SlidingMFAC(3, 2).pop()


BAD = [
    (lambda: MFAC(np.ones(3)), ValueError, "MFAC: grads must be 2-dimensional"),
    (lambda: MFAC(np.ones((0, 3))), ValueError, "MFAC: grads must have at least one entry"),
    (lambda: MFAC(np.ones((2, 3)) * 1j), TypeError, "MFAC: grads must be real"),
    (lambda: MFAC("grads"), TypeError, "MFAC: grads must be an array of numbers"),
    (lambda: MFAC(np.full((2, 3), np.inf)), ValueError, "MFAC: grads must be finite"),
    (lambda: MFAC(np.full((2, 3), 1e200)), ValueError, "MFAC: grads must have entries whose squares do not overflow"),
    (lambda: MFAC(np.ones((2, 3)), damp=0), ValueError, "MFAC: damp must be a number above 0"),
    (lambda: MFAC(np.ones((2, 3)), damp=np.nan), ValueError, "MFAC: damp must be a number above 0"),
    (lambda: MFAC(np.ones((2, 3))).solve(np.ones(2)), ValueError, r"MFAC\.solve: b must have 3 rows"),
    (lambda: MFAC(np.ones((2, 3))).solve(np.ones(3) * 1j), TypeError, r"MFAC\.solve: b must be real"),
    (lambda: MFAC(np.ones((2, 3))).solve([1, np.nan, 2]), ValueError, r"MFAC\.solve: b must be finite"),
    (lambda: MFAC(np.ones((2, 3))).solve(np.ones((3, 0))), ValueError, r"MFAC\.solve: b must have at least one entry"),
    (lambda: MFAC(np.ones((2, 3)), damp=1e-310).solve([1, 2, 3]), ValueError, r"MFAC\.solve: b must have an answer within the range"),
    (lambda: MFAC(np.ones((2, 3))).element(0, 3), ValueError, r"MFAC\.element: j must be an integer between 0 and 2"),
    (lambda: MFAC(np.ones((2, 3))).element(0.5, 1), TypeError, r"MFAC\.element: i must be an integer"),
    (lambda: MFAC(np.ones((2, 3))).elements([0, 1], [2]), ValueError, r"MFAC\.elements: cols must have shape \(2,\)"),
    (lambda: MFAC(np.ones((2, 3))).elements([0.5], [2]), TypeError, r"MFAC\.elements: rows must be integers"),
    (lambda: MFAC(np.ones((2, 3))).pruning_scores(np.ones(4)), ValueError, r"MFAC\.pruning_scores: w must have shape \(3,\)"),
    (lambda: MFAC(np.ones((2, 3))).pruning_update(np.ones(3), 3), ValueError, r"MFAC\.pruning_update: index must be an integer between"),
    (
        lambda: MFAC(np.ones((2, 3))).pruning_update(np.ones(3), [1, 1]),
        ValueError,
        "index must not name a weight twice",
    ),
    (lambda: SlidingMFAC(0, 1), ValueError, "SlidingMFAC: d must be an integer of at least 1"),
    (lambda: SlidingMFAC(3, 0), ValueError, "SlidingMFAC: window must be an integer of at least 1"),
    (lambda: SlidingMFAC(3, 2, damp=-1), ValueError, "SlidingMFAC: damp must be a number above 0"),
    (lambda: SlidingMFAC(3, 2).push(np.ones(4)), ValueError, r"SlidingMFAC\.push: g must have shape \(3,\)"),
    (lambda: SlidingMFAC(3, 2).push(np.ones((1, 1, 3))), ValueError, r"SlidingMFAC\.push: g must be 1-dimensional or 2-dimensional"),
    (lambda: SlidingMFAC(3, 2).push(np.ones(3) * 1j), TypeError, r"SlidingMFAC\.push: g must be real"),
    (lambda: SlidingMFAC(3, 2).solve(np.ones(3) * 1j), TypeError, r"SlidingMFAC\.solve: b must be real"),
    (lambda: SlidingMFAC(3, 2).solve(np.ones(4)), ValueError, r"SlidingMFAC\.solve: b must have 3 rows"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "window.npz"
    np.savez(path, x=np.ones(3)) if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a file that SlidingMFAC\.save wrote"):
        SlidingMFAC.load(path)
