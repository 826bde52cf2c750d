"""The shipped generator of rendered portraits."""

from __future__ import annotations

import json
from typing import ClassVar

import torch
from mibench_models.priors.stylegan2.component import StyleGan2Prior
from mibench_models.priors.stylegan2_portraits import StyleGan2Portraits
from safetensors.torch import load_file

from mibench.api import generator, params
from mibench.api.files import sha256_of_file
from mibench.testing import PriorContract, TinyWorld


class TestPortraits(PriorContract):
    component = StyleGan2Portraits


class TestPortraitsInGrey(PriorContract):
    component = StyleGan2Portraits
    world: ClassVar[TinyWorld] = TinyWorld(channels=1)


def test_it_draws_what_the_trained_networks_draw():
    file, sha256 = StyleGan2Portraits().weights()
    assert sha256_of_file(file) == sha256
    made = json.loads((file.parent / "manifest.json").read_text())["payload"]["prior"]["params"]
    trained = params.build(StyleGan2Prior, made).build(channels=3, size=64).eval()
    trained.load_state_dict(load_file(file))
    world = TinyWorld(channels=3)
    component = StyleGan2Portraits()
    trainer = component.trainer(component.build(channels=3, size=64), world.images("public"), seed=0,
                                device=torch.device("cpu"))  # fmt: skip
    trainer.step(0)
    read = trainer.finish()
    z_BZ = read.sample(4, generator("portraits"))
    with torch.no_grad():
        x_BCHW, y_BCHW = (one.render(one.to_latent(z_BZ)) for one in (read, trained))
    assert torch.equal(x_BCHW, y_BCHW)
    assert x_BCHW.shape == (4, 3, 64, 64)
    assert x_BCHW.std((0, 2, 3)).min() > 0.1  # pictures, which untrained networks do not draw
