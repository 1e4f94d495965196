"""Low-rank matrices from linear measurements, some of them grossly wrong, with a rank that is only guessed."""

from lowrank_la.recovery._draws import dense_gaussian, entry_mask, fourier, rank_one
from lowrank_la.recovery._operators import Measurements
from lowrank_la.recovery._recover import recover
from lowrank_la.recovery._result import RecoverResult

__all__ = ["Measurements", "RecoverResult", "dense_gaussian", "entry_mask", "fourier", "rank_one", "recover"]
