"""`tucker`: certificates that are the error, ranks that are least, every method, layout, dtype and backend."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.tensors import tucker
from tests.tensors import oracles

METHODS = ["auto", "sthosvd", "hosvd", "hooi", "randomized"]
SLACK = {np.float32: 1e-5, np.float64: 1e-11, np.complex64: 1e-5, np.complex128: 1e-11}
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def hilbert(n=64, d=3):
    x = np.linspace(0, 1, n)
    return 1 / (1 + sum(np.reshape((1 + 0.3 * k) * x, [-1 if j == k else 1 for j in range(d)]) for k in range(d)))


def check(T, result, tol=None):
    """The certificate is above the error, and hardly; factors are orthonormal; the tolerance is kept."""
    size, slack = float(np.linalg.norm(T.astype(complex))), SLACK[T.dtype.type]
    error, bound = oracles.error(T, result.core, result.factors), result.certificate.bound
    assert error <= bound <= error * (1 + 1e-3) + slack * size
    assert result.error == pytest.approx(error, rel=1e-3, abs=slack * size)
    assert result.core.dtype == T.dtype
    for V in result.factors:
        np.testing.assert_allclose(V.conj().T @ V, np.eye(V.shape[1]), atol=1e-5 if slack > 1e-6 else 1e-12)
    if tol is not None:
        assert result.converged
        assert bound <= tol * size


@given(shape=shapes, noise=st.floats(-8, 0), tol=st.floats(-5, -0.1), kind=st.sampled_from(list(SLACK)), seed=seeds)
def test_certificates_hold_and_are_sharp(shape, noise, tol, kind, seed):
    rng = np.random.default_rng(seed)
    ranks = tuple(int(rng.integers(1, n + 1)) for n in shape)
    T = oracles.tensor(shape, ranks, 10**noise, rng, complex_values=np.issubdtype(kind, np.complexfloating)).astype(kind)
    for method in METHODS:
        check(T, tucker(T, tol=10**tol, method=method, rng=seed), 10**tol)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(90, 70, 60), (40, 20, 20, 20), (2000, 100), (300, 8, 80)])
def test_large_tensors_by_every_method(method, shape):
    rng = np.random.default_rng(1)
    ranks = tuple(min(5, n) for n in shape)
    for noise, complex_values in ((1e-9, False), (1e-3, False), (1e-3, True)):
        T = oracles.tensor(shape, ranks, noise, rng, complex_values=complex_values)
        result = tucker(T, tol=2 * noise, method=method, rng=0)
        assert result.ranks == ranks
        check(T, result, 2 * noise)
        given = tucker(T, ranks=3, method=method, rng=0)
        assert max(given.ranks) <= 3
        check(T, given)
        tails = oracles.tails(T, given.ranks)
        assert max(tails) * (1 - 1e-9) <= given.error <= np.linalg.norm(tails) * (1 + 1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-10, 1e-12])
def test_ranks_are_close_to_the_least_ones(method, tol):
    T = hilbert()
    result = tucker(T, tol=tol, method=method, rng=0)
    check(T, result, tol)
    for k, (n, r) in enumerate(zip(T.shape, result.ranks, strict=True)):
        s = np.linalg.svd(np.moveaxis(T, k, 0).reshape(n, -1), compute_uv=False)
        least = int(np.argmax(np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0)) <= tol * np.linalg.norm(T)))
        assert least <= r <= least + 2


def test_where_a_gram_matrix_sees_noise_only():
    """Singular values 1, 1e-5, 1e-10: those of a Gram matrix end at 1e-8."""
    rng = np.random.default_rng(0)
    core = np.zeros((3, 3, 3))
    core[range(3), range(3), range(3)] = 1, 1e-5, 1e-10
    T = np.real(oracles.dense(core, [np.linalg.qr(rng.standard_normal((60, 3)))[0] for _ in range(3)])).astype(float)
    for method in METHODS:
        for tol, rank in ((1e-3, 1), (1e-7, 2), (1e-12, 3)):
            result = tucker(T, tol=tol, method=method, rng=0)
            assert result.ranks == (rank,) * 3
            check(T, result, tol)


def test_a_spike_that_no_sample_of_fibres_shows():
    T = hilbert(100)
    T[37, 41, 73] += 50.0
    result = tucker(T, tol=1e-6, rng=0)
    check(T, result, 1e-6)
    assert max(result.ranks) <= max(tucker(hilbert(100), tol=1e-7, rng=0).ranks) + 2


def test_cores_that_are_large_themselves():
    T = oracles.tensor((300, 130, 70), (60, 55, 52), 1e-9, np.random.default_rng(2))
    for options in ({"tol": 1e-8}, {"tol": 1e-8, "method": "randomized"}, {"ranks": (60, 55, 52), "method": "randomized"}):
        result = tucker(T, rng=0, **options)
        assert result.ranks == (60, 55, 52)
        error = np.linalg.norm(T - result.to_dense())
        assert error <= result.certificate.bound * (1 + 1e-6) <= 1.01 * error


def test_noise_is_not_compressed():
    T = np.random.default_rng(0).standard_normal((60, 50, 70))
    for method in METHODS:
        result = tucker(T, tol=1e-3, method=method, rng=0)
        assert result.ranks == T.shape
        check(T, result, 1e-3)


def test_orthogonal_iteration_never_falls_and_improves():
    rng = np.random.default_rng(3)
    T = rng.standard_normal((12, 13, 14))
    start, better = tucker(T, ranks=3), tucker(T, ranks=3, method="hooi", max_iter=30)
    history = better.history
    assert len(history) > 2
    assert all(later >= earlier * (1 - 1e-14) for earlier, later in pairwise(history))
    assert history[0] >= start.norm() * (1 - 1e-14)
    assert better.error < start.error
    assert len(tucker(T, ranks=3, method="hooi", max_iter=2).history) == 2


def test_layouts_are_left_alone():
    rng = np.random.default_rng(0)
    base = oracles.tensor((30, 24, 20, 20), (3, 4, 3, 2), 1e-8, rng)
    for T in (base, np.asfortranarray(base), base.transpose(2, 0, 3, 1), base[::2, ::-1], base[:, :, 3]):
        before, memory = T.copy(), base.copy()
        frozen = T.view()
        frozen.flags.writeable = False
        for method in METHODS:
            check(before, tucker(frozen, tol=1e-5, method=method, rng=0), 1e-5)
            assert np.array_equal(base, memory)


def test_permuted_modes_and_scales_give_the_same_ranks():
    T = hilbert(50, 3)[:, :40, :30]
    expected = tucker(T, tol=1e-6, rng=0)
    turned = tucker(np.ascontiguousarray(T.transpose(2, 0, 1)), tol=1e-6, rng=0)
    assert all(abs(a - b) <= 1 for a, b in zip(turned.ranks, (expected.ranks[k] for k in (2, 0, 1)), strict=True))
    for scale in (1e-100, 1e6, 1e100):
        scaled = tucker(scale * T, tol=1e-6, rng=0)
        assert scaled.ranks == expected.ranks
        assert scaled.relative_error == pytest.approx(expected.relative_error, rel=1e-6)


def test_tighter_tolerances_take_no_fewer_ranks():
    T = hilbert(70)
    ranks = [tucker(T, tol=10.0**-p, rng=0).ranks for p in range(1, 11)]
    assert all(np.all(np.array(later) >= earlier) for earlier, later in pairwise(ranks))


@pytest.mark.parametrize("shape", [(4,), (3, 5), (1, 1, 1), (1, 6, 1, 5), (2,) * 8])
def test_zero_constant_and_degenerate_tensors(shape):
    for method in METHODS:
        zero = tucker(np.zeros(shape), tol=1e-3, method=method, rng=0)
        assert zero.ranks == (1,) * len(shape)
        assert zero.error == zero.relative_error == zero.certificate.bound == zero.norm() == 0
        assert zero.converged
        ones = tucker(np.full(shape, -3.0), tol=1e-3, method=method, rng=0)
        assert ones.ranks == (1,) * len(shape)
        check(np.full(shape, -3.0), ones, 1e-3)


def test_a_vector_is_its_direction_and_length():
    v = np.array([3.0, 0, -4])
    result = tucker(v, tol=0.1)
    assert abs(result.core) == pytest.approx([5.0])
    np.testing.assert_allclose(result.to_dense(), v, atol=1e-15)


def test_backends(backend):
    T = oracles.tensor((60, 50, 60), (4, 3, 5), 1e-7, np.random.default_rng(0))
    for options in ({"tol": 1e-5}, {"ranks": (2, 3, 4)}, {"ranks": 3, "method": "hooi"}, {"ranks": 3, "method": "randomized"}):
        expected = tucker(T, rng=0, **options)
        result = tucker(backend.array(T), rng=0, **options)
        assert type(result.core) is type(backend.array(T))
        np.testing.assert_allclose(backend.numpy(result.to_dense()), expected.to_dense(), atol=1e-9)
        assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-4)
    indices = np.array([[0, 1, 2], [59, 49, 59], [7, 7, 7]])
    np.testing.assert_allclose(backend.numpy(result.entries(backend.array(indices))), backend.numpy(result.to_dense())[tuple(indices.T)])
    assert result.inner(result) == pytest.approx(result.norm() ** 2)
    assert max(result.round(ranks=2).ranks) == 2
    stack = tucker(backend.array(T), ranks=3, batched=True)
    np.testing.assert_allclose(backend.numpy(stack[5].to_dense()), backend.numpy(stack.to_dense())[5], atol=1e-12)


def test_dtypes_stay():
    for kind in SLACK:
        T = hilbert(60).astype(kind)
        result = tucker(T, tol=1e-3, rng=0)
        assert result.core.dtype == result.factors[0].dtype == result.to_dense().dtype == kind
        check(T, result, 1e-3)
    assert tucker(np.arange(24).reshape(2, 3, 4), tol=1e-3).core.dtype == np.float64


def test_single_precision_ends_at_its_roundoff():
    T = hilbert(60).astype(np.float32)
    check(T, tucker(T, tol=3e-6, rng=0), 3e-6)
    exact = tucker(T, tol=1e-9, rng=0)  # only all of it is as close
    assert exact.ranks == T.shape
    check(T, exact, 1e-9)


def test_ranks_and_tolerance_both_bind():
    T = hilbert(40)
    with pytest.warns(ConvergenceWarning, match=r"tucker: ranks \(3, 3, 3\) leave a relative error of up to .*, more than tol = 1e-08"):
        capped = tucker(T, ranks=3, tol=1e-8)
    assert capped.ranks == (3, 3, 3)
    assert not capped.converged
    check(T, capped)
    assert tucker(T, ranks=30, tol=1e-2).ranks == tucker(T, tol=1e-2, method="sthosvd").ranks


def test_ranks_that_the_shape_does_not_allow():
    T = np.random.default_rng(0).standard_normal((9, 3, 2))
    with pytest.warns(UserWarning, match=r"ranks \(9, 3, 2\) are more than shape \(9, 3, 2\) allows; \(6, 3, 2\) are used"):
        result = tucker(T, ranks=(9, 3, 2))
    assert result.ranks == (6, 3, 2)
    assert result.error < 1e-14
    assert tucker(T, ranks=5).ranks == (5, 3, 2)
    assert tucker(T, tol=1e-9).ranks == (6, 3, 2)


def test_seeds_and_threads():
    T = oracles.tensor((80, 90, 100), (9, 8, 7), 1e-4, np.random.default_rng(5))
    for options in ({"tol": 1e-3}, {"ranks": 5, "method": "randomized"}):
        first = tucker(T, rng=7, **options)
        with limit_threads(1):
            alone = tucker(T, rng=7, **options)
        np.testing.assert_allclose(alone.to_dense(), first.to_dense(), atol=1e-12)
        assert np.array_equal(tucker(T, rng=7, **options).core, first.core)


def test_stacks():
    rng = np.random.default_rng(0)
    for complex_values in (False, True):
        stack = np.stack([oracles.tensor((9, 8, 7), (r, r, r), 1e-6, rng, complex_values=complex_values) for r in (1, 2, 3)])
        result = tucker(stack, tol=1e-4, batched=True)
        assert result.ranks == (3, 3, 3)
        assert result.batched
        assert result.shape == (9, 8, 7)
        errors = [oracles.error(stack[b], result.core[b], [V[b] for V in result.factors]) for b in range(3)]
        np.testing.assert_allclose(result.error, errors, rtol=1e-6, atol=1e-14)
        np.testing.assert_allclose(result.relative_error * np.linalg.norm(stack.reshape(3, -1), axis=1), errors, rtol=1e-6, atol=1e-14)
        assert max(errors) <= result.certificate.bound <= max(errors) * (1 + 1e-6) + 1e-11 * np.linalg.norm(stack[2])
        np.testing.assert_allclose(result.to_dense()[1], stack[1], atol=1e-4)
        one = result[1]
        assert one.error == pytest.approx(errors[1])
        np.testing.assert_allclose(one.to_dense(), result.to_dense()[1], atol=1e-13)
        np.testing.assert_allclose(result.norm(), np.linalg.norm(result.core.reshape(3, -1), axis=1))
    with pytest.warns(UserWarning, match=r"\(2, 2, 1\) are used"):
        assert tucker(stack, ranks=(2, 9, 1), batched=True).ranks == (2, 2, 1)
    zero = tucker(np.zeros((2, 3, 4)), tol=0.1, batched=True)
    assert zero.ranks == (1, 1)
    assert zero.certificate.bound == 0


def test_what_users_do_with_an_answer():
    rng = np.random.default_rng(0)
    for complex_values in (False, True):
        T = oracles.tensor((12, 10, 9), (4, 3, 5), 1e-2, rng, complex_values=complex_values)
        a, b = tucker(T, tol=0.05), tucker(T.conj() * 2 + 1, tol=0.01)
        assert a.norm() == pytest.approx(np.linalg.norm(a.to_dense()))
        assert a.inner(b) == pytest.approx(np.vdot(a.to_dense(), b.to_dense()))
        indices = np.argwhere(np.ones(T.shape))
        np.testing.assert_allclose(a.entries(indices), a.to_dense()[tuple(indices.T)], atol=1e-13)
        assert a.entries(indices[:0]).shape == (0,)
        coarse = a.round(tol=0.3)
        assert max(coarse.ranks) < max(a.ranks)
        error = oracles.error(T, coarse.core, coarse.factors)
        assert error <= coarse.certificate.bound
        assert coarse.error == pytest.approx(error, rel=1e-2)
        assert a.round(ranks=2).ranks == (2, 2, 2)
        assert a.saving > 1
        assert "ranks 4x3x5: " in repr(a)


def test_answers_refuse_what_they_cannot_do():
    stack, single = tucker(np.ones((2, 3, 4)), ranks=1, batched=True), tucker(np.ones((3, 4)), ranks=1)
    with pytest.raises(TypeError, match=r"TuckerResult.entries: must be asked of one tensor, result\[b\]; got a stack of 2"):
        stack.entries(np.zeros((1, 2), dtype=int))
    with pytest.raises(TypeError, match="only a stack of tensors has an index"):
        single[0]
    with pytest.raises(ValueError, match=r"TuckerResult.inner: other must have shape \(3, 4\)"):
        single.inner(tucker(np.ones((4, 3)), ranks=1))
    with pytest.raises(ValueError, match=r"TuckerResult.entries: indices\[:, 1\] must be from 0 to 3; got 4 to 4"):
        single.entries(np.array([[0, 4]]))
    with pytest.raises(ValueError, match="indices must have shape"):
        single.entries(np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"TuckerResult.round: tol or ranks must be given"):
        single.round()


def test_gradients_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="tucker: T must not require gradients"):
        tucker(torch.ones(3, 4, requires_grad=True), tol=0.1)


CUBE = np.ones((40, 60, 70))
NAN = CUBE.copy()
NAN[3, 4, 5] = np.nan
BAD = [
    ("neither", (CUBE,), {}, ValueError, "tucker: tol or ranks must be given; got neither"),
    ("tol", (CUBE,), {"tol": 1.0}, ValueError, "tucker: tol must be a number between 0 and 1, ends excluded; got 1.0"),
    ("rank 0", (CUBE,), {"ranks": 0}, ValueError, "tucker: ranks must be an integer of at least 1; got 0"),
    ("rank 0 of one", (CUBE,), {"ranks": (1, 0, 1)}, ValueError, r"tucker: ranks\[1\] must be an integer of at least 1; got 0"),
    ("two ranks", (CUBE,), {"ranks": (1, 2)}, ValueError, "tucker: ranks must be an integer or 3 of them, one for each mode; got 2"),
    ("float rank", (CUBE,), {"ranks": 2.5}, TypeError, "tucker: ranks must be an integer of at least 1; got 2.5"),
    ("method", (CUBE,), {"tol": 0.1, "method": "als"}, ValueError, "tucker: method must be one of 'auto', 'sthosvd'"),
    ("sweeps", (CUBE,), {"tol": 0.1, "max_iter": 0}, ValueError, "tucker: max_iter must be an integer of at least 1"),
    ("scalar", (np.array(3.0),), {"tol": 0.1}, ValueError, r"tucker: T must have at least 1 axes; got shape \(\)"),
    ("empty", (CUBE[:0],), {"tol": 0.1}, ValueError, r"tucker: T must have at least one entry; got shape \(0, 60, 70\)"),
    ("stack of numbers", (np.ones(3),), {"tol": 0.1, "batched": True}, ValueError, "tucker: T must have at least 2 axes"),
    (
        "stack by hooi",
        (CUBE,),
        {"tol": 0.1, "batched": True, "method": "hooi"},
        ValueError,
        "method must be 'auto' or 'sthosvd' for a stack",
    ),
    ("NaN in a stack", (NAN,), {"tol": 0.1, "batched": True}, ValueError, "T must be finite; got 1 NaN"),
    ("infinite", (CUBE * np.inf,), {"tol": 0.1}, ValueError, "tucker: T must be finite; got 168000 NaN or infinite entries"),
    ("words", (np.array(["a"]),), {"tol": 0.1}, TypeError, "tucker: T must be an array of numbers"),
    ("overflow", (CUBE * 1e200,), {"tol": 0.1}, ValueError, "tucker: T must have entries whose squares do not overflow; scale it down"),
    ("underflow", (CUBE * 1e-200,), {"tol": 0.1}, ValueError, "tucker: T must have entries whose squares do not underflow; scale it up"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        tucker(*args, **{"rng": 0, **kwargs})


@pytest.mark.parametrize("method", METHODS)
def test_nan_by_every_method(method):
    for options in ({"tol": 0.1}, {"ranks": 2}):
        for T in (NAN, NAN[:, :6, :6]):
            with pytest.raises(ValueError, match=r"tucker: T must be finite; got 1 NaN or infinite entry out of .*, the first in row 3"):
                tucker(T, method=method, rng=0, **options)


def test_sparse_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="tucker: T must be a dense array; got csr_array"):
        tucker(sparse.eye_array(4, format="csr"), tol=0.1)
