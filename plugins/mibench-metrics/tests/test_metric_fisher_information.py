"""Fisher information against autograd's full Jacobian, and the exact statement about pixels that are never read."""

import pytest
import torch
from mibench_metrics.fisher_information import FisherInformation, Released, root_mean_square
from mibench_metrics.jacobians import backward_product, column_squares, forward_product, spectral_norms
from torch import nn

from mibench.api import MibenchError, freeze, generator


def jacobians(function, x):
    return torch.stack(
        [torch.autograd.functional.jacobian(function, row[None]).reshape(-1, row.numel()) for row in x]
    ).double()


class Masked(nn.Module):
    """Reads the left half of an image alone."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.register_buffer("mask", torch.cat([torch.ones(1, 8, 4), torch.zeros(1, 8, 4)], dim=2))

    def forward(self, x):
        return self.body(0.5 + self.mask * (x - 0.5))


def test_products_are_those_of_the_full_jacobian(world):
    function, x = Released(world.evidence.target, "features"), world.evidence.heldout.all_images()[:5]
    full = jacobians(function, x)
    v = torch.randn(x.shape, generator=generator("v"))
    u = torch.randn(full.shape[:2], generator=generator("u"))
    forward = torch.einsum("bdp,bp->bd", full, v.flatten(1).double())
    torch.testing.assert_close(forward_product(function, x, v).double(), forward, rtol=1e-4, atol=1e-5)
    backward = torch.einsum("bdp,bd->bp", full, u.double())
    torch.testing.assert_close(backward_product(function, x, u).flatten(1).double(), backward, rtol=1e-4, atol=1e-5)
    squares = column_squares(function, x).flatten(1)
    torch.testing.assert_close(squares, full.square().sum(1), rtol=1e-4, atol=1e-6)
    norms = torch.linalg.svdvals(full)[:, 0]
    torch.testing.assert_close(spectral_norms(function, x, steps=60), norms, rtol=5e-3, atol=0)


def test_probes_estimate_the_columns_without_bias(world):
    function, x = Released(world.evidence.target, "features"), world.evidence.heldout.all_images()[:2]
    exact, guess = column_squares(function, x).sum(), column_squares(function, x, probes=400).sum()
    assert guess.item() == pytest.approx(exact.item(), rel=0.1)


def test_the_columns_of_a_record_are_those_of_the_jacobian(world):
    metric = FisherInformation(max_images=None, steps=60)
    made = {found.name: found for found in metric.measure(world.evidence, world.ctx)}
    function, images = Released(world.evidence.target, "features"), world.evidence.heldout
    full, sigma = jacobians(function, images.all_images()), 2 * root_mean_square(function, images, world.ctx)
    assert made["fil"].value == pytest.approx(torch.linalg.svdvals(full)[:, 0].mean().item() / sigma, rel=5e-3)
    bounds = sigma / full.norm(dim=1)
    expected = torch.stack([row[row.isfinite()].median() for row in bounds]).mean()
    assert made["crb_pixel"].value == pytest.approx(expected.item(), rel=1e-4)
    assert made["fil"].details["sigma"] == pytest.approx(sigma)


@pytest.mark.parametrize("probes", [None, 3])
def test_a_pixel_never_read_has_an_infinite_bound(world, probes):
    body = nn.Sequential(Masked(nn.Flatten()), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator("masked", *parameter.shape)))
    model = freeze(world.classifier(body, "3"))
    columns = column_squares(Released(model, "features"), world.evidence.heldout.all_images()[:4], probes)
    assert torch.equal(columns[..., 4:], torch.zeros_like(columns[..., 4:]))  # exactly 0
    assert (columns[..., :4] > 0).all()
    found = FisherInformation(probes=probes).measure(world.attacking(model), world.ctx)
    made = {one.name: one for one in found}
    assert made["unread_pixels"].value == 0.5
    assert 0 < made["crb_pixel"].value < float("inf")


def test_a_network_that_reads_nothing_has_no_finite_bound(world):
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 10))
    nn.init.zeros_(body[1].weight)
    model = freeze(world.classifier(body, "2"))
    found = {one.name: one.value for one in FisherInformation().measure(world.attacking(model), world.ctx)}
    assert found == {"fil": 0.0, "unread_pixels": 1.0}
    nn.init.zeros_(body[1].bias)
    with pytest.raises(MibenchError, match="root mean square of 0"):
        FisherInformation().measure(world.attacking(model), world.ctx)
