"""The StyleGAN2 networks and the prior around them."""

import copy

import pytest
import torch
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2
from mibench_models.priors.stylegan2.synthesis import channels_at, num_ws

from mibench.api import BlockState, generator, seeded


@pytest.fixture
def prior() -> StyleGan2:
    model = StyleGan2Prior(z_dim=8, w_dim=12, mapping_layers=2, channel_base=256, channel_max=16)
    with seeded("networks"):
        made = model.build(channels=3, size=32)
        with torch.no_grad():  # as after training: noise and biases matter
            for name, parameter in made.named_parameters():
                if name.endswith(("noise_strength", "bias")):
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


@pytest.mark.parametrize(("side", "layers"), [(64, 10), (128, 12), (256, 14), (512, 16), (1024, 18)])
def test_number_of_style_layers(side: int, layers: int) -> None:
    assert num_ws(side) == layers


@pytest.mark.parametrize("side", [4, 48, 0])
def test_odd_sides_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Generator(img_resolution=side)


def test_channels_of_config_f() -> None:
    sides = (4, 32, 64, 128, 256, 512, 1024)
    assert [channels_at(r, 32768, 512) for r in sides] == [512, 512, 512, 256, 128, 64, 32]
    assert [channels_at(r, 16384, 512) for r in sides[:5]] == [512, 512, 256, 128, 64]


