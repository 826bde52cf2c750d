"""The StyleGAN2 building blocks against textbook formulations and scipy."""

import math

import numpy as np
import pytest
import torch
from mibench_models.priors.stylegan2 import resample
from mibench_models.priors.stylegan2.discriminator import minibatch_spread
from mibench_models.priors.stylegan2.layers import EqualConv, EqualLinear
from mibench_models.priors.stylegan2.mapping import Mapping, normalise, truncate
from mibench_models.priors.stylegan2.modulated import SynthesisLayer, demodulation, modulated_conv
from scipy.signal import convolve2d, correlate2d
from torch.nn.functional import conv2d, conv_transpose2d

from mibench.api import generator, seeded

FIR = resample.binomial_filter()


def _randn(*shape: int, key: str = "x") -> torch.Tensor:
    return torch.randn(*shape, generator=generator("layers", key, *shape))


def _zero_insert(image: np.ndarray) -> np.ndarray:
    out = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    out[::2, ::2] = image
    return out


def _scipy_upsample(image: np.ndarray) -> np.ndarray:
    full = convolve2d(_zero_insert(image), FIR.numpy() * 4, mode="full")  # output side 2H + 3
    return full[1 : 1 + 2 * image.shape[0], 1 : 1 + 2 * image.shape[1]]


def test_filter_is_the_normalised_binomial() -> None:
    taps = np.array([1, 3, 3, 1]) / 8
    np.testing.assert_allclose(FIR, np.outer(taps, taps), atol=1e-7)


def test_upsample_equals_scipy() -> None:
    x = _randn(2, 3, 5, 5)
    expected = [[_scipy_upsample(plane) for plane in image] for image in x.numpy()]
    np.testing.assert_allclose(resample.upsample(x, FIR), expected, atol=1e-5)
    assert resample.upsample(torch.ones(1, 1, 8, 8), FIR)[..., 4:-4, 4:-4].sub(1).abs().max() < 1e-6


def test_downsample_equals_scipy() -> None:
    x = _randn(2, 3, 8, 8)
    full = [[convolve2d(np.pad(plane, 1), FIR.numpy(), mode="valid")[::2, ::2] for plane in im] for im in x.numpy()]
    np.testing.assert_allclose(resample.downsample(x, FIR), full, atol=1e-5)


def test_conv_upsample_equals_scipy() -> None:
    x, w = _randn(2, 3, 4, 4), _randn(5, 3, 3, 3, key="w")
    for b in range(2):
        for o in range(5):
            wide = sum(convolve2d(_zero_insert(x[b, i].numpy()), w[o, i].numpy(), mode="full") for i in range(3))
            wide = wide[: 2 * 4 + 1, : 2 * 4 + 1]  # a transposed convolution has no trailing inserted zero
            expected = convolve2d(np.pad(wide, 1), FIR.numpy() * 4, mode="valid")
            np.testing.assert_allclose(resample.conv_upsample(x, w, FIR)[b, o], expected, atol=1e-4)


