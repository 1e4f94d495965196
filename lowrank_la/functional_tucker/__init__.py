"""Functions of several continuous variables from scattered noisy data: Tucker models with Gaussian-process factors."""

from lowrank_la.functional_tucker._calibration import Calibration
from lowrank_la.functional_tucker._ls import LeastSquaresFit, functional_tucker_ls
from lowrank_la.functional_tucker._model import FactorValues, FunctionalTucker

__all__ = ["Calibration", "FactorValues", "FunctionalTucker", "LeastSquaresFit", "functional_tucker_ls"]
