"""Layers that only some models use: reference (formulas by hand), invariants."""

import math
import os

import pytest
import torch
from torch import nn

from tinyreason import compiled
from tinyreason.errors import UserError
from tinyreason.layers import (
    PLACEMENTS,
    TRM_STYLE,
    AcrossTokens,
    Attention,
    Core,
    Inner,
    Norm,
    Rotary,
    Style,
    TokenMixer,
    make_block,
)

INNER = Inner(2, 8)


def test_adjacent_pairs_are_turned_by_their_frequencies():
    """(a, b) -> (a cos - b sin, a sin + b cos), pair i by theta^(-2i / K)."""
    rotary = Rotary(4, 10, theta=100.0, pairs="adjacent")
    x = torch.randn(1, 1, 10, 4)
    turned = rotary(x)[0, 0, 7]
    for i, frequency in enumerate((1.0, 100.0**-0.5)):
        a, b = x[0, 0, 7, 2 * i], x[0, 0, 7, 2 * i + 1]
        angle = 7 * frequency
        expected = torch.stack(
            (
                a * math.cos(angle) - b * math.sin(angle),
                a * math.sin(angle) + b * math.cos(angle),
            )
        )
        torch.testing.assert_close(turned[2 * i : 2 * i + 2], expected)


def test_one_convention_is_the_other_with_the_rows_of_each_head_permuted():
    """[0, 2, 4, ..., 1, 3, 5, ...]: the published way to convert weights."""
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    x = torch.randn(2, 3, 10, 8)
    adjacent = Rotary(8, 10, pairs="adjacent")(x)
    halves = Rotary(8, 10)(x[..., order])
    torch.testing.assert_close(halves, adjacent[..., order])


@pytest.mark.parametrize("pairs", ["halves", "adjacent"])
def test_positions_can_be_handed_in(pairs):
    rotary = Rotary(8, 10, pairs=pairs)
    x = torch.randn(2, 3, 4, 8)
    chosen = torch.tensor([1, 4, 5, 9])
    whole = torch.zeros(2, 3, 10, 8)
    whole[:, :, chosen] = x
    torch.testing.assert_close(rotary(x, chosen), rotary(whole)[:, :, chosen])
    each = torch.stack((chosen, torch.tensor([0, 2, 3, 8])))  # other tokens in each row
    both = rotary(x, each)
    torch.testing.assert_close(both[0], rotary(x, each[0])[0])
    torch.testing.assert_close(both[1], rotary(x, each[1])[1])


@pytest.mark.parametrize("pairs", ["halves", "adjacent"])
def test_attention_works_on_some_of_the_tokens(pairs):
    """As if the others were not there, each token at its own place."""
    torch.manual_seed(0)
    attention = Attention(16, 2, 10, rotary=True, style=Style(rotary=pairs))
    x = torch.randn(3, 10, 16)
    everything = torch.arange(10)
    torch.testing.assert_close(attention(x, everything), attention(x))
    order = torch.randperm(10)
    torch.testing.assert_close(attention(x[:, order], order), attention(x)[:, order])
    some = torch.tensor([2, 3, 7])
    moved = attention(x[:, some], some + 1)  # only distances count
    torch.testing.assert_close(attention(x[:, some], some), moved, rtol=1e-4, atol=1e-5)
    assert (attention(x[:, some], some) - attention(x[:, some], torch.arange(3))).abs().max() > 1e-3


def test_a_token_mixer_refuses_some_of_the_tokens():
    with pytest.raises(UserError, match=r"model\.mix=mixer cannot leave tokens out"):
        TokenMixer(10, INNER)(torch.randn(1, 3, 16), torch.tensor([1, 2, 3]))


def test_a_norm_with_a_weight_is_the_norm_times_it():
    norm, x = Norm(8, eps=1e-6), torch.randn(3, 5, 8) * 7
    with torch.no_grad():
        norm.weight.normal_()
    plain = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x), plain * norm.weight)
    assert norm(x.bfloat16()).dtype == torch.bfloat16


# what each placement computes of h and f, n1 the first norm that is made and n2 the second
PLACED = {
    "post": lambda h, f, n1, n2: n1(h + f(h)),
    "pre": lambda h, f, n1, n2: h + f(n1(h)),
    "sandwich": lambda h, f, n1, n2: n2(h + f(n1(h))),
    "branch": lambda h, f, n1, n2: h + n2(f(n1(h))),
}


@pytest.mark.parametrize("name", PLACEMENTS)
def test_norms_are_where_the_paper_has_them(name):
    torch.manual_seed(0)
    norms = []

    def make() -> Norm:
        norms.append(Norm(8))
        with torch.no_grad():
            norms[-1].weight.normal_()
        return norms[-1]

    around, x = PLACEMENTS[name](make), torch.randn(2, 3, 8)
    f = torch.nn.Linear(8, 8)
    expected = PLACED[name](x, f, norms[0], norms[-1])
    torch.testing.assert_close(around(x, f), expected)


@pytest.mark.parametrize("norms", PLACEMENTS)
def test_only_trms_mixer_is_normed_across_tokens(norms):
    block = make_block(Style(norms=norms), "mixer", 16, 2, INNER, 10, False)
    assert isinstance(block.around_mix.after, AcrossTokens) == (norms == "post")
    x = block(torch.randn(4, 10, 16))
    assert x.shape == (4, 10, 16)


def test_compiled_cores_are_kept_between_runs(monkeypatch, tmp_path):
    monkeypatch.delenv(compiled.WHERE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = []
    monkeypatch.setattr(Core, "compile", lambda core: done.append(core))
    core = Core([make_block(TRM_STYLE, "mixer", 16, 2, INNER, 10, False)])
    compiled.keep_what_is_compiled()
    compiled.compile_cores(nn.Sequential(core))
    assert os.environ[compiled.WHERE] == str(tmp_path / "tinyreason" / "compiled")
    assert done == [core]
    monkeypatch.setenv(compiled.WHERE, "mine")
    compiled.keep_what_is_compiled()
    assert os.environ[compiled.WHERE] == "mine"


@pytest.mark.parametrize("home", ["a file", "none"])
def test_without_a_home_to_write_to_the_compiler_keeps_its_own_place(home, monkeypatch, tmp_path):
    monkeypatch.delenv(compiled.WHERE, raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    if home == "none":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(compiled.Path, "home", no_home)
    compiled.keep_what_is_compiled()
    assert compiled.WHERE not in os.environ


def no_home():
    raise RuntimeError("Could not determine home directory.")
