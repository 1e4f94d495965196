"""`CalibrationStream`: gains from snapshots that come once and are not kept."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.calibration import _certificate, _models, _scale, _spectral, _sums
from lowrank_la.calibration._problem import DIVERSE, REPEATED, SNAPSHOTS, Counts, check_counts
from lowrank_la.calibration._result import CalibrationResult
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import host
from lowrank_la.factor._intake import Kind, reading

NAME = "CalibrationStream"


class CalibrationStream:
    """Find the gains of channels from snapshots y_l = diag(d) A_l x_l + e_l that come in chunks.

    The state is a few sums over snapshots: streams of several workers merge. For the model "snapshots" each answer is that of
    `self_calibrate(..., method="spectral")` for all snapshots so far. Sensing matrices that change are not kept; so for the other models
    the gains are those of trial sizes of one: the better, the less their sizes differ.

    Parameters
    ----------
    A : array (m, n), n < m, optional
        The sensing matrix of all snapshots, for the model "snapshots".
    model : {"snapshots", "repeated", "diverse"}
        As in `self_calibrate`. For the last two each chunk brings its sensing matrices.
    reweight : int, reweight >= 0
        As in `self_calibrate`, for the model "snapshots".

    Attributes
    ----------
    n_snapshots : int
        Snapshots so far.

    Raises
    ------
    ValueError, TypeError
        A is no finite matrix of numbers with fewer columns than rows, or comes with another model than "snapshots"; or another argument
        is out of range.

    Notes
    -----
    Zeros in Y are taken for missing by the models "repeated" and "diverse". Cost for each snapshot: 2 m^2 flops, "repeated" 2 m n^2,
    "diverse" 4 m n^2 + 2 m^2 n; 10 m^3 or so for each answer; memory 3 m^2 + m n numbers in double precision.

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
    >>> stream, x = CalibrationStream(model="repeated"), rng.standard_normal(10)
    >>> for _ in range(5):
    ...     A = rng.standard_normal((2, 40, 10))
    ...     _ = stream.partial_fit(d * (A @ x), A)
    >>> bool(abs(stream.result().d - d / d.mean()).max() < 1e-8)
    True
    """

    n_snapshots: int

    def __init__(self, A: Any = None, *, model: str = SNAPSHOTS, reweight: int = 2) -> None:
        self._model = _checks.choice(NAME, "model", model, (SNAPSHOTS, REPEATED, DIVERSE))
        self._reweight = _checks.integer(NAME, "reweight", reweight)
        self._kind: Kind | None = None
        self._A: Array | None = None
        self._sums: _sums.Sums = {}
        self.n_snapshots = self._columns = 0
        if (A is None) == (model == SNAPSHOTS):
            rule = "be given for the model 'snapshots'" if A is None else f"come with each chunk for the model {model!r}"
            raise ValueError(f"{NAME}: A must {rule}; got {'None' if A is None else 'it here'}")
        if A is not None:
            self._set_matrix(A)

    def _set_matrix(self, A: Any) -> None:
        door, [A] = _dense.enter(NAME, A=A)
        _checks.ndim(NAME, "A", A, 2)
        if A.shape[1] >= A.shape[0]:
            raise ValueError(f"{NAME}: A must have fewer columns than rows, or signals explain every snapshot; got shape {tuple(A.shape)}")
        self._kind, self._columns, A = Kind.of(door, A), A.shape[1], _dense.wide(A)
        self._A, self._sums = A, _sums.of_snapshots(door.xp.zeros((1, A.shape[0]), dtype=A.dtype, device=A.device))

    def __repr__(self) -> str:
        channels = f", {self._channels} channels" if self._sums else ""
        return f"{NAME} of {self.n_snapshots} snapshots so far{channels}"

    @property
    def _channels(self) -> int:
        return next(iter(self._sums.values())).shape[0]

    def partial_fit(self, Y: Any, A: Any = None) -> CalibrationStream:
        """Take more snapshots.

        Parameters
        ----------
        Y : array (p, m)
            All of them are checked before any is taken.
        A : array (p, m, n)
            Their sensing matrices, for the models "repeated" and "diverse" only.

        Returns
        -------
        CalibrationStream
            This stream.

        Raises
        ------
        ValueError
            Snapshots do not have m channels, A does not fit or is not wanted, or entries are not finite. The state is as before.
        TypeError
            Y or A is no array of numbers, belongs to another library than what came before, or is complex where that was real.
        """
        where = f"{NAME}.partial_fit"
        if self._model == SNAPSHOTS and A is not None:
            raise ValueError(f"{where}: A must be left out for the model 'snapshots', which has one for all; got {type(A).__name__}")
        if self._model != SNAPSHOTS:
            _checks.given(where, "A", A)
        door, [Y, A] = _dense.enter(where, Y=Y, A=A)
        if Y.ndim != 2 or (self._sums and Y.shape[1] != self._channels):
            columns = f" with {self._channels} columns" if self._sums else ""
            raise ValueError(f"{where}: Y must be 2-dimensional{columns}; got shape {tuple(Y.shape)}")
        if A is not None:
            _checks.shape(where, "A", A, (*Y.shape, self._columns or A.shape[-1]))
        Y, A = (x if x is None else _dense.wide(self._cast(where, name, door, x)) for name, x in (("Y", Y), ("A", A)))
        self._add(self._summed(Y, A), Y.shape[0])
        self._columns = self._columns if A is None else A.shape[2]
        return self

    def _summed(self, Y: Array, A: Array | None) -> _sums.Sums:
        if A is None:
            return _sums.of_snapshots(Y)
        return _sums.of_repeated(Y, A) if self._model == REPEATED else _sums.of_diverse(Y, A)

    def _add(self, sums: _sums.Sums, count: int) -> None:
        self._sums = {name: self._sums[name] + x for name, x in sums.items()} if self._sums else dict(sums)
        self.n_snapshots += count

    def _cast(self, where: str, name: str, door: _arrays.Door, x: Array) -> Array:
        if self._kind is None:
            self._kind = Kind.of(door, x)
        if self._kind.from_file:
            self._move(self._kind.going_on_as(Kind.of(door, x)))
        return self._kind.cast(where, name, door, x)

    def _move(self, kind: Kind) -> None:
        self._kind = kind
        self._A = None if self._A is None else _arrays.from_numpy(self._A, kind.like)
        self._sums = {name: _arrays.from_numpy(x, kind.like) for name, x in self._sums.items()}

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
        if other._model != self._model:
            raise ValueError(f"{where}: other must have the model {self._model!r}; got {other._model!r}")
        if other._kind is None:
            return
        if self._kind is None:
            self._kind, self._columns = other._kind, other._columns
        self._kind.check_same(where, other._kind)
        if (self._channels if self._sums else other._channels, self._columns) != (other._channels, other._columns):
            raise ValueError(f"{where}: other must have the same A; got another one of shape {(other._channels, other._columns)}")
        if self._A is not None and not bool(self._kind.xp.all(self._A == other._A)):
            raise ValueError(f"{where}: other must have the same A; got another one of shape {tuple(self._A.shape)}")
        self._add(other._sums, other.n_snapshots)

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
        where = f"{NAME}.result"
        dead = _sums.dead(self._sums, self._A) if self._sums else np.ones(1, dtype=bool)
        if dead.all():
            raise ValueError(f"{where}: the stream must have got snapshots with a channel that is not zero; got none")
        convention = _scale.rule(where, normalize, dead)
        sums, A = _sums.alive(self._sums, dead), self._A
        if A is not None:
            A = _arrays.namespace(A).take(A, _arrays.from_numpy(np.flatnonzero(~dead), A), axis=0)
        check_counts(Counts(self._model, self.n_snapshots, int(np.sum(~dead)), self._columns), function=where)
        form, q = _sums.elimination(self._model, sums, A, self.n_snapshots)
        first = _spectral.first_sizes(q) if self._model == SNAPSHOTS else np.ones(q.size)
        d, made = _spectral.gains(form, first, _spectral.Options("spectral", self._reweight if self._model == SNAPSHOTS else 0))
        x = _sums.signal(sums, d) if self._model == REPEATED else None
        return self._answer(where, d, x, made, dead, convention)

    def _answer(
        self, where: str, d: Array, x: Array | None, made: _models.Elimination, dead: np.ndarray, convention: str | int
    ) -> CalibrationResult:
        evidence = _certificate.certify(made, d, None, None)
        if not evidence.identifiable:
            _certificate.warn_unidentifiable(where, evidence)
        noise = _certificate.residual(made, d)
        d, x = _scale.normalized(d, x, convention)
        assert self._kind is not None  # the state is not empty
        leave = self._kind.door.leave
        error = noise * evidence.spread * host(_arrays.namespace(d).abs(d))
        inside = [_arrays.from_numpy(part, d) for part in (error, made.w * made.v**2, dead)]
        return CalibrationResult(
            d=leave(_scale.filled(d, dead, np.nan)),
            x=None if x is None else leave(x),
            d_error=leave(_scale.filled(inside[0], dead, np.nan)),
            noise_std=noise,
            singular_values=evidence.singular_values,
            gap_ratio=evidence.gap_ratio,
            identifiable=evidence.identifiable,
            weights=leave(_scale.filled(inside[1], dead, 0.0)),
            dead=self._kind.door.leave_wide(inside[2]),
            support=None,
            model=self._model,
            history=(),
            converged=evidence.identifiable,
            certificate=evidence.certificate,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        state: dict[str, Any] = {name: _arrays.to_numpy(x) for name, x in self._sums.items()}
        state["counts"] = np.array([self.n_snapshots, self._reweight, self._columns])
        state["like"] = np.empty(0) if self._kind is None else _arrays.to_numpy(self._kind.like)
        state["model"] = np.array(self._model)
        if self._A is not None:
            state["A"] = _arrays.to_numpy(self._A)
        np.savez(path, **state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CalibrationStream:
        """Read a stream that `save` wrote; its next snapshots decide the library and device of the arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            counts, model = file["counts"], str(file["model"])
            stream = cls(file["A"] if model == SNAPSHOTS else None, model=model, reweight=int(counts[1]))
            sums = {name: file[name] for name in file.files if name not in ("like", "model", "counts", "A")}
            for name, x in stream._sums.items():
                _checks.shape(NAME, name, sums[name], x.shape)
            stream._sums, stream.n_snapshots, stream._columns = sums, int(counts[0]), int(counts[2])
            door, [like] = _arrays.enter(NAME, like=file["like"])
            if sums:
                stream._kind = Kind(door, like, from_file=True)
        return stream
