import pytest
import torch
from mibench_attacks.views.transforms import Draw, RandomView, hflip
from torch.testing import assert_close
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import resized_crop

from mibench.api import UsageError, generator

STRONG = {"scale": (0.5, 0.9), "ratio": (0.8, 1.2), "flip": 0.5}


def random_images(n=4, side=17):
    return torch.rand(n, 3, side, side, generator=generator("images"))


@pytest.mark.parametrize("seed", range(5))
def test_a_shared_crop_equals_torchvision(seed):
    x = random_images()
    draw = RandomView(scale=(0.3, 0.9), ratio=(0.7, 1.4)).draw(4, 17, generator(seed))
    top, left, height, width = draw.boxes_N4[0].tolist()
    assert_close(draw.apply(x), resized_crop(x, top, left, height, width, [17, 17], antialias=True), atol=1e-6, rtol=0)


def test_crops_per_sample_equal_torchvision_one_by_one():
    x = random_images()
    draw = RandomView(**STRONG, per_sample=True).draw(4, 17, generator(0))
    assert len(draw.boxes_N4.unique(dim=0)) > 1
    for row, (box, flip) in enumerate(zip(draw.boxes_N4.tolist(), draw.flips_N.tolist(), strict=True)):
        expected = resized_crop(x[row], *box, [17, 17], antialias=True)
        assert_close(draw.apply(x)[row], hflip(expected) if flip else expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("per_sample", [False, True])
def test_micro_batches_see_the_same_views(per_sample):
    x = random_images(6)
    draw = RandomView(**STRONG, per_sample=per_sample).draw(6, 17, generator(1))
    pieces = [draw.part(rows).apply(x[rows]) for rows in (slice(0, 1), slice(1, 5), slice(5, 6))]
    assert_close(torch.cat(pieces), draw.apply(x), atol=1e-5, rtol=0)


def test_the_default_draws_once_for_the_whole_batch():
    draw = RandomView(**STRONG).draw(9, 64, generator(2))
    assert len(draw.boxes_N4.unique(dim=0)) == 1
    assert len(draw.flips_N.unique()) == 1


def test_boxes_are_distributed_like_torchvision():
    view, reference = RandomView(**STRONG, per_sample=True), RandomResizedCrop(64, (0.5, 0.9), (0.8, 1.2))
    ours = view.draw(3000, 64, generator(3)).boxes_N4.float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.tensor(
            [reference.get_params(torch.zeros(3, 64, 64), (0.5, 0.9), (0.8, 1.2)) for _ in range(3000)]
        )
    assert_close(ours.mean(0), theirs.float().mean(0), atol=0.6, rtol=0)
    assert_close(ours.std(0), theirs.float().std(0), atol=0.6, rtol=0)


def test_boxes_stay_inside_even_when_only_the_fallback_fits():
    for ratio in [(3.0, 4.0), (0.2, 0.3)]:
        top, left, height, width = (
            RandomView(scale=(1.0, 1.0), ratio=ratio).draw(1, 30, generator(0)).boxes_N4[0].tolist()
        )
        assert 0 <= top <= 30 - height
        assert 0 <= left <= 30 - width
        assert width / height == pytest.approx(min(ratio, key=lambda value: abs(value - 1)), rel=0.15)


def test_the_full_frame_is_the_identity():
    x = random_images()
    assert torch.equal(RandomView(scale=(1.0, 1.0)).draw(4, 17, generator(0)).apply(x), x)


@pytest.mark.parametrize("per_sample", [False, True])
def test_gradients_pass_through_the_crop_and_stop_outside(per_sample):
    x = random_images(2).requires_grad_(True)
    boxes = torch.tensor([[2, 3, 9, 8], [4, 3, 9, 8]]) if per_sample else torch.tensor([[2, 3, 9, 8]] * 2)
    Draw(boxes, torch.tensor([True, False])).apply(x).sum().backward()
    assert x.grad[0, :, 2:11, 3:11].abs().min() > 0
    assert x.grad[0, :, :2].abs().max() == 0
    assert x.grad[0, :, :, 11:].abs().max() == 0


def test_impossible_ranges_are_refused():
    with pytest.raises(UsageError, match="crop scale"):
        RandomView(scale=(0.9, 0.5))
    with pytest.raises(UsageError, match="crop ratio"):
        RandomView(ratio=(0.0, 1.0))
