"""Which systems there are, and the words of train.py that choose each."""

from typing import NamedTuple


class System(NamedTuple):
    """One row of the table."""

    name: str
    paper: str  # arXiv number, or what stands for it
    words: tuple[str, ...]  # of train.py
    file: str  # its own, in tinyreason/
    recordings: tuple[str, ...] = ()  # in tests/golden/


def model(
    name: str, paper: str, choice: str, recordings: tuple[str, ...] = (), file: str | None = None
) -> System:
    """One that `model=` chooses."""
    return System(name, paper, (f"model={choice}",), f"models/{file or choice}.py", recordings)


SYSTEMS = (
    System(  # not by the recipe that was searched for it alone
        "TRM",
        "2510.04871",
        ("model=trm", "experiment=trm_small_slow"),
        "models/trm.py",
        ("trm_mixer", "trm_attention"),
    ),
    model("HRM", "2506.21734", "hrm", ("hrm",)),
    model("URM", "2512.14693", "urm", ("zoo/urm",)),
    model("EqR", "2605.21488", "eqr", ("zoo/eqr", "zoo/eqr_mixer")),
    model("Transformer, untied", "2502.17416", "transformer", ("zoo/three_part",), "looped"),
    model("Looped transformer", "2502.17416", "looped", ("zoo/hyper_connections",)),
    model("Three Part", "article", "three_part", ("zoo/three_part",), "looped"),
    model("FraiLT", "2401.11626", "frailt", ("zoo/three_part",), "looped"),
    model("Relaxed Recursive Transformer", "2410.20672", "relaxed", ("zoo/three_part",)),
    model(
        "Hyper-connections", "2604.21106", "hyper_connections", ("zoo/hyper_connections",), "looped"
    ),
    model("Huginn", "2502.05171", "huginn", ("zoo/huginn", "zoo/huginn_add")),
    model("Ouro / LoopLM", "2510.25741", "ouro", ("zoo/ouro",)),
    model("Universal Transformer", "1807.03819", "universal", ("zoo/ut_act", "zoo/ut_act_capped")),
    model("Mixture-of-Recursions, expert choice", "2507.10524", "mixture", ("zoo/mor_expert",)),
    model(
        "Mixture-of-Recursions, token choice",
        "2507.10524",
        "mixture_token",
        ("zoo/mor_token", "zoo/mor_token_batch"),
    ),
    model("OpenMythos", "github.com/kyegomez/OpenMythos", "openmythos", ("zoo/openmythos",)),
    model("Parcae", "2604.12946", "parcae", ("zoo/parcae", "zoo/parcae_sampler")),
    model("Winner takes all", "2601.19085", "wta", ("zoo/wta",)),
    System(
        "Deep equilibrium",
        "1909.01377",
        ("experiment=deq",),
        "gradient/equilibrium.py",
        ("zoo/deq",),
    ),
    System(
        "Loss window",
        "2311.12424",
        ("model=looped", "gradient=last", "supervision=window"),
        "models/looped.py",
        ("zoo/looped_window",),
    ),
    model("Deep thinking", "2202.05826", "deep_thinking", ("zoo/deep_thinking",)),
)
