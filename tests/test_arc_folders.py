"""Folders of ARC tasks as they are found on disks: what is read as which set, what is refused since
there are two ways to read it, and what is told as not read.
"""

import json
import os

import pytest

from data import arc_read, arc_task, arc_tree
from data.arc_read import read_source
from data.arc_task import Kept
from tests.test_arc import PAIR, TASK, WHOLE, kaggle, write
from tests.test_arc_files import HIDDEN, counts, loaded
from tinyreason.errors import UserError
from tinyreason.untrusted import refuse_links


def refusal(source, **options) -> str:
    with pytest.raises(UserError) as refused:
        loaded(source if isinstance(source, list) else str(source), **options)
    line = str(refused.value)
    assert "\n" not in line
    return line


def ids(source) -> tuple[list[str], list[str]]:
    train, test = read_source(source if isinstance(source, list) else str(source))
    return [task.id for task in train], [task.id for task in test]


def sets(path, **named) -> str:
    """training/t.json and evaluation/e.json, or what is `named` of them."""
    for folder, name in (named or {"training": "t", "evaluation": "e"}).items():
        write(path / folder / f"{name}.json", TASK)
    return str(path)


def competition(path, **tasks) -> str:
    """Kaggle's files: the challenges of each set with one task, and the solutions but of test."""
    for name, task in tasks.items():
        write(path / f"arc-agi_{name}_challenges.json", {task: HIDDEN})
        if name != "test":
            write(path / f"arc-agi_{name}_solutions.json", {task: [[[4]]]})
    return str(path)


# ---- which set is which


@pytest.mark.parametrize("place", [".", "data", "ARC/data", "x/ARC/data", "ARC-AGI-2"])
def test_training_and_evaluation_are_found_wherever_they_lie(tmp_path, place):
    sets(tmp_path / place)
    write(tmp_path / "package.json", {"name": "viewer"})
    write(tmp_path / "apps" / "broken.json", "{")
    assert ids(tmp_path) == (["t"], ["e"])
    notes = loaded(str(tmp_path)).notes
    assert f"{tmp_path}: not read: apps/, package.json" in notes


def test_capitals_are_no_other_set(tmp_path):
    sets(tmp_path, Training="t", Evaluation="e")
    write(tmp_path / "Training" / "u.JSON", TASK)
    assert ids(tmp_path) == (["t", "u"], ["e"])
    sets(tmp_path, training="t")
    assert "two of one set" in refusal(tmp_path)


def test_two_pairs_of_sets_are_refused(tmp_path):
    one, other = sets(tmp_path / "ARC-1" / "data"), sets(tmp_path / "ARC-2" / "data")
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path}: tasks in {one}/training and in {other}/training; use ")
    assert line.endswith(f"use task.source={one} or task.source={other}")
    assert ids(one) == (["t"], ["e"])


def test_tasks_outside_of_the_sets_are_refused_and_beside_them_told(tmp_path):
    home = sets(tmp_path / "ARC")
    write(tmp_path / "ARC" / "test" / "h.json", HIDDEN)
    assert f"{tmp_path}: not read: ARC/test/" in loaded(str(tmp_path)).notes
    assert f"{home}: not read: test/" in loaded(home).notes
    extra = write(tmp_path / "more" / "x.json", TASK)
    line = refusal(tmp_path)
    assert f"tasks in {home}/training and in {extra}; use task.source={home} or " in line


def test_a_folder_named_train_is_a_set_by_another_name(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / name / "a.json", TASK)
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path / 'train'}: ARC's folders are named training and evaluation")
    assert ids([str(tmp_path / "train"), str(tmp_path / "test")]) == (["a"], ["a"])


@pytest.mark.parametrize("depth", [1, 4, arc_tree.DEEPEST])
def test_tasks_lie_in_deep_folders(tmp_path, depth):
    names = [str(n) for n in range(depth)]
    write(tmp_path.joinpath(*names) / "a.json", TASK)
    write(tmp_path / "other" / "b.json", TASK)
    assert ids(tmp_path) == ([], ["/".join([*names, "a"]), "other/b"])
    deeper = tmp_path.joinpath(*names, *"x" * (arc_tree.DEEPEST + 1 - depth))
    deeper.mkdir(parents=True)
    assert refusal(tmp_path).startswith(f"{deeper}: more than {arc_tree.DEEPEST} folders deep; use")


def test_tasks_in_a_folder_and_below_it_are_refused(tmp_path):
    write(tmp_path / "training" / "a.json", TASK)
    below = write(tmp_path / "training" / "c" / "d" / "b.json", TASK)
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path / 'training'}: tasks in it (a.json) and below it ({below});")
    assert "tasks in it (a.json)" in refusal(tmp_path / "training")
    write(tmp_path / "training" / "a.json", {"about": "c"})
    assert ids(tmp_path) == (["c/d/b"], [])


