from __future__ import annotations

import collections
import io
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ground_truth.importers.pickles import PickleReader

keys = st.one_of(st.text(max_size=6), st.integers(), st.tuples(st.text(max_size=3), st.integers(0, 999)))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(min_size=1, max_size=8),
    st.sets(st.integers(), max_size=4),
)
plain_data = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5),
        st.tuples(inner, inner),
        st.lists(inner, max_size=5).map(tuple),
    ),
    max_leaves=20,
)


def loads(data: bytes, fold: Any = lambda _: None) -> Any:
    return PickleReader(io.BytesIO(data)).load(fold)


class Run:
    """A pickle of this asks to call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@given(data=plain_data, protocol=st.sampled_from([2, 3, 4, 5]))
def test_plain_data_comes_back_as_pickle_gives_it(data: Any, protocol: int) -> None:
    back = loads(pickle.dumps([data, data], protocol))
    assert back == [data, data]
    assert type(back[0]) is type(data)


@pytest.mark.parametrize("protocol", [2, 4])
def test_long_containers_texts_and_shared_parts(protocol: int) -> None:
    shared = [1.5, "part"]
    data = {
        "long dict": {i: float(i) for i in range(3_000)},
        "long list": list(range(70_000)),
        "long text": "ä" * 300_000,
        "bytes": b"\x00\xff" * 200_000,
        "shared": [shared, shared],
        "ordered": collections.OrderedDict((str(i), i) for i in range(5)),
    }
    back = loads(pickle.dumps(data, protocol))
    assert back == data
    assert back["shared"][0] is back["shared"][1]
    assert type(back["ordered"]) is dict


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", [b"numpy._core", b"numpy.core"])
def test_numpy_numbers_of_every_release(protocol: int, name: bytes) -> None:
    values = [np.float64(1.25), np.float32(0.1), np.int64(-7), np.uint8(3), np.bool_(True), np.dtype(">f8").type(2.5)]
    data = pickle.dumps(values, protocol).replace(b"numpy._core.multiarray", name + b".multiarray")
    if protocol == 4:  # the length of the name goes before it
        data = data.replace(b"\x8c\x16" + name, b"\x8c" + bytes([len(name) + 11]) + name)
        data = data[:2] + b"\x95" + (len(data) - 11).to_bytes(8, "little") + data[11:]
    back = loads(data)
    assert back == [value.item() for value in values]
    assert [type(value) for value in back] == [float, float, int, int, bool, float]


def test_big_endian_numpy_number() -> None:
    value = np.array([2.5], ">f8")[0]
    data = pickle.dumps(value, 4).replace(np.float64(2.5).tobytes(), np.array(2.5, ">f8").tobytes())
    # numpy writes scalars in native order, so the order in the type's state is turned by hand.
    assert loads(data.replace(b"\x8c\x01<", b"\x8c\x01>")) == 2.5


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("depth", [0, 3])
def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int, depth: int) -> None:
    mark = tmp_path / "it-ran"
    for attack in (
        Run(os.system, f"touch {mark}"),
        Run(eval, f"open({str(mark)!r}, 'w')"),
        Run(exec, f"open({str(mark)!r}, 'w')"),
        Run(open, str(mark), "w"),
        Run(getattr, Path(mark), "touch"),
        Run(pickle.loads, pickle.dumps(Run(os.system, f"touch {mark}"))),
    ):
        nested: Any = attack
        for _ in range(depth):
            nested = {"train_acc1es": [nested]}
        with pytest.raises(ValueError, match=r"asks to run [a-z_]+\.[A-Za-z_]+.*was not run") as refusal:
            loads(pickle.dumps(nested, protocol))
        assert "\n" not in str(refusal.value)
        assert not mark.exists()


def test_instructions_that_only_attacks_use_are_refused(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    attacks = {
        "INST": b"(S'touch %b'\nios\nsystem\n." % str(mark).encode(),
        "OBJ": b"(cos\nsystem\nS'touch %b'\no." % str(mark).encode(),
        "calls a value": b"\x80\x02X\x06\x00\x00\x00systemK\x01\x85R.",
        "calls a stand-in's product": b"\x80\x02ccollections\nOrderedDict\n)R)R.",
        "state of a dict": b"\x80\x02}}b.",
        "fills a text": b"\x80\x02X\x01\x00\x00\x00aK\x01a.",
        "attribute of an allowed module": b"\x80\x02cnumpy\nf2py\n.",
        "dotted name": b"\x80\x04\x8c\x06numpy \x8c\x0bos.system ab\x93.",
    }
    for what, data in attacks.items():
        with pytest.raises(ValueError):
            print(what, loads(data))
        assert not mark.exists()


SAMPLE = {"a": [1, 2.5, None, True], ("b", 7): {"c": "text", "d": np.float64(3.5)}, "e": {1, 2}}


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_cut_anywhere_is_refused(protocol: int) -> None:
    data = pickle.dumps(SAMPLE, protocol)
    for size in range(len(data)):
        with pytest.raises(ValueError):
            loads(data[:size])


@settings(max_examples=400)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), protocol=st.sampled_from([2, 4]))
def test_a_damaged_pickle_raises_one_kind_of_error(place: int, byte: int, protocol: int) -> None:
    data = bytearray(pickle.dumps(SAMPLE, protocol))
    data[place % len(data)] = byte
    try:
        loads(bytes(data))
    except ValueError as error:
        assert "\n" not in str(error)


def test_an_announced_length_is_not_believed() -> None:
    for data in (b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little"), b"\x80\x02B\xff\xff\xff\x3fabc"):
        with pytest.raises(ValueError, match=r"announces|ends too early"):
            loads(data)


def test_pickles_one_after_another() -> None:
    reader = PickleReader(io.BytesIO(pickle.dumps("first", 2) + pickle.dumps({"second": 2}, 4)))
    assert reader.load() == "first"
    assert not reader.at_end()
    assert reader.load() == {"second": 2}
    assert reader.at_end()


def curves(shared: object = None) -> dict[str, Any]:
    return {
        "trials": [
            {"kind": "trial", "curve": {i: float(i) for i in range(200)}, "also": shared, "name": "same text"}
            for _ in range(300)
        ]
    }


def last_only(found: dict[Any, Any]) -> dict[Any, Any] | None:
    return {"last": found["curve"][199], "name": found["name"]} if "curve" in found else None


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_fold_replaces_a_dict_and_frees_what_was_in_it(protocol: int) -> None:
    data = pickle.dumps(curves(), protocol)
    peaks = []
    for fold in (lambda _: None, last_only):
        tracemalloc.start()
        back = loads(data, fold)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert back == {"trials": [{"last": 199.0, "name": "same text"}] * 300}
    kept, folded = (peak - 2 * len(data) for peak in peaks)  # the reader's own copy of the bytes, and of the stream's
    assert kept > 3e6
    assert folded < kept / 5


def test_what_a_fold_released_is_never_silently_empty() -> None:
    assert len(loads(pickle.dumps(curves({"small": 1})), last_only)["trials"]) == 300
    with pytest.raises(ValueError, match="uses a part of one training again"):
        loads(pickle.dumps(curves(dict.fromkeys(range(20), 1))), last_only)
