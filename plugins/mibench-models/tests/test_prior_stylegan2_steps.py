"""Steps of StyleGAN2's training, recomputed: losses and penalties by hand, parameters by Adam in float64."""

import math

import by_hand
import numpy as np
import pytest
import torch
from by_hand import array
from mibench_models.priors.parts.augmentation import augment, parse_policy
from mibench_models.priors.stylegan2 import compute, deploy, losses
from mibench_models.priors.stylegan2.batches import Batches
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2.discriminator import Discriminator, minibatch_spread
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.priors.stylegan2.training import GanTraining

from mibench.api import MibenchError, TensorImages, generator, seeded
from mibench.api.params import build, canonical, inference_only_names
from mibench.testing import TinyWorld
from mibench.testing.checks import same_tensors, snapshot

TINY = {"z_dim": 6, "w_dim": 5, "mapping_layers": 2, "channel_base": 64, "channel_max": 4, "kimg": 0.02, "batch": 4}
PUBLIC = TinyWorld().images("public")
BETAS = (0.0, 0.99)


def trainer(**settings):
    model = build(StyleGan2Prior, TINY | settings)
    with seeded("init"):
        prior = model.build(channels=3, size=16)
        with torch.no_grad():
            for name, parameter in prior.named_parameters():
                if name.endswith(("noise_strength", "bias")):
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.trainer(prior, PUBLIC, seed=5, device=torch.device("cpu"))


def stepped(parameters, loss, lr, betas):
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    slopes = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, slopes, strict=True)]
    return [by_hand.Adam(lr, betas).moved(array(p), array(g)) for p, g in zip(parameters, slopes, strict=True)]


def close(parameters, expected, lr):
    """Compare with what Adam would do; where a gradient is all rounding, its sign is too."""
    apart = np.concatenate([np.abs(array(p) - e).ravel() for p, e in zip(parameters, expected, strict=True)])
    assert np.quantile(apart, 0.95) < 0.03 * lr


# -- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["none", "flip,translate,color"])
def test_a_generator_step_is_adam_on_the_non_saturating_loss(policy):
    made, twin = trainer(augment=policy, lr=2e-3), trainer(augment=policy, lr=2e-3)
    ws, w = twin.batches.latents(twin.live, "g", 3, 4)
    fake = twin.live.synthesis(ws, generator(5, "g noise", 3))
    logits = twin.critic(augment(fake, parse_policy(policy), generator(5, "g augment", 3)))
    loss = torch.log1p(torch.exp(-logits.double())).mean()
    expected = stepped(list(twin.live.parameters()), loss, 2e-3, BETAS)
    critic = snapshot(made.critic.state_dict())
    assert made._generator_step(3)["loss_g"].item() == pytest.approx(loss.item(), rel=1e-5)
    close(made.live.parameters(), expected, 2e-3)
    assert same_tensors(critic, snapshot(made.critic.state_dict()))
    assert all(parameter.requires_grad for parameter in made.critic.parameters())
    torch.testing.assert_close(made.live.mapping.w_avg, 0.002 * w.mean(0), atol=1e-7, rtol=1e-4)


