"""Every opcode by which a pickle could reach code, one by one: the reader refuses it, and nothing runs."""

import codecs
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mibench_models.priors.stylegan2_file import official_pickle
from mibench_models.priors.stylegan2_file.official_pickle import NetworkRecord, read_pickle

from mibench.api import DataError

HEAD = b"\x80\x04"  # PROTO 4
MARK, STOP, NONE, EMPTY, TUPLE, TUPLE1, REDUCE, BUILD = b"(", b".", b"N", b")", b"t", b"\x85", b"R", b"b"


def text(value):
    """SHORT_BINUNICODE."""
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def named(module, name):
    """STACK_GLOBAL."""
    return text(module) + text(name) + b"\x93"


SYSTEM = ("os", "system")
COMMAND = text("touch WITNESS")
KNOWN = ("collections", "OrderedDict")

REACHING = {
    "GLOBAL": HEAD + b"cos\nsystem\n" + COMMAND + TUPLE1 + REDUCE + STOP,
    "STACK_GLOBAL": HEAD + named(*SYSTEM) + COMMAND + TUPLE1 + REDUCE + STOP,
    "INST": HEAD + MARK + COMMAND + b"ios\nsystem\n" + STOP,
    "OBJ": HEAD + MARK + b"cos\nsystem\n" + COMMAND + b"o" + STOP,
    "NEWOBJ": HEAD + named("subprocess", "Popen") + COMMAND + TUPLE1 + b"\x81" + STOP,
    "NEWOBJ_EX": HEAD + named("subprocess", "Popen") + EMPTY + b"}" + b"\x92" + STOP,
    "a dotted name": HEAD + named("torch_utils.persistence", "_reconstruct_persistent_obj.function.__globals__") + STOP,
    "a dotted module": HEAD + named("torch.os", "system") + STOP,
    "the stand-in's module": HEAD + named(official_pickle.__name__, "_KNOWN") + STOP,
    "an import": HEAD + named("builtins", "__import__") + text("os") + TUPLE1 + REDUCE + STOP,
    "an attribute": HEAD + named("operator", "attrgetter") + text("system") + TUPLE1 + REDUCE + STOP,
    "the unpickler": HEAD + named("pickle", "loads") + b"C\x01." + TUPLE1 + REDUCE + STOP,
    "copyreg": HEAD + named("copyreg", "_reconstructor") + STOP,
    "torch's own": HEAD + named("torch._utils", "_rebuild_wrapper_subclass") + STOP,
    "another of numpy": HEAD + named("numpy", "load") + STOP,
    "numpy's arrays": HEAD + named("numpy.core.multiarray", "_reconstruct") + STOP,
    "another of codecs": HEAD + named("_codecs", "decode") + STOP,
}


@pytest.mark.parametrize("way", REACHING)
def test_a_global_is_refused_however_it_is_named(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bad.pkl"
    file.write_bytes(REACHING[way])
    with pytest.raises(DataError, match="refused, because it names the global"):
        read_pickle(file)
    assert not (tmp_path / "WITNESS").exists()


@pytest.mark.parametrize(
    ("opcode", "content"),
    [
        ("EXT1", HEAD + b"\x82\x01" + STOP),
        ("EXT2", HEAD + b"\x83\x01\x00" + STOP),
        ("EXT4", HEAD + b"\x84\x01\x00\x00\x00" + STOP),
        ("NEXT_BUFFER", b"\x80\x05\x97" + STOP),
        ("READONLY_BUFFER", b"\x80\x05" + NONE + b"\x98" + STOP),
        ("an opcode of the future", HEAD + b"\xff" + STOP),
        ("PROTO of the future", b"\x80\x09" + NONE + STOP),
        ("no STOP", HEAD + NONE),
        ("an empty stack", HEAD + REDUCE + STOP),
        ("a memo that was never written", HEAD + b"h\x05" + STOP),
        ("a frame longer than the file", HEAD + b"\x95" + struct.pack("<Q", 100) + NONE + STOP),
        ("a text longer than the file", HEAD + b"X" + struct.pack("<I", 1000) + b"a" + STOP),
    ],
)
def test_other_ways_out_of_a_file_are_refused(opcode, content, tmp_path):
    file = tmp_path / "bad.pkl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        read_pickle(file)


@pytest.mark.parametrize(
    "content", [HEAD + b"Pid\n" + STOP, HEAD + text("id") + b"Q" + STOP], ids=["PERSID", "BINPERSID"]
)
def test_persistent_references_are_refused(content, tmp_path):
    file = tmp_path / "bad.pkl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="refers to objects outside of the file"):
        read_pickle(file)


@pytest.mark.parametrize("name", sorted(official_pickle._KNOWN), ids=".".join)
def test_stand_ins_refuse_to_be_changed(name, tmp_path):
    """BUILD sets attributes of what a file names; those of a stand-in would reach every file that is read after."""
    file, before = tmp_path / "bad.pkl", dict(official_pickle._KNOWN)
    file.write_bytes(HEAD + named(*name) + b"}" + text("function") + NONE + b"s" + BUILD + STOP)
    with pytest.raises(DataError):
        read_pickle(file)
    assert before == official_pickle._KNOWN
    assert not hasattr(dict, "function")
    assert not hasattr(set, "function")


@pytest.mark.parametrize("name", sorted(official_pickle._KNOWN), ids=".".join)
def test_stand_ins_called_with_nothing_or_nonsense_refuse_or_return_data(name, tmp_path):
    for arguments in (EMPTY, NONE + TUPLE1, text("x") + NONE + b"\x86"):
        file = tmp_path / "odd.pkl"
        file.write_bytes(HEAD + b"}" + text("a") + named(*name) + arguments + REDUCE + b"s" + STOP)
        try:
            found = read_pickle(file)["a"]
        except DataError:
            continue
        assert found is None or type(found) in (dict, set, bytes, str, official_pickle._DataType)


def test_only_harmless_names_are_known():
    """A name that is added here is added to what foreign files may call: look at it twice."""
    assert set(official_pickle._KNOWN) == {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"),
        ("dnnlib.util", "EasyDict"),
        KNOWN,
        ("builtins", "set"),
        ("__builtin__", "set"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
    }


# -- what is read ------------------------------------------------------------------------------------------------------


def read(tmp_path, value, protocol=4):
    file = tmp_path / "good.pkl"
    file.write_bytes(pickle.dumps({"value": value}, protocol=protocol))
    return read_pickle(file)["value"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [1, -(2**70), 1.5, True, None, "text", b"bytes", [1, [2]], (1, 2, 3), {"a": {"b": 1}}, {1, 2}, OrderedDict(a=1)],
    ids=repr,
)
def test_plain_values_come_back(value, protocol, tmp_path):
    assert read(tmp_path, value, protocol) == value


@pytest.mark.parametrize(
    "number", [np.float64(0.1), np.float32(2.5), np.int64(-7), np.uint8(200), np.bool_(True)], ids=repr
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_of_numpy_become_numbers_of_python(number, protocol, tmp_path):
    found = read(tmp_path, number, protocol)
    assert found == number.item()
    assert type(found) is type(number.item())


def test_numbers_of_other_types_are_refused(tmp_path):
    for number in (np.complex128(1j), np.datetime64("2020-01-01"), np.str_("x")):
        with pytest.raises(DataError):
            read(tmp_path, number)
    with pytest.raises(DataError, match="byte order '>'"):
        read(tmp_path, np.dtype(">f8"))


def test_bytes_of_old_protocols_are_latin_1_only(tmp_path):
    assert read(tmp_path, bytes(range(256)), 2) == bytes(range(256))
    file = tmp_path / "bad.pkl"
    file.write_bytes(HEAD + named("_codecs", "encode") + text("abc") + text("rot13") + b"\x86" + REDUCE + STOP)
    with pytest.raises(DataError, match="in the encoding 'rot13'"):
        read_pickle(file)
    assert codecs.lookup("rot13")  # it exists, and was not asked


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).view(3, 4),
        torch.arange(12.0).view(3, 4).T,
        torch.arange(12)[2::3],
        torch.zeros(0, 3),
        torch.tensor(1.5),
        torch.ones(2, 2, dtype=torch.float16),
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}{tensor.stride()}",
)
def test_tensors_come_back_with_shape_type_and_numbers(tensor, tmp_path):
    found = read(tmp_path, Stored(tensor)).tensor
    assert found.dtype == tensor.dtype
    assert found.shape == tensor.shape
    assert torch.equal(found, tensor)


