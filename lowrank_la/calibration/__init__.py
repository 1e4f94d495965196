"""Self-calibration: unknown channel gains and unknown signals from their products, by linear algebra, with a verdict."""

from lowrank_la.calibration._calibrate import self_calibrate
from lowrank_la.calibration._operators import CodedFourier
from lowrank_la.calibration._result import CalibrationResult
from lowrank_la.calibration._stream import CalibrationStream

__all__ = ["CalibrationResult", "CalibrationStream", "CodedFourier", "self_calibrate"]
