"""`obs_prune` against enumeration and dense constrained minimization in long double."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.adapters.compress import obs_prune

M, D = 12, 30
LONG = np.longdouble


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products do not wait for a second core that may be busy."""
    with limit_threads(1):
        yield


def gradients(m=M, d=D, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (2 * rng.standard_normal((m, 2)) @ rng.standard_normal((2, d)) + rng.standard_normal((m, d))).astype(dtype)


def weights(d=D, seed=1, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(d).astype(dtype)


def matrix(G, damp, block=None):
    """H in long double."""
    G = np.asarray(G, dtype=LONG)
    m, d = G.shape
    blocks = np.arange(d) // (block or d)
    return LONG(damp) * np.eye(d, dtype=LONG) + G.T @ G / m * (blocks[:, None] == blocks)


def dense_solve(H, B):
    """Gaussian elimination in long double; H is positive definite, so that it needs no pivots."""
    H, X = H.copy(), np.array(B, dtype=LONG)
    for i in range(len(H)):
        factors = H[i + 1 :, i] / H[i, i]
        H[i + 1 :] -= factors[:, None] * H[i]
        X[i + 1 :] -= np.multiply.outer(factors, X[i])
    for i in reversed(range(len(H))):
        X[i] = (X[i] - H[i, i + 1 :] @ X[i + 1 :]) / H[i, i]
    return X


def least(H, w, kept):
    """The weights with these zeros for which (1/2) dw^T H dw is least, and that value."""
    w = np.asarray(w, dtype=LONG)
    best = np.zeros_like(w)
    best[kept] = w[kept] + dense_solve(H[np.ix_(kept, kept)], H[np.ix_(kept, ~kept)] @ w[~kept])
    return best, half_square(H, best - w)


def half_square(H, dw):
    dw = np.asarray(dw, dtype=LONG)
    return dw @ H @ dw / 2


def surgeon(w, grads_of, counts, damp, block=None):
    """Remove so many weights in each round, by the definition of a score: what the loss grows by if a weight goes alone."""
    w, kept, total = np.asarray(w, dtype=LONG), np.ones(len(w), dtype=bool), LONG(0)
    for count in counts:
        H = matrix(grads_of(w), damp, block)
        scores = np.full(len(w), np.inf, dtype=LONG)
        for i in np.flatnonzero(kept):
            alone = np.arange(kept.sum()) != np.flatnonzero(kept).tolist().index(i)
            scores[i] = least(H[np.ix_(kept, kept)], w[kept], alone)[1]
        kept = kept.copy()
        kept[np.argsort(scores)[:count]] = False
        w, rise = least(H, w, kept)
        total += rise
    return w, kept, total


@pytest.mark.parametrize("block", [None, 7])
def test_one_weight_goes_where_enumeration_says(block):
    G, w = gradients(), weights()
    H = matrix(G, 0.1, block)
    rises = [least(H, w, np.arange(D) != i) for i in range(D)]
    best = min(range(D), key=lambda i: rises[i][1])
    result = obs_prune(w, G, sparsity=1 / D, damp=0.1, block=block)
    np.testing.assert_array_equal(np.flatnonzero(~result.mask), [best])
    np.testing.assert_allclose(result.weights, rises[best][0].astype(float), rtol=1e-9, atol=1e-12)
    assert result.loss_increase == pytest.approx(float(rises[best][1]), rel=1e-10)


def test_pairs_cost_at_least_what_enumeration_finds():
    G, w = gradients(8, 9), weights(9)
    H = matrix(G, 1e-2)
    best = min(float(least(H, w, ~np.isin(np.arange(9), pair))[1]) for pair in itertools.combinations(range(9), 2))
    for rounds in (1, 2):
        assert obs_prune(w, G, sparsity=2 / 9, damp=1e-2, rounds=rounds).loss_increase >= best * (1 - 1e-9)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    m=st.integers(1, 15),
    d=st.integers(1, 20),
    damp=st.sampled_from([1e-4, 1e-2, 10.0]),
    share=st.floats(0, 1),
    block=st.sampled_from([None, 1, 5]),
    rounds=st.sampled_from([1, 3, 50]),
)
def test_the_weights_are_the_constrained_minimum(seed, m, d, damp, share, block, rounds):
    G, w = gradients(m, d, seed), weights(d, seed)
    result = obs_prune(w, G, sparsity=share, damp=damp, block=block, rounds=rounds)
    assert np.sum(~result.mask) == round(share * d)
    assert not result.weights[~result.mask].any()
    H = matrix(G, damp, block)
    best, rise = least(H, w, result.mask)
    np.testing.assert_allclose(result.weights, best.astype(float), rtol=1e-7, atol=1e-8)
    assert result.loss_increase == pytest.approx(float(rise), rel=1e-8, abs=1e-25)
    assert result.loss_increase <= float(half_square(H, np.where(result.mask, 0, w))) * (1 + 1e-9)
    assert result.converged


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), counts=st.sampled_from([(3,), (1, 1, 1, 1), (10,)]), block=st.sampled_from([None, 4]))
def test_rounds_follow_the_definition(seed, counts, block):
    G, w = gradients(6, 12, seed), weights(12, seed)
    wanted, kept, total = surgeon(w, lambda _: G, counts, 1e-2, block)
    rounds = 1 if len(counts) == 1 else 1000
    result = obs_prune(w, G, sparsity=sum(counts) / 12, damp=1e-2, block=block, rounds=rounds)
    np.testing.assert_array_equal(result.mask, kept)
    np.testing.assert_allclose(result.weights, wanted.astype(float), rtol=1e-7, atol=1e-9)
    assert result.loss_increase == pytest.approx(float(total), rel=1e-8)  # what rounds cost adds up to what all cost at once


