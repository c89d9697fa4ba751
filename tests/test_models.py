"""Networks: reference (published sizes, initialisation, positions), determinism, invariants."""

import math

import pytest
import torch

from conf.schema import Config, typed
from tests.composing import compose
from tinyreason.checkpoint import digest
from tinyreason.errors import UserError
from tinyreason.layers import CUT_DEVIATION, GridPositions, Learned, Rotary, norm, truncated_normal
from tinyreason.models import ModelConfig, Read, make_model, parameter_count
from tinyreason.puzzle import Batch, Facts

SUDOKU = Facts(vocab_size=11, grid=(9, 9), box=(3, 3))
MAZE = Facts(vocab_size=6, grid=(30, 30))
ARC = Facts(vocab_size=12, grid=(30, 30), num_puzzle_identifiers=1000)
SMALL = Facts(vocab_size=6, grid=(4, 4), box=(2, 2), num_puzzle_identifiers=3)
CPU = torch.device("cpu")
