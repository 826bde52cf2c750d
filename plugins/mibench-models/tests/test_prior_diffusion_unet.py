"""The denoiser's network in float64, its size by hand, and what its conditioning means."""

import math

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.diffusion.unet import Attention, ResBlock, UNet
from torch import nn

from mibench.api import generator, seeded


def drawn(*shape):
    return torch.randn(*shape, generator=generator("unet", *shape))


def restless(network):
    """Draw what begins at zero or one, so that every part matters."""
    with seeded("restless"), torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any() or bool((parameter == 1).all()):
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return network


def net(**settings):
    design = {"width": 4, "factors": (1, 2), "blocks": 1, "attention": 1, "patch": 1}
    with seeded("net"):
        return restless(UNet(3, 5, **design | settings)).eval()


def groups(channels):
    return math.gcd(32, channels)


def block_by_hand(block, x, embedding):
    h = by_hand.grouped(x, groups(x.shape[1]), array(block.norm1.weight), array(block.norm1.bias))
    h = by_hand.convolved(by_hand.swish(h), array(block.conv1.weight), array(block.conv1.bias), padding=1)
    h = by_hand.grouped(h, groups(h.shape[1]), array(block.norm2.weight), array(block.norm2.bias))
    style = embedding @ array(block.style.weight).T + array(block.style.bias)
    gain, bias = np.split(style[:, :, None, None], 2, axis=1)
    h = by_hand.swish(h * (1 + gain) + bias)
    h = by_hand.convolved(h, array(block.conv2.weight), array(block.conv2.bias), padding=1)
    if isinstance(block.skip, nn.Identity):
        return x + h
    return by_hand.convolved(x, array(block.skip.weight), array(block.skip.bias)) + h


@pytest.mark.parametrize(("inside", "outside"), [(4, 4), (4, 6), (32, 8)])
def test_residual_block_equals_float64(inside, outside):
    with seeded("block"):
        block = restless(ResBlock(inside, outside, 10))
    x, embedding = drawn(2, inside, 5, 5), drawn(2, 10)
    truth = block_by_hand(block, array(x), array(embedding))
    np.testing.assert_allclose(array(block(x, embedding)), truth, atol=1e-5)


def test_a_fresh_block_and_a_fresh_attention_pass_their_input_through():
    x = drawn(2, 8, 4, 4)
    with seeded("fresh"):
        block, attention = ResBlock(8, 8, 3), Attention(8)
    assert torch.equal(block(x, drawn(2, 3)), x)
    assert torch.equal(attention(x, drawn(2, 3)), x)
    assert (attention.heads, Attention(6).heads, Attention(9).heads) == (4, 2, 1)


def test_attention_mixes_positions_and_no_images():
    with seeded("attention"):
        attention = restless(Attention(8))
    x = drawn(2, 8, 3, 3).requires_grad_(True)
    (slope,) = torch.autograd.grad(attention(x, drawn(2, 1))[0, :, 0, 0].sum(), x)
    assert slope[0].abs().sum(0).gt(0).all()
    assert not slope[1].any()


def test_time_and_class_embedding_equal_float64():
    network, half = net(), 2  # width 4: two waves
    time, weights = torch.tensor([1, 70]), torch.tensor([[0.0, 1, 0, 0, 0], [0.25, 0, 0.5, 0, 0]])
    pace = np.exp(-math.log(10_000) * np.arange(half) / half)
    np.testing.assert_allclose(array(network.pace), pace, rtol=1e-6)
    angles = array(time)[:, None] * pace
    x = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    first, last = network.time[0], network.time[2]
    x = by_hand.swish(x @ array(first.weight).T + array(first.bias)) @ array(last.weight).T + array(last.bias)
    lacking = 1 - array(weights).sum(1, keepdims=True)
    truth = x + array(weights) @ array(network.class_KE) + lacking * array(network.null_E)
    np.testing.assert_allclose(array(network._embed(time, weights)), truth, atol=1e-5)


def test_without_a_class_the_null_label_stands_in():
    network = net()
    time, nothing, something = torch.tensor([3]), torch.zeros(1, 5), torch.eye(5)[:1]
    apart = network._embed(time, nothing) - network._embed(time, something)
    torch.testing.assert_close(apart[0], network.null_E - network.class_KE[0])