def test_a_function_gives_gradients_at_the_weights_of_each_round():
    G, w, seen = gradients(6, 12), weights(12), []

    def grads(at):
        seen.append(at)
        return G * (1 + np.sin(np.asarray(at, dtype=float)))

    result = obs_prune(w, grads, sparsity=0.25, damp=1e-2, rounds=1000)
    wanted, kept, total = surgeon(w, grads, (1, 1, 1), 1e-2)
    np.testing.assert_array_equal(result.mask, kept)
    np.testing.assert_allclose(result.weights, wanted.astype(float), rtol=1e-8)
    assert result.loss_increase == pytest.approx(float(total), rel=1e-9)
    np.testing.assert_array_equal(seen[0], w)
    assert [np.count_nonzero(at) for at in seen[:3]] == [12, 11, 10]


@pytest.mark.parametrize("pattern", [(2, 4), (1, 3), (0, 2), (4, 4)])
def test_a_pattern_keeps_n_of_m_neighbours(pattern):
    n, m = pattern
    w, G = weights(24).reshape(2, 12), gradients(10, 24).reshape(10, 2, 12)
    for rounds in (1, 16):
        result = obs_prune(w, G, sparsity=pattern, damp=1e-2, rounds=rounds)
        assert result.weights.shape == result.mask.shape == (2, 12)
        np.testing.assert_array_equal(result.mask.reshape(2, -1, m).sum(axis=2), n)
        best, _ = least(matrix(G.reshape(10, 24), 1e-2), w.reshape(-1), result.mask.reshape(-1))
        np.testing.assert_allclose(result.weights.reshape(-1), best.astype(float), rtol=1e-8, atol=1e-10)


def test_zero_weights_go_first_and_cost_nothing():
    w = weights()
    w[[2, 11, 29]] = 0
    result = obs_prune(w, gradients(), sparsity=3 / D)
    np.testing.assert_array_equal(np.flatnonzero(~result.mask), [2, 11, 29])
    np.testing.assert_array_equal(result.weights, w)
    assert result.loss_increase == 0


def test_nothing_one_weight_less_and_all():
    G, w = gradients(), weights()
    none, one, every = (obs_prune(w, G, sparsity=s) for s in (0, 1 - 1 / D, 1))
    np.testing.assert_array_equal(none.weights, w)
    assert none.mask.all()
    assert none.loss_increase == 0
    assert np.count_nonzero(one.weights) == np.sum(one.mask) == 1
    assert not every.weights.any()
    assert every.loss_increase == pytest.approx(float(half_square(matrix(G, 1e-5), w)))
    assert every.certificate.bound == 0  # there is no other choice
    single = obs_prune(w[:1], G[:, :1], sparsity=0.4)
    assert single.mask.all()


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([np.float32, np.float64]), damp=st.sampled_from([1e-7, 1e-3, 1.0]))
def test_the_certificate_holds(seed, dtype, damp):
    G, w = gradients(seed=seed, dtype=dtype), weights(seed=seed, dtype=dtype)
    for block in (None, 8):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # float32 and the smallest damp
            result = obs_prune(w, G, sparsity=0.6, damp=damp, block=block, rounds=4)
        H = matrix(G, damp, block)
        best, _ = least(H, w, result.mask)
        assert result.weights.dtype == dtype
        assert half_square(H, result.weights - best) <= result.certificate.bound


