import torch
from mibench_attacks.views.alignment import Alignment, averaged
from mibench_attacks.views.transforms import RandomView
from torch.testing import assert_close
from torchvision.transforms.functional import InterpolationMode, adjust_brightness
from torchvision.transforms.functional import rotate as torchvision_rotate


def rng():
    return torch.Generator().manual_seed(3)


def curved(x_BCSS):
    return x_BCSS.pow(3).mean((1, 2, 3))


def test_the_gradient_is_the_mean_over_the_copies():
    x = torch.rand(4, 3, 8, 8, generator=rng(), dtype=torch.float64)
    for kind in ("paa", "taa"):
        copies = Alignment(kind=kind, n_aug=5, noise=0.1).draw(4, 3, 8, rng())
        leaf, plain = (x.clone().requires_grad_() for _ in range(2))
        fast = averaged(leaf, curved, copies)
        slow = torch.stack([curved(copy.apply(plain)) for copy in copies]).mean(0)
        assert_close(fast, slow)
        assert_close(*(torch.autograd.grad(v.sum(), p)[0] for v, p in ((fast, leaf), (slow, plain))))


def test_without_alignment_it_is_the_loss_itself():
    x = torch.rand(2, 1, 4, 4, requires_grad=True)
    assert Alignment().draw(2, 1, 4, rng()) == []
    assert Alignment().copies == 1
    assert torch.equal(averaged(x, curved, []), curved(x))


def test_paa_has_its_noise_and_is_the_same_for_any_cut_of_the_batch():
    x = torch.full((6, 1, 64, 64), 0.5)
    copies = Alignment(kind="paa", n_aug=3, noise=0.05).draw(6, 1, 64, rng())
    assert abs(float((copies[0].apply(x) - x).std()) - 0.05) < 0.002
    whole = averaged(x.clone().requires_grad_(), curved, copies)
    part = averaged(x[2:4].clone().requires_grad_(), curved, [copy.part(slice(2, 4)) for copy in copies])
    assert_close(part, whole[2:4])


def test_rotation_is_torchvisions():
    x = torch.rand(2, 3, 32, 32, generator=rng())
    draw = RandomView(scale=(1, 1), rotate=30).draw(2, 32, rng())
    angle = float(draw.angles_N[0])
    theirs = torchvision_rotate(x, angle, InterpolationMode.BILINEAR)
    assert_close(draw.apply(x)[..., 8:24, 8:24], theirs[..., 8:24, 8:24], atol=1e-5, rtol=0)


def test_jitter_scales_brightness_and_contrast_by_factors_of_its_own_for_each_image():
    draw = RandomView(scale=(1, 1), jitter=0.2, per_sample=True).draw(50, 8, rng())
    assert draw.gains_N2.min() >= 0.8 and draw.gains_N2.max() <= 1.2
    assert draw.gains_N2.std(0).min() > 0.05
    x = 0.1 + 0.5 * torch.rand(50, 3, 8, 8, generator=rng())
    seen = draw.apply(x)
    bright = torch.stack(
        [adjust_brightness(image, float(gain)) for image, gain in zip(x, draw.gains_N2[:, 0], strict=True)]
    )
    grey = bright.mean((1, 2, 3), keepdim=True)
    assert_close(seen - grey, draw.gains_N2[:, 1].view(-1, 1, 1, 1) * (bright - grey), atol=1e-6, rtol=0)
