"""Ratings files in, factor files out: what the command line needs around `complete`."""

from __future__ import annotations

import csv
import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lowrank_la.completion import CompletionResult


class BadFile(Exception):
    """A file that cannot be used; the text names the file and says what is wrong in one line."""


@dataclass(frozen=True)
class Ratings:
    """Ratings as triples of positions, with the ids that stood in the file.

    Attributes
    ----------
    users, items : int arrays (N,)
        Positions in `user_ids` and `item_ids`; every pair stands once.
    values : float array (N,)
    user_ids, item_ids : arrays of int or str
    repeats : int
        Ratings of the file that a later one of the same user and item replaced.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray
    repeats: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        return len(self.user_ids), len(self.item_ids)


def read_ratings(path: str | Path) -> Ratings:
    """Read user, item, rating, one a line, separated by comma, tab, semicolon, blanks or "::"; further columns are ignored.

    A first line whose third field is no number is a header. Ids are kept as integers if
    all of a column are, else as text. A file that ends in .gz is unpacked while it is read.

    Raises
    ------
    BadFile
        The file does not exist or holds no ratings, or a line has no number in its third field.
    """
    try:
        users, items, values = _columns(Path(path))
    except FileNotFoundError:
        raise BadFile(f"{path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: cannot be read as text ({error})") from None
    if not np.all(np.isfinite(values)):
        raise BadFile(f"{path}: rating {1 + int(np.argmin(np.isfinite(values)))} is not finite")
    user_ids, users = _number(users)
    item_ids, items = _number(items)
    last = _last_of_each(users.astype(np.int64) * len(item_ids) + items)
    return Ratings(users[last], items[last], values[last], user_ids, item_ids, len(values) - len(last))


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with _open(path) as file:
        first, second = file.readline(), file.readline()
    separator = next((mark for mark in ("::", "\t", ";", ",") if mark in first), None)
    header = not _is_rating(first, separator)
    if not first or (header and not second):
        raise BadFile(f"{path}: holds no ratings")
    try:
        table = _load(path, separator, header, [("user", np.int64), ("item", np.int64), ("rating", np.float64)], (0, 1, 2))
        return table["user"][:, 0], table["item"][:, 0], table["rating"][:, 0]
    except ValueError:  # ids are text, or a line is bad
        _check_lines(path, separator, header)
    names = _load(path, separator, header, np.str_, (0, 1))
    return names[:, 0], names[:, 1], _load(path, separator, header, np.float64, (2,))[:, 0]


def _load(path: Path, separator: str | None, header: bool, dtype: Any, columns: tuple[int, ...]) -> np.ndarray:
    with _open(path) as file:
        lines = (line.replace("::", "\t") for line in file) if separator == "::" else file
        delimiter = "\t" if separator == "::" else separator
        return np.loadtxt(lines, dtype, comments=None, delimiter=delimiter, skiprows=int(header), usecols=columns, quotechar='"', ndmin=2)


def _check_lines(path: Path, separator: str | None, header: bool) -> None:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if number > header and line.strip() and not _is_rating(line, separator):
                raise BadFile(f"{path}: line {number} must hold a user, an item and a rating; got {line.strip()[:60]!r}")


def _is_rating(line: str, separator: str | None) -> bool:
    fields = next(csv.reader([line], delimiter=separator), []) if separator in {"\t", ";", ","} else line.split(separator)
    try:
        float(fields[2])
    except (ValueError, IndexError):
        return False
    return True


def _open(path: Path) -> TextIO:
    return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig")


def _number(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ids and the position of each given one among them."""
    if ids.dtype.kind == "i":
        return np.unique(ids, return_inverse=True)
    places: dict[str, int] = {}  # sorting text takes eight times as long
    positions = np.fromiter((places.setdefault(name, len(places)) for name in ids.tolist()), np.int64, len(ids))
    return np.array(list(places)), positions


def _last_of_each(keys: np.ndarray) -> np.ndarray:
    """Positions of the last occurrence of each key, in the order of the file."""
    order = np.argsort(keys, kind="stable")
    is_last = np.append(keys[order][1:] != keys[order][:-1], True)
    return np.sort(order[is_last])


@dataclass(frozen=True)
class Recommender:
    """A completed table of ratings: the model, the ids, and what each user has rated.

    Attributes
    ----------
    U, V : arrays (users, k) and (items, k)
    user_bias, item_bias : arrays (users,) and (items,)
    mean : array ()
    user_ids, item_ids : arrays of int or str
    seen_from, seen : int arrays (users + 1,) and (N,)
        User i has rated the items at positions seen[seen_from[i] : seen_from[i + 1]].
    """

    U: np.ndarray
    V: np.ndarray
    user_bias: np.ndarray
    item_bias: np.ndarray
    mean: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray
    seen_from: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, ratings: Ratings, model: CompletionResult) -> Recommender:
        """Join a model with the ratings it was fitted to."""
        order = np.argsort(ratings.users, kind="stable")
        seen_from = np.searchsorted(ratings.users[order], np.arange(ratings.shape[0] + 1))
        seen = ratings.items[order].astype(np.int32)
        mean = np.asarray(model.mean)
        return cls(model.U, model.V, model.row_bias, model.col_bias, mean, ratings.user_ids, ratings.item_ids, seen_from, seen)

    def save(self, path: str | Path) -> None:
        """Write plain arrays to an .npz file of exactly this name."""
        with open(path, "wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """Read what `save` wrote.

        Raises
        ------
        BadFile
            The file does not exist or `save` did not write it.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**file)
        except FileNotFoundError:
            raise BadFile(f"{path}: no such file") from None
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
            raise BadFile(f"{path}: not a file that 'lowrank-la complete' wrote") from None

    def recommend(self, user: str, top: int) -> list[tuple[Any, float]]:
        """Return the items that the user has not rated with the best predicted ratings, best first.

        Raises
        ------
        KeyError
            Nobody has this id.
        """
        places = np.flatnonzero(self.user_ids.astype(str) == user)
        if len(places) == 0:
            raise KeyError(user)
        i = int(places[0])
        scores = self.V @ self.U[i] + self.item_bias + self.user_bias[i] + self.mean
        scores[self.seen[self.seen_from[i] : self.seen_from[i + 1]]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:top]
        return [(self.item_ids[j].item(), float(scores[j])) for j in best if scores[j] > -np.inf]
