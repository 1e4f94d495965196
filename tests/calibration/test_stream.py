"""`CalibrationStream`: chunks, merges and files give the answer of all snapshots at once."""

import numpy as np
import pytest

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import CalibrationStream, self_calibrate
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