def test_re_arc_as_it_is_unpacked(tmp_path):
    for name in "ab":
        write(tmp_path / "tasks" / f"{name}.json", [PAIR, PAIR])
    write(tmp_path / "metadata.json", {name: {"n_examples": 2, "difficulty": 0.5} for name in "ab"})
    task = loaded(str(tmp_path))
    assert counts(task) == {"train": 4, "valid": 0, "test": 0}
    assert task.notes[0] == f"{tmp_path}: not read: metadata.json"
    beside = write(tmp_path / "tasks" / "info.json", {"version": 1})
    assert task_notes(tmp_path)[0] == f"{tmp_path}: not read: metadata.json, tasks/info.json"
    write(tmp_path / "tasks" / "many.json", {"a": TASK})
    assert refusal(tmp_path).endswith(f"use task.source={tmp_path / 'tasks' / 'many.json'}")
    os.remove(tmp_path / "tasks" / "many.json")
    write(tmp_path / "tasks" / "info.json", {"train": [PAIR]})  # a task that lacks its tests
    assert refusal(tmp_path).startswith(f"{beside}:tasks/info: not an object with")


def task_notes(path) -> list[str]:
    return loaded(str(path)).notes


def test_what_holds_no_task_is_refused_where_there_is_nothing_else(tmp_path):
    file = write(tmp_path / "metadata.json", {"a": {"n_examples": 2}})
    assert refusal(tmp_path).startswith(f"{file}:metadata: not an object with the non-empty lists")


def test_what_macos_leaves_is_passed_over(tmp_path):
    write(tmp_path / "a.json", TASK)
    for name in ("._a.json", "__MACOSX/._a.json", "._c/b.json"):
        write(tmp_path / name, "\0\5\x16\7 Mac OS X")
    write(tmp_path / ".DS_Store", "\0\0\0\1Bud1")
    task = loaded(str(tmp_path))
    assert task.names == ["a"]
    assert not any("not read" in note for note in task.notes)


def test_packed_tasks_are_told(tmp_path):
    sets(tmp_path)
    write(tmp_path / "training" / "more.json.gz", "")
    write(tmp_path / "re_arc.zip", "")
    assert f"{tmp_path}: not read: re_arc.zip, training/more.json.gz" in task_notes(tmp_path)


def test_one_name_in_two_spellings_is_refused(tmp_path):
    write(tmp_path / "a.json", TASK)
    write(tmp_path / "a.JSON", TASK)
    assert "two tasks of one name" in refusal(tmp_path)


# ---- links


@pytest.mark.parametrize("to", ["..", ".", "../..", "../z"])
def test_a_folder_is_not_read_twice_by_a_link(tmp_path, to):
    for name in ("s", "z"):
        write(tmp_path / "in" / name / "a.json", TASK)
    link = tmp_path / "in" / "s" / "link"
    link.symlink_to(to)
    line = refusal(tmp_path / "in" if to != "../.." else tmp_path)
    assert str(link) in line or (to == "../z" and "/in/z and " in line)
    assert "the same by a link, and would be read twice; remove the link" in line


def test_a_file_is_not_read_twice_by_a_link(tmp_path):
    write(tmp_path / "evaluation" / "b.json", TASK)
    write(tmp_path / "training" / "a.json", TASK)
    (tmp_path / "training" / "c.json").symlink_to("../evaluation/b.json")
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path}/")
    assert f"{tmp_path / 'evaluation' / 'b.json'}" in line
    assert f"{tmp_path / 'training' / 'c.json'}" in line


def test_a_link_to_what_is_hidden_is_followed(tmp_path):
    write(tmp_path / ".git" / "annex" / "0", TASK)
    (tmp_path / "a.json").symlink_to(".git/annex/0")
    assert ids(tmp_path) == ([], ["a"])


@pytest.mark.parametrize("name", ["x.json", "training"])
def test_a_link_to_itself_is_refused(tmp_path, name):
    (tmp_path / name).symlink_to(name)
    write(tmp_path / "evaluation" / "a.json", TASK)
    told = f"{tmp_path / name}: a link that leads to itself; remove it"
    with pytest.raises(UserError) as refused:
        refuse_links(tmp_path, tmp_path, ("x.json", "training"))
    assert str(refused.value) == told
    if name == "training":
        assert refusal(tmp_path) == told
    else:
        assert f"{tmp_path}: not read: x.json" in task_notes(tmp_path)
        (tmp_path / "evaluation").rename(tmp_path / "tasks")
        assert refusal(tmp_path) == told


def test_a_link_to_nothing_is_no_missing_set(tmp_path):
    (tmp_path / "training").symlink_to("unmounted")
    write(tmp_path / "evaluation" / "a.json", TASK)
    assert refusal(tmp_path).startswith(f"{tmp_path / 'training'}: a link that leads to nothing")


