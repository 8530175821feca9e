"""Table 1, to the parameter."""

from __future__ import annotations

import torch

from benchgraft.config.network import PAPER
from benchgraft.networks.build import build
from benchgraft.networks.cost import block_costs

TABLE_1 = [
    ("conv2d_1", (48, 48, 16), 1216),
    ("batch_normalization_1", (48, 48, 16), 64),
    ("max_pooling2d_1", (24, 24, 16), 0),
    ("conv2d_2", (22, 22, 32), 4640),
    ("batch_normalization_2", (22, 22, 32), 128),
    ("max_pooling2d_2", (11, 11, 32), 0),
    ("conv2d_3", (9, 9, 64), 18496),
    ("conv2d_4", (7, 7, 128), 73856),
    ("max_pooling2d_3", (3, 3, 128), 0),
    ("dense_1", (512,), 590336),
    ("dense_2", (512,), 262656),
    ("dense_3", (3,), 1539),
]


def test_the_network_is_table_1_of_the_paper():
    rows = [(row.name, row.output, row.parameters) for row in block_costs(build(PAPER, 3, 0))]
    assert rows == TABLE_1
    assert sum(parameters for _, _, parameters in rows) == 952_931


def test_small_images_are_enlarged_inside_the_model():
    pixels = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    assert build(PAPER, 7, 0).eval()(pixels).shape == (2, 7)


def test_a_head_of_another_size_changes_no_other_start_weight():
    three, hundred = build(PAPER, 3, seed=5).state_dict(), build(PAPER, 100, seed=5).state_dict()
    assert all(torch.equal(three[name], hundred[name]) for name in three if not name.startswith("dense_3."))
    assert not torch.equal(three["conv2d_1.weight"], build(PAPER, 3, seed=6).state_dict()["conv2d_1.weight"])
