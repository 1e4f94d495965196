"""Which rows matter: leverage scores, Lewis weights, sensitivities, and samples of rows."""

from lowrank_la.sampling._leverage import leverage_scores
from lowrank_la.sampling._lewis import LewisResult, lewis_weights
from lowrank_la.sampling._result import ScoreResult
from lowrank_la.sampling._ridge import ridge_leverage_scores
from lowrank_la.sampling._sample import RowSample, sample_rows
from lowrank_la.sampling._sensitivities import SensitivityResult, lp_sensitivities

__all__ = [
    "LewisResult",
    "RowSample",
    "ScoreResult",
    "SensitivityResult",
    "leverage_scores",
    "lewis_weights",
    "lp_sensitivities",
    "ridge_leverage_scores",
    "sample_rows",
]
