"""From a network pickle to a prior: the importer, the component that reads what it wrote, and faster arithmetic."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mibench_models.priors.stylegan2 import compute, deploy
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2.discriminator import minibatch_spread
from mibench_models.priors.stylegan2_file.component import StyleGan2File
from mibench_models.priors.stylegan2_file.importer import StyleGanImporter
from mibench_models.priors.stylegan2_file.reading import recolour
from PIL import Image
from safetensors.torch import load_file, save_file

from mibench.api import DataError, UsageError, generator, params
from mibench.api.files import sha256_of_file
from mibench.testing import ImporterContract, PriorContract, TinyWorld


@pytest.fixture()
def imported(tmp_path, write_official, official_networks):
    """Import a tiny file, and return the folder and the networks that it came from."""
    nets = official_networks()
    made = StyleGanImporter().run(write_official(*nets), tmp_path / "made" / "tiny")
    return made, *nets


def _read(folder: Path, channels: int = 3, **settings):
    component = StyleGan2File(folder=str(folder), **settings)
    world = TinyWorld(channels=channels)
    built = component.build(channels=channels, size=16)
    trainer = component.trainer(built, world.images("public"), seed=0, device=torch.device("cpu"))
    assert trainer.total_steps == 1
    assert trainer.step(0)["parameters"] > 1000
    return trainer.finish()


def test_an_import_writes_weights_design_and_card(imported, tmp_path):
    made, net, judge = imported
    weights = made.folder / "weights.safetensors"
    assert made.found.startswith(
        "StyleGAN2, 16 px, 3 channels, channel_base 128, channel_max 16, 2 mapping layers, clamp 256"
    )
    state = load_file(weights)
    assert {name.removeprefix("generator.") for name in state if name.startswith("generator")} == set(net.state_dict())
    assert torch.equal(state["generator.synthesis.b8.conv0.weight"], net.synthesis.b8.conv0.weight)
    assert torch.equal(state["critic.net.b4.out.weight"], judge.b4.out.weight)
    design = json.loads((made.folder / "config.json").read_text())
    assert design["generator"] == {**design["discriminator"], "z_dim": 8, "w_dim": 12, "mapping_layers": 2}
    assert design["source"] == {"file": "tiny.pkl", "sha256": sha256_of_file(tmp_path / "tiny.pkl")}
    card = (made.folder / "README.md").read_text()
    assert sha256_of_file(weights) in card and design["source"]["sha256"] in card
    assert "keep NVIDIA's licence" in card and f"generator {sum(p.numel() for p in net.parameters()):,}" in card
    run, protocol, _ = made.use
    assert f"--set stylegan2-file.folder={made.folder}" in run
    assert sha256_of_file(weights) in protocol and str(made.folder) in protocol


def test_an_import_repeats_byte_by_byte(imported, tmp_path):
    made, net, judge = imported
    again = StyleGanImporter().run(tmp_path / "tiny.pkl", tmp_path / "again")
    assert sha256_of_file(again.folder / "weights.safetensors") == sha256_of_file(made.folder / "weights.safetensors")
    rng = generator("import", "spread")
    images = [net(torch.randn(4, 8, generator=rng)).clamp(-1, 1) for _ in range(4)]
    spread = sum(minibatch_spread(judge.features(x), 4)[0].item() for x in images) / 4
    stored = load_file(made.folder / "weights.safetensors")["critic.spread"].item()
    assert stored == pytest.approx(spread, rel=5e-3) and stored == pytest.approx(float(f"{stored:.3g}"), rel=1e-6)


def test_other_weights_are_not_put_where_some_are(imported, official_networks, write_official):
    made, net, judge = imported
    kept = sha256_of_file(made.folder / "weights.safetensors")
    with torch.no_grad():
        net.mapping.w_avg.add_(1)
    with pytest.raises(DataError, match=r"another tiny.pkl .* choose another folder with --output"):
        StyleGanImporter().run(write_official(net, judge), made.folder)
    assert sha256_of_file(made.folder / "weights.safetensors") == kept


def test_the_prior_renders_what_the_file_renders(imported):
    made, net, judge = imported
    prior = _read(made.folder, sha256=sha256_of_file(made.folder / "weights.safetensors"), crop=0.75)
    z = prior.sample(3, generator(1))
    ws = prior.to_latent(z, truncation=0.5, cutoff=3)
    mean = net.mapping.w_avg
    torch.testing.assert_close(ws[:, :3], (mean + 0.5 * (net.mapping(z) - mean))[:, None].expand(-1, 3, -1))
    torch.testing.assert_close(ws[:, 3:], net.mapping(z)[:, None].expand(-1, 3, -1))
    x = net.synthesis(ws)
    torch.testing.assert_close(prior.render(ws), (x + 1) / 2)
    torch.testing.assert_close(
        prior.discriminator(prior.render(ws)), judge(x, prior.critic.spread), atol=1e-5, rtol=1e-5
    )
    assert prior.crop_and_resize(prior.render(ws), 8).shape == (3, 3, 8, 8)
    torch.testing.assert_close(prior.crop_and_resize(prior.render(ws), 12), (x[..., 2:14, 2:14] + 1) / 2)


def test_grey_protocols_get_grey_images(imported):
    made, net, _ = imported
    prior = _read(made.folder, channels=1)
    ws = prior.to_latent(prior.sample(2, generator(1)))
    rgb, grey = (net.synthesis(ws) + 1) / 2, prior.render(ws)
    assert grey.shape == (2, 1, 16, 16)
    torch.testing.assert_close(grey[:, 0], 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2])
    assert prior.step_block(0, ws, None).image.shape[1] == 3
    carry = prior.step_block(1, ws, prior.step_block(0, ws, None))
    torch.testing.assert_close(prior.render(ws, start=2, carry=carry), grey)
    torch.testing.assert_close(prior.discriminator(grey), prior.critic(grey.expand(-1, 3, -1, -1)))
    assert set(prior.state_dict()) == set(_read(made.folder).state_dict())
    pixels = torch.randint(0, 256, (3, 5, 5), generator=generator(2), dtype=torch.uint8)
    pillow = Image.fromarray(pixels.permute(1, 2, 0).numpy()).convert("L")
    ours = recolour(pixels[None].float(), 1)[0, 0]
    assert (ours - torch.frombuffer(bytearray(pillow.tobytes()), dtype=torch.uint8).view(5, 5)).abs().max() <= 1


def test_grey_files_and_files_without_discriminator(write_official, official_networks, tmp_path):
    net, judge = official_networks(img_channels=1)
    made = StyleGanImporter().run(write_official(net, judge), tmp_path / "grey")
    prior = _read(made.folder, channels=3)
    ws = prior.to_latent(prior.sample(2, generator(1)))
    image = prior.render(ws)
    assert image.shape == (2, 3, 16, 16) and torch.equal(image[:, 0], image[:, 2])
    torch.testing.assert_close(prior.discriminator(image), prior.critic(image[:, :1]))
    alone = StyleGanImporter().run(write_official(net, None), tmp_path / "alone")
    assert "without discriminator" in alone.found
    assert _read(alone.folder, channels=1).discriminator is None


def test_what_is_missing_or_changed_is_explained(imported, tmp_path, official_networks, write_official):
    made = imported[0]
    assert StyleGan2File(folder=str(made.folder)).missing() == []
    assert "needs its parameter folder" in StyleGan2File().missing()[0]
    (line,) = StyleGan2File(folder="~/nowhere").missing()
    assert line.endswith("mibench data import-stylegan FILE.pkl --output ~/nowhere") and "/nowhere/weights.safe" in line
    with pytest.raises(DataError, match="does not exist"):
        StyleGan2File(folder=str(tmp_path / "no")).build(channels=3, size=16)
    with pytest.raises(DataError, match="expected 00"):
        _read(made.folder, sha256="0" * 64)
    state = load_file(made.folder / "weights.safetensors")
    save_file(state, made.folder / "weights.safetensors")
    with pytest.raises(DataError, match="is not what import-stylegan writes"):
        _read(made.folder)
    (made.folder / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(DataError, match="is not what import-stylegan writes"):
        _read(made.folder)
    with pytest.raises(DataError, match=r"tiny\.pkl: this file cannot be imported: G_ema is conditional"):
        net, judge = official_networks()
        edit = lambda path, state: state.update(c_dim=3) if not path else None  # noqa: E731
        StyleGanImporter().run(write_official(net, judge, edit_g=edit), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


class TestStyleGanImporter(ImporterContract):
    component = StyleGanImporter

    @pytest.fixture(autouse=True)
    def _written(self, write_official, official_networks):
        self.source = write_official(*official_networks())

    def example(self, folder):
        return self.source.rename(folder / self.source.name)


class FileContract(PriorContract):
    component = StyleGan2File

    @pytest.fixture(autouse=True)
    def folder(self, imported, monkeypatch):
        monkeypatch.setattr(type(self), "settings", {"folder": str(imported[0].folder)})


class TestStyleGan2File(FileContract):
    pass


class TestStyleGan2FileInGrey(FileContract):
    world: ClassVar[TinyWorld] = TinyWorld(channels=1)


@pytest.fixture()
def prior(imported):
    return _read(imported[0].folder)


def test_parameters_that_are_young_leave_old_keys_alone():
    assert {"compute", "compile"} & set(params.canonical(StyleGan2Prior())) == set()
    assert params.canonical(StyleGan2Prior(inference=deploy.Inference(compute="bf16")))["compute"] == "bf16"


@pytest.mark.parametrize("kind", ["tf32", "bf16"])
def test_deployed_priors_render_nearly_the_same(kind, prior, imported):
    plain = copy.deepcopy(prior)
    fast = StyleGan2File(folder="x", inference=deploy.Inference(compute=kind)).deploy(prior)
    ws = plain.to_latent(plain.sample(3, generator(4)), truncation=0.7)
    assert torch.equal(ws, fast.to_latent(plain.sample(3, generator(4)), truncation=0.7))  # mapping is float32
    gradients, images = [], []
    for one in (plain, fast):
        w = ws.clone().requires_grad_()
        images.append(one.render(w))
        assert images[-1].dtype == torch.float32
        gradients.append(torch.autograd.grad(images[-1].square().sum(), w)[0])
    difference = deploy.image_difference(images[1], images[0])
    assert difference < deploy.TOLERANCE
    assert kind == "tf32" or difference > 0  # it did something
    assert torch.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.999
    features = fast.step_block(1, ws, fast.step_block(0, ws, None))
    assert features.features.dtype == features.image.dtype == torch.float32
    torch.testing.assert_close(fast.render(ws, start=2, carry=features), images[1])
    assert copy.deepcopy(fast).generator.synthesis.b8.conv0.compute == kind
    assert _read(imported[0].folder).generator.synthesis.b8.conv0.compute == "fp32"


def test_a_deployment_that_changes_images_is_refused(prior, monkeypatch):
    monkeypatch.setattr(deploy, "TOLERANCE", 1e-6)
    with pytest.raises(UsageError, match=r"differ from float32 by 0\.0\d+ of their standard .*tolerance is 1e-06"):
        StyleGan2File(folder="x", inference=deploy.Inference(compute="bf16")).deploy(prior)
    broken = copy.deepcopy(prior)
    monkeypatch.setattr(deploy, "image_difference", lambda found, expected: math.nan)
    with pytest.raises(UsageError, match="by nan"):
        StyleGan2File(folder="x", inference=deploy.Inference(compute="tf32")).deploy(broken)


def test_defaults_deploy_nothing(prior):
    before = prior.render(prior.to_latent(prior.sample(2, generator(0))))
    assert StyleGan2File(folder="x").deploy(prior) is prior
    assert torch.equal(prior.render(prior.to_latent(prior.sample(2, generator(0)))), before)
    with pytest.raises(TypeError, match="expected a StyleGan2"):
        StyleGan2Prior().deploy(torch.nn.Linear(1, 1))


def test_compiled_blocks_are_checked_and_copies_are_plain(prior, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda call, *a, **k: call)  # what the compiler does is not ours to test
    assert StyleGan2File(folder="x", inference=deploy.Inference(compile=True)).deploy(prior) is prior
    assert prior.generator.synthesis.b8._compiled_call_impl is not None
    assert prior.clone().generator.synthesis.b8._compiled_call_impl is None

    def fail(*arguments, **keywords):
        raise RuntimeError("no compiler\nfound")

    monkeypatch.setattr(torch, "compile", lambda call, *a, **k: fail)
    with pytest.raises(UsageError, match=r"compile=true: it does not work here \(no compiler\)"):
        StyleGan2File(folder="x", inference=deploy.Inference(compile=True)).deploy(prior)


def test_tf32_is_on_only_inside_of_a_convolution(monkeypatch):
    seen = []
    real, real_back = torch.convolution, torch.ops.aten.convolution_backward

    def note(function):
        def call(*arguments):
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            return function(*arguments)

        return call

    monkeypatch.setattr(torch, "convolution", note(real))
    monkeypatch.setattr(torch.ops.aten, "convolution_backward", note(real_back))
    x = torch.randn(2, 3, 6, 6, generator=generator(0), requires_grad=True)
    w = torch.randn(4, 3, 3, 3, generator=generator(1), requires_grad=True)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        y = compute.convolve(x, w, "tf32", stride=1, padding=1, transposed=False)
        found = torch.autograd.grad(y.square().sum(), [x, w])
        assert seen == [(True, True)] * 2 and not torch.backends.cudnn.allow_tf32
        with pytest.raises(RuntimeError):
            compute.convolve(x, w[:, :2], "tf32", stride=1, padding=1, transposed=False)
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    expected = torch.autograd.grad(torch.nn.functional.conv2d(x, w, padding=1).square().sum(), [x, w])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    y = compute.convolve(x, w.transpose(0, 1)[:3], "tf32", stride=2, padding=0, transposed=True)
    torch.testing.assert_close(y, torch.nn.functional.conv_transpose2d(x, w.transpose(0, 1)[:3], stride=2))
    assert compute.convolve(x, w.detach(), "tf32", stride=1, padding=1, transposed=False).requires_grad


def test_double_precision_still_works(prior):
    net = copy.deepcopy(prior.generator).double()
    ws = torch.randn(1, 6, 12, generator=generator(0), dtype=torch.float64)
    assert net.synthesis(ws).dtype == torch.float64
