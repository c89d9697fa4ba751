"""The stream of training puzzles: determinism (a draw is a function of seed and number), invariants
of an epoch.
"""

import numpy as np
import pytest
import torch

from tests import tiny
from tinyreason.errors import UserError
from tinyreason.feed import BLOCK, WINDOW, Feed, Stream
from tinyreason.puzzle import Facts, Puzzles, Rows

FACTS = Facts(vocab_size=256, grid=(1, 3), ignore_label_id=None, num_puzzle_identifiers=100)


def as_stored(rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
    """No augmentation, but the number of the copy can be seen."""
    labels = rows.labels.copy()
    labels[:, 0] = copy
    return rows._replace(labels=labels)


def at_random(rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
    return rows._replace(labels=rng.integers(0, 256, rows.labels.shape, dtype=np.uint8))


def singles(n: int, copies: int = 1) -> Puzzles:
    """Puzzle i is the input (i, i, i)."""
    one = Puzzles.single(
        np.repeat(np.arange(n, dtype=np.uint8)[:, None], 3, 1), np.zeros((n, 3), np.uint8)
    )
    return Puzzles(
        one.inputs,
        one.labels,
        one.puzzle_identifiers,
        one.puzzle_indices,
        one.group_indices,
        copies,
    )


def grouped(groups: list[list[int]], copies: int = 1) -> Puzzles:
    """`groups[g][p]` is the number of examples of a puzzle.

    An example's input is (group, puzzle, example).
    """
    puzzles = [(g, p, n) for g, sizes in enumerate(groups) for p, n in enumerate(sizes)]
    inputs = np.array([(g, p, e) for g, p, n in puzzles for e in range(n)], np.uint8)
    edges = np.cumsum([0, *(n for *_, n in puzzles)], dtype=np.int32)
    group_edges = np.cumsum([0, *(len(sizes) for sizes in groups)], dtype=np.int32)
    identifiers = np.arange(1, len(puzzles) + 1, dtype=np.int32)
    return Puzzles(inputs, np.zeros_like(inputs), identifiers, edges, group_edges, copies)


def same(a: Rows, b: Rows) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---- draws


@pytest.mark.parametrize("n", [1, 7, 100, 1500])
def test_a_draw_is_a_function_of_seed_and_number(n):
    """Whatever else was asked, in whatever order and in whatever pieces."""
    puzzles = (
        singles(min(n, 256))
        if n < 1500
        else Puzzles.single(*[np.arange(4500, dtype=np.uint8).reshape(1500, 3)] * 2)
    )
    whole = Stream(puzzles, at_random, seed=3).rows(0, 3 * BLOCK)
    other = Stream(puzzles, at_random, seed=3)
    for start, stop in [
        (2 * BLOCK + 5, 3 * BLOCK),
        (0, 1),
        (BLOCK - 2, BLOCK + 2),
        (17, 17 + BLOCK),
        (0, 2 * BLOCK),
    ]:
        assert same(other.rows(start, stop), Rows(*(a[start:stop] for a in whole)))


def test_another_seed_gives_another_order_and_other_augmentations():
    first, second = (Stream(singles(50), at_random, seed).rows(0, 50) for seed in (0, 1))
    assert not np.array_equal(first.inputs, second.inputs)
    assert not np.array_equal(first.labels, second.labels)


def test_blocks_are_augmented_independently():
    rows = Stream(singles(50), at_random, seed=0).rows(0, 2 * BLOCK)
    assert not np.array_equal(rows.labels[:BLOCK], rows.labels[BLOCK:])


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match=r"task\.train_puzzles"):
        Stream(singles(0), as_stored, seed=0)


# ---- epochs


@pytest.mark.parametrize("n", [1, 2, 7, 100, 255])
def test_every_epoch_brings_each_puzzle_once_in_a_new_order(n):
    drawn = Stream(singles(n), as_stored, seed=0).rows(0, 12 * n).inputs[:, 0].reshape(12, n)
    assert (np.sort(drawn, 1) == np.arange(n)).all()
    if n > 10:
        assert len({tuple(epoch) for epoch in drawn.tolist()}) == 12


def test_the_order_of_an_epoch_is_uniform():
    n, epochs = 4, 3000
    drawn = (
        Stream(singles(n), as_stored, seed=0).rows(0, n * epochs).inputs[:, 0].reshape(epochs, n)
    )
    places = np.stack([np.bincount(drawn[:, k], minlength=n) for k in range(n)])
    assert np.abs(places / epochs - 1 / n).max() < 0.035  # four deviations


def test_a_visit_brings_all_examples_of_one_puzzle_with_one_copy():
    """Groups of equal size, so that an epoch is made of whole visits."""
    puzzles = grouped([[3], [3], [3], [3]], copies=200)
    drawn = Stream(puzzles, as_stored, seed=0).rows(0, 12 * 20)
    visits = drawn.inputs.reshape(-1, 3, 3)
    copies = drawn.labels[:, 0].reshape(-1, 3)
    assert (visits[:, :, :2] == visits[:, :1, :2]).all()
    assert (np.sort(visits[:, :, 2], 1) == [0, 1, 2]).all()
    assert (copies == copies[:, :1]).all()
    assert len(set(copies[:, 0].tolist())) > 40
    assert len({tuple(v) for v in visits[:, :, 2].tolist()}) == 6  # in every order
    assert np.array_equal(drawn.puzzle_ids, drawn.inputs[:, 0].astype(np.int32) + 1)


def test_an_epoch_visits_each_group_once_where_puzzles_differ_in_size():
    groups = [[1], [4], [2], [5]]
    drawn = Stream(grouped(groups), as_stored, seed=0).rows(0, 12 * 5).inputs.reshape(5, 12, 3)
    for epoch in drawn.tolist():
        assert sorted(map(tuple, epoch)) == [
            (g, 0, e) for g, (n,) in enumerate(groups) for e in range(n)
        ]


def test_a_pass_over_stored_augmentations_visits_every_group_once():
    """Groups of several puzzles, as in the folders of HRM and TRM: a visit picks one puzzle of the
    group.
    """
    groups, puzzles = 6, 8
    drawn = Stream(grouped([[1] * puzzles] * groups), as_stored, seed=0).rows(0, 40 * groups).inputs
    passes = drawn[:, 0].reshape(-1, groups)
    assert (np.sort(passes, 1) == np.arange(groups)).all()


def test_passes_over_stored_augmentations_differ_in_order_and_in_what_they_pick():
    """Each pass picks anew: after 64 passes over groups of 8 puzzles, every puzzle was seen, about
    equally often.
    """
    groups, puzzles, passes = 6, 8, 64
    drawn = (
        Stream(grouped([[1] * puzzles] * groups), as_stored, seed=0).rows(0, passes * groups).inputs
    )
    orders = {tuple(p) for p in drawn[:, 0].reshape(passes, groups).tolist()}
    assert len(orders) > passes * 0.8  # of 720
    picked = np.zeros((groups, puzzles), int)
    np.add.at(picked, (drawn[:, 0], drawn[:, 1]), 1)
    assert picked.min() >= 1
    assert picked.max() <= 25  # 8 expected


def test_copies_are_drawn_uniformly():
    copies = Stream(singles(10, copies=5), as_stored, seed=0).rows(0, 5000).labels[:, 0]
    assert np.abs(np.bincount(copies, minlength=5) / 5000 - 0.2).max() < 0.025


# ---- the feed


def feed(batch: int, n: int = 200, position: int = 0) -> tuple[Feed, Stream]:
    stream = Stream(singles(n), at_random, seed=1)
    return Feed(stream, FACTS, batch, tiny.CPU, position), stream


@pytest.mark.parametrize(("batch", "share"), [(8, 0.3), (8, 1.0), (8, 0.02), (1, 0.5), (5, 0.9)])
def test_no_draw_is_lost_or_repeated_when_slots_free_at_random(batch, share):
    """And busy slots consume nothing. Goes through several windows."""
    source, stream = feed(batch)
    generator, drawn = torch.Generator().manual_seed(0), []
    for _ in range(6 * WINDOW):
        free = torch.rand(batch, generator=generator) < share
        got = source.take(free)
        assert len(got) == batch
        drawn.append(torch.cat((got.inputs[free], got.labels[free]), 1))
    drawn = torch.cat(drawn).numpy()
    expected = stream.rows(0, len(drawn))
    assert np.array_equal(drawn, np.concatenate((expected.inputs, expected.labels), 1))
    assert source.position == len(drawn)


def test_the_draws_do_not_depend_on_the_batch():
    orders = []
    for batch in (3, 8):
        source, _ = feed(batch)
        everyone = torch.ones(batch, dtype=torch.bool)
        orders.append(torch.cat([source.take(everyone).labels for _ in range(50)]))
    assert torch.equal(orders[0], orders[1][: len(orders[0])])


def test_busy_slots_consume_nothing():
    source, stream = feed(4)
    for _ in range(3 * WINDOW):
        source.take(torch.zeros(4, dtype=torch.bool))
    assert source.position == 0
    got = source.take(torch.tensor([False, True, False, True]))
    assert np.array_equal(got.inputs[[1, 3]].numpy(), stream.rows(0, 2).inputs)
    assert source.position == 2


def test_a_feed_goes_on_from_a_position():
    source, _ = feed(8)
    free = torch.tensor([True, False, True, True, False, False, True, False])
    for _ in range(21):
        source.take(free)
    later, _ = feed(8, position=source.position)
    for _ in range(40):
        a, b = source.take(free), later.take(free)
        assert torch.equal(a.inputs[free], b.inputs[free])
        assert torch.equal(a.labels[free], b.labels[free])
    assert later.position == source.position == 4 * 61


def test_the_ignored_label_becomes_ignore():
    facts = Facts(vocab_size=256, grid=(1, 3), ignore_label_id=0)
    stream = Stream(singles(5), lambda rows, copy, rng: rows, seed=0)
    got = Feed(stream, facts, 2, tiny.CPU).take(torch.tensor([True, True]))
    assert got.labels.tolist() == [[-100] * 3] * 2
    assert got.inputs.dtype == got.puzzle_ids.dtype == torch.int32
    assert got.labels.dtype == torch.int64
