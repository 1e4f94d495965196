"""Low-rank factorizations with certificates: what scientists call and adapters stand on."""

from lowrank_la.factor._columns import ColumnSubsetResult, column_subset
from lowrank_la.factor._cur import CURResult, cur
from lowrank_la.factor._density import DensityResult, spectral_density
from lowrank_la.factor._factored import Factored
from lowrank_la.factor._frequent import FrequentDirections, FrequentDirectionsResult
from lowrank_la.factor._interpolative import InterpolativeResult, interpolative
from lowrank_la.factor._kron import KronResult, kron_svd
from lowrank_la.factor._lanczos import LanczosResult, lanczos
from lowrank_la.factor._norms import NormResult, norm_estimate
from lowrank_la.factor._orth import orth
from lowrank_la.factor._polar import PolarResult, polar
from lowrank_la.factor._power import PowerResult, psd_power
from lowrank_la.factor._procrustes import ProcrustesResult, procrustes
from lowrank_la.factor._prox import ProxResult, prox
from lowrank_la.factor._psd import EighResult, eigsh_psd, nystrom_psd
from lowrank_la.factor._range import RangeResult, rangefinder
from lowrank_la.factor._regression import ReducedRankResult, reduced_rank_regression
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._rpcholesky import RPCholeskyResult, rpcholesky
from lowrank_la.factor._streaming import StreamingSVD
from lowrank_la.factor._svd import svd
from lowrank_la.factor._sylvester import SylvesterResult, sylvester_spd
from lowrank_la.factor._trace import TraceResult, trace
from lowrank_la.factor._weighted import WeightedSVDResult, weighted_svd

__all__ = [
    "CURResult",
    "ColumnSubsetResult",
    "DensityResult",
    "EighResult",
    "Factored",
    "FrequentDirections",
    "FrequentDirectionsResult",
    "InterpolativeResult",
    "KronResult",
    "LanczosResult",
    "NormResult",
    "PolarResult",
    "PowerResult",
    "ProcrustesResult",
    "ProxResult",
    "RPCholeskyResult",
    "RangeResult",
    "ReducedRankResult",
    "SVDResult",
    "StreamingSVD",
    "SylvesterResult",
    "TraceResult",
    "WeightedSVDResult",
    "column_subset",
    "cur",
    "eigsh_psd",
    "interpolative",
    "kron_svd",
    "lanczos",
    "norm_estimate",
    "nystrom_psd",
    "orth",
    "polar",
    "procrustes",
    "prox",
    "psd_power",
    "rangefinder",
    "reduced_rank_regression",
    "rpcholesky",
    "spectral_density",
    "svd",
    "sylvester_spd",
    "trace",
    "weighted_svd",
]
