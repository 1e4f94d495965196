"""`CalibrationStream`: chunks, merges and files give the answer of all snapshots at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import CalibrationStream, _models, _spectral, self_calibrate
from lowrank_la.calibration._problem import Problem
from tests.calibration import oracles

T = oracles.draw(np.random.default_rng(0), "snapshots", 24, 6, 40, 30)


def fed(A, chunks, **options):
    stream = CalibrationStream(A, **options)
    for chunk in chunks:
        assert stream.partial_fit(chunk) is stream
    return stream


def test_a_stream_gives_the_spectral_answer():
    expected = self_calibrate(T.Y, T.A, method="spectral")
    stream = fed(T.A, np.split(T.Y, 8))
    result = stream.result()
    assert stream.n_snapshots == 40
    assert "40 snapshots" in repr(stream)
    np.testing.assert_allclose(result.d, expected.d, rtol=1e-9)
    np.testing.assert_allclose(result.weights, expected.weights, rtol=1e-9)
    assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-6)
    assert result.x is None
    squares = abs(oracles.aligned(result.d, T.d) - T.d) ** 2
    assert np.mean(squares / (result.d_error * np.linalg.norm(T.d) / np.linalg.norm(result.d)) ** 2) == pytest.approx(1, abs=0.7)
    assert result.noise_std == pytest.approx(np.sqrt(np.mean(abs(T.E) ** 2)) * 1.0, rel=0.2)


def test_workers_merge():
    first, second = fed(T.A, [T.Y[:15]]), fed(T.A, [T.Y[15:30], T.Y[30:]])
    first.merge(second)
    assert first.n_snapshots == 40
    assert second.n_snapshots == 25
    np.testing.assert_allclose(first.result().d, fed(T.A, [T.Y]).result().d, rtol=1e-10)


def test_files_go_on_bit_for_bit(tmp_path):
    straight = fed(T.A, [T.Y[:15], T.Y[15:]], reweight=1)
    fed(T.A, [T.Y[:15]], reweight=1).save(tmp_path / "stream.npz")
    loaded = CalibrationStream.load(tmp_path / "stream.npz")
    loaded.partial_fit(T.Y[15:])
    assert np.array_equal(loaded.result().d, straight.result().d)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match=r"must be a file that CalibrationStream\.save wrote"):
        CalibrationStream.load(tmp_path / "other.npz")


def test_backends(backend, tmp_path):
    stream = fed(backend.array(T.A), [backend.array(T.Y)])
    expected = fed(T.A, [T.Y]).result()
    np.testing.assert_allclose(backend.numpy(stream.result().d), expected.d, rtol=1e-8)
    stream.save(tmp_path / "stream.npz")
    loaded = CalibrationStream.load(tmp_path / "stream.npz").partial_fit(backend.array(T.Y[:1]))
    assert backend.numpy(loaded.result().d).shape == (24,)


def test_float32_stays():
    stream = fed(T.A.astype(np.complex64), [T.Y.astype(np.complex64)])
    assert stream.result().d.dtype == np.complex64


def test_dead_channels():
    Y = T.Y.copy()
    Y[:, 4] = 0
    result = fed(T.A, [Y]).result()
    assert np.flatnonzero(result.dead).tolist() == [4]
    assert np.isnan(result.d[4])
    with pytest.raises(ValueError, match="normalize must name a live channel"):
        fed(T.A, [Y]).result(normalize=4)


def test_bad_input():
    stream = CalibrationStream(T.A)
    for call, error, match in [
        (lambda: CalibrationStream(T.A.T), ValueError, "CalibrationStream: A must have fewer columns than rows"),
        (lambda: CalibrationStream(T.A[0]), ValueError, "A must be 2-dimensional"),
        (lambda: CalibrationStream(T.A, reweight=-1), ValueError, "reweight must be an integer"),
        (lambda: stream.partial_fit(T.Y[:, 1:]), ValueError, "partial_fit: Y must be 2-dimensional with 24 columns"),
        (lambda: stream.partial_fit(T.Y * np.nan), ValueError, "partial_fit: Y must be finite"),
        (lambda: CalibrationStream(T.A.real).partial_fit(T.Y), TypeError, "must be real"),
        (lambda: stream.result(), ValueError, "result: the stream must have got snapshots"),
        (lambda: fed(T.A, [T.Y[:1]]).result(), ValueError, "result: Y must bring enough equations.*24 equations for 24 gains"),
        (lambda: stream.merge(3), TypeError, "merge: other must be a CalibrationStream; got int"),
        (lambda: stream.merge(CalibrationStream(2 * T.A)), ValueError, "merge: other must have the same A"),
        (lambda: stream.merge(CalibrationStream(T.A.astype(np.complex64))), ValueError, "merge: other must have dtype"),
    ]:
        with pytest.raises(error, match=match):
            call()
    assert stream.n_snapshots == 0


def test_a_verdict_of_the_stream():
    t = oracles.draw(np.random.default_rng(1), "snapshots", 24, 20, 8, 0)
    with pytest.warns(ConvergenceWarning, match=r"CalibrationStream.result: the gains are not identifiable"):
        fed(t.A, [t.Y]).result()


SIZES = {"repeated": (24, 8, 9), "diverse": (24, 6, 9)}


def problem(model, seed=0, snr=40, real=False):
    return oracles.draw(np.random.default_rng(seed), model, *SIZES[model], snr, real=real)


def streamed(model, Y, A, cuts=()):
    stream = CalibrationStream(model=model)
    for y, a in zip(np.split(Y, cuts), np.split(A, cuts), strict=True):
        stream.partial_fit(y, a)
    return stream


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("model", list(SIZES))
def test_matrices_may_change(model, real):
    t = problem(model, real=real)
    result = streamed(model, t.Y, t.A, [2, 3, 7]).result()
    assert result.model == model
    assert result.d.dtype == t.Y.dtype
    assert oracles.error(result.d, t.d) < 0.05
    exact = streamed(model, t.Y - t.E, t.A).result()
    assert oracles.error(exact.d, t.d) < 1e-6
    made = _models.eliminate(Problem(model, t.Y, t.A), np.ones(24))
    d, _ = _spectral.gains(lambda v: made, np.ones(24), _spectral.Options("spectral", 0))
    np.testing.assert_allclose(result.weights, made.w, rtol=0.25 if model == "repeated" else 1e-9)
    assert oracles.error(result.d, d) < (5e-3 if model == "repeated" else 1e-9)
    if model == "repeated":
        assert oracles.error(result.x, t.X) < 0.05
        assert np.linalg.norm(t.Y - result.d * (t.A @ result.x)) < 0.03 * np.linalg.norm(t.Y)
    else:
        assert result.x is None
    squares = abs(oracles.aligned(result.d, t.d) - t.d) ** 2
    assert np.mean(squares / (result.d_error * np.linalg.norm(t.d) / np.linalg.norm(result.d)) ** 2) == pytest.approx(1, abs=0.7)


@settings(max_examples=20)
@given(
    model=st.sampled_from(["snapshots", *SIZES]),
    seed=st.integers(0, 100),
    cuts=st.lists(st.integers(0, 9), max_size=4),
    workers=st.integers(1, 3),
)
def test_any_split_gives_the_same(model, seed, cuts, workers):
    """Chunks, some of them empty, shared out among workers that merge."""
    snapshots = model == "snapshots"
    t = oracles.draw(np.random.default_rng(seed), model, *((24, 6, 9) if snapshots else SIZES[model]), 40)

    def fresh():
        return CalibrationStream(t.A) if snapshots else CalibrationStream(model=model)

    streams = [fresh() for _ in range(workers)]
    cuts = sorted(cuts)
    for i, y in enumerate(np.split(np.arange(9), cuts)):
        if y.size:
            streams[i % workers].partial_fit(t.Y[y], *(() if snapshots else (t.A[y],)))
    for other in streams[1:]:
        streams[0].merge(other)
    whole = fresh().partial_fit(t.Y, *(() if snapshots else (t.A,)))
    assert streams[0].n_snapshots == 9
    result, expected = streams[0].result(), whole.result()
    np.testing.assert_allclose(result.d, expected.d, rtol=1e-8)
    np.testing.assert_allclose(result.d_error, expected.d_error, rtol=1e-6)


@pytest.mark.parametrize("model", list(SIZES))
def test_files_of_other_models(model, tmp_path, backend):
    t = problem(model)
    first = CalibrationStream(model=model)
    first.save(tmp_path / "empty.npz")
    stream = CalibrationStream.load(tmp_path / "empty.npz").partial_fit(backend.array(t.Y[:4]), backend.array(t.A[:4]))
    stream.save(tmp_path / "stream.npz")
    loaded = CalibrationStream.load(tmp_path / "stream.npz").partial_fit(backend.array(t.Y[4:]), backend.array(t.A[4:]))
    expected = streamed(model, t.Y, t.A, [4]).result()
    np.testing.assert_allclose(backend.numpy(loaded.result().d), expected.d, rtol=1e-9)
    assert "9 snapshots so far, 24 channels" in repr(loaded)
    assert repr(first) == "CalibrationStream of 0 snapshots so far"


@pytest.mark.parametrize("model", ["snapshots", *SIZES])
def test_dead_channels_of_all_kinds(model):
    """No measurements, or no row of A that is not zero."""
    t = oracles.draw(np.random.default_rng(3), model, *((24, 6, 12) if model == "snapshots" else SIZES[model]), 40)
    Y, A = t.Y.copy(), t.A.copy()
    Y[:, 4] = 0
    A[..., 7, :] = 0
    stream = CalibrationStream(A).partial_fit(Y) if model == "snapshots" else streamed(model, Y, A, [5])
    result = stream.result()
    assert np.flatnonzero(result.dead).tolist() == [4, 7]
    live = ~result.dead
    assert oracles.error(result.d[live], t.d[live]) < 0.05


@pytest.mark.parametrize("model", list(SIZES))
def test_zeros_are_missing(model):
    t = problem(model)
    Y = np.where(np.random.default_rng(4).random(t.Y.shape) < 0.1, 0, t.Y)
    assert oracles.error(streamed(model, Y, t.A, [4]).result().d, t.d) < 0.05


def test_bad_input_of_other_models():
    t = problem("repeated")
    stream = streamed("repeated", t.Y[:4], t.A[:4])
    for call, error, match in [
        (lambda: CalibrationStream(), ValueError, "A must be given for the model 'snapshots'; got None"),
        (lambda: CalibrationStream(t.A[0], model="diverse"), ValueError, "A must come with each chunk for the model 'diverse'"),
        (lambda: CalibrationStream(model="auto"), ValueError, "model must be one of"),
        (lambda: CalibrationStream(t.A[0]).partial_fit(t.Y, t.A), ValueError, "A must be left out for the model 'snapshots'"),
        (lambda: stream.partial_fit(t.Y), TypeError, "partial_fit: A must be an array of numbers; got NoneType"),
        (lambda: stream.partial_fit(t.Y, t.A[:, :, :3]), ValueError, r"partial_fit: A must have shape \(9, 24, 8\)"),
        (lambda: stream.partial_fit(t.Y[:, :3], t.A[:, :3]), ValueError, "Y must be 2-dimensional with 24 columns"),
        (lambda: stream.partial_fit(t.Y, t.A * np.nan), ValueError, "partial_fit: A must be finite"),
        (lambda: CalibrationStream(model="diverse").result(), ValueError, "result: the stream must have got snapshots"),
        (lambda: stream.merge(CalibrationStream(model="diverse")), ValueError, "other must have the model 'repeated'; got 'diverse'"),
        (lambda: stream.merge(streamed("repeated", t.Y[:, :9], t.A[:, :9])), ValueError, "other must have the same A"),
        (lambda: streamed("repeated", t.Y[:1], t.A[:1]).result(), ValueError, "24 equations for 24 gains - 1 for the scale"),
    ]:
        with pytest.raises(error, match="CalibrationStream.*" + match):
            call()
    assert stream.n_snapshots == 4
