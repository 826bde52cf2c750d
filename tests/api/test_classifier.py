"""The classifier adapter: one pass yields logits, features and stages that fit together."""

import pytest
import torch
from torch import nn

from mibench.api import Classifier, Model, UsageError, freeze, load_backbone
from mibench.testing.tiny_world import TinyWorld

X = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_head_maps_features_to_logits():
    model = TinyWorld().classifier().eval()
    outputs = model.outputs(X, stages=True)
    assert torch.equal(model.head(outputs.features), outputs.logits)
    assert torch.equal(model(X), outputs.logits)
    assert torch.equal(model.features(X), outputs.features)
    assert outputs.features.shape == (5, model.feature_dim)
    assert outputs.logits.shape == (5, model.num_classes) == (5, 4)
    assert list(outputs.stages) == model.stage_names == list(model.stages(X))
    assert torch.equal(model.body.pool(outputs.stages["block2"]), outputs.features)


def test_a_model_comes_untrained_unless_it_says_how_it_does_not():
    class Untrained(Model):
        def build(self, **shape):
            return TinyWorld().classifier()

    with pytest.raises(UsageError, match="Untrained comes untrained; give the evaluator's recipe epochs"):
        Untrained().build_trained(identities=[0, 1], channels=3, size=16)


def test_hooks_are_gone_after_a_pass_and_after_an_error():
    model = TinyWorld().classifier().eval()
    model.outputs(X, stages=True)
    with pytest.raises(ValueError, match="channels"):
        model.outputs(X[:, :2], stages=True)
    model.body.block2.forward = lambda x: 1 / 0
    with pytest.raises(ZeroDivisionError):
        model.outputs(X, stages=True)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def _linear(channels=3, size=None, mean=0.5, std=0.25):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(channels * (size or 16) ** 2, 2))
    return Classifier(
        body, head="1", stage_names=[], mean=[mean] * channels, std=[std] * channels, input_size=size, channels=channels
    )


def test_it_owns_normalisation():
    model = _linear()
    by_hand = ((X - 0.5) / 0.25).flatten(1) @ model.head.weight.T + model.head.bias
    assert torch.allclose(model(X), by_hand, atol=1e-5)


def test_it_owns_resizing_and_grey_images():
    model = _linear(size=8)
    grey = X[:, :1]
    assert torch.allclose(model(grey), model(grey.expand(-1, 3, -1, -1)))
    assert model(torch.rand(1, 3, 33, 33)).shape == (1, 2)


def test_the_head_can_be_replaced():
    model = TinyWorld().classifier().eval()
    model.replace_head(nn.Sequential(nn.Linear(model.feature_dim, 6), nn.ReLU(), nn.Linear(6, 9)))
    outputs = model.outputs(X)
    assert (model.num_classes, outputs.logits.shape[1]) == (9, 9)
    assert torch.equal(model.head(outputs.features), outputs.logits)


def test_auxiliary_logits_are_passed_on():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3 * 16 * 16, 2)

        def forward(self, x):
            logits = self.fc(x.flatten(1))
            return type("Out", (), {"logits": logits, "aux_logits": 2 * logits})

    model = Classifier(Two(), head="fc", stage_names=[], mean=[0] * 3, std=[1] * 3, aux_weight=0.3)
    outputs = model.outputs(X)
    ((aux, weight),) = outputs.aux
    assert weight == 0.3
    assert torch.equal(aux, 2 * outputs.logits)


def test_freezing_stops_training_and_gradients():
    model = freeze(TinyWorld().classifier())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_a_backbone_moves_into_a_network_with_other_classes():
    public, private = TinyWorld(classes=7).trained().state_dict(), TinyWorld(classes=4).classifier()
    head = private.head.weight.detach().clone()
    load_backbone(private, {**public, "extras of a defense": torch.ones(3)})
    for name, value in private.state_dict().items():
        assert torch.equal(value, public[name]) or name.startswith("body.fc")
    assert torch.equal(private.head.weight, head)
    assert private(X).shape == (5, 4)


def test_the_head_stays_its_own_even_where_it_would_fit():
    public, private = TinyWorld().trained().state_dict(), TinyWorld().classifier(seed=3)
    head = private.head.weight.detach().clone()
    load_backbone(private, public)
    assert torch.equal(private.head.weight, head)
    assert not torch.equal(public["body.fc.weight"], head)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_backbone_that_does_not_fit_is_refused_and_changes_nothing(change):
    public, private = dict(TinyWorld().trained().state_dict()), TinyWorld().classifier(seed=3)
    before = {name: value.clone() for name, value in private.state_dict().items()}
    if change == "missing":
        del public["body.block2.0.weight"]
    else:
        public["body.block2.0.weight"] = public["body.block2.0.weight"][:, :1]
    with pytest.raises(UsageError, match=r"1 tensors differ, first 'body.block2.0.weight'"):
        load_backbone(private, public)
    assert all(torch.equal(value, before[name]) for name, value in private.state_dict().items())


class _WithAux(nn.Module):
    """The tensors of Inception-v3 that matter: an auxiliary head with a convolution and a linear layer."""

    def __init__(self, classes, aux):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        if aux:
            self.AuxLogits = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 1), "fc": nn.Linear(4, classes)})
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(self.stem(x).mean((2, 3)))


def _with_aux(classes, aux=True):
    return Classifier(_WithAux(classes, aux), head="fc", stage_names=[], mean=[0] * 3, std=[1] * 3)


def test_an_auxiliary_head_takes_what_fits_of_it():
    public, private = _with_aux(7), _with_aux(4)
    linear = private.body.AuxLogits["fc"].weight.detach().clone()
    load_backbone(private, public.state_dict())
    assert torch.equal(private.body.AuxLogits["conv"].weight, public.body.AuxLogits["conv"].weight)
    assert torch.equal(private.body.AuxLogits["fc"].weight, linear)
    assert torch.equal(private.body.stem.weight, public.body.stem.weight)


@pytest.mark.parametrize(("public", "private"), [(True, False), (False, True)])
def test_an_auxiliary_head_may_be_on_one_side_only(public, private):
    source, network = _with_aux(7, public), _with_aux(4, private)
    load_backbone(network, source.state_dict())
    assert torch.equal(network.body.stem.weight, source.body.stem.weight)