def test_the_certificate_is_not_loose():
    for seed in range(10):
        G, w = gradients(seed=seed, dtype=np.float32), weights(seed=seed, dtype=np.float32)
        result = obs_prune(w, G, sparsity=0.6, damp=1e-3)
        H = matrix(G, 1e-3)
        excess = half_square(H, result.weights - least(H, w, result.mask)[0])
        assert excess <= result.certificate.bound < 1000 * excess
        assert result.certificate.bound < 1e-8 * result.loss_increase


def test_more_sparsity_never_costs_less_and_rounds_pay():
    costs = []
    for sparsity in (0.3, 0.6, 0.9):
        rises = [obs_prune(weights(100, s), gradients(30, 100, s), sparsity=sparsity).loss_increase for s in range(3)]
        once = [obs_prune(weights(100, s), gradients(30, 100, s), sparsity=sparsity, rounds=1).loss_increase for s in range(3)]
        assert sum(rises) < sum(once)
        costs.append(sum(rises))
    assert costs == sorted(costs)


def test_backends_agree(backend):
    G, w = gradients(), weights()
    wanted, result = (obs_prune(a(w), a(G), sparsity=0.7, damp=1e-2, rounds=3) for a in (np.asarray, backend.array))
    np.testing.assert_array_equal(backend.numpy(result.mask), wanted.mask)
    np.testing.assert_allclose(backend.numpy(result.weights), wanted.weights, rtol=1e-9, atol=1e-12)
    assert result.loss_increase == pytest.approx(wanted.loss_increase)
    pattern = obs_prune(backend.array(w.reshape(5, 6)), lambda _: backend.array(G.reshape(M, 5, 6)), sparsity=(1, 2), block=10)
    assert backend.numpy(pattern.mask).sum() == D // 2