def test_config_f_generator_has_the_official_layout() -> None:
    with torch.device("meta"):
        state = Generator(img_resolution=256).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    expected = {
        "mapping.w_avg": (512,),
        "mapping.fc0.weight": (512, 512),
        "mapping.fc7.bias": (512,),
        "synthesis.b4.const": (512, 4, 4),
        "synthesis.b4.conv1.weight": (512, 512, 3, 3),
        "synthesis.b4.conv1.affine.weight": (512, 512),
        "synthesis.b4.torgb.weight": (3, 512, 1, 1),
        "synthesis.b8.conv0.weight": (512, 512, 3, 3),
        "synthesis.b8.conv0.noise_const": (8, 8),
        "synthesis.b8.conv0.noise_strength": (),
        "synthesis.b8.conv0.bias": (512,),
        "synthesis.b128.conv0.weight": (256, 512, 3, 3),
        "synthesis.b128.conv0.affine.weight": (512, 512),
        "synthesis.b256.conv0.affine.bias": (256,),
        "synthesis.b256.conv1.affine.weight": (128, 512),
        "synthesis.b256.torgb.affine.weight": (128, 512),
        "synthesis.b256.torgb.bias": (3,),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    per_layer = ["affine.bias", "affine.weight", "bias", "noise_const", "noise_strength", "weight"]
    assert sorted(n.removeprefix("synthesis.b16.conv0.") for n in shapes if ".b16.conv0." in n) == per_layer
    assert len(shapes) == 17 + (1 + 6 + 4) + 6 * (6 + 6 + 4)


def test_config_f_discriminator_has_the_official_layout() -> None:
    with torch.device("meta"):
        state = Discriminator(img_resolution=256).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    expected = {
        "b256.fromrgb.weight": (128, 3, 1, 1),
        "b256.conv0.weight": (128, 128, 3, 3),
        "b256.conv1.weight": (256, 128, 3, 3),
        "b256.skip.weight": (256, 128, 1, 1),
        "b8.conv1.bias": (512,),
        "b4.conv.weight": (512, 513, 3, 3),
        "b4.fc.weight": (512, 8192),
        "b4.out.weight": (1, 512),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert len(shapes) == 2 + 6 * 5 + 6


def test_entering_at_any_block_reproduces_the_image(prior: StyleGan2) -> None:
    ws = prior.to_latent(prior.sample(2, generator(0)))
    full = prior.render(ws)
    assert full.shape == (2, 3, 32, 32)
    assert prior.blocks == 4
    torch.testing.assert_close(full, (prior.generator.synthesis(ws) + 1) / 2)
    carry: BlockState | None = None
    for index in range(prior.blocks):
        torch.testing.assert_close(prior.render(ws, start=index, carry=carry), full, atol=1e-4, rtol=0)
        carry = prior.step_block(index, ws, carry)
    assert carry is not None and carry.features is not None and carry.features.shape == (2, 8, 32, 32)


def test_style_layers_go_where_they_belong(prior: StyleGan2) -> None:
    """The last style vector drives only the last RGB output, the first only the first convolution."""
    ws = prior.to_latent(prior.sample(1, generator(0))).contiguous()
    after_first = prior.step_block(0, ws, None)
    changed = ws.clone()
    changed[:, -1] += 1
    state = None
    for index in range(prior.blocks - 1):
        state = prior.step_block(index, ws, state)
    old, new = (prior.step_block(prior.blocks - 1, w, state) for w in (ws, changed))
    assert torch.equal(old.features, new.features) and not torch.equal(old.image, new.image)
    changed = ws.clone()
    changed[:, 0] += 1
    torch.testing.assert_close(prior.render(changed, start=1, carry=after_first), prior.render(ws))


def test_misuse_is_explained(prior: StyleGan2) -> None:
    ws = prior.to_latent(prior.sample(1, generator(0)))
    with pytest.raises(ValueError, match="carry of block 1"):
        prior.render(ws, start=2)
    with pytest.raises(ValueError, match=r"\[0, 4\)"):
        prior.render(ws, start=4)


def test_rendering_is_fixed_and_seeded() -> None:
    model = StyleGan2Prior(z_dim=8, w_dim=8, mapping_layers=1, channel_base=128, channel_max=8)
    priors = []
    for seed in (0, 0, 1):
        with seeded(seed):
            priors.append(model.build(channels=1, size=16))
    a, b, c = (torch.cat([tensor.flatten() for tensor in p.state_dict().values()]) for p in priors)
    assert torch.equal(a, b) and not torch.equal(a, c)
    ws = priors[0].to_latent(priors[0].sample(2, generator(3)))
    assert torch.equal(priors[0].render(ws), priors[1].render(ws))


def test_to_latent_truncates_towards_the_tracked_mean(prior: StyleGan2) -> None:
    z = prior.sample(3, generator(0))
    prior.generator.mapping.w_avg.fill_(0.25)
    ws = prior.to_latent(z)
    assert ws.shape == (3, prior.latent_layers, prior.latent_size) == (3, 8, 12)
    half = prior.to_latent(z, truncation=0.5, cutoff=3)
    torch.testing.assert_close(half[:, :3], 0.125 + ws[:, :3] / 2)
    assert torch.equal(half[:, 3:], ws[:, 3:])
    assert (prior.to_latent(z, truncation=0.0) == 0.25).all()


def test_gradients_reach_latents_and_spare_frozen_weights(prior: StyleGan2) -> None:
    prior.requires_grad_(False)
    ws = prior.to_latent(prior.sample(2, generator(0))).clone().requires_grad_()
    features = prior.step_block(1, ws.detach(), prior.step_block(0, ws.detach(), None))
    inner = features.features.clone().requires_grad_()
    image = prior.render(ws, start=2, carry=BlockState(inner, features.image))
    (image.sum() + prior.render(ws).square().sum() + prior.discriminator(image).sum()).backward()
    assert (ws.grad.abs().amax(dim=(0, 2)) > 0).all() and inner.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_gradients_of_the_fast_formulation_are_right() -> None:
    with seeded("gradcheck"):
        net = Generator(z_dim=4, w_dim=3, mapping_layers=1, img_resolution=8, channel_base=16, channel_max=2).double()
    ws = torch.randn(1, 4, 3, generator=generator(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net.synthesis, (ws,))


def test_critic_scores_images_one_by_one(prior: StyleGan2) -> None:
    prior.critic.spread.fill_(0.3)
    x = torch.rand(6, 3, 32, 32, generator=generator(0))
    together = prior.discriminator(x)
    assert together.shape == (6,)
    apart = torch.cat([prior.discriminator(image[None]) for image in x])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    training = prior.critic.net(x * 2 - 1)
    assert not torch.allclose(training, together)


def test_copies_are_independent_and_state_round_trips(prior: StyleGan2) -> None:
    clone = copy.deepcopy(prior)
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.zero_()
    ws = prior.to_latent(prior.sample(1, generator(0)))
    before = prior.render(ws)
    clone.load_state_dict(prior.state_dict())
    assert torch.equal(clone.render(ws), before)
    assert {key.split(".")[0] for key in prior.state_dict()} == {"generator", "critic"}