class Stored:
    """A tensor as those pickles hold it."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        storage = torch.storage.TypedStorage(
            wrap_storage=self.tensor.untyped_storage(), dtype=self.tensor.dtype, _internal=True
        )
        arguments = (storage, self.tensor.storage_offset(), tuple(self.tensor.shape), self.tensor.stride(), False)
        return torch._utils._rebuild_tensor_v2, (*arguments, OrderedDict())


# -- records ----------------------------------------------------------------------------------------------------------


def record(name, tensors=(), **children):
    return NetworkRecord(name, {}, {key: torch.tensor(float(value)) for key, value in tensors}, children)


def test_records_list_their_tensors_by_dotted_name():
    tree = record("top", [("a", 1)], left=record("l", [("b", 2)], deep=record("d", [("c", 3)])), right=record("r"))
    assert {name: value.item() for name, value in tree.state_dict().items()} == {"a": 1, "left.b": 2, "left.deep.c": 3}
    assert [(path, node.class_name) for path, node in tree.walk()] == [
        ("", "top"),
        ("left", "l"),
        ("left.deep", "d"),
        ("right", "r"),
    ]
    assert tree.init_kwargs == {}


@pytest.mark.parametrize(("levels", "fits"), [(21, True), (22, True), (23, False)])
def test_records_are_walked_to_a_depth(levels, fits):
    tree = record("leaf")
    for _ in range(levels - 1):
        tree = record("node", x=tree)
    if fits:
        assert len(list(tree.walk())) == levels
        return
    with pytest.raises(DataError, match="nested deeper than 20 levels"):
        list(tree.walk())


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (None, "unknown layout"),
        ({"type": "function", "state": {}}, "unknown layout"),
        ({"type": "class"}, "unknown layout"),
        ({"type": "class", "state": [1]}, "unknown layout"),
        ({"type": "class", "class_name": "G", "state": {"_parameters": {"w": 3}}}, "parameter of 'G' is not a tensor"),
        ({"type": "class", "class_name": "G", "state": {"_modules": {"m": 3}}}, "layer of 'G' is not a stored network"),
    ],
)
def test_networks_of_an_unknown_layout_are_refused(meta, reason):
    with pytest.raises(DataError, match=reason):
        official_pickle._record(meta)


def test_a_network_without_parts_is_a_record_of_its_attributes():
    state = {"_parameters": None, "_buffers": {"none": None}, "_modules": {"none": None}, "rate": 3}
    made = official_pickle._record({"type": "class", "class_name": "Empty", "state": state})
    assert made == NetworkRecord("Empty", {"rate": 3}, {}, {})
    assert "_modules" in state  # the file's own dictionary is left alone


def test_a_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch):
    file = tmp_path / "large.pkl"
    file.write_bytes(pickle.dumps({}))
    monkeypatch.setattr(official_pickle, "LARGEST_FILE", 2)
    with pytest.raises(DataError, match="more than any network pickle"):
        read_pickle(file)
