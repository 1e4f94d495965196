"""The cases that POT checks its own sliced distances with, through a shim of its signatures, beside POT itself."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank_la.sliced import max_sliced, sliced_wasserstein, wasserstein_1d

ot = pytest.importorskip("ot")


def shim(X_s, X_t, a=None, b=None, n_projections=50, p=2, seed=0):
    """`ot.sliced_wasserstein_distance` with the same positional arguments."""
    return sliced_wasserstein(X_s, X_t, a=a, b=b, n_projections=n_projections, p=p, rng=seed)


def max_shim(X_s, X_t, a=None, b=None, p=2, seed=0):
    """`ot.max_sliced_wasserstein_distance`, which takes the best of some random directions."""
    return max_sliced(X_s, X_t, a=a, b=b, p=p, max_iter=1000, rng=seed)


def clouds(d, n=100, m=100, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d))


@pytest.mark.parametrize("function", [shim, max_shim])
def test_a_cloud_with_itself(function):
    x, _ = clouds(2)
    u = ot.unif(100)
    assert function(x, x, u, u).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("function", [shim, max_shim])
def test_clouds_of_different_dimensions(function):
    x, _ = clouds(2)
    with pytest.raises(ValueError, match="must have 2 columns, as many as X"):
        function(x, np.zeros((100, 4)), ot.unif(100), ot.unif(100))


@pytest.mark.parametrize("function", [shim, max_shim])
def test_different_clouds_are_apart(function):
    x, y = clouds(2)
    assert function(x, y, ot.unif(100), ot.unif(100)).value > 0


@pytest.mark.parametrize("function", [shim, max_shim])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_on_a_line_it_is_the_exact_distance(function, p):
    rng = np.random.default_rng(1)
    x, y = clouds(1, 100, 120)
    a, b = rng.dirichlet(np.ones(100)), rng.dirichlet(np.ones(120))
    for weights in ((ot.unif(100), ot.unif(120)), (a, b)):
        expected = ot.wasserstein_1d(x[:, 0], y[:, 0], *weights, p=p) ** (1 / p)
        assert function(x, y, *weights, p=p).value == pytest.approx(expected, rel=1e-9)
        assert wasserstein_1d(x[:, 0], y[:, 0], p=p, a=weights[0], b=weights[1]).value == pytest.approx(expected, rel=1e-9)
    if p == 2:
        assert function(x, y, a, b).value == pytest.approx(ot.emd2_1d(x, y, a, b, metric="sqeuclidean") ** 0.5, rel=1e-9)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_many_random_directions_agree(p):
    x, y = clouds(3, 100, 80)
    a = np.random.default_rng(2).dirichlet(np.ones(100))
    for weights in ((None, None), (a, ot.unif(80))):
        found = [ot.sliced_wasserstein_distance(x, y, *weights, n_projections=1000, p=p, seed=seed) ** p for seed in range(20)]
        result = shim(x, y, *weights, 1000, p)
        spread = np.std(found, ddof=1) / len(found) ** 0.5
        assert abs(result.value_p - np.mean(found)) <= 4 * (spread + result.standard_error * p * result.value ** (p - 1))


@pytest.mark.parametrize("p", [1, 2])
def test_the_largest_is_no_less_than_the_best_of_random_directions(p):
    x, y = clouds(5, 100, 80)
    result = max_shim(x, y, p=p)
    assert result.value >= ot.max_sliced_wasserstein_distance(x, y, n_projections=500, p=p, seed=0)


def test_one_seed_gives_one_answer_and_more_projections_a_closer_one():
    x, y = clouds(2)
    assert shim(x, y, seed=42).value == shim(x, y, seed=42).value
    assert shim(x, y, n_projections=500).certificate.bound < shim(x, y, n_projections=50).certificate.bound


def test_gradients_of_tensors():
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(z) for z in clouds(3, 40, 40))
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    shim(ours, y, n_projections=3000).value.backward()
    directions = torch.as_tensor(ot.sliced.get_random_projections(3, 20_000, seed=0))
    ot.sliced_wasserstein_distance(theirs, y, projections=directions).backward()
    assert torch.linalg.norm(ours.grad - theirs.grad) < 0.05 * torch.linalg.norm(theirs.grad)
