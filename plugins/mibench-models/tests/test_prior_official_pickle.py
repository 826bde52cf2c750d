"""Network pickles are read as data: same numbers, and nothing that a file names is run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from mibench_models.priors.stylegan2_file import official_pickle
from mibench_models.priors.stylegan2_file.official_networks import convert_discriminator, convert_generator
from mibench_models.priors.stylegan2_file.official_pickle import read_pickle

from mibench.api import DataError, generator


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_networks_come_back_with_every_number(protocol, write_official, official_networks):
    net, judge = official_networks()
    found = read_pickle(write_official(net, judge, protocol=protocol))
    assert found["training_set_kwargs"]["xflip"] is True
    assert found["augment_pipe"].class_name == "AugmentPipe"
    record = found["G_ema"]
    assert "synthesis.b16.conv0.resample_filter" in record.state_dict()
    assert record.init_kwargs == {"synthesis_kwargs": {"num_fp16_res": 4}}
    assert record.children["mapping"].children["fc0"].attributes["weight_gain"] == pytest.approx(0.01 / 8**0.5)
    made, design = convert_generator(record)
    critic, shape, group = convert_discriminator(found["D"])
    assert _same(made, net) and _same(critic, judge)
    assert not _same(convert_generator(found["G"])[0], net)
    shape_too = {name: value for name, value in design.items() if name not in {"z_dim", "w_dim", "mapping_layers"}}
    assert (
        shape
        == shape_too
        == {**shape, "img_resolution": 16, "channel_base": 128, "channel_max": 16, "conv_clamp": 256.0}
    )
    assert (design["z_dim"], design["w_dim"], design["mapping_layers"], group) == (8, 12, 2, 4)
    z = torch.randn(2, 8, generator=generator(0))
    assert torch.equal(made(z), net(z))


class _Attack:
    def __init__(self, function, *arguments, state=None):
        self.recipe = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.recipe


def _refused(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_pickle(path)


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (_Attack(os.system, "touch {}"), rf"{os.system.__module__}\.system"),
        (_Attack(eval, "open('{}', 'w')"), r"(builtins|__builtin__)\.eval"),
        (_Attack(exec, "open('{}', 'w')"), r"(builtins|__builtin__)\.exec"),
        (_Attack(getattr, builtins, "open"), r"(builtins|__builtin__)\.getattr"),
        (_Attack(open, "{}", "w"), r"_?io\.open"),
        (_Attack(Counter, "abc"), r"collections\.Counter"),
        (_Attack(torch.load, "{}"), r"torch\.serialization\.load"),
        (_Attack(torch.nn.Linear, 2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_globals_are_refused_by_name_and_not_called(attack, named, protocol, tmp_path):
    witness = tmp_path / "witness"
    if isinstance(attack, _Attack):
        filled = [a.format(witness) if isinstance(a, str) else a for a in attack.recipe[1]]
        if filled[:1] == [builtins]:
            filled = ["builtins", "open"]
        attack = _Attack(attack.recipe[0], *filled)
    _refused(tmp_path / "bad.pkl", pickle.dumps({"G_ema": attack}, protocol=protocol), f"names the global {named}")
    assert not witness.exists()


def test_code_inside_the_numbers_of_a_tensor_is_refused(tmp_path):
    witness = tmp_path / "witness"
    inner = io.BytesIO()
    torch.save(_Attack(os.system, f"touch {witness}"), inner, _use_new_zipfile_serialization=False)
    attack = _Attack(torch.storage._load_from_bytes, inner.getvalue())
    _refused(tmp_path / "bad.pkl", pickle.dumps(attack), "numbers of a tensor cannot be read")
    plain = io.BytesIO()
    torch.save({"a": 1}, plain)
    attack = _Attack(torch.storage._load_from_bytes, plain.getvalue())
    _refused(tmp_path / "bad.pkl", pickle.dumps(attack), "expected the numbers of a tensor, got a dict")
    assert not witness.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8c\x0ctorch._utils\x8c\x12_rebuild_parameter\x93N}\x8c\x08functionNs\x86b.",  # of a stand-in
        b"\x80\x04\x8c\x0ctorch._utils\x8c\x12_rebuild_parameter\x93}\x8c\x08functionNsb.",
    ],
)
def test_stand_ins_cannot_be_changed(content, tmp_path):
    before = official_pickle._KNOWN["torch._utils", "_rebuild_parameter"].function
    _refused(tmp_path / "bad.pkl", content, "changes what it may only hold")
    assert official_pickle._KNOWN["torch._utils", "_rebuild_parameter"].function is before


def test_tensors_must_fit_into_their_numbers(tmp_path):
    def recipe(offset, size, stride):
        storage = _Attack(torch.storage._load_from_bytes, _numbers(torch.arange(6.0)))
        return pickle.dumps({"t": _Attack(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, None)})

    path = tmp_path / "t.pkl"
    path.write_bytes(recipe(1, (2, 2), (2, 1)))
    assert read_pickle(path)["t"].tensor.tolist() == [[1, 2], [3, 4]]
    _refused(path, recipe(0, (7,), (1,)), "does not fit into its 6 numbers")
    _refused(path, recipe(4, (3,), (1,)), "does not fit")
    _refused(path, recipe(0, (1_000_000_000, 1_000_000), (0, 0)), "does not fit")
    _refused(path, recipe(-1, (2,), (1,)), "impossible shape")
    _refused(path, recipe(0, (2,), (1, 1)), "impossible shape")


def _numbers(tensor: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    storage = torch.storage.TypedStorage(wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True)
    torch.save(storage, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def test_damaged_and_foreign_files_say_what_was_expected(tmp_path, write_official, official_networks):
    whole = write_official(*official_networks()).read_bytes()
    path = tmp_path / "other.pkl"
    with pytest.raises(DataError, match=r"does not exist\. Give the path of a network pickle"):
        read_pickle(path)
    for content in (whole[: len(whole) // 2], b"", b"\x89PNG\r\n\x1a\n", whole[:1000] + b"\0" * 50):
        _refused(path, content, "Expected a network pickle of stylegan2-ada-pytorch")
    _refused(path, whole[: len(whole) // 2], "cannot be read as a pickle")
    for second in (18, 20):  # 14:56:20 is stored with a line feed, which ends what pickle would take for a reference
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a", (2026, 12, 1, 14, 56, second)), "b")
        _refused(path, path.read_bytes(), "it is a zip archive.* Expected a network pickle")
    _refused(path, pickle.dumps([1, 2]), "holds a list, not a dictionary of networks")
    _refused(
        path, b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81.", r"TensorFlow network; convert it with NVIDIA's legacy"
    )
    _refused(path, b"\x80\x02X\x01\x00\x00\x00aQ.", "outside of the file")


def _set(where: str, **changes):
    def edit(path, state):
        if path == where:
            state.update({name: value for name, value in changes.items() if not name.startswith("_")})
            for name in ("_parameters", "_buffers"):
                state[name].update(changes.get(name, {}))

    return edit


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_set("", c_dim=10), "G_ema is conditional"),
        (_set("", img_resolution=48), "power of two"),
        (_set("", img_resolution=32), "no weights for one of the sides"),
        (_set("", img_channels=4), "4 image channels"),
        (_set("", z_dim="many"), "z_dim = 'many'; expected a number"),
        (_set("synthesis.b8", architecture="resnet"), "architecture 'resnet' is not implemented"),
        (_set("synthesis.b8.conv0", activation="relu"), "activation of b8.conv0"),
        (_set("synthesis.b8.conv0", use_noise=False), "b8.conv0 without noise"),
        (_set("synthesis.b8.conv0", conv_clamp=128), "several clamps"),
        (_set("synthesis.b8.conv1", _buffers={"resample_filter": torch.ones(2, 2) / 4}), r"filter than \[1, 3, 3, 1\]"),
        (_set("synthesis.b8.conv1.affine", bias_gain=0.5), "lr_multiplier of b8.conv1.affine"),
        (_set("mapping.fc1", bias_gain=0.1), "mapping's lr_multiplier"),
        (_set("mapping.fc1", _parameters={"bias": torch.full((12,), torch.nan)}), r"mapping\.fc1\.bias .* not finite"),
        (_set("mapping.fc1", _parameters={"bias": torch.zeros(12, dtype=torch.int64)}), "not finite"),
        (_set("synthesis.b8.conv1", _parameters={"weight": torch.zeros(13, 16, 3, 3)}), "with the channels"),
        (_set("synthesis.b8.torgb", _parameters={"bias": torch.zeros(5)}), "not laid out as StyleGAN2: size mismatch"),
        (
            _set("synthesis.b8.torgb", _parameters={"extra": torch.zeros(5)}),
            "not laid out as StyleGAN2: Unexpected key",
        ),
    ],
)
def test_generators_of_another_kind_are_refused_with_the_reason(edit, reason, write_official, official_networks):
    found = read_pickle(write_official(*official_networks(), edit_g=edit))
    with pytest.raises(DataError, match=reason):
        convert_generator(found["G_ema"])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_set("", c_dim=10), "D is conditional"),
        (_set("b8", architecture="orig"), "architecture 'orig' is not implemented"),
        (_set("b16.conv1", conv_clamp=None), "several clamps"),
        (_set("b4.fc", activation="linear"), "activation of b4.fc"),
    ],
)
def test_discriminators_of_another_kind_are_refused(edit, reason, write_official, official_networks):
    found = read_pickle(write_official(*official_networks(), edit_d=edit))
    with pytest.raises(DataError, match=reason):
        convert_discriminator(found["D"])


def test_networks_without_style_blocks_are_refused(write_official, official_networks):
    found = read_pickle(write_official(*official_networks()))
    with pytest.raises(DataError, match="only StyleGAN2 can be imported"):
        convert_generator(found["D"])
    with pytest.raises(DataError, match="only StyleGAN2 can be imported"):
        convert_discriminator(found["augment_pipe"])
