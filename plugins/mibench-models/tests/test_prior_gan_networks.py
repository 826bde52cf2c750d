"""Networks of DCGAN, KED-MI and PLG-MI against their formulas in float64, and their sizes by hand."""

import itertools

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.dcgan.networks import Critic, Dcgan, Generator, down, halvings
from mibench_models.priors.ked_gan.networks import KedCritic, MinibatchDiscriminator
from mibench_models.priors.plg_cgan.networks import (
    CganGenerator,
    ConditionalGan,
    ConditionalNorm,
    ProjectionCritic,
    UpBlock,
    block_count,
)
from torch import nn

from mibench.api import UsageError, generator, seeded


def drawn(*shape):
    return torch.randn(*shape, generator=generator("gan networks", *shape))


def restless(network):
    """Give norms and biases values that matter, as training does."""
    with seeded("restless"), torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1 or "_KC" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape))
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape))
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape))
    return network


def made(kind, *arguments, **settings):
    with seeded("networks"):
        return restless(kind(*arguments, **settings))


def normed(x, norm, *, training=False):
    """Normalise a batch: by its own numbers, or by the running ones."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    if training:
        whole = by_hand.standardised(x, (0, *range(2, x.ndim)))
    else:
        mean, var = array(norm.running_mean).reshape(shape), array(norm.running_var).reshape(shape)
        whole = (x - mean) / np.sqrt(var + 1e-5)
    return whole if norm.weight is None else whole * array(norm.weight).reshape(shape) + array(norm.bias).reshape(shape)


# -- DCGAN ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "k"), [(8, 1), (16, 2), (32, 3), (64, 4), (128, 5)])
def test_halvings_of_a_side(size, k):
    assert halvings(size) == k


@pytest.mark.parametrize(("size", "least"), [(4, 1), (8, 2), (12, 1), (63, 1), (0, 1), (1, 1), (2, 1)])
def test_sides_without_so_many_halvings_are_refused(size, least):
    with pytest.raises(UsageError, match=rf"at least {4 * 2**least}; the protocol has {size}"):
        halvings(size, least=least)


@pytest.mark.parametrize("training", [False, True])
def test_dcgan_generator_equals_float64(training):
    net = made(Generator, z_dim=5, width=3, channels=2, size=16).train(training)
    z = drawn(4, 5)
    x = normed(array(z) @ array(net.start[0].weight).T, net.start[1], training=training)
    x = np.maximum(x, 0).reshape(4, 6, 4, 4)
    for block in net.blocks:
        x = by_hand.transposed(x, array(block[0].weight), stride=2, padding=2, output_padding=1)
        x = np.maximum(normed(x, block[1], training=training), 0)
    paint = net.image[0]
    x = by_hand.transposed(x, array(paint.weight), stride=2, padding=2, output_padding=1)
    truth = 1 / (1 + np.exp(-(x + array(paint.bias)[:, None, None])))
    assert truth.shape == (4, 2, 16, 16)
    np.testing.assert_allclose(array(net(z)), truth, atol=1e-6)


def test_dcgan_critic_equals_float64():
    net = made(Critic, width=3, channels=2, size=16)
    x = torch.rand(4, 2, 16, 16, generator=generator("critic"))
    first, second, last = net.net
    h = by_hand.leaky(by_hand.convolved(array(x), array(first[0].weight), array(first[0].bias), stride=2, padding=2))
    h = by_hand.convolved(h, array(second[0].weight), array(second[0].bias), stride=2, padding=2)
    norm = second[1]
    h = by_hand.standardised(h, (2, 3)) * array(norm.weight)[:, None, None] + array(norm.bias)[:, None, None]
    h = by_hand.convolved(by_hand.leaky(h), array(last.weight), array(last.bias))
    np.testing.assert_allclose(array(net(x)), h.reshape(4), atol=1e-5)


@pytest.mark.parametrize(("width", "channels", "size", "z_dim"), [(4, 3, 16, 6), (2, 1, 32, 10), (3, 3, 8, 7)])
def test_sizes_of_dcgan_by_hand(width, channels, size, z_dim):
    k = {8: 1, 16: 2, 32: 3}[size]
    most = width * 2 ** (k - 1)
    generator_size = z_dim * most * 16 + 2 * most * 16
    critic_size = channels * width * 25 + width
    for level in range(1, k):
        wide, narrow = width * 2**level, width * 2 ** (level - 1)
        generator_size += wide * narrow * 25 + 2 * narrow
        critic_size += narrow * wide * 25 + wide + 2 * wide
    generator_size += width * channels * 25 + channels
    critic_size += most * 16 + 1
    nets = (
        Generator(z_dim=z_dim, width=width, channels=channels, size=size),
        Critic(width=width, channels=channels, size=size),
    )
    found = [sum(parameter.numel() for parameter in net.parameters()) for net in nets]
    assert found == [generator_size, critic_size]


def test_a_dcgan_prior_passes_its_noise_through():
    prior = Dcgan(made(Generator, z_dim=5, width=2, channels=1, size=8), made(Critic, width=2, channels=1, size=8))
    prior.eval()
    z = drawn(3, 5)
    assert torch.equal(prior.to_latent(z), z[:, None])
    assert torch.equal(prior.to_latent(z, truncation=0.5), z[:, None] / 2)
    assert torch.equal(prior.to_latent(z, truncation=0.5, cutoff=1), z[:, None] / 2)
    assert torch.equal(prior.to_latent(z, truncation=0.5, cutoff=0), z[:, None])
    torch.testing.assert_close(prior.render(z[:, None]), prior.generator(z))
    assert prior.discriminator is prior.critic
    assert [id(p) for p in prior.tunable] == [id(p) for p in prior.generator.parameters()]
    assert (prior.blocks, prior.crop, prior.classes) == (1, 1.0, 0)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolution_down_halves_the_side(kernel):
    block = down(2, 3, kernel)
    assert block(drawn(2, 2, 8, 8)).shape == (2, 3, 4, 4)
    assert block[2].negative_slope == 0.2


# -- KED-MI -----------------------------------------------------------------------------------------------------------


def small_discriminator():
    return made(MinibatchDiscriminator, classes=3, width=2, channels=1, size=16, kernels=4, kernel_size=2)


def test_ked_discriminator_equals_float64():
    net = small_discriminator()
    x = torch.rand(5, 1, 16, 16, generator=generator("ked"))
    h = array(x)
    for block, padding in ((net.body[0], 2), (net.body[1], 1)):
        h = by_hand.convolved(h, array(block[0].weight), array(block[0].bias), stride=2, padding=padding)
        weight, bias = array(block[1].weight)[:, None, None], array(block[1].bias)[:, None, None]
        h = by_hand.leaky(by_hand.standardised(h, (2, 3)) * weight + bias)
    features = h.reshape(5, -1)
    np.testing.assert_allclose(array(net.features(x)), features, atol=1e-5)
    projected = np.einsum("bf,fmd->bmd", features, array(net.kernels_FMD))
    apart = np.abs(projected[:, None] - projected[None]).sum(3)
    closeness = np.exp(-apart).sum(1) - 1
    logits = np.concatenate([features, closeness], 1) @ array(net.head.weight).T + array(net.head.bias)
    np.testing.assert_allclose(array(net(x)), logits, atol=1e-5)


def test_ked_critic_uses_a_fixed_closeness():
    critic = KedCritic(small_discriminator())
    critic.closeness_M.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    x = torch.rand(5, 1, 16, 16, generator=generator("ked"))
    features = array(critic.net.features(x))
    inside = np.concatenate([features, np.tile([0.1, 0.2, 0.3, 0.4], (5, 1))], 1)
    logits = inside @ array(critic.net.head.weight).T + array(critic.net.head.bias)
    np.testing.assert_allclose(array(critic(x)), np.log(np.exp(logits).sum(1)), atol=1e-5)
    assert "closeness_M" in critic.state_dict()


def test_sizes_of_ked_discriminator_by_hand():
    net = MinibatchDiscriminator(classes=7, width=4, channels=3, size=32, kernels=5, kernel_size=6)
    features = 8 * 16
    convolutions = (3 * 4 * 25 + 4 + 8) + (4 * 8 * 25 + 8 + 16) + (8 * 8 * 9 + 8 + 16)
    expected = convolutions + features * 5 * 6 + (features + 5) * 7 + 7
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_two_images_begin_about_one_apart():
    """The scale of the kernels: images as far apart as random features are not beyond what exp can tell."""
    with seeded("kernels"):
        net = MinibatchDiscriminator(classes=2, width=16, channels=1, size=32, kernels=64, kernel_size=16)
    features = drawn(2, net.kernels_FMD.shape[0])
    projected = torch.einsum("bf,fmd->bmd", features, net.kernels_FMD)
    apart = (projected[0] - projected[1]).abs().sum(1).mean().item()
    assert 0.5 < apart < 2


# -- PLG-MI -----------------------------------------------------------------------------------------------------------


def larger(x):
    """Double the side of images bilinearly, as pixels are areas: weights 1/4 and 3/4, edges repeated."""
    for axis in (2, 3):
        before = np.concatenate([np.take(x, [0], axis), np.delete(x, -1, axis)], axis)
        after = np.concatenate([np.delete(x, 0, axis), np.take(x, [-1], axis)], axis)
        low, high = 0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after
        x = np.stack([low, high], axis + 1).reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def conditional(x, norm, weights, *, training):
    gain, bias = weights @ array(norm.gain_KC), weights @ array(norm.bias_KC)
    return normed(x, norm.norm, training=training) * gain[:, :, None, None] + bias[:, :, None, None]


@pytest.mark.parametrize("training", [False, True])
def test_plg_block_equals_float64(training):
    block = made(UpBlock, 4, 3, 2).train(training)
    x, weights = drawn(3, 4, 4, 4), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    h = larger(np.maximum(conditional(array(x), block.norm1, array(weights), training=training), 0))
    h = by_hand.convolved(h, array(block.conv1.weight), array(block.conv1.bias), padding=1)
    h = np.maximum(conditional(h, block.norm2, array(weights), training=training), 0)
    h = by_hand.convolved(h, array(block.conv2.weight), array(block.conv2.bias), padding=1)
    skip = by_hand.convolved(larger(array(x)), array(block.skip.weight), array(block.skip.bias))
    np.testing.assert_allclose(array(block(x, weights)), skip + h, atol=1e-5)


def test_plg_generator_equals_float64_around_its_blocks():
    net = made(CganGenerator, 5, 3, 2, size=8, width=4).eval()
    z, weights = drawn(2, 5), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    first = array(z) @ array(net.first.weight).T + array(net.first.bias)
    x = torch.tensor(first.reshape(2, 8, 4, 4), dtype=torch.float32)
    for block in net.blocks:
        x = block(x, weights)
    h = np.maximum(normed(array(x), net.norm), 0)
    truth = np.tanh(by_hand.convolved(h, array(net.paint.weight), array(net.paint.bias)))
    np.testing.assert_allclose(array(net(z, weights)), truth, atol=1e-5)


@pytest.mark.parametrize(("size", "width", "classes", "channels"), [(8, 3, 4, 1), (16, 2, 5, 3)])
def test_sizes_of_plg_networks_by_hand(size, width, classes, channels):
    blocks = {8: 1, 16: 2}[size]
    widths = [width * 2 ** (blocks - level) for level in range(blocks + 1)]
    generator_size = 6 * widths[0] * 16 + widths[0] * 16
    for a, b in itertools.pairwise(widths):
        generator_size += 2 * classes * (a + b) + (a * b * 9 + b) + (b * b * 9 + b) + (a * b + b)
    generator_size += 2 * width + width * channels + channels
    ways = [width * 2**level for level in range(blocks + 1)]
    critic_size = (channels * width * 9 + width) + (width * width * 9 + width) + (channels * width + width)
    for a, b in itertools.pairwise(ways):
        critic_size += (a * a * 9 + a) + (a * b * 9 + b) + (a * b + b)
    critic_size += ways[-1] + 1 + classes * ways[-1]
    nets = (
        CganGenerator(6, classes, channels, size=size, width=width),
        ProjectionCritic(classes, channels, size=size, width=width),
    )
    assert [sum(p.numel() for p in net.parameters()) for net in nets] == [generator_size, critic_size]


def test_plg_generator_begins_with_xavier_weights_and_no_biases():
    with seeded("init"):
        net = CganGenerator(64, 2, 3, size=16, width=8)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            assert not module.bias.any()
            receptive = module.weight[0, 0].numel()
            limit = (6 / (receptive * (module.weight.shape[0] + module.weight.shape[1]))) ** 0.5
            assert 0.9 * limit < module.weight.abs().max() <= limit
        if isinstance(module, ConditionalNorm):
            assert (module.gain_KC == 1).all()
            assert not module.bias_KC.any()


@pytest.mark.parametrize(("size", "blocks"), [(8, 1), (16, 2), (32, 3), (64, 4), (128, 5)])
def test_blocks_of_a_side(size, blocks):
    assert block_count(size) == blocks


@pytest.mark.parametrize("size", [4, 12, 48, 1, 0, 65])
def test_other_sides_are_refused(size):
    with pytest.raises(UsageError, match=f"got {size}"):
        block_count(size)


def test_an_unconditioned_generator_renders_the_average_of_all_classes():
    prior = ConditionalGan(
        made(CganGenerator, 5, 4, 1, size=8, width=2), made(ProjectionCritic, 4, 1, size=8, width=2), z_dim=5, classes=4
    ).eval()
    z = drawn(2, 5)
    plain = prior.render(prior.to_latent(z))
    torch.testing.assert_close(plain, prior.generator(z, torch.full((2, 4), 0.25)))
    labelled = prior.render(prior.condition(prior.to_latent(z), torch.tensor([3, 1])))
    torch.testing.assert_close(labelled, prior.generator(z, torch.eye(4)[[3, 1]]))
    assert [id(p) for p in prior.tunable] == [id(p) for p in prior.generator.parameters()]
    assert prior.discriminator is prior.critic


def test_the_critics_first_block_has_no_activation_in_front():
    critic = made(ProjectionCritic, 2, 1, size=8, width=2).eval()
    x = torch.rand(2, 1, 8, 8, generator=generator("sign"))
    assert [block.first for block in critic.blocks] == [True, False]
    assert not torch.allclose(critic.blocks[0](-x), critic.blocks[0](torch.zeros_like(x)))
    later, h = critic.blocks[1], drawn(1, 2, 4, 4).abs()
    beside = [
        block_input - later.skip(nn.functional.avg_pool2d(x, 2))
        for x, block_input in ((-h, later(-h)), (0 * h, later(0 * h)))
    ]
    torch.testing.assert_close(*beside)  # what is below zero reaches later blocks beside the convolutions only
