"""The recorded numbers of the references: reference, and the proof that the comparison can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import parity, tiny, zoo
from tests.parity import TOLERANCE, Golden, compared, largest_differences
from tests.zoo.recording import TOLERANCE as ZOO_TOLERANCE
from tests.zoo.recording import Recording

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
FILES = sorted(GOLDEN.glob("*.npz"))
ZOO = [
    GOLDEN / f"zoo/{name}.npz"
    for name in (
        "huginn",
        "huginn_add",
        "ouro",
        "three_part",
        "urm",
        "eqr",
        "eqr_mixer",
        "looped_window",
        "deep_thinking",
        "hyper_connections",
        "ut_act",
        "ut_act_capped",
        "openmythos",
        "mor_expert",
        "mor_token",
        "mor_token_batch",
        "deq",
        "huginn_exits",
        "wta",
        "rrt",
        "rrt_cycle3",
        "parcae",
        "parcae_sampler",
        "huginn_sampler",
    )
]
# of a conversion, what became of some matrices alone was recorded
MODELS_OF_ZOO = [path.stem for path in ZOO if not path.stem.startswith("rrt")]
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
    if isinstance(gradient, int):
        scheme = tiny.gradient("last", recursions=gradient)
    else:
        scheme = tiny.gradient(gradient)
    assert beyond(largest_differences(Golden(path, scheme))) == {"gradients"}


def test_hrm_with_more_than_its_last_step_breaks_the_gradients():
    scheme = tiny.gradient("full", 2)
    assert beyond(largest_differences(Golden(GOLDEN / "hrm.npz", scheme))) == {"gradients"}


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


def test_the_command_prints_one_line_of_json_and_its_code_says_whether_all_is_well(
    tmp_path, monkeypatch, capsys
):
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
    done = subprocess.run(
        call, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == TOLERANCE.keys()


# ---- the zoo


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.stem)
def test_a_model_of_the_zoo_computes_what_its_reference_computed(path):
    found, tolerance = compared(path)
    assert found.keys() <= tolerance.keys()
    assert all(found[k] <= tolerance[k] for k in found), found


WRONG = [
    ("huginn", "out/e", "states"),
    ("huginn", "out/states", "states"),
    ("huginn", "out/logits_at/3", "logits"),
    ("huginn", "out/loss", "losses"),
    ("huginn", "grad_norm/transformer.core_block.1.mlp.fc.weight", "gradients"),
    ("huginn", "grad/adapter_whole", "gradients"),
    ("huginn_add", "out/states", "states"),
    ("ouro", "out/gate_logits", "logits"),
    ("ouro", "out/expected_logits", "logits"),
    ("ouro", "stage1/entropy", "losses"),
    ("ouro", "stage1/grad_norm/model.layers.1.mlp.up_proj.weight", "gradients"),
    ("three_part", "relaxed/states", "states"),
    ("three_part", "plain_loop/logits", "logits"),
    ("three_part", "relaxed/lora_grad_norm", "gradients"),
    ("three_part", "relaxed/grad/layer0.wq", "gradients"),
    ("urm", "seg1/logits", "logits"),
    ("urm", "seg2/loss", "losses"),
    ("urm", "seg2/grad_norm/layers.0.mlp.dwconv.weight", "gradients"),
    ("eqr", "seg1/z_L", "states"),
    ("eqr", "seg0/grad/L_level.layers.0.mlp.down_proj.weight", "gradients"),
    ("eqr_mixer", "seg1/q_halt", "logits"),
    ("ouro", "stage2/grad/gate.weight", "gradients"),
    ("looped_window", "out/states", "states"),
    ("looped_window", "grad/_backbone.block.up.weight", "gradients"),
    ("three_part", "three_part/states", "states"),
    ("three_part", "frailt/grad/iteration_embedding", "gradients"),
    ("three_part", "three_part/grad/adapter", "gradients"),
    ("hyper_connections", "init/lanes/3", "states"),
    ("hyper_connections", "init/inputs", "states"),
    ("hyper_connections", "random/lanes/2", "states"),
    ("hyper_connections", "additive/states", "states"),
    ("hyper_connections", "inject_init_prelude/states", "states"),
    ("hyper_connections", "passthrough/states", "states"),
    ("hyper_connections", "random/grad/mixing", "gradients"),
    ("ut_act", "out/interpolate", "states"),
    ("ut_act", "own_float64/sum", "states"),
    ("ut_act", "out/n_updates", "decisions"),
    ("ut_act_capped", "grad/act_fn.p.weight", "gradients"),
    ("openmythos", "out/states", "states"),
    ("openmythos", "grad/injection.log_dt", "gradients"),
    ("mor_expert", "own_kv/state1", "states"),
    ("mor_expert", "shared_kv/grad/k_proj_norm", "gradients"),
    ("mor_expert", "shared_kv_updated/aux_loss", "losses"),
    ("mor_expert", "own_kv/selected2", "decisions"),
    ("mor_token", "sigmoid/out", "states"),
    ("mor_token", "loss_free/ratio", "decisions"),
    ("mor_token", "own_kv/probabilities", "states"),
    ("mor_token", "shared_kv/grad/router", "gradients"),
    ("mor_token_batch", "shared_kv/balancing_loss", "losses"),
    ("deq", "anderson/m3_tau0.8/queries", "states"),
    ("deq", "anderson/rel/nstep", "decisions"),
    ("deq", "deq/phantom_k5_tau0.5/grad/W", "gradients"),
    ("deq", "jacobian/grad/W", "gradients"),
    ("deq", "fp_correction/linear0.9", "losses"),
    ("huginn_exits", "minp-kl/cells/value", "states"),
    ("huginn_exits", "cosine/last/exit", "decisions"),
    ("huginn_exits", "argmax-stability/cells/exit", "decisions"),
    ("rrt", "converted/middle_cycle/upper/3.q_proj", "states"),
    ("rrt_cycle3", "lora/stepwise/5.down_proj/B_gram", "states"),
    ("wta", "carry/top2", "states"),
    ("wta", "out/winner", "decisions"),
    ("wta", "grad/q_halt", "gradients"),
    ("deep_thinking", "out/loss_progressive", "losses"),
    ("deep_thinking", "out/logits", "logits"),
    ("deep_thinking", "grad_norm/recur_block.0.weight", "gradients"),
    ("parcae", "out/e", "states"),
    ("parcae", "out/proposals", "states"),
    ("parcae", "out/state", "states"),
    ("parcae", "injection/decay", "states"),
    ("parcae", "out/logits", "logits"),
    ("parcae", "out/loss", "losses"),
    ("parcae", "injection/grad/B", "gradients"),
    ("parcae", "grad/transformer.adapter.A_log", "gradients"),
    ("parcae", "grad_norm/transformer.core_block.0.attn.c_k.weight", "gradients"),
    ("parcae", "init/mean/transformer.adapter.dt_bias", "spreads"),
    ("parcae", "init/std/transformer.C.weight", "spreads"),
    ("parcae_sampler", "poisson-full/forward/8/4/tracked", "draws"),
    ("parcae_sampler", "poisson-fill/forward/8/4/free", "draws"),
    ("huginn_sampler", "simple/8/4", "draws"),
    ("huginn_sampler", "fixed/8/4", "draws"),
    ("huginn_sampler", "poisson-lognormal-filling/6/2/rate", "rates"),
]


def nudged(a: np.ndarray) -> np.ndarray:
    """A little beyond any tolerance."""
    return a * 1.0001 + 1e-4 if a.dtype.kind == "f" else a + 1


@pytest.mark.parametrize(("name", "key", "group"), WRONG, ids=lambda x: str(x))
def test_a_number_of_the_zoo_beyond_its_tolerance_is_noticed(name, key, group, tmp_path):
    path = altered(tmp_path, GOLDEN / f"zoo/{name}.npz", {key: nudged})
    found, tolerance = compared(path)
    assert {k for k in found if found[k] > tolerance[k]} == {group}


@pytest.mark.hostile
@pytest.mark.parametrize("name", MODELS_OF_ZOO)
def test_every_recorded_weight_of_the_zoo_is_used(name, tmp_path):
    """A model that ignored one would not notice that it has changed."""
    path = GOLDEN / f"zoo/{name}.npz"
    # of Huginn, a buffer; of the Universal Transformer, a norm that its code never calls
    unused = ("weight/freqs_cis", "weight/layer_norm.gamma", "weight/layer_norm.beta")
    unused += ("weight/lm_head.weight",) if name in ("huginn", "parcae") else ()
    recording = Recording(path)
    for key in [k for k in recording.data if k.startswith(("weight/", "lora/"))]:
        if key in unused or (key.startswith("lora/") and "loop2" not in key):
            continue
        recording = Recording(path)
        recording.data[key] = recording.data[key] * 1.05 + 0.01
        found = zoo.reader_of(recording).differences(recording)
        assert any(found[k] > ZOO_TOLERANCE[k] for k in found), key


def test_the_command_reads_recordings_of_the_zoo(monkeypatch, capsys):
    code, out, _ = run_main(monkeypatch, capsys, str(GOLDEN / "zoo/ouro.npz"))
    assert code == 0
    assert json.loads(out).keys() <= ZOO_TOLERANCE.keys()


# ---- HRM's options that the recordings do not use


def test_a_recording_of_hrm_with_cores_of_other_sizes_and_learned_positions_loads(tmp_path):
    """H_layers 1, L_layers 3, `embed_pos`: our own model's figures under the reference's names."""
    data = dict(np.load(GOLDEN / "hrm.npz"))
    config = json.loads(str(data["config"])) | {
        "H_layers": 1,
        "L_layers": 3,
        "pos_encodings": "learned",
    }
    rng = np.random.default_rng(0)
    data["weight/inner.embed_pos.embedding_weight"] = rng.normal(0, 0.2, (17, 32)).astype(
        np.float32
    )
    for key in [k for k in data if k.startswith("weight/inner.H_level.layers.1.")]:
        del data[key]
    for key in [k for k in data if k.startswith("weight/inner.L_level.layers.1.")]:
        data[key.replace("layers.1.", "layers.2.")] = data[key]
    np.savez(tmp_path / "hrm.npz", **data | {"config": np.array(json.dumps(config))})
    golden = Golden(tmp_path / "hrm.npz")
    assert len(golden.model.core_H.blocks) == 1
    assert len(golden.model.core_L.blocks) == 3
    table = golden.model.encoder.positions.table.detach().numpy()
    assert np.array_equal(table, data["weight/inner.embed_pos.embedding_weight"])
