"""The network a recipe starts from."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from model_zoo import ResNetLayout, build
from model_zoo.network import ResNet
from trainables.recipe import Recipe

HEAD_STREAM = (1,)
"""Key of the stream of random numbers that a head_init of the recipe draws from, beside those of the epochs."""


def starting_network(layout: ResNetLayout, recipe: Recipe) -> ResNet:
    """The network of `layout` on the CPU with initial weights that follow from `recipe` alone.

    Source: Xavier-normal is Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks.
    """
    network = build(layout, recipe.seed)
    if recipe.head_init == "xavier-normal":
        seed = np.random.SeedSequence(recipe.seed, spawn_key=HEAD_STREAM).generate_state(1)[0]
        nn.init.xavier_normal_(network.head.weight, generator=torch.Generator().manual_seed(int(seed)))
    return network
