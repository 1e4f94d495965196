"""The answer of `self_calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class CalibrationResult(Result):
    """Gains and signals with y_l ~ diag(d) A_l x_l, up to one scalar that goes from one to the other.

    Attributes
    ----------
    d : array (m,)
        Gains, scaled as `normalize` says; NaN for dead channels.
    x : array (n,) or (p, n), or None
        Signals: one for the model "repeated", else one for each snapshot. None from a stream, which keeps no snapshots.
    d_error : array (m,), real
        Standard error of each gain for white noise, or noise of the sizes given: E|d_i - d_true,i|^2 to first order once the scale is
        aligned. inf where the noise cannot be estimated, or the gap is below rounding errors; NaN for dead channels and where the
        iterative path does not know it.
    noise_std : float
        Standard deviation of an entry of the noise, estimated from the residual; for complex data of both parts together. Root mean
        square over channels where noise was given for each.
    singular_values : tuple of two floats
        sigma_1 <= sigma_2, the smallest of the whitened linear system; sigma_1 estimates the noise. For `known` gains the smallest one
        with and without the unknown gains tied to the known ones is not defined, and sigma_1 is 0.
    gap_ratio : float
        sigma_2 / sigma_1.
    identifiable : bool
        The verdict: gap_ratio >= 2, or an estimated angle whose sine is at most 1/2.
    weights : array (m,), real
        Weights of the channels in the norm of the certificate, smaller for faint channels, 0 for dead ones.
    dead : array (m,), bool
        Channels that are zero in all snapshots, or that no signal reaches: rows of zeros in all sensing matrices.
    support : array of int or None
        Entries of x that may differ from zero, for sparse signals: (k,), or (p, k) for the model "diverse".
    model : str
        "repeated", "diverse" or "snapshots".
    history : tuple of floats
        ||Y - fit||^2, channels weighted by the noise if it is given for each, before and after each step of the polish; it never grows.
    converged : bool
        The verdict is positive and the polish has settled.
    certificate : Certificate
        Bounds the sine of the angle between 1 / d and the truth.
    x_error : array like x, real, or None
        Standard error of each entry of x to first order, at the scale at which d has the errors `d_error`; None unless asked for.
    """

    d: Array
    x: Array | None
    d_error: Array
    noise_std: float
    singular_values: tuple[float, float]
    gap_ratio: float
    identifiable: bool
    weights: Array
    dead: Array
    support: Array | None
    model: str
    history: tuple[float, ...]
    converged: bool
    certificate: Certificate
    x_error: Array | None = None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return "identifiable" if self.identifiable else "not identifiable at this noise level"

    def plot(self, ax: Any = None) -> Any:
        """Draw the sizes of the gains with error bars of two standard errors (extra `plot`)."""
        import matplotlib.pyplot as plt
        import numpy as np

        from lowrank_la import _arrays

        d, error = abs(_arrays.to_numpy(self.d)), _arrays.to_numpy(self.d_error)
        ax = plt.figure().add_subplot() if ax is None else ax
        ax.errorbar(np.arange(d.size), d, 2 * np.where(np.isfinite(error), error, 0.0), fmt=".", capsize=2)
        ax.set(xlabel="channel", ylabel="|gain|")
        return ax
