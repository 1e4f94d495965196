"""The command line: what it prints, what it writes, and how it refuses."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from lowrank_la import _demo, _ratings
from lowrank_la.cli import main


def _table(rng, users=60, items=40, rank=2, share=0.6):
    """Ratings of rank `rank` plus biases: user names, item numbers, values."""
    full = rng.standard_normal((users, rank)) @ rng.standard_normal((rank, items)) + rng.standard_normal(users)[:, None] + 3
    i, j = np.nonzero(rng.random(full.shape) < share)
    order = rng.permutation(len(i))
    return full, i[order], j[order]


def _write(path, full, i, j, form="user{},{},{:.12f},0"):
    path.write_text("user,item,rating,time\n" + "\n".join(form.format(a, 10 * b, full[a, b]) for a, b in zip(i, j, strict=True)))
    return path


@pytest.fixture
def ratings(tmp_path):
    full, i, j = _table(np.random.default_rng(0))
    return _write(tmp_path / "ratings.csv", full, i, j), full, set(zip(i.tolist(), j.tolist(), strict=True))


def test_complete_then_recommend(ratings, tmp_path, capsys):
    path, full, seen = ratings
    assert main(["complete", str(path), "--rank", "2", "--out", str(tmp_path / "factors")]) == 0
    out = capsys.readouterr().out
    assert f"{len(seen)} ratings of 40 items by 60 users" in out
    assert "held-out RMSE 0.000" in out
    assert "Certificate" in out
    assert main(["recommend", str(tmp_path / "factors"), "user7", "--top", "3"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    unseen = [j for j in range(40) if (7, j) not in seen]
    best = sorted(unseen, key=lambda j: -full[7, j])[:3]
    assert [int(item) for item, _ in lines] == [10 * j for j in best]
    np.testing.assert_allclose([float(score) for _, score in lines], full[7, best], atol=2e-3)


def test_recommendations_end_when_all_is_seen(ratings, tmp_path, capsys):
    path, _, seen = ratings
    main(["complete", str(path), "--rank", "2", "--out", str(tmp_path / "f.npz")])
    capsys.readouterr()
    assert main(["recommend", str(tmp_path / "f.npz"), "user0", "--top", "1000"]) == 0
    items = [int(line.split("\t")[0]) for line in capsys.readouterr().out.splitlines()]
    assert sorted(items) == [10 * j for j in range(40) if (0, j) not in seen]


FORMS = {
    "comma with header": ("u,i,r,t\n1,10,3.5,0\n2,20,4,0\n", [1, 2], [10, 20]),
    "comma without header": ("1,10,3.5\n2,20,4\n", [1, 2], [10, 20]),
    "tab": ("1\t10\t3.5\t9\n2\t20\t4\t9\n", [1, 2], [10, 20]),
    "double colon": ("1::10::3.5::9\n2::20::4::9\n", [1, 2], [10, 20]),
    "blanks": ("1 10 3.5\n2   20 4\n", [1, 2], [10, 20]),
    "quoted text": ('user;item;rating\n"a;b";x;3.5\n"c";y;4\n', ["a;b", "c"], ["x", "y"]),
    "byte order mark": ("\ufeff1,10,3.5\n2,20,4\n", [1, 2], [10, 20]),
    "Windows lines": ("u,i,r\r\n1,10,3.5\r\n2,20,4\r\n", [1, 2], [10, 20]),
    "blank last lines": ("1,10,3.5\n2,20,4\n\n\n", [1, 2], [10, 20]),
    "long text ids": (f"{'x' * 300},10,3.5\n{'x' * 301},20,4\n", ["x" * 300, "x" * 301], [10, 20]),
}


@pytest.mark.parametrize(("text", "users", "items"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_of_ratings(tmp_path, text, users, items, packed):
    path = tmp_path / ("r.csv.gz" if packed else "r.csv")
    with (gzip.open if packed else open)(path, "wt", encoding="utf-8", newline="") as file:
        file.write(text)
    read = _ratings.read_ratings(path)
    assert read.user_ids[read.users].tolist() == users
    assert [str(item) for item in read.item_ids[read.items]] == [str(item) for item in items]
    assert read.values.tolist() == [3.5, 4.0]


def test_the_last_of_repeated_ratings_counts(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("1,10,1\n2,10,2\n1,10,3\n1,20,4\n")
    read = _ratings.read_ratings(path)
    assert read.repeats == 1
    assert read.values.tolist() == [2.0, 3.0, 4.0]


BAD_RATINGS = {
    "empty": ("", "holds no ratings"),
    "header only": ("user,item,rating\n", "holds no ratings"),
    "two columns": ("1,2\n3,4\n", "line 2 must hold a user, an item and a rating; got '3,4'"),
    "a word for a rating": ("1,2,3\n1,3,good\n", "line 2 must hold a user, an item and a rating; got '1,3,good'"),
    "infinite": ("1,2,3\n1,3,inf\n", "rating 2 is not finite"),
}


@pytest.mark.parametrize(("text", "message"), BAD_RATINGS.values(), ids=BAD_RATINGS)
def test_bad_ratings_get_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "r.csv"
    path.write_text(text)
    assert main(["complete", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert len(error.splitlines()) == 1


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((4000, 20)), rng.standard_normal(4000)
    for name, x in (("A", A), ("b", b), ("short", b[:-1]), ("words", np.array(["a", "b"]))):
        np.save(tmp_path / f"{name}.npy", x)
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "A.npy").read_bytes()[:1000])
    return tmp_path, A, b


def test_lstsq_writes_the_solution(arrays, capsys):
    folder, A, b = arrays
    assert main(["lstsq", str(folder / "A.npy"), str(folder / "b.npy"), "--out", str(folder / "x")]) == 0
    np.testing.assert_allclose(np.load(folder / "x"), np.linalg.lstsq(A, b)[0], atol=1e-12)
    out = capsys.readouterr().out
    assert "4000 x 20" in out
    assert "backward error" in out
    assert "Certificate" in out


BAD_COMMANDS = {
    "no ratings file": (["complete", "none.csv"], "none.csv: no such file"),
    "a folder": (["complete", "."], "cannot be read as text"),
    "binary ratings": (["complete", "A.npy"], "cannot be read as text"),
    "rank too high": (["complete", "few.csv", "--rank", "9"], "rank must be an integer between 1 and 2; got 9"),
    "no folder for factors": (["complete", "few.csv", "--out", "none/f.npz"], "no such folder"),
    "no factors": (["recommend", "none.npz", "1"], "none.npz: no such file"),
    "not factors": (["recommend", "A.npy", "1"], "not a file that 'lowrank-la complete' wrote"),
    "text for factors": (["recommend", "few.csv", "1"], "not a file that 'lowrank-la complete' wrote"),
    "no A": (["lstsq", "none.npy", "b.npy"], "none.npy: no such file"),
    "b too short": (["lstsq", "A.npy", "short.npy"], "b must have 4000 rows"),
    "words": (["lstsq", "words.npy", "b.npy"], "words.npy: not an .npy file of numbers (dtype <U1)"),
    "objects": (["lstsq", "objects.npy", "b.npy"], "objects.npy: not an .npy file of numbers"),
    "text": (["lstsq", "text.npy", "b.npy"], "text.npy: not an .npy file of numbers"),
    "cut off": (["lstsq", "cut.npy", "b.npy"], "cut.npy: not an .npy file of numbers"),
    "no folder for x": (["lstsq", "A.npy", "b.npy", "--out", "none/x.npy"], "no such folder"),
    "negative ridge": (["lstsq", "A.npy", "b.npy", "--ridge", "-1"], "ridge must be"),
}


@pytest.mark.parametrize(("words", "message"), BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_bad_files_get_one_line_and_status_2(arrays, monkeypatch, capsys, words, message):
    monkeypatch.chdir(arrays[0])
    (arrays[0] / "few.csv").write_text("1,1,1\n1,2,2\n2,1,3\n")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("lowrank-la: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_unknown_users_and_numbers(ratings, tmp_path, capsys):
    path = ratings[0]
    main(["complete", str(path), "--rank", "2", "--out", str(tmp_path / "f.npz")])
    capsys.readouterr()
    assert main(["recommend", str(tmp_path / "f.npz"), "nobody"]) == 2
    assert "no user 'nobody' among 60" in capsys.readouterr().err
    assert main(["recommend", str(tmp_path / "f.npz"), "user1", "--top", "0"]) == 2
    assert "--top must be at least 1; got 0" in capsys.readouterr().err


def test_info_names_backends_and_threads(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("lowrank_la", "numpy", "PyTorch", "CuPy", "Numba", "threads"))


@pytest.mark.parametrize("words", [[], ["unknown"], ["complete", "r.csv", "--rank", "many"]])
def test_usage_errors_have_status_2(words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "lowrank_la", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"


def test_demo_needs_its_extra(monkeypatch, capsys):
    monkeypatch.setattr("lowrank_la.cli._installed", lambda package: False)
    assert main(["demo"]) == 2
    assert "pip install 'lowrank_la[demo]'" in capsys.readouterr().err


def test_demo_photograph_survives_its_layouts():
    photograph = _demo.load_photograph()[:40, :60]
    seen = _demo.hide(photograph, 0)
    assert 0.3 < np.mean(~np.isnan(seen)) < 0.4
    np.testing.assert_array_equal(seen[~np.isnan(seen)], photograph[~np.isnan(seen)])


@pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")  # a corner has few entries
def test_demo_restores_better_from_squares_and_keeps_what_it_saw():
    photograph = _demo.load_photograph()[100:260, 200:400]
    seen = _demo.hide(photograph, 0)
    errors = []
    for restore in (_demo.restore_matrix, _demo.restore_squares):
        done = restore(photograph, seen)
        np.testing.assert_array_equal(done.image[~np.isnan(seen)], seen[~np.isnan(seen)])
        errors.append(np.sqrt(np.mean((done.image - photograph) ** 2)))
        assert done.true_error <= 1.1 * done.model.certificate.bound
    assert errors[1] < errors[0] / 1.5


def test_demo_regression_has_the_monomials_it_says():
    photograph = _demo.load_photograph()[:12, :20]
    A, b = _demo.predict_pixels(photograph)
    light = np.round(255 * photograph @ [0.25, 0.5, 0.25]) / 256
    assert A.shape == (10 * 16, 220)
    before = [(-1, 0), (0, -1), (-1, -1), (-1, 1), (-2, 0), (0, -2), (-2, -1), (-2, 1), (-1, -2)]
    v = [light[5 + dy, 7 + dx] for dy, dx in before]
    row = A[(5 - 2) * 16 + (7 - 2)]
    expected = [1.0, *v]
    expected += [v[i] * v[j] for i in range(9) for j in range(i, 9)]
    expected += [v[i] * v[j] * v[k] for i in range(9) for j in range(i, 9) for k in range(j, 9)]
    np.testing.assert_array_equal(np.sort(row), np.sort(expected))
    assert b[(5 - 2) * 16 + (7 - 2)] == light[5, 7]


def test_demo_gradient_is_exact():
    from fractions import Fraction

    rng = np.random.default_rng(0)
    A = np.round(rng.random((50, 4)) * 2**24) / 2**24
    b = np.round(rng.random(50) * 256) / 256
    x = rng.standard_normal(4) * [1, 10, 0.1, 1e-3]
    F = [[Fraction(value) for value in row] for row in A]
    residual = [Fraction(c) - sum(a * Fraction(y) for a, y in zip(row, x, strict=True)) for row, c in zip(F, b, strict=True)]
    exact = [float(sum(row[j] * r for row, r in zip(F, residual, strict=True))) for j in range(4)]
    np.testing.assert_array_equal(_demo._exact_gradient(A, b, x), exact)


@pytest.mark.slow
def test_demo_end_to_end(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"photograph.png", "convergence.png", "bounds.png"}
    assert "certified" in capsys.readouterr().out