def test_a_set_that_is_a_link_is_not_left_out(tmp_path):
    sets(tmp_path / "away")
    sets(tmp_path / "here", evaluation="e")
    (tmp_path / "here" / "training").symlink_to(tmp_path / "away" / "training")
    assert "here/training: a link that leads out of" in refusal(tmp_path / "here")


def test_a_link_that_is_not_needed_is_told(tmp_path):
    sets(tmp_path / "ARC" / "data")
    (tmp_path / "ARC" / "etc").symlink_to("/etc")
    (tmp_path / "ARC" / "latest").symlink_to("data")
    assert f"{tmp_path}: not read: ARC/etc/, ARC/latest/" in task_notes(tmp_path)


def test_links_of_the_hubs_cache_are_followed_in_both_sets(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    write(blobs / "0", TASK)
    for place in ("training/a", "training/b", "evaluation/c"):  # equal files share a blob
        (snapshot / place).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / f"{place}.json").symlink_to("../../../blobs/0")
    assert ids(snapshot) == (["a", "b"], ["c"])


# ---- Kaggle's files


def test_two_files_of_one_set_are_refused(tmp_path):
    competition(tmp_path, training="t", evaluation="e")
    other = write(tmp_path / "old_training_challenges.json", {"u": HIDDEN})
    mine = tmp_path / "arc-agi_training_challenges.json"
    assert refusal(tmp_path).startswith(f"{mine} and {other}: two of one set")


def test_kaggles_files_beside_folders_of_tasks_are_refused(tmp_path):
    competition(tmp_path, training="t")
    mine = tmp_path / "arc-agi_training_challenges.json"
    write(tmp_path / "training" / "a.json", TASK)
    told = f"{tmp_path}: tasks in {mine} and in {tmp_path / 'training'}; "
    assert refusal(tmp_path).startswith(told)
    os.rename(tmp_path / "training", tmp_path / "more")
    assert f"tasks in {mine} and in {tmp_path / 'more' / 'a.json'}; use " in refusal(tmp_path)
    write(tmp_path / "more" / "a.json", {"about": "nothing"})
    assert f"{tmp_path}: not read: more/" in task_notes(tmp_path)
    file = write(tmp_path / "arc-agi_mini_challenges.json", {"m": TASK})
    assert f"tasks in {mine} and in {file}; move one" in refusal(tmp_path)


def test_a_set_of_an_unknown_name_is_not_dropped(tmp_path):
    file = write(tmp_path / "arc-agi_mini_challenges.json", {"m": TASK})
    assert refusal(tmp_path).endswith(f"use task.source={file}")
    assert ids(file) == ([], ["m"])


@pytest.mark.parametrize("name", ["arc-agi_training", "other_evaluation"])
def test_solutions_without_their_challenges_are_refused(tmp_path, name):
    competition(tmp_path, evaluation="e")
    alone = write(tmp_path / f"{name}_solutions.json", {"t": [[[4]]]})
    line = refusal(tmp_path)
    assert alone in line
    assert "answers alone" in line or "two of one set" in line


def test_solutions_are_found_behind_either_mark(tmp_path):
    write(tmp_path / "arc-agi_training-challenges.json", {"t": HIDDEN})
    write(tmp_path / "arc-agi_training_solutions.json", {"t": [[[4]]]})
    assert counts(loaded(str(tmp_path)))["train"] == 2
    (_, (task,)) = read_source(str(tmp_path / "arc-agi_training-challenges.json"))
    assert task.tests[0][1].tolist() == [[4]]


def test_a_test_set_alone_is_evaluated(tmp_path):
    source = competition(tmp_path / "hidden", test="h")
    assert ids(source) == ([], ["h"])
    assert counts(loaded(source)) == {"train": 1, "valid": 0, "test": 1}
    assert "its test set is evaluated" in task_notes(source)[0]
    first = sets(tmp_path / "first")
    assert ids([first, source]) == (["t"], ["h"])
    assert f"{source}: no training set in it" in refusal([source, first])


def test_the_competition_in_a_folder_above(tmp_path):
    source = competition(tmp_path / "arc-prize", training="t", evaluation="e", test="h")
    assert ids(tmp_path) == (["t"], ["e"])
    competition(tmp_path / "arc-prize-2024", training="t")
    assert f"task.source={source}" in refusal(tmp_path)


# ---- lists


