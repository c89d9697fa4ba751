"""Recordings of the zoo's references: which of our models each holds, and how it is compared.

A file here has `differences(recording)`: the largest differences by name, some of TOLERANCE.
"""

from tests.zoo import (
    conversion,
    deep_thinking,
    depths,
    equilibrium,
    exits,
    huginn,
    looped,
    mixture,
    openmythos,
    ouro,
    parcae,
    relaxed,
    segments,
    universal,
    window,
    wta,
)
from tests.zoo.recording import Recording

READERS = {  # a word of `config.reference` -> who reads such files
    "RecurrentGPT": huginn,
    "modeling_ouro": ouro,
    "own float64 arithmetic": relaxed,
    "UbiquantAI/URM": segments,
    "locuslab/EqR": segments,
    "kschwethelm/looped-lm-scaling": looped,
    "Universal-Transformer-Pytorch": universal,
    "kyegomez/OpenMythos": openmythos,
    "model/sharing_strategy": conversion,
    "sudeshmu/mixture_of_recursions": mixture,
    "locuslab/torchdeq": equilibrium,
    "jvdillon/sic": wta,
    "Leiay/looped_transformer": window,
    "aks2203/deep-thinking": deep_thinking,
    "models/parcae/parcae.py": parcae,
    "_sample_batch_depths": depths,
    "randomized_iteration_sampler": depths,
}


def reader_of(recording: Recording):
    """Who reads a recording; None if nobody does."""
    if "cosine/cells/value" in recording:  # of the same code as Huginn
        return exits
    reference = recording.config["reference"]
    return next((reader for word, reader in READERS.items() if word in reference), None)