def test_conv_upsample_is_smooth_upsampling_followed_by_convolution_inside() -> None:
    """Zero-insertion, convolution and smoothing commute away from the border."""
    x, w = _randn(1, 3, 8, 8), _randn(2, 3, 3, 3, key="w")
    inside = slice(4, -4)
    expected = conv2d(resample.upsample(x, FIR), w.flip(2, 3), padding=1)
    torch.testing.assert_close(
        resample.conv_upsample(x, w, FIR)[..., inside, inside], expected[..., inside, inside], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_conv_downsample_equals_scipy(kernel: int) -> None:
    x, w = _randn(2, 3, 8, 8), _randn(5, 3, kernel, kernel, key="w")
    pad = 1 + kernel // 2
    for b in range(2):
        smooth = [convolve2d(np.pad(x[b, i].numpy(), pad), FIR.numpy(), mode="valid") for i in range(3)]
        for o in range(5):
            full = sum(correlate2d(smooth[i], w[o, i].numpy(), mode="valid") for i in range(3))
            np.testing.assert_allclose(resample.conv_downsample(x, w, FIR)[b, o], full[::2, ::2], atol=1e-4)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_conv_equals_grouped_weights(up: bool, demodulate: bool) -> None:
    """Karras et al. 2020, appendix B: one scaled and normalised weight tensor per sample, as a grouped convolution."""
    x, w, s = _randn(3, 4, 6, 6), _randn(5, 4, 3, 3, key="w"), _randn(3, 4, key="s") + 1
    weights = w[None] * s[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if up:
        flat = weights.transpose(1, 2).reshape(12, 5, 3, 3)
        wide = conv_transpose2d(x.reshape(1, 12, 6, 6), flat, stride=2, groups=3)
        expected = conv2d(wide, (FIR * 4).expand(15, 1, 4, 4), padding=1, groups=15).reshape(3, 5, 12, 12)
    else:
        flat = weights.reshape(15, 4, 3, 3)
        expected = conv2d(x.reshape(1, 12, 6, 6), flat, padding=1, groups=3).reshape(3, 5, 6, 6)
    actual = modulated_conv(x, w, s, fir_44=FIR if up else None)
    if demodulate:
        actual = actual * demodulation(w, s)[:, :, None, None]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_demodulated_outputs_have_unit_variance() -> None:
    x, w, s = _randn(4, 32, 32, 32), _randn(8, 32, 3, 3, key="w"), 5 * _randn(4, 32, key="s")
    y = modulated_conv(x, w, s) * demodulation(w, s)[:, :, None, None]
    assert (y[..., 1:-1, 1:-1].std(dim=(2, 3)) - 1).abs().max() < 0.15


def test_synthesis_layer_order_and_noise() -> None:
    with seeded("layer"):
        layer = SynthesisLayer(4, 6, w_dim=8, side=8, clamp=0.5)
    with torch.no_grad():
        layer.noise_strength.fill_(0.7)
        layer.bias.copy_(torch.linspace(-1, 1, 6))
        x, w = _randn(2, 4, 8, 8), _randn(2, 8, key="w")
        style = layer.affine(w)
        y = modulated_conv(x, layer.weight, style) * demodulation(layer.weight, style)[:, :, None, None]
        y = y + layer.noise_const * 0.7 + layer.bias[:, None, None]
        y = torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)  # the clamp bounds what leaves the layer, gain included
        torch.testing.assert_close(layer(x, w), y.clamp(-0.5, 0.5), atol=1e-5, rtol=1e-5)
        assert torch.equal(layer(x, w, generator(1)), layer(x, w, generator(1)))
        assert not torch.equal(layer(x, w, generator(1)), layer(x, w, generator(2)))


def test_equalised_layers() -> None:
    with seeded("equal"):
        linear, conv = EqualLinear(6, 4, activate=True, lr_multiplier=0.01), EqualConv(3, 5, 3)
    with torch.no_grad():
        linear.bias.fill_(20.0)
        conv.bias.copy_(torch.linspace(-1, 1, 5))
        x = _randn(2, 6)
        y = x @ linear.weight.T * 0.01 / math.sqrt(6) + 0.2
        torch.testing.assert_close(linear(x), torch.where(y > 0, y, 0.2 * y) * math.sqrt(2))
        x = _randn(2, 3, 5, 5)
        y = conv2d(x, conv.weight / math.sqrt(27), conv.bias, padding=1)
        torch.testing.assert_close(conv(x, 0.5), torch.where(y > 0, y, 0.2 * y) * math.sqrt(0.5))


def test_mapping_normalises_and_counts_layers() -> None:
    with seeded("mapping"):
        mapping = Mapping(16, 32, layers=3)
    z = _randn(5, 16)
    torch.testing.assert_close(normalise(z).square().mean(1), torch.ones(5))
    torch.testing.assert_close(mapping(z), mapping(3 * z))
    assert {name.split(".")[0] for name in mapping.state_dict()} == {"fc0", "fc1", "fc2", "w_avg"}
    w = mapping(z).detach()
    assert 0.3 < w.square().mean().sqrt() < 3
    mapping.update_average(w, beta=0.75)
    torch.testing.assert_close(mapping.w_avg, w.mean(0) / 4)


def test_truncation_and_cutoff() -> None:
    w, mean = _randn(2, 6, 4), _randn(4, key="mean")
    assert torch.equal(truncate(w, mean, truncation=1.0, cutoff=None), w)
    torch.testing.assert_close(truncate(w, mean, truncation=0.0, cutoff=None), mean.expand(2, 6, 4))
    cut = truncate(w, mean, truncation=0.5, cutoff=2)
    torch.testing.assert_close(cut[:, :2], (w[:, :2] + mean) / 2)
    assert torch.equal(cut[:, 2:], w[:, 2:])


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (4, 4), (6, 3), (7, 1), (1, 1)])
def test_minibatch_spread_equals_numpy(batch: int, group: int) -> None:
    x = _randn(batch, 3, 4, 4)
    planes = x.double().numpy().reshape(group, batch // group, 3, 4, 4)
    deviation = np.sqrt(((planes - planes.mean(0)) ** 2).mean(0) + 1e-8).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(minibatch_spread(x).flatten(), np.tile(deviation, group), rtol=1e-5)