def test_all_tasks_of_the_first_are_trained_on(tmp_path):
    flat, other = tmp_path / "flat", tmp_path / "other"
    for name in "ab":
        write(flat / f"{name}.json", TASK)
    write(flat / "r.json", [PAIR])
    write(other / "c.json", TASK)
    assert ids([str(flat), str(other)]) == (["a", "b", "r"], ["c"])
    assert counts(loaded([str(flat), str(other)])) == {
        "train": 3 + 3 + 1 + 2,
        "valid": 0,
        "test": 1,
    }
    assert ids([str(flat / "a.json"), str(other / "c.json")]) == (["a"], ["c"])
    assert ids([str(flat / "r.json"), str(other)]) == (["r"], ["c"])
    assert "r is a list of pairs, none of them a test" in refusal([str(other), str(flat)])
    assert "r is a list of pairs" in refusal([str(other), str(flat / "r.json")])


def test_a_list_of_sources_uses_the_set_that_it_needs(tmp_path):
    one, other = sets(tmp_path / "1"), sets(tmp_path / "2", training="u", evaluation="f")
    assert ids([one, other]) == (["t"], ["f"])
    write(tmp_path / "1" / "evaluation" / "e.json", "{")  # not used, so not read
    assert ids([one, other]) == (["t"], ["f"])
    alone = sets(tmp_path / "3", evaluation="e")
    told = f"{alone}: no training/ in it; if {alone}/evaluation is meant, name it in task.source"
    assert refusal([alone, other]) == told
    assert ids([f"{alone}/evaluation", other]) == (["e"], ["f"])


def test_answers_alone_are_no_source(tmp_path):
    competition(tmp_path, training="t")
    files = [
        str(tmp_path / f"arc-agi_training_{part}.json") for part in ("challenges", "solutions")
    ]
    told = "answers alone; name ..._challenges.json, they are found beside it"
    for source in (files, files[::-1], files[1], [*files, files[1]]):
        assert refusal(source) == f"{files[1]}: {told}"
    other = sets(tmp_path / "other")
    assert ids([files[0], other]) == (["t"], ["e"])


def test_a_built_data_set_is_used_alone(tmp_path):
    write(tmp_path / "built" / "train" / "dataset.json", {})
    other = sets(tmp_path / "other")
    told = f"a data set that was built is used alone: task.source={tmp_path / 'built'}"
    assert told in refusal([str(tmp_path / "built"), other])


def test_one_task_that_lacks_its_tests_is_not_taken_for_many(tmp_path):
    file = write(tmp_path / "a.json", {"train": [PAIR]})
    assert refusal(file).startswith(f"{file}:a: not an object with the non-empty lists")
    assert "an object without a task" in refusal([write(tmp_path / "b.json", {}), file])


# ---- what is told, and how much is read


def test_null_that_is_read_as_0_is_told(tmp_path):
    text = {"train": [{"input": [["7", None]], "output": [["1"]]}], "test": [PAIR]}
    write(tmp_path / "m.json", text)
    write(tmp_path / "n.json", TASK)
    write(tmp_path / "o.json", json.dumps(text).replace("null", '"0"'))
    write(tmp_path / "p.json", text)
    told = "null is read as 0 in 2 tasks, whose cells are strings: m, p"
    assert told in task_notes(tmp_path)
    kept = Kept("refuse")
    read_source(kaggle(tmp_path / "k", {"m": TASK}, {"n": text}), kept)
    assert kept.nulls == ["n"]


def test_files_folders_and_pairs_have_a_limit(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path / f"{name}.json", [PAIR, PAIR])
    monkeypatch.setattr(arc_task, "MAX_ALL_PAIRS", 5)
    assert refusal(tmp_path).startswith("task.source: more than 5 pairs, at task c; use a part")
    assert "more than 5 pairs" in refusal(tmp_path, bad="skip")
    monkeypatch.setattr(arc_task, "MAX_PAIRS", 1)
    assert f"{tmp_path / 'a.json'}:a: 2 pairs, more than 1; use fewer" in refusal(tmp_path)
    monkeypatch.setattr(arc_read, "MAX_FILES", 2)
    assert refusal(tmp_path) == f"{tmp_path}: more than 2 files of JSON"
    monkeypatch.setattr(arc_tree, "MAX_ENTRIES", 2)
    assert refusal(tmp_path).startswith(f"{tmp_path}: more than 2 files and folders; use ")


def test_a_folder_that_cannot_be_read_is_refused_or_told(tmp_path, monkeypatch):
    sets(tmp_path)
    write(tmp_path / "locked" / "a.json", TASK)
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"{tmp_path}: not read: locked/" in task_notes(tmp_path)
    told = f"{tmp_path / 'locked'}: cannot be read: Permission denied"
    assert refusal(tmp_path / "locked") == told


def test_what_is_left_out_is_said_where_nothing_remains(tmp_path):
    write(tmp_path / "a.json", {"train": [PAIR]})
    assert refusal(tmp_path, bad="skip").startswith(f"{tmp_path}: {tmp_path / 'a.json'}:a: not an")
    assert WHOLE["bad"] == "refuse"
