"""Images for judges come straight from the generator's own side, as a judge's own resizing would make them."""

import torch
from mibench_attacks.images.rendering import Renderer
from torchvision.transforms.v2 import functional as vision

from mibench.api import Prior, TargetView, generator, resize
from mibench.testing import TinyWorld


class Noise(Prior):
    """Renders white noise at 1024 pixels, some of it outside of [0, 1]; its object is the middle 800."""

    latent_layers, latent_size, noise_size, crop = 1, 1, 1, 0.78125

    def to_latent(self, z_BZ, *, truncation=1.0, cutoff=None):
        return z_BZ[:, None]

    def render(self, latent_BLW, *, start=0, carry=None):
        return 1.1 * torch.rand(len(latent_BLW), 3, 1024, 1024, generator=generator("noise")) - 0.05


def rendered(delivered):
    view = TargetView(TinyWorld().trained(), TinyWorld().target().access)
    render = Renderer(Noise(), view, 224, delivered)
    return render, render.deliver(torch.zeros(1, 1, 1), batch=1)


def test_delivery_at_299_is_crop_800_and_one_resize():
    render, image = rendered(299)
    whole = Noise().render(torch.zeros(1, 1, 1)).clamp(0, 1)
    middle = vision.center_crop(whole, [800, 800])
    straight = vision.resize(middle, [299, 299], antialias=True)
    torch.testing.assert_close(image, straight, atol=1e-6, rtol=0)
    assert torch.equal(render(torch.zeros(1, 1, 1), clamp=True), resize(middle, 224))  # what is searched with
    detour = vision.resize(vision.resize(middle, [224, 224], antialias=True), [299, 299], antialias=True)
    assert 0.03 < (detour - image).abs().mean() < 0.045  # what a judge lost when everything went through 224
    assert render.target.ledger.render == 2


def test_without_a_side_of_delivery_it_is_the_targets():
    render, image = rendered(None)
    assert torch.equal(image, render(torch.zeros(1, 1, 1), clamp=True))
    assert render.seen(image) is image