def test_a_discriminator_step_is_adam_on_both_halves():
    made, twin = trainer(r1_gamma=0.0), trainer(r1_gamma=0.0)
    with torch.no_grad():
        ws, _ = twin.batches.latents(twin.live, "d", 2, 4)
        fake = twin.live.synthesis(ws, generator(5, "d noise", 2))
    real = twin.batches.real("real", 2, 4)
    fake_B, real_B = twin.critic(fake), twin.critic(real)
    loss = torch.log1p(torch.exp(fake_B.double())).mean() + torch.log1p(torch.exp(-real_B.double())).mean()
    expected = stepped(list(twin.critic.parameters()), loss, 2.5e-3, BETAS)
    live = snapshot(made.live.state_dict())
    signals = made._discriminator_step(2)
    assert signals["loss_d"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert signals["real"].item() == pytest.approx(real_B.mean().item(), rel=1e-4, abs=1e-6)
    assert signals["fake"].item() == pytest.approx(fake_B.mean().item(), rel=1e-4, abs=1e-6)
    close(made.critic.parameters(), expected, 2.5e-3)
    assert same_tensors(live, snapshot(made.live.state_dict()))


def test_an_r1_step_is_lazy_adam_on_the_slope_at_real_images():
    made, twin = trainer(r1_gamma=0.3, r1_interval=8), trainer(r1_gamma=0.3, r1_interval=8)
    x = twin.batches.real("r1", 4, 4).requires_grad_(True)
    (slope,) = torch.autograd.grad(twin.critic(x).sum(), x, create_graph=True)
    penalty = slope.square().flatten(1).sum(1).mean()
    share = 8 / 9
    expected = stepped(list(twin.critic.parameters()), penalty * 0.3 / 2 * 8, 2.5e-3 * share, (0.0, 0.99**share))
    assert made._r1_step(4).item() == pytest.approx(penalty.item(), rel=1e-5)
    close(made.critic.parameters(), expected, 2.5e-3)


def test_a_path_step_pulls_lengths_to_their_mean():
    made, twin = trainer(path_weight=1.5, path_interval=4), trainer(path_weight=1.5, path_interval=4)
    for one in (made, twin):
        one.mean_path.fill_(0.2)
    ws = twin.batches.latents(twin.live, "path", 1, 2)[0]
    x = twin.live.synthesis(ws, generator(5, "path noise", 1))
    y = torch.randn(x.shape, generator=generator(5, "path image noise", 1)) / 16
    (slope,) = torch.autograd.grad((x * y).sum(), ws, create_graph=True)
    lengths = slope.square().sum(2).mean(1).sqrt()
    mean = 0.99 * 0.2 + 0.01 * lengths.mean().detach()
    penalty = (lengths - mean).square().mean()
    share = 4 / 5
    expected = stepped(list(twin.live.parameters()), penalty * 1.5 * 4, 2.5e-3 * share, (0.0, 0.99**share))
    assert made._path_step(1).item() == pytest.approx(penalty.item(), rel=1e-4)
    assert made.mean_path.item() == pytest.approx(mean.item(), rel=1e-5)
    close(made.live.parameters(), expected, 2.5e-3)


def test_the_half_life_of_the_average_is_ramped_up():
    made = trainer(ema_kimg=0.1, ema_rampup=0.5)
    for index, half_life in ((0, 2), (9, 20), (99, 100)):  # half of 4 and 40 images, then at most 100
        old = array(made.average.synthesis.b8.conv0.bias)
        made.live.synthesis.b8.conv0.bias.data.add_(1.0)
        live = array(made.live.synthesis.b8.conv0.bias)
        made._update_average(index)
        weight = 1 - 0.5 ** (4 / half_life)
        np.testing.assert_allclose(array(made.average.synthesis.b8.conv0.bias), old + weight * (live - old), atol=1e-6)


def test_the_mean_latent_is_taken_over_and_not_averaged():
    made = trainer()
    made.live.mapping.w_avg.fill_(0.7)
    made._update_average(0)
    assert (made.average.mapping.w_avg == 0.7).all()


def test_the_length_of_a_training_counts_images():
    assert trainer(kimg=0.02, batch=4).total_steps == 5
    assert trainer(kimg=0.021, batch=4).total_steps == 6


def test_the_discriminators_statistic_is_measured_on_real_images():
    made = trainer()
    made.step(0)
    spreads = [minibatch_spread(made.critic.features(made.batches.real("spread", i, 4))).mean() for i in range(16)]
    prior = made.finish()
    assert prior.critic.spread.item() == pytest.approx(torch.stack(spreads).mean().item(), rel=1e-5)
    assert not prior.training


def test_a_training_needs_images_and_a_discriminator():
    model = build(StyleGan2Prior, TINY)
    empty = TensorImages(torch.zeros(0, 3, 16, 16, dtype=torch.uint8), torch.zeros(0, dtype=torch.long), 1)
    bare = StyleGan2(model.build(channels=3, size=16).generator)
    for prior, images in ((model.build(channels=3, size=16), empty), (bare, PUBLIC)):
        with pytest.raises(MibenchError, match="a discriminator and at least one public image"):
            model.trainer(prior, images, seed=0, device=torch.device("cpu"))
    with pytest.raises(TypeError, match="expected a StyleGan2"):
        model.trainer(torch.nn.Linear(1, 1), PUBLIC, seed=0, device=torch.device("cpu"))


# -- losses in float64 ------------------------------------------------------------------------------------------------


def test_losses_equal_numpy():
    real, fake = (torch.randn(50, generator=generator(name), dtype=torch.float64) * 5 for name in ("real", "fake"))
    a, b = array(real), array(fake)
    assert losses.generator_loss(fake).item() == pytest.approx(by_hand.softplus(-b).mean())
    expected = by_hand.softplus(b).mean() + by_hand.softplus(-a).mean()
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected)


