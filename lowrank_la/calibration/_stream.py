"""`CalibrationStream`: gains from snapshots that come once and are not kept."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.calibration import _certificate, _models, _scale, _spectral
from lowrank_la.calibration._problem import SNAPSHOTS, Counts, check_counts
from lowrank_la.calibration._result import CalibrationResult
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import host
from lowrank_la.factor._intake import Kind, reading

NAME = "CalibrationStream"


class CalibrationStream:
    """Find the gains of channels from snapshots y_l = diag(d) A x_l + e_l that come in chunks, with a new signal in each.

    The state is the m x m Gram matrix of the snapshots: streams of several workers merge, and each answer is that of
    `self_calibrate(..., model="snapshots", method="spectral")` for all snapshots so far.

    Parameters
    ----------
    A : array (m, n), n < m
        The sensing matrix.
    reweight : int, reweight >= 0
        As in `self_calibrate`.

    Attributes
    ----------
    n_snapshots : int
        Snapshots so far.

    Raises
    ------
    ValueError, TypeError
        A is no finite matrix of numbers with fewer columns than rows, or reweight is out of range.

    Notes
    -----
    Cost: 2 m^2 flops for each snapshot, 10 m^3 or so for each answer; memory 3 m^2 + m n numbers in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.calibration import CalibrationStream
    >>> rng = np.random.default_rng(0)
    >>> A, d = rng.standard_normal((40, 10)), rng.uniform(0.5, 1.5, 40)
    >>> stream = CalibrationStream(A)
    >>> for _ in range(5):
    ...     _ = stream.partial_fit(d * (rng.standard_normal((20, 10)) @ A.T))
    >>> bool(abs(stream.result().d - d / d.mean()).max() < 1e-8)
    True
    """

    n_snapshots: int

    def __init__(self, A: Any, *, reweight: int = 2) -> None:
        door, [A] = _dense.enter(NAME, A=A)
        _checks.ndim(NAME, "A", A, 2)
        if A.shape[1] >= A.shape[0]:
            raise ValueError(f"{NAME}: A must have fewer columns than rows, or signals explain every snapshot; got shape {tuple(A.shape)}")
        self._reweight = _checks.integer(NAME, "reweight", reweight)
        self._kind, self._A = Kind.of(door, A), _dense.wide(A)
        m = A.shape[0]
        self._gram = door.xp.zeros((m, m), dtype=self._A.dtype, device=self._A.device)
        self.n_snapshots = 0

    def __repr__(self) -> str:
        return f"{NAME} of {self.n_snapshots} snapshots so far, {self._A.shape[0]} channels"

    def partial_fit(self, Y: Any) -> CalibrationStream:
        """Take more snapshots.

        Parameters
        ----------
        Y : array (p, m)
            All of them are checked before any is taken.

        Returns
        -------
        CalibrationStream
            This stream.

        Raises
        ------
        ValueError
            Snapshots do not have m channels, or entries that are not finite. The state is as before.
        TypeError
            Y is no array of numbers, belongs to another library than A, or is complex for a real A.
        """
        where = f"{NAME}.partial_fit"
        door, [Y] = _dense.enter(where, Y=Y)
        if Y.ndim != 2 or Y.shape[1] != self._A.shape[0]:
            raise ValueError(f"{where}: Y must be 2-dimensional with {self._A.shape[0]} columns; got shape {tuple(Y.shape)}")
        kind = self._kind
        if kind.from_file:
            self._move(kind.going_on_as(Kind.of(door, Y)))
            kind = self._kind
        Y = _dense.wide(kind.cast(where, "Y", door, Y))
        self._gram = self._gram + _dense.conj(door.xp.matrix_transpose(Y)) @ Y
        self.n_snapshots += Y.shape[0]
        return self

    def _move(self, kind: Kind) -> None:
        self._kind = kind
        self._A, self._gram = (_arrays.from_numpy(x, kind.like) for x in (self._A, self._gram))

    def merge(self, other: CalibrationStream) -> None:
        """Take all snapshots of another stream, which stays as it is.

        Raises
        ------
        ValueError
            The streams have different matrices or dtypes.
        TypeError
            other is no CalibrationStream, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, CalibrationStream):
            raise TypeError(f"{where}: other must be a {NAME}; got {type(other).__name__}")
        self._kind.check_same(where, other._kind)
        if self._A.shape != other._A.shape or not bool(self._kind.xp.all(self._A == other._A)):
            raise ValueError(f"{where}: other must have the same A; got another one of shape {tuple(other._A.shape)}")
        self._gram = self._gram + other._gram
        self.n_snapshots += other.n_snapshots

    def result(self, *, normalize: str | int = "mean_gain") -> CalibrationResult:
        """Return the gains for the snapshots that have come; the stream may go on.

        Raises
        ------
        ValueError
            There were too few snapshots, with the counts, or normalize is out of range.

        Warns
        -----
        ConvergenceWarning
            The gains are not identifiable at this noise level.
        """
        where, xp = f"{NAME}.result", self._kind.xp
        q = host(xp.real(xp.linalg.diagonal(self._gram)))
        dead = ~(q > 0)
        convention = _scale.rule(where, normalize, dead)
        if dead.all():
            raise ValueError(f"{where}: the stream must have got snapshots with a channel that is not zero; got none")
        gram, A = self._alive(dead)
        check_counts(Counts(SNAPSHOTS, self.n_snapshots, *A.shape), function=where)

        def form(v: np.ndarray) -> _models.Elimination:
            Q = _models.basis(_arrays.from_numpy(v, A)[:, None] * A)
            return _models.from_gram(gram, self.n_snapshots, Q, v)

        d, made = _spectral.gains(form, _spectral.first_sizes(q[~dead]), _spectral.Options("spectral", self._reweight))
        return self._answer(where, d, made, dead, convention)

    def _alive(self, dead: np.ndarray) -> tuple[Array, Array]:
        xp = self._kind.xp
        live = _arrays.from_numpy(np.flatnonzero(~dead), self._A)
        gram = xp.take(xp.take(self._gram, live, axis=0), live, axis=1)
        return gram, xp.take(self._A, live, axis=0)

    def _answer(self, where: str, d: Array, made: _models.Elimination, dead: np.ndarray, convention: str | int) -> CalibrationResult:
        evidence = _certificate.certify(made, d, None, None)
        if not evidence.identifiable:
            _certificate.warn_unidentifiable(where, evidence)
        leave, xp = self._kind.door.leave, self._kind.xp
        noise = _certificate.residual(made, d)
        d = _scale.normalized(d, None, convention)[0]
        error = noise * evidence.spread * host(xp.abs(d))
        inside = [_arrays.from_numpy(x, d) for x in (error, made.w * made.v**2, dead)]
        return CalibrationResult(
            d=leave(_scale.filled(d, dead, np.nan)),
            x=None,
            d_error=leave(_scale.filled(inside[0], dead, np.nan)),
            noise_std=noise,
            singular_values=evidence.singular_values,
            gap_ratio=evidence.gap_ratio,
            identifiable=evidence.identifiable,
            weights=leave(_scale.filled(inside[1], dead, 0.0)),
            dead=self._kind.door.leave_wide(inside[2]),
            support=None,
            model=SNAPSHOTS,
            history=(),
            converged=evidence.identifiable,
            certificate=evidence.certificate,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        counts = np.array([self.n_snapshots, self._reweight])
        like = _arrays.to_numpy(self._kind.like)
        np.savez(path, like=like, A=_arrays.to_numpy(self._A), gram=_arrays.to_numpy(self._gram), counts=counts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CalibrationStream:
        """Read a stream that `save` wrote; its next snapshots decide the library and device of the arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            stream = cls(file["A"], reweight=int(file["counts"][1]))
            door, [like] = _arrays.enter(NAME, like=file["like"])
            stream._kind = Kind(door, like, from_file=True)
            stream._gram, stream.n_snapshots = file["gram"], int(file["counts"][0])
            _checks.shape(NAME, "the Gram matrix", stream._gram, (stream._A.shape[0],) * 2)
        return stream
