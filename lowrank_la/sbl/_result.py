"""What the functions of this package answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.sbl._loop import Place


@dataclass(frozen=True, repr=False)
class KroneckerSBLResult(Result):
    """A sparse vector with Kronecker support, and how far it can be trusted.

    Attributes
    ----------
    x : array
        Posterior mean: (N,) or (N, L) if y was flat, else (N_1, ..., N_I) or (N_1, ..., N_I, L).
    support : tuple of integer arrays
        For each mode the indices of the atoms in use; x is supported on their product.
    gammas : tuple of arrays (N_i,)
        Hyper-parameters: x has the prior variance gammas[0][k_1] ... gammas[I-1][k_I] (times couplings with neighbours for "pattern").
    variance : array
        Posterior variances, in the form of x without snapshots. They do not count the uncertainty of the hyper-parameters.
    noise_var : float
        Variance of the noise, given or estimated.
    cost_trace : numpy array (n_iter + 1,)
        log det C + trace(C^-1 y y^H), -2 log evidence (- log evidence if complex) up to a constant, before the first and after each step.
    monotone_from, cuts : int, tuple of int
        From that entry on the trace never rises, but at the steps `cuts`, where atoms were pruned or readmitted.
    chi2 : float
        ||y - fit||^2 over what noise would leave; near 1 if the model holds and the noise variance is the true one.
    dof : float
        Effective number of parameters, of each snapshot.
    balance : float
        Largest |mean - 1| of a slice of posterior over prior second moments: 0 at a stationary point.
    rank_one_error : float
        Relative distance of the posterior second moments from the Kronecker product of the prior: of order 1 for entries of random size.
    margin : float
        Least hyper-parameter in use over the largest of its mode, the least of all modes: a support that `prune` decides has a small one.
    missed : float
        By how much the cost would fall with one pruned atom alone, for its best hyper-parameter: the largest of all such falls, 0 if none
        would lower it. Noise offers up to about 2 log(sum N_i); 4 log(sum N_i) brings an atom back. An estimate for coupled modes.
    method : str
        The method used.
    start_costs : tuple of float
        Final cost of each start; the least is reported.
    converged : bool
        The last step moved nothing by more than `tol`.
    n_iter : int
        Number of steps, of the start that is reported.
    certificate : Certificate
        Bounds the violation of the first-order conditions of the evidence.
    """

    x: Array
    support: tuple[Array, ...]
    gammas: tuple[Array, ...] = field(repr=False)
    variance: Array
    noise_var: float
    cost_trace: np.ndarray
    monotone_from: int
    cuts: tuple[int, ...]
    chi2: float
    dof: float
    balance: float
    rank_one_error: float
    margin: float
    missed: float
    method: str
    start_costs: tuple[float, ...]
    converged: bool
    n_iter: int
    certificate: Certificate
    _place: Place | None = field(repr=False)