def test_the_network_is_its_parts_in_order():
    """Two levels, one block each: down, middle and up, with what left going down joined going up."""
    network = net(attention=0)
    x, time, weights = drawn(2, 3, 8, 8), torch.tensor([2, 9]), torch.eye(5)[[1, 4]]
    e = torch.nn.functional.silu(network._embed(time, weights))
    a = network.enter(x)
    b = network.down[0][0][0](a, e)
    c = network.halve[0](b)
    d = network.down[1][0][0](c, e)
    h = d
    for part in network.middle:
        h = part(h, e)
    for block, joined in zip(network.up[0], (d, c), strict=True):
        h = block[0](torch.cat([h, joined], 1), e)
    h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for block, joined in zip(network.up[1], (b, a), strict=True):
        h = block[0](torch.cat([h, joined], 1), e)
    torch.testing.assert_close(network(x, time, weights), network.paint(network.leave(h)), atol=1e-5, rtol=1e-5)
    assert c.shape == (2, 4, 4, 4)
    assert d.shape == (2, 8, 4, 4)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_become_channels_and_come_back(patch):
    network = net(patch=patch)
    x = drawn(2, 3, 16, 16)
    assert network(x, torch.tensor([1, 2]), torch.zeros(2, 5)).shape == x.shape
    assert network.enter.weight.shape[1] == network.paint.weight.shape[0] == 3 * patch**2


def test_a_fresh_network_estimates_no_noise():
    with seeded("fresh"):
        network = UNet(3, 5, width=4, factors=(1, 2), blocks=1, attention=1, patch=2)
    assert not network(drawn(1, 3, 8, 8), torch.tensor([4]), torch.zeros(1, 5)).any()


@pytest.mark.parametrize(("attention", "expected"), [(0, [0, 0, 0]), (1, [0, 0, 1]), (2, [0, 1, 1]), (9, [1, 1, 1])])
def test_the_last_levels_attend(attention, expected):
    network = net(factors=(1, 2, 2), attention=attention)
    found = [int(any(isinstance(m, Attention) for m in level.modules())) for level in network.down]
    assert found == expected
    assert [int(any(isinstance(m, Attention) for m in level.modules())) for level in network.up] == expected[::-1]


def block_size(inside, outside, embedding):
    skip = 0 if inside == outside else inside * outside + outside
    style = embedding * 2 * outside + 2 * outside
    return (
        2 * inside + (inside * outside * 9 + outside) + 2 * outside + (outside * outside * 9 + outside) + style + skip
    )


def test_size_by_hand():
    """Width 4, factors 1 and 2, one block per level, attention on the second; the embedding has 16 numbers."""
    network, e = net(), 16
    assert network.class_KE.shape == (5, e)
    attention = 2 * 8 + (8 * 24 + 24) + (8 * 8 + 8)
    size = 5 * e + e + (4 * e + e) + (e * e + e)  # embeddings of classes, of none, and of times
    size += 3 * 4 * 9 + 4  # enter
    size += block_size(4, 4, e) + (4 * 4 * 9 + 4) + block_size(4, 8, e) + attention  # down
    size += 2 * block_size(8, 8, e) + attention  # middle
    size += block_size(8 + 8, 8, e) + attention + block_size(8 + 4, 8, e) + attention  # up, second level
    size += block_size(8 + 4, 4, e) + block_size(4 + 4, 4, e)  # up, first level
    size += 2 * 4 + (4 * 3 * 9 + 3)  # leave and paint
    assert sum(parameter.numel() for parameter in network.parameters()) == size


def test_the_target_tunes_labels_and_convolutions_of_the_middle():
    network = net()
    tuned = {id(parameter) for parameter in network.guided()}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in tuned}
    assert {"class_KE", "null_E"} <= names
    others = names - {"class_KE", "null_E"}
    assert others
    assert all(name.startswith("middle.") and ("conv" in name or "qkv" in name or "project" in name) for name in others)
    untouched = {name for name, _ in network.named_parameters() if name.startswith("middle.")} - others
    assert all("norm" in name or "style" in name for name in untouched)
