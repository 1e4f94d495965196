import numpy as np
import pytest

from lowrank_la import _checks

BAD = [
    (lambda: _checks.integer("f", "k", 1.5, 1), TypeError, r"f: k must be an integer of at least 1; got 1\.5"),
    (lambda: _checks.integer("f", "k", True, 1), TypeError, "f: k must be an integer"),
    (lambda: _checks.integer("f", "k", 0, 1, 5), ValueError, "f: k must be an integer between 1 and 5; got 0"),
    (lambda: _checks.real("f", "eps", "x"), TypeError, "f: eps must be a number"),
    (lambda: _checks.real("f", "eps", 0, 0, open=True), ValueError, "f: eps must be a number above 0; got 0"),
    (lambda: _checks.real("f", "eps", float("nan"), 0, 1), ValueError, "f: eps must be a number between 0 and 1; got nan"),
    (lambda: _checks.choice("f", "loss", "l3", ("l1", "l2")), ValueError, "f: loss must be one of 'l1', 'l2'; got 'l3'"),
    (
        lambda: _checks.ndim("f", "b", np.ones((2, 2, 2)), (1, 2)),
        ValueError,
        r"f: b must be 1-dimensional or 2-dimensional; got shape \(2, 2, 2\)",
    ),
    (lambda: _checks.shape("f", "w", np.ones(3), (4,)), ValueError, r"f: w must have shape \(4,\); got \(3,\)"),
    (lambda: _checks.rows_like("f", "b", np.ones(3), 4, "A"), ValueError, r"f: b must have 4 rows, as many as A; got shape \(3,\)"),
    (lambda: _checks.ndim("f", "b", None, 1), TypeError, "f: b must be an array of numbers; got NoneType"),
    (lambda: _checks.several("f", "degrees", 3), TypeError, "f: degrees must be a sequence; got int"),
    (lambda: _checks.several("f", "degrees", "ab"), TypeError, "f: degrees must be a sequence; got str"),
    (lambda: list(_checks.row_blocks("f", "A", lambda: None)), TypeError, "f: A must return row blocks when called; got NoneType"),
    (lambda: _checks.real_dtype("f", "M", np.ones(3) + 1j), TypeError, "f: M must be real; got dtype complex128"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_messages_name_function_argument_rule_and_value(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_good_values_pass_through():
    assert _checks.integer("f", "k", np.int64(3), 1, 5) == 3
    assert _checks.real("f", "eps", 1, 0) == 1.0
    assert _checks.choice("f", "loss", None, (None, "l1")) is None
    assert _checks.several("f", "degrees", iter([1, 2])) == (1, 2)
    assert _checks.finite("f", "x", np.array(1.0)) == 1
    assert [offset for offset, _ in _checks.row_blocks("f", "A", lambda: [[[1], [2]], np.ones((3, 1))])] == [0, 2]


def test_non_finite_entries_are_counted_and_located(backend):
    A = np.ones((6, 4))
    A[3, 2], A[5, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="f: A must be finite; got 2 NaN or infinite entries out of 24, the first in row 3"):
        _checks.finite("f", "A", backend.array(A))
    with pytest.raises(ValueError, match="f: b must be finite; got 1 NaN or infinite entry out of 6, the first at index 3"):
        _checks.finite("f", "b", backend.array(A[:, 2]))
    assert _checks.finite("f", "A", A[:3]) is not None