def test_r1_of_a_quadratic_critic_and_its_gradient():
    x = torch.randn(3, 2, 4, 4, generator=generator("r1"), dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    penalty = losses.r1_penalty((scale * x**2).sum((1, 2, 3)), x)
    truth = 4 * 0.49 * (array(x) ** 2).sum((1, 2, 3)).mean()  # the slope is 2 scale x
    assert penalty.item() == pytest.approx(truth)
    (slope,) = torch.autograd.grad(penalty, scale)
    assert slope.item() == pytest.approx(2 * truth / 0.7)


def test_path_lengths_of_a_linear_generator():
    """x = A w in each layer: J^T y is A^T y, and its length is averaged over layers."""
    a = torch.randn(2 * 3 * 3, 4, generator=generator("linear"), dtype=torch.float64)
    ws = torch.randn(3, 5, 4, generator=generator("ws"), dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 2, 3, 3, generator=generator("y"), dtype=torch.float64)
    strengths = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    x = (strengths[:, None] * (ws @ a.T)).sum(1).view(3, 2, 3, 3)
    pulled = array(y).reshape(3, -1) @ array(a) / 3
    expected = np.sqrt((pulled**2).sum(1) * (array(strengths) ** 2).mean())
    np.testing.assert_allclose(array(losses.path_lengths(x, ws, y)), expected)


@pytest.mark.parametrize(("interval", "share"), [(0, 1.0), (1, 0.5), (4, 0.8), (16, 16 / 17)])
def test_lazy_adam_learns_as_fast_as_without(interval, share):
    lr, betas = losses.lazy_adam(0.01, (0.5, 0.9), interval)
    assert lr == pytest.approx(0.01 * share)
    assert betas == (pytest.approx(0.5**share), pytest.approx(0.9**share))


# -- batches ----------------------------------------------------------------------------------------------------------


def batches(**settings):
    return Batches(PUBLIC, 5, torch.device("cpu"), **{"mirror": False, "style_mixing": 0.5} | settings)


def test_real_batches_are_public_images_in_their_range():
    rows = torch.randint(24, (30,), generator=generator(5, "real", 2))
    assert torch.equal(batches().real("real", 2, 30), PUBLIC.images(rows) * 2 - 1)
    mirrored = batches(mirror=True).real("real", 2, 30)
    same = (mirrored == PUBLIC.images(rows) * 2 - 1).flatten(1).all(1)
    assert torch.equal(mirrored[~same], (PUBLIC.images(rows) * 2 - 1)[~same].flip(3))
    assert 5 < same.sum() < 25


def test_latents_are_two_mapped_noises_with_one_switch():
    with seeded("net"):
        net = Generator(z_dim=6, w_dim=5, mapping_layers=2, img_resolution=16, channel_base=64, channel_max=4)
    ws, w = batches().latents(net, "x", 1, 40)
    rng, layers = generator(5, "x latent", 1), net.synthesis.num_ws
    first, second = net.mapping(torch.randn(80, 6, generator=rng)).chunk(2)
    mixed = torch.rand(40, generator=rng) < 0.5
    cuts = torch.randint(1, layers, (40,), generator=rng)
    assert torch.equal(w, first)
    for row in range(40):
        cut = int(cuts[row]) if mixed[row] else layers
        expected = torch.cat([first[row].expand(cut, -1), second[row].expand(layers - cut, -1)])
        assert torch.equal(ws[row], expected)
    assert 10 < mixed.sum() < 30


# -- sizes and deployment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3), (32, 3)])
def test_sizes_by_hand(side, channels):
    z, w, base, most, mapping = 6, 5, 128, 8, 3
    widths = [min(base // r, most) for r in (4, 8, 16, 32) if r <= side]
    size = z * w + w + (mapping - 1) * (w * w + w)
    previous = None
    for width in widths:
        affine = lambda inputs: w * inputs + inputs  # noqa: E731
        if previous is None:
            size += width * 16
        else:
            size += affine(previous) + previous * width * 9 + 1 + width
        size += affine(width) + width * width * 9 + 1 + width
        size += affine(width) + width * channels + channels
        previous = width
    shape = {"img_resolution": side, "img_channels": channels, "channel_base": base, "channel_max": most}
    net = Generator(z_dim=z, w_dim=w, mapping_layers=mapping, **shape)
    assert sum(parameter.numel() for parameter in net.parameters()) == size
    critic = channels * widths[-1] + widths[-1]
    for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
        critic += (wide * wide * 9 + wide) + (wide * narrow * 9 + narrow) + wide * narrow
    last = widths[0]
    critic += (last + 1) * last * 9 + last + (last * 16 * last + last) + last + 1
    assert sum(parameter.numel() for parameter in Discriminator(**shape).parameters()) == critic


@pytest.mark.parametrize(("stride", "padding", "is_transposed"), [(1, 1, False), (2, 0, True), (1, 0, False)])
@pytest.mark.parametrize("kind", ["fp32", "tf32", "bf16"])
def test_arithmetics_agree_forwards_and_backwards(kind, stride, padding, is_transposed):
    x = torch.randn(2, 3, 6, 6, generator=generator("x"), requires_grad=True)
    shape = (3, 4, 3, 3) if is_transposed else (4, 3, 3, 3)
    w = torch.randn(*shape, generator=generator("w"), requires_grad=True)
    y = compute.convolve(x, w, kind, stride=stride, padding=padding, transposed=is_transposed)
    if is_transposed:
        truth = by_hand.transposed(array(x), array(w), stride=stride, padding=padding, output_padding=0)
    else:
        truth = by_hand.convolved(array(x), array(w), stride=stride, padding=padding)
    tolerance = 0.15 if kind == "bf16" else 1e-4
    np.testing.assert_allclose(array(y), truth, atol=tolerance)
    assert y.dtype == (torch.bfloat16 if kind == "bf16" else torch.float32)
    found = torch.autograd.grad(y.float().square().sum(), [x, w])
    plain = compute.convolve(x, w, "fp32", stride=stride, padding=padding, transposed=is_transposed)
    for ours, theirs in zip(found, torch.autograd.grad(plain.square().sum(), [x, w]), strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999


def test_a_frozen_weight_gets_no_gradient_in_tf32():
    x, w = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(3, 2, 3, 3)
    y = compute.convolve(x, w, "tf32", stride=1, padding=1, transposed=False)
    y.sum().backward()
    assert x.grad is not None
    assert w.grad is None


def test_the_tolerance_is_in_standard_deviations_of_the_worst_image():
    expected = torch.randn(3, 1, 8, 8, generator=generator("images"))
    found = expected.clone()
    found[1] += 0.02
    found[2] += 0.05
    truth = max(0.02 / expected[1].std().item(), 0.05 / expected[2].std().item())
    assert deploy.image_difference(found, expected) == pytest.approx(truth, rel=1e-4)
    assert (deploy.TOLERANCE, deploy.CHECKED) == (0.03, 4)
    assert math.isnan(deploy.image_difference(torch.full_like(expected, torch.nan), expected))


def test_inference_is_in_no_key_of_a_training():
    made = build(StyleGan2Prior, {"compute": "bf16", "inference.compile": True, "kimg": 3})
    assert made.inference == deploy.Inference(compute="bf16", compile=True)
    assert made.training == GanTraining(kimg=3.0)
    assert set(inference_only_names(StyleGan2Prior)) >= {"compute", "compile"}
    assert {"compute": "bf16", "compile": True, "kimg": 3.0}.items() <= canonical(made).items()
    assert not {"inference", "training"} & set(canonical(StyleGan2Prior()))
