"""Generator and discriminator, block by block in float64, against the formulation of the paper's appendix B.

Each sample gets weights of its own, scaled by its style and normalised, in a grouped convolution; up- and downsampling
insert zeros, drop pixels and filter explicitly. Nothing here is shared with the networks but their parameters.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mibench_models.priors.stylegan2.prior import StyleGan2
from torch.nn.functional import conv2d, pad

from mibench.api import generator

TAPS = torch.tensor(np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0)


def _filter(x, gain=1.0):
    """Filter every plane, without padding."""
    n, c, h, w = x.shape
    return conv2d(x.reshape(n * c, 1, h, w), gain * TAPS[None, None]).reshape(n, c, h - 3, w - 3)


def _zeros_between(x):
    n, c, h, w = x.shape
    out = x.new_zeros(n, c, 2 * h, 2 * w)
    out[:, :, ::2, ::2] = x
    return out


def _lrelu(x, clamp):
    return (np.sqrt(2) * torch.where(x > 0, x, 0.2 * x)).clamp(-clamp, clamp)


def _per_sample(x, w_NOIKK, *, padding):
    n, o, i, k, _ = w_NOIKK.shape
    y = conv2d(x.reshape(1, n * i, *x.shape[2:]), w_NOIKK.reshape(n * o, i, k, k), padding=padding, groups=n)
    return y.reshape(n, o, *y.shape[2:])


def _layer(layer, x, w, *, up):
    style = w @ layer.affine.weight.T / np.sqrt(w.shape[1]) + layer.affine.bias
    weights = layer.weight[None] * style[:, None, :, None, None]
    weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if up:  # convolving (not correlating) the zero-filled image: flip the kernel; the trailing zeros are cut
        wide = _per_sample(pad(_zeros_between(x)[:, :, :-1, :-1], (2, 2, 2, 2)), weights.flip(3, 4), padding=0)
        y = _filter(pad(wide, (1, 1, 1, 1)), 4.0)
    else:
        y = _per_sample(x, weights, padding=1)
    return _lrelu(y + layer.noise_strength * layer.noise_const + layer.bias[:, None, None], layer.clamp)


def _to_rgb(layer, x, w):
    style = (w @ layer.affine.weight.T / np.sqrt(w.shape[1]) + layer.affine.bias) / np.sqrt(x.shape[1])
    y = _per_sample(x, layer.weight[None] * style[:, None, :, None, None], padding=0)
    return (y + layer.bias[:, None, None]).clamp(-layer.clamp, layer.clamp)


def _plain(layer, x, *, down=False, clamp=None, gain=1.0):
    w = layer.weight / np.sqrt(layer.weight[0].numel())
    if down:
        border = 2 if w.shape[-1] == 3 else 1
        x = conv2d(_filter(pad(x, (border,) * 4)), w)[:, :, ::2, ::2]
    else:
        x = conv2d(x, w, padding=w.shape[-1] // 2)
    if layer.bias is None:
        return gain * x
    x = x + layer.bias[:, None, None]
    x = np.sqrt(2) * gain * torch.where(x > 0, x, 0.2 * x)
    return x.clamp(-clamp * gain, clamp * gain)


@pytest.fixture(params=[256.0, 0.7])
def prior(request, official_networks):
    net, judge = official_networks(img_resolution=32, conv_clamp=request.param)
    return StyleGan2(net, judge).double().requires_grad_(False)


def test_every_block_of_the_generator(prior):
    synthesis = prior.generator.synthesis
    ws = torch.randn(3, 8, 12, generator=generator("ws"), dtype=torch.float64)
    x = image = carry = None
    for index, side in enumerate(synthesis.sides):
        block = synthesis.get_submodule(f"b{side}")
        at = max(2 * index - 1, 0)
        if index == 0:
            x = block.const.expand(3, -1, -1, -1)
        else:
            x = _layer(block.conv0, x, ws[:, at], up=True)
            at += 1
        x = _layer(block.conv1, x, ws[:, at], up=False)
        rgb = _to_rgb(block.torgb, x, ws[:, at + 1])
        # upsampling with two zeros of border before and one after keeps the image centred
        image = rgb if image is None else rgb + _filter(pad(_zeros_between(image), (2, 1, 2, 1)), 4.0)
        carry = prior.step_block(index, ws, carry)
        torch.testing.assert_close(carry.features, x, rtol=0, atol=1e-10)
        torch.testing.assert_close(carry.image, image, rtol=0, atol=1e-10)
        assert x.std() > 0.1 and image.std() > 0.1
    torch.testing.assert_close(prior.render(ws), (image + 1) / 2, rtol=0, atol=1e-10)


def test_gradients_of_the_generator(prior):
    ws = torch.randn(2, 8, 12, generator=generator("ws"), dtype=torch.float64)
    block, carry = prior.generator.synthesis.b8, prior.step_block(0, ws, None)
    found, expected = [], []
    for rows, place in ((found, "ours"), (expected, "textbook")):
        w, x = ws.clone().requires_grad_(), carry.features.clone().requires_grad_()
        if place == "ours":
            y = block(x, carry.image, w[:, 1:4], None)[0]
        else:
            y = _layer(block.conv1, _layer(block.conv0, x, w[:, 1], up=True), w[:, 2], up=False)
        rows += torch.autograd.grad(y.square().sum(), [w, x])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_every_block_of_the_discriminator(prior):
    net = prior.critic.net
    x = ours = torch.rand(4, 3, 32, 32, generator=generator("x"), dtype=torch.float64) * 2 - 1
    for side in net.sides:
        block = net.get_submodule(f"b{side}")
        clamp, half = block.conv0.clamp, np.sqrt(0.5)
        ours = block(ours)
        if block.fromrgb is not None:
            x = _plain(block.fromrgb, x, clamp=clamp)
        main = _plain(block.conv1, _plain(block.conv0, x, clamp=clamp), down=True, clamp=clamp, gain=half)
        x = _plain(block.skip, x, down=True, gain=half) + main
        torch.testing.assert_close(ours, x, rtol=0, atol=1e-10)
    spread = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
    y = _plain(net.b4.conv, torch.cat([x, spread.expand(4, 1, 4, 4)], 1), clamp=clamp).flatten(1)
    y = y @ net.b4.fc.weight.T / np.sqrt(y.shape[1]) + net.b4.fc.bias
    y = np.sqrt(2) * torch.where(y > 0, y, 0.2 * y)
    logits = y @ net.b4.out.weight.T / np.sqrt(y.shape[1]) + net.b4.out.bias
    images = torch.rand(4, 3, 32, 32, generator=generator("x"), dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(net(images), logits[:, 0], rtol=0, atol=1e-10)


def test_mapping(prior):
    mapping = prior.generator.mapping
    z = torch.randn(5, 8, generator=generator("z"), dtype=torch.float64)
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in (mapping.fc0, mapping.fc1):
        x = x @ (0.01 * layer.weight.T) / np.sqrt(x.shape[1]) + 0.01 * layer.bias
        x = np.sqrt(2) * torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close(mapping(z), x, rtol=0, atol=1e-12)
