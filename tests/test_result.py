from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from lowrank_la import Certificate, Result


@dataclass(frozen=True, repr=False)
class Answer(Result):
    x: np.ndarray
    history: list
    certificate: Certificate


def test_answers_are_frozen_and_fit_on_a_screen():
    answer = Answer(np.ones((1000, 3)), list(range(500)), Certificate("|x - x*| <= bound", 0.25, 0.95, "held-out entries"))
    text = repr(answer)
    assert "x = float64 array (1000, 3)" in text
    assert "history = list of 500" in text
    assert "bound = 0.25 (with probability 0.95; held-out entries)" in text
    assert len(text.splitlines()) == 4
    with pytest.raises(FrozenInstanceError):
        answer.x = 0


def test_certain_claims_say_always():
    assert "always" in repr(Certificate("c", 1.0, 1.0, "residual"))
