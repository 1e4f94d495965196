"""`CodedFourier`: adjoints, matrices, bad input; the iterative path against the dense one."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.calibration import CodedFourier, _matrix_free, _reduced, self_calibrate
from lowrank_la.calibration._problem import Problem
from lowrank_la.calibration._spectral import Options
from tests.calibration import oracles

RNG = np.random.default_rng(0)
GRIDS = {1: (36,), 2: (6, 8)}


def coded(model, dims, seed=0, snr=60, p=5, grid=None, kept=0.5):
    """Signs for masks (for many signals also zeros), gains of random size and phase."""
    rng = np.random.default_rng(seed)
    grid = grid or GRIDS[dims]
    m = int(np.prod(grid))
    masks = rng.choice([-1.0, 1.0], (p, *grid))
    if model != "repeated":
        masks *= rng.permuted(np.arange(m)[None, :].repeat(p, 0) < kept * m, axis=1).reshape(masks.shape)
    A = CodedFourier(masks[0] if model == "snapshots" else masks, dims=dims)
    x = rng.standard_normal(m if model == "repeated" else (p, m)) + 0j
    x = x if model == "repeated" else x * (A.flat != 0)
    d = (1 + 0.5 * rng.uniform(-1, 1, m)) * np.exp(2j * np.pi * rng.random(m))
    clean = d * A.apply(x)
    E = 10 ** (-snr / 20) * np.sqrt(np.mean(abs(clean) ** 2) / 2) * (rng.standard_normal((p, m)) + 1j * rng.standard_normal((p, m)))
    return clean + E, A, d, x, E


@pytest.mark.parametrize("dims", [1, 2])
def test_adjoints_and_matrices(dims, backend):
    grid = GRIDS[dims]
    m = int(np.prod(grid))
    masks = RNG.standard_normal((3, *grid)) + 1j * RNG.standard_normal((3, *grid))
    A = CodedFourier(backend.array(masks), dims=dims)
    x, y = RNG.standard_normal((2, 3, m)) + 1j * RNG.standard_normal((2, 3, m))
    image = backend.numpy(A.apply(backend.array(x)))
    grids = (masks * x.reshape(masks.shape)).reshape(3, *grid)
    expected = np.fft.fftn(grids, axes=tuple(range(1, dims + 1)), norm="ortho").reshape(3, m)
    np.testing.assert_allclose(image, expected, atol=1e-12)
    back = backend.numpy(A.adjoint(backend.array(y)))
    np.testing.assert_allclose(np.vdot(y, image), np.vdot(back, x), rtol=1e-10)
    np.testing.assert_allclose((backend.numpy(A.to_dense()) @ x[:, :, None])[..., 0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("masks", "dims", "error"),
    [
        (np.ones((2, 3, 4, 5)), 2, ValueError),
        (np.ones(4), 2, ValueError),
        (np.full((2, 4), np.nan), 1, ValueError),
        (np.ones((2, 4)), 3, ValueError),
        ("no", 1, TypeError),
        (np.ones((2, 0)), 1, ValueError),
    ],
)
def test_bad_masks(masks, dims, error):
    with pytest.raises(error, match="CodedFourier: "):
        CodedFourier(masks, dims=dims)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("model", ["repeated", "diverse", "snapshots"])
def test_small_operators_are_matrices(model, dims):
    Y, A, d, x, E = coded(model, dims, p=5 if model != "snapshots" else 40)
    result = self_calibrate(Y, A, model=model, noise=np.linalg.norm(E, axis=0))
    assert oracles.error(result.d, d) < 0.05
    assert oracles.error(result.x.ravel(), x.ravel()) < 0.05
    assert oracles.sine(result.d, d, result.weights) <= result.certificate.bound


@pytest.mark.parametrize("model", ["repeated", "diverse", "snapshots"])
def test_the_iterative_eigenproblem_is_the_dense_one(model):
    """The same pencil (G, diag q), from transforms and from matrices."""
    Y, A, *_ = coded(model, 2, p=5 if model != "snapshots" else 12)
    m = Y.shape[1]
    form = _reduced.Elimination(Problem(model, Y, A), np.zeros(m, dtype=bool), Options("polished", 0))
    H = np.stack([form.apply(e) for e in np.eye(m) + 0j], axis=1)
    dense = np.broadcast_to(A.to_dense(), (len(Y), m, m))
    M = oracles.system(Y, dense, model, np.ones(m))
    scale = np.sqrt(np.sum(abs(Y) ** 2, axis=0))
    expected = np.eye(m) - oracles.schur(M, m) / np.outer(scale, scale)
    np.testing.assert_allclose(H, expected, atol=1e-10)
    found = _matrix_free.leading(form, 1e-9)
    values, V = np.linalg.eigh(expected)
    assert abs(np.vdot(found.u, V[:, -1])) == pytest.approx(np.linalg.norm(found.u), rel=1e-8)
    np.testing.assert_allclose(1 - found.values[0], values[-1], atol=1e-8)
    assert found.values[1] <= 1 - values[-2] + 1e-8


@pytest.mark.parametrize(
    ("model", "dims", "grid"), [("repeated", 1, (2048,)), ("repeated", 2, (40, 50)), ("diverse", 1, (1200,)), ("snapshots", 1, (1200,))]
)
def test_large_operators_go_by_transforms(model, dims, grid):
    p = {"repeated": 6, "diverse": 8, "snapshots": 30}[model]
    Y, A, d, x, _ = coded(model, dims, snr=40, p=p, grid=grid, kept=0.3)
    result = self_calibrate(Y, A, model=model, max_iter=30)
    assert result.identifiable
    assert oracles.error(result.d, d) < 0.03
    assert oracles.error(result.x.ravel(), x.ravel()) < 0.03
    assert result.certificate.method.startswith("ESTIMATE")
    assert oracles.sine(result.d, d, result.weights) <= result.certificate.bound
    assert all(later <= sooner * (1 + 1e-12) for sooner, later in zip(result.history, result.history[1:], strict=False))
    assert result.noise_std == pytest.approx(1e-2 * np.sqrt(np.mean(abs(Y) ** 2)), rel=0.1)


@pytest.mark.parametrize(("model", "p"), [("repeated", 4), ("diverse", 6), ("snapshots", 20)])
@pytest.mark.parametrize("held", [0, 300])
def test_error_bars_are_those_of_repeated_noise(model, p, held):
    """On average, and for strong and weak gains apart."""
    squares, sizes = [], []
    for seed in range(3):
        Y, A, d, *_ = coded(model, 1, seed=seed, snr=40, p=p, grid=(1100,), kept=0.3)
        places = np.arange(held)
        result = self_calibrate(Y, A, model=model, known=(places, d[places]) if held else None)
        scale = np.vdot(result.d, d) / np.vdot(result.d, result.d) if not held else 1.0
        squares.append(abs(result.d - d / scale)[held:] ** 2 / result.d_error[held:] ** 2)
        sizes.append(abs(d)[held:])
        assert (result.d_error[:held] == 0).all()
    squares, sizes = np.concatenate(squares), np.concatenate(sizes)
    assert np.mean(squares) == pytest.approx(1, abs=0.1)
    assert np.mean(squares[sizes < 0.8]) == pytest.approx(1, abs=0.15)
    assert np.mean(squares[sizes > 1.2]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("model", "p", "k", "kept"), [("repeated", 4, 40, 1.0), ("diverse", 8, 20, 0.3), ("snapshots", 30, 20, 0.3)])
def test_sparse_signals(model, p, k, kept):
    rng = np.random.default_rng(3)
    Y, A, d, x, E = coded(model, 1, p=p, grid=(1100,), kept=kept)
    keep = rng.random(x.shape) if model != "snapshots" else np.broadcast_to(rng.random(1100), x.shape)
    keep = np.where(x != 0, keep, -1)
    x = np.where(keep >= np.sort(keep, axis=-1)[..., [-k]], x * 1.0 + np.sign(x.real), 0)
    clean = d * A.apply(x)
    Y = clean + 1e-2 * np.sqrt(np.mean(abs(clean) ** 2)) * E / np.sqrt(np.mean(abs(E) ** 2))
    result = self_calibrate(Y, A, model=model, sparsity=k)
    support = result.support if model != "snapshots" else np.broadcast_to(result.support, (p, k))
    assert np.array_equal(support, np.sort(np.argsort(x == 0, axis=-1, kind="stable")[..., :k], axis=-1))
    assert np.count_nonzero(result.x) == np.count_nonzero(x)
    assert "given the support" in result.certificate.claim
    dense = self_calibrate(Y, A, model=model)
    assert oracles.error(result.d, d) < 0.9 * oracles.error(dense.d, d)


def test_dead_channels_and_counts():
    Y, A, d, *_ = coded("repeated", 1, snr=40, grid=(2048,))
    Y[:, [3, 2000]] = 0
    result = self_calibrate(Y, A, model="repeated", noise=1.0)
    live = ~result.dead
    assert np.flatnonzero(result.dead).tolist() == [3, 2000]
    assert oracles.error(result.d[live], d[live]) < 0.03
    with pytest.raises(ValueError, match="normalize must name a live channel"):
        self_calibrate(Y, A, model="repeated", normalize=3)
    Y, A, *_ = coded("repeated", 1, grid=(2048,), p=1)
    with pytest.raises(ValueError, match="gains - 1 for the scale"):
        self_calibrate(Y, A, model="repeated")


def test_backends(backend):
    Y, A, *_ = coded("repeated", 2, snr=40, p=5, grid=(30, 40))
    expected = self_calibrate(Y, A, model="repeated")
    masks = backend.array(A.flat.reshape(5, 30, 40))
    result = self_calibrate(backend.array(Y), CodedFourier(masks, dims=2), model="repeated")
    for name in ("d", "x", "d_error", "weights"):
        np.testing.assert_allclose(backend.numpy(getattr(result, name)), getattr(expected, name), rtol=1e-6, atol=1e-8)


def test_the_answer_does_not_depend_on_threads():
    Y, A, *_ = coded("repeated", 1, snr=40, p=4, grid=(1 << 15,))
    before = Y.copy()
    expected = self_calibrate(Y, A, model="repeated")
    with limit_threads(1):
        result = self_calibrate(Y, A, model="repeated")
    np.testing.assert_allclose(result.d, expected.d, rtol=1e-10)
    assert np.array_equal(Y, before)
