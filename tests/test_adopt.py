"""The references' checkpoints: adopted to the last number, or refused with the name of a tensor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

import tinyreason
from eval import adopt
from eval.adopt import NAMES
from eval.load import open_run
from tests import tiny
from tests.test_checkpoint import Reduced
from tinyreason.errors import UserError
from tinyreason.models import make_model
from tinyreason.puzzle import Facts, Rows
from tinyreason.run.checkpoint import digest

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "checkpoint_trm"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="shared/golden is not beside the checkout"
)
ARCH = {
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
    "H_cycles": 2,
    "L_cycles": 2,
    "H_layers": 0,
    "L_layers": 1,
    "expansion": 4,
    "forward_dtype": "float32",
    "halt_exploration_prob": 0.1,
    "halt_max_steps": 4,
    "hidden_size": 16,
    "loss": {"name": "losses@ACTLossHead"},
    "mlp_t": False,
    "no_ACT_continue": True,
    "num_heads": 2,
    "pos_encodings": "rope",
    "puzzle_emb_len": 2,
    "puzzle_emb_ndim": 16,
}
HRM = {
    "name": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
    "H_layers": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
FACTS = Facts(vocab_size=6, grid=(4, 4), num_puzzle_identifiers=3)


def theirs(name: str, model: str) -> str:
    """One of our tensors by the references' name."""
    name = name.replace("core.", "core_L.") if model == "trm" else name
    for reference, mine in reversed(NAMES):
        name = name.replace(mine, reference)
    return name


def written(path: Path, arch: dict, prefix: str = "_orig_mod.model.") -> dict[str, str]:
    """A checkpoint as the references write it, of one of our models; the words that adopt it."""
    model = "hrm" if "Hierarchical" in arch["name"] else "trm"
    options = adopt.options_of(arch, model, path)
    ours = make_model(tiny.model_config(**options), FACTS, tiny.CPU)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    state = {prefix + theirs(k, model): v.clone() for k, v in ours.state_dict().items()}
    torch.save(state, path / "step_10")
    (path / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch, "lr": 1e-4}))
    (path / "dataset.json").write_text(
        json.dumps({"vocab_size": 6, "seq_len": 16, "num_puzzle_identifiers": 3, "sets": ["all"]})
    )
    return {"sha256": digest(ours)}


def words(path: Path, **changes) -> OmegaConf:
    given = {
        "checkpoint": path / "step_10",
        "config": path / "all_config.yaml",
        "out": path / "out",
    }
    given = {key: str(value) for key, value in given.items()} | {"dataset": str(path), "task": None}
    nothing = dict.fromkeys(("vocab_size", "seq_len", "num_puzzle_identifiers"))
    return OmegaConf.create(given | nothing | changes)


def refusal(path: Path, **changes) -> str:
    with pytest.raises(UserError) as caught:
        adopt.main(words(path, **changes))
    assert "\n" not in str(caught.value)
    assert not (path / "out").exists()
    return str(caught.value)


@needs_golden
def test_the_recorded_checkpoint_answers_as_the_reference_did(tmp_path):
    adopt.main(
        words(
            GOLDEN,
            checkpoint=str(GOLDEN / "step_120"),
            dataset=str(GOLDEN / "facts.json"),
            out=str(tmp_path / "out"),
        )
    )
    expected = np.load(GOLDEN / "expected.npz")
    inputs = expected["inputs"].astype(np.uint8)
    rows = Rows(inputs, np.zeros_like(inputs), expected["puzzle_identifiers"])
    trained = open_run(tmp_path / "out", weights="raw")
    for k in range(4):
        found = trained.solver(segments=k + 1, halt=False)(rows, trained.config.facts)
        sure = expected["margin"][k] > 1e-2
        assert sure.mean() > 0.9
        assert (found.answers == expected["answers"][k])[sure].all()
        assert np.abs(found.halt_logits - expected["q_halt_logits"][k]).max() < 1e-3


@pytest.mark.parametrize("prefix", ["_orig_mod.model.", "model.", "_orig_mod.", ""])
@pytest.mark.parametrize(
    "arch", [ARCH, ARCH | HRM, ARCH | {"mlp_t": True, "pos_encodings": "none"}]
)
def test_a_model_comes_back_to_the_last_bit(tmp_path, arch, prefix, capsys):
    made = written(tmp_path, arch, prefix)
    adopt.main(words(tmp_path))
    out = capsys.readouterr().out
    assert "read as task=grid" in out
    assert "say task=sudoku, maze or arc" in out
    trained = open_run(tmp_path / "out", weights="raw")
    assert digest(trained.model) == made["sha256"]
    assert trained.config.facts == FACTS
    hrm = "Hierarchical" in arch["name"]
    assert trained.config.gradient.name == ("one_step" if hrm else "full")
    assert trained.config.halting.segments == 4


