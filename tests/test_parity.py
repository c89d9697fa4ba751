"""The recorded numbers of the references: reference, and the proof that the comparison can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import parity
from tests.parity import TOLERANCE, Golden, largest_differences

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests" / "golden").glob("*.npz"))
TRM = [path for path in FILES if path.stem.startswith("trm")]


def beyond(found: dict[str, float]) -> set[str]:
    return {key for key in TOLERANCE if found[key] > TOLERANCE[key]}


def run_main(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["parity", *words])
    code = parity.main()
    return code, *capsys.readouterr()


def altered(tmp_path: Path, path: Path, changes: dict) -> Path:
    """A copy of a recorded file in which `changes[key]` was applied to the array `key`."""
    data = dict(np.load(path))
    for key, change in changes.items():
        data[key] = change(data[key]).astype(data[key].dtype)
    out = tmp_path / "altered.npz"
    np.savez(out, **data)
    return out


def test_all_recorded_files_are_here():
    assert [path.stem for path in FILES] == ["hrm", "trm_attention", "trm_mixer"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_model_computes_what_the_reference_computed(path):
    assert not beyond(largest_differences(Golden(path)))


@pytest.mark.parametrize("path", TRM, ids=lambda p: p.stem)
@pytest.mark.parametrize("gradient", ["one_step", 5, 7, "bptt"])
def test_another_gradient_keeps_the_forward_and_breaks_the_gradients(path, gradient):
    assert beyond(largest_differences(Golden(path, gradient))) == {"gradients"}


def test_hrm_with_more_than_its_last_step_breaks_the_gradients():
    assert beyond(largest_differences(Golden(ROOT / "tests" / "golden" / "hrm.npz", "full"))) == {"gradients"}


@pytest.mark.parametrize(
    ("key", "change", "group"),
    [
        ("seg2/z_H", lambda a: a + 4e-4, "states"),
        ("seg2/logits", lambda a: a + 4e-4, "logits"),
        ("seg2/q_logits", lambda a: a + 4e-4, "logits"),
        ("seg1/lm_loss", lambda a: a * 1.00002, "losses"),
        ("seg2/q_halt_loss", lambda a: a * 1.00002, "losses"),
        ("seg2/grad_norm/inner.lm_head.weight", lambda a: a * 1.0002, "gradients"),
        ("seg0/grad/puzzle_rows", lambda a: a * 1.0002, "gradients"),
        ("seg2/steps", lambda a: a + 1, "steps"),
        ("seg2/halted", np.logical_not, "halted"),
    ],
)
def test_a_number_beyond_its_tolerance_is_noticed(key, change, group, tmp_path):
    path = ROOT / "tests" / "golden" / "hrm.npz"
    assert beyond(largest_differences(Golden(altered(tmp_path, path, {key: change})))) == {group}


def test_a_wrong_weight_is_noticed_everywhere(tmp_path):
    key = "weight/inner.L_level.layers.0.mlp.down_proj.weight"
    path = altered(tmp_path, TRM[0], {key: lambda a: a * 1.01})
    assert beyond(largest_differences(Golden(path))) >= {"states", "logits", "losses", "gradients"}


def test_the_command_prints_one_line_of_json_and_its_code_says_whether_all_is_well(tmp_path, monkeypatch, capsys):
    code, out, _ = run_main(monkeypatch, capsys, str(FILES[0]))
    assert code == 0
    assert len(out.splitlines()) == 1
    assert json.loads(out).keys() == TOLERANCE.keys()
    broken = altered(tmp_path, FILES[0], {"seg1/logits": lambda a: a + 1e-3})
    code, out, _ = run_main(monkeypatch, capsys, str(broken))
    assert code == 1
    assert beyond(json.loads(out)) == {"logits"}


@pytest.mark.parametrize("words", [(), ("no_such_file.npz",), ("a", "b")])
def test_a_wrong_call_says_how_to_call_it(words, monkeypatch, capsys):
    code, out, err = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert not out
    assert err.startswith("error: ")
    assert "usage: python -m tests.parity FILE.npz" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"source,question\n", b""])
def test_another_kind_of_file_is_named(content, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.npz").write_bytes(content)
    code, out, err = run_main(monkeypatch, capsys, str(tmp_path / "x.npz"))
    assert (code, out) == (2, "")
    assert "no recording of a reference" in err


def test_it_runs_as_a_module():
    call = [sys.executable, "-m", "tests.parity", str(FILES[0])]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == TOLERANCE.keys()
