"""Batches as every Python wrote them are read; nothing in a pickle is ever run."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.images import unpickling

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 12), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9, 2]


@pytest.mark.parametrize("column_major", [False, True])
def test_batches_of_python_2(python2_pickle, column_major):
    data = python2_pickle(IMAGES, LABELS, column_major=column_major)
    theirs = pickle.loads(data, encoding="bytes")  # the pickle written by hand is what numpy takes it for
    np.testing.assert_array_equal(theirs[b"data"], IMAGES)
    ours = unpickling.loads(data)
    np.testing.assert_array_equal(ours["data"], IMAGES)
    assert ours["labels"] == LABELS
    assert ours["batch_label"] == b"training batch 1 of 5"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("keys", [str, str.encode])
def test_copies_saved_by_python_3(protocol, order, keys):
    batch = {keys("data"): np.asarray(IMAGES, order=order), keys("labels"): LABELS, keys("filenames"): [b"a.png"]}
    read = unpickling.loads(pickle.dumps(batch, protocol=protocol))
    np.testing.assert_array_equal(read["data"], IMAGES)
    assert read["data"].dtype == np.uint8
    assert read["labels"] == LABELS


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.mkdir, eval, exec, getattr, np.load, np.frombuffer, np.ones])
def test_other_names_are_refused(protocol, function):
    data = pickle.dumps({"data": Calls(function, "x")}, protocol=protocol)
    with pytest.raises(ValueError, match=rf"it asks for [\w.]+\.{function.__name__}, which no batch needs"):
        unpickling.loads(data)


def test_a_hostile_pickle_runs_nothing(tmp_path):
    trap = tmp_path / "sprung"
    data = pickle.dumps({"data": IMAGES, "labels": Calls(os.mkdir, str(trap))}, protocol=2)
    with pytest.raises(ValueError, match=r"mkdir, which no batch needs"):
        unpickling.loads(data)
    assert not trap.exists()
    pickle.loads(data)
    assert trap.exists()  # so the trap works


def test_objects_kept_elsewhere_are_refused():
    with pytest.raises(ValueError, match="outside object 'x'"):
        unpickling.loads(b"\x80\x02X\x01\x00\x00\x00xQ.")


def test_stand_ins_cannot_be_altered():
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode"):
        with pytest.raises(ValueError):
            unpickling.loads(b"\x80\x02c" + name + b"\nN}X\x06\x00\x00\x00decodeX\x01\x00\x00\x00xs\x86b.")
    assert unpickling.loads(pickle.dumps({"data": IMAGES}))["data"].shape == IMAGES.shape


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "."),
        (b"no pickle at all", "."),
        (pickle.dumps([1, 2]), "."),
        (pickle.dumps({"data": IMAGES.astype(np.float32)}), "type '?b?'?f4"),
        (pickle.dumps({"data": np.array([{}], dtype=object)}), "type '?b?'?O8"),
        (b"\x80\x02}X\x04\x00\x00\x00datacnumpy\nndarray\n)Rs.", "."),  # an array without content
    ],
)
def test_other_content_is_refused(data, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        unpickling.loads(data)
    assert "\n" not in str(caught.value)


def test_an_array_with_too_few_bytes_is_refused(python2_pickle):
    data = python2_pickle(IMAGES, LABELS)
    longer = data.replace(b"J" + struct.pack("<i", 7), b"J" + struct.pack("<i", 8))
    assert longer != data
    with pytest.raises(ValueError, match="cannot reshape"):
        unpickling.loads(longer)


@given(st.data())
def test_a_truncated_batch_is_refused_wherever_it_ends(python2_pickle, data):
    whole = python2_pickle(IMAGES, LABELS)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):
        unpickling.loads(whole[:end])