def test_it_solves_and_begins_a_run(tmp_path, monkeypatch, capsys):
    import train

    monkeypatch.chdir(tmp_path)
    written(tmp_path, ARCH | {"puzzle_emb_ndim": 0, "puzzle_emb_len": 0})
    adopt.main(words(tmp_path, task="sudoku", vocab_size=6, seq_len=16))
    found = tinyreason.load(tmp_path / "out", device="cpu").solve("12..3.......2..1")
    assert len(found.answers[0]) == 16
    sizes = ("width=16", "heads=2", "layers=1", "inner_multiple=256", "H_cycles=2", "L_cycles=2")
    sizes += ("mix=attention", "positions=rotary", "prefix=0", "puzzle_embedding=false")
    given = ("task=sudoku", "scale=small", "task.side=4", "task.train_puzzles=4", "steps=1")
    given += ("task.valid_puzzles=0", "task.test_puzzles=2", "batch=2", "name=x", "init=out")
    train.train(tiny.config(*given, "device=cpu", *(f"model.{size}" for size in sizes)))
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("init="))
    assert "begun afresh" not in line


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hidden_size": None}, "arch.hidden_size is missing"),
        ({"hidden_size": 32}, "arch.puzzle_emb_ndim=16, but 32 or 0 is known"),
        ({"num_heads": 4, "L_layers": 2}, "a tensor is missing, here called core.blocks.1"),
        ({"mlp_t": True}, "is no tensor of such a TRM"),
        ({"expansion": 40}, "where the configuration asks for"),
        ({"rms_norm_eps": 1e-6}, "arch.rms_norm_eps=1e-06, but 1e-05 is what is computed here"),
        ({"pos_encodings": "alibi"}, "arch.pos_encodings=alibi"),
        ({"window": 7}, "arch.window=7: an option that is unknown here"),
        ({"name": "trm_singlez@TinyRecursiveReasoningModel_ACTV1"}, "only the references'"),
        ({"name": "os.system"}, "only the references'"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(tmp_path, change, why):
    written(tmp_path, ARCH)
    arch = {k: v for k, v in (ARCH | change).items() if v is not None}
    (tmp_path / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch}))
    assert why in refusal(tmp_path)


def spoilt(path: Path, change) -> None:
    state = torch.load(path / "step_10", weights_only=True)
    change(state)
    torch.save(state, path / "step_10")


def test_each_tensor_is_held_against_the_model(tmp_path):
    written(tmp_path, ARCH)
    head = "_orig_mod.model.inner.lm_head.weight"
    good = (tmp_path / "step_10").read_bytes()
    spoilt(tmp_path, lambda state: state.pop(head))
    assert "a tensor is missing, here called heads.answer.weight" in refusal(tmp_path)
    (tmp_path / "step_10").write_bytes(good)
    spoilt(tmp_path, lambda state: state.update({head: torch.zeros(7, 16)}))
    assert "inner.lm_head.weight is 7 x 16, where the configuration asks for 6 x 16" in refusal(
        tmp_path
    )
    (tmp_path / "step_10").write_bytes(good)
    spoilt(tmp_path, lambda state: state.update({"_orig_mod.model.inner.extra": torch.zeros(1)}))
    assert "inner.extra is no tensor of such a TRM" in refusal(tmp_path)
    (tmp_path / "step_10").write_bytes(b"PK not a checkpoint")
    assert "not a checkpoint of tensors alone" in refusal(tmp_path)
    torch.save([1, 2], tmp_path / "step_10")
    assert "not a state dict" in refusal(tmp_path)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    written(tmp_path, ARCH)
    mark = tmp_path / "ran"
    torch.save({"a": Reduced(mark.touch, ())}, tmp_path / "step_10")
    assert "not a checkpoint of tensors alone" in refusal(tmp_path)
    assert not mark.exists()


def test_what_is_not_known_is_asked_for(tmp_path):
    written(tmp_path, ARCH)
    assert "vocab_size is not known; use dataset=PATH" in refusal(tmp_path, dataset=None)
    assert "no dataset.json there" in refusal(tmp_path, dataset=str(tmp_path / "none"))
    assert "task=chess is unknown" in refusal(tmp_path, task="chess")
    assert "no such file" in refusal(tmp_path, checkpoint=str(tmp_path / "none"))
    assert "no such file" in refusal(tmp_path, config=str(tmp_path / "none"))
    (tmp_path / "all_config.yaml").write_text("lr: 1\n")
    assert "no arch with a name in it" in refusal(tmp_path)


@pytest.mark.hostile
def test_from_the_command_line(tmp_path):
    written(tmp_path, ARCH)
    given = ("checkpoint=step_10", "config=all_config.yaml", "dataset=.", "out=out")
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "eval.adopt", *given],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "out: trm of step_10, read as task=grid" in done.stdout