@pytest.mark.parametrize(
    ("given", "wanted"), [("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "float32"), ("int64", "float32")]
)
def test_weights_keep_their_dtype(given, wanted):
    torch = pytest.importorskip("torch")
    w, G = torch.tensor(4 * weights()).to(getattr(torch, given)), torch.tensor(gradients()).to(torch.float32)
    result = obs_prune(w, G, sparsity=0.5, damp=0.1)
    assert result.weights.dtype == getattr(torch, given.replace("int64", "float32"))
    H = matrix(G.numpy(), 0.1)
    best, _ = least(H, w.double().numpy(), result.mask.numpy())
    excess = half_square(H, result.weights.double().numpy() - best)
    assert excess <= result.certificate.bound < 1000 * excess  # rounding to the dtype is inside


def test_the_answer_does_not_depend_on_the_number_of_threads():
    G, w, answers = gradients(20, 6000, dtype=np.float32), weights(6000, dtype=np.float32), []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(obs_prune(w, G, sparsity=0.5, damp=1e-2, rounds=2).weights)
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-6)


def test_nothing_is_modified():
    G, w = gradients(), weights()
    for x in (G, w):
        x.flags.writeable = False
    result = obs_prune(w, G, sparsity=0.5)
    obs_prune(w, lambda _: G, sparsity=0.5, block=4)
    assert not np.shares_memory(obs_prune(w, G, sparsity=0).weights, w)
    assert "mask = bool array (30,)" in repr(result)


@pytest.mark.parametrize("rows", [np.zeros((3, D)), np.repeat(gradients(1), 4, axis=0)])
def test_zero_and_duplicate_gradients(rows):
    w = weights()
    result = obs_prune(w, rows, sparsity=0.5, damp=1e-2)
    best, _ = least(matrix(rows, 1e-2), w, result.mask)
    np.testing.assert_allclose(result.weights, best.astype(float), atol=1e-10)
    if not rows.any():  # then it is pruning by magnitude
        assert np.min(np.abs(w[result.mask])) > np.max(np.abs(w[~result.mask]))


def test_a_damping_below_roundoff_is_told():
    G = 1e6 * gradients(40, 20)
    with pytest.warns(ConvergenceWarning, match=r"obs_prune: damp = 1e-12 is too small beside the gradients") as told:
        result = obs_prune(weights(20), np.repeat(G[:3], 4, axis=0), sparsity=0.5, damp=1e-12)
    assert len(told) == 1
    assert not result.converged
    best, _ = least(matrix(np.repeat(G[:3], 4, axis=0), 1e-12), weights(20), result.mask)
    assert half_square(matrix(np.repeat(G[:3], 4, axis=0), 1e-12), result.weights - best) <= result.certificate.bound


def test_a_digits_network_keeps_more_than_by_magnitude():
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("sklearn.datasets")
    from torch.func import functional_call, grad, vmap

    X, y = (torch.tensor(a) for a in datasets.load_digits(return_X_y=True))
    X, model = X.float() / 16, torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    generator = torch.Generator().manual_seed(0)
    w = torch.cat([torch.randn(p.shape, generator=generator).reshape(-1) / 6 for p in model.parameters()])

    def loss(w, X, y):
        parts = dict(zip([name for name, _ in model.named_parameters()], w.split([p.numel() for p in model.parameters()]), strict=True))
        shaped = {name: parts[name].reshape(p.shape) for name, p in model.named_parameters()}
        return torch.nn.functional.cross_entropy(functional_call(model, shaped, X), y)

    for _ in range(60):
        w = w - 1.0 * grad(loss)(w, X, y)
    by_sample = vmap(grad(lambda w, x, t: loss(w, x[None], t[None])), (None, 0, 0))
    magnitude = torch.where(w.abs() < w.abs().sort().values[round(0.75 * len(w))], 0, w)
    pruned = obs_prune(w, lambda w: by_sample(w, X[:128], y[:128]), sparsity=0.75, rounds=6)
    assert int(pruned.mask.sum()) == int((magnitude != 0).sum())
    base = float(loss(w, X, y))
    assert float(loss(pruned.weights, X, y)) - base < (float(loss(magnitude, X, y)) - base) / 3


G, W = gradients(3, 4), weights(4)
BAD = [
    (lambda: obs_prune([], G, sparsity=0.5), ValueError, "obs_prune: weights must have at least one entry"),
    (lambda: obs_prune(W * np.nan, G, sparsity=0.5), ValueError, "obs_prune: weights must be finite; got 4 NaN"),
    (lambda: obs_prune(W * 1j, G, sparsity=0.5), TypeError, "obs_prune: weights must be real"),
    (lambda: obs_prune("w", G, sparsity=0.5), TypeError, "obs_prune: weights must be an array of numbers"),
    (lambda: obs_prune(W, G[:, :3], sparsity=0.5), ValueError, r"obs_prune: grads must have shape \(3, 4\); got \(3, 3\)"),
    (lambda: obs_prune(W, W, sparsity=0.5), ValueError, r"obs_prune: grads must have shape \(4, 4\); got \(4,\)"),
    (lambda: obs_prune(W, G[:0], sparsity=0.5), ValueError, "obs_prune: grads must have at least one entry"),
    (lambda: obs_prune(W, np.where(G > 1, np.inf, G), sparsity=0.5), ValueError, "obs_prune: grads must be finite"),
    (lambda: obs_prune(W, G * 1j, sparsity=0.5), TypeError, "obs_prune: grads must be real"),
    (lambda: obs_prune(W, lambda w: w, sparsity=0.5), ValueError, "obs_prune: grads must have shape"),
    (lambda: obs_prune(W, lambda w: None, sparsity=0.5), TypeError, "obs_prune: grads must be an array of numbers"),
    (lambda: obs_prune(W, G, sparsity=1.5), ValueError, "obs_prune: sparsity must be a number between 0 and 1"),
    (lambda: obs_prune(W, G, sparsity=np.nan), ValueError, "obs_prune: sparsity must be a number between 0 and 1"),
    (lambda: obs_prune(W, G, sparsity="half"), TypeError, "obs_prune: sparsity must be a number between 0 and 1"),
    (lambda: obs_prune(W, G, sparsity=(1, 2, 3)), ValueError, r"obs_prune: sparsity must be a number or a pair \(n, m\)"),
    (lambda: obs_prune(W, G, sparsity=(2, 3)), ValueError, "obs_prune: weights must have a last axis that 3 divides"),
    (lambda: obs_prune(W, G, sparsity=(5, 4)), ValueError, "obs_prune: n of sparsity must be an integer between 0 and 4"),
    (lambda: obs_prune(W, G, sparsity=0.5, damp=0), ValueError, "obs_prune: damp must be a number above 0"),
    (lambda: obs_prune(W, G, sparsity=0.5, block=0), ValueError, "obs_prune: block must be an integer of at least 1"),
    (lambda: obs_prune(W, G, sparsity=0.5, rounds=0), ValueError, "obs_prune: rounds must be an integer of at least 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_tensors_that_require_gradients_and_sparse_ones_are_refused():
    torch = pytest.importorskip("torch")
    w = torch.ones(4, requires_grad=True)
    with pytest.raises(TypeError, match=r"obs_prune: weights must not require gradients, .* pass weights\.detach\(\)"):
        obs_prune(w, torch.ones(2, 4), sparsity=0.5)
    with pytest.raises(TypeError, match="obs_prune: arrays must belong to one library"):
        obs_prune(w.detach(), np.ones((2, 4)), sparsity=0.5)
    scipy_sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="obs_prune: grads must be a dense array"):
        obs_prune(np.ones(4), scipy_sparse.eye(4).tocsr(), sparsity=0.5)
