"""Folders in the official layout: good, other, damaged and hostile ones."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.errors import UserError
from benchmarks.images import DATA_DIR_VARIABLE, load, search_split
from benchmarks.images.cifar10 import BATCHES, CLASSES, FOLDER, META, OFFICIAL, load_cifar10
from benchmarks.images.image_set import digest


def complaint_about(folder: Path, release) -> str:
    with pytest.raises(UserError) as caught:
        load_cifar10(folder, release)
    message = str(caught.value)
    assert "\n" not in message
    return message


def unofficial(small):
    return dataclasses.replace(small.release, md5=dict.fromkeys(small.release.md5, "another"))


def test_a_verified_folder_and_its_parent_give_the_images_in_order(small_cifar):
    for place in (small_cifar.folder, small_cifar.parent):
        image_set = load_cifar10(place, small_cifar.release)
        np.testing.assert_array_equal(image_set.images, small_cifar.images[:100])
        np.testing.assert_array_equal(image_set.labels, small_cifar.labels[:100])
        np.testing.assert_array_equal(image_set.test_images, small_cifar.images[100:])
        np.testing.assert_array_equal(image_set.test_labels, small_cifar.labels[100:])
        assert (image_set.images.dtype, image_set.labels.dtype) == (torch.uint8, torch.int64)
        assert image_set.provenance == "official checksums verified"
        assert image_set.sha256 == digest(image_set.images, image_set.labels)
        assert image_set.classes == CLASSES


def test_another_copy_is_accepted_as_unverified(small_cifar):
    official = load_cifar10(small_cifar.folder, small_cifar.release)
    for name in BATCHES:
        small_cifar.rewrite(name)
    copy = load_cifar10(small_cifar.folder, small_cifar.release)
    assert copy.provenance == "unverified copy"
    assert copy.sha256 == official.sha256  # the same images, however they are stored
    small_cifar.rewrite("data_batch_2", data=small_cifar.images[:20].reshape(20, 3072))
    assert load_cifar10(small_cifar.folder, small_cifar.release).sha256 != official.sha256


def test_one_damaged_file_of_the_official_release_is_refused(small_cifar):
    path = small_cifar.folder / "data_batch_3"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"T") + 1000] ^= 1  # one bit of one pixel: nothing else tells
    path.write_bytes(raw)
    assert "official release except for data_batch_3" in complaint_about(small_cifar.folder, small_cifar.release)
    assert load_cifar10(small_cifar.folder, unofficial(small_cifar)).provenance == "unverified copy"


def test_a_wrong_folder(tmp_path, small_cifar):
    for place in (tmp_path, tmp_path / "nowhere", small_cifar.folder / "data_batch_1"):
        message = complaint_about(place, small_cifar.release)
        assert f"no CIFAR-10 in {place}" in message
        assert "--data-dir or BALENAS_DATA_DIR" in message
        assert "download" in message


def test_missing_batches_are_named(small_cifar):
    (small_cifar.folder / "data_batch_2").unlink()
    (small_cifar.folder / "test_batch").unlink()
    assert "lacks data_batch_2, test_batch" in complaint_about(small_cifar.folder, small_cifar.release)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1])
@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
def test_a_truncated_batch(small_cifar, name, keep):
    path = small_cifar.folder / name
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is damaged or no CIFAR-10 batch" in complaint_about(small_cifar.folder, small_cifar.release)


def test_a_hostile_batch_is_refused_and_not_run(small_cifar, tmp_path):
    trap = tmp_path / "sprung"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    small_cifar.rewrite("data_batch_5", labels=Hostile())
    message = complaint_about(small_cifar.folder, small_cifar.release)
    assert f"{small_cifar.folder / 'data_batch_5'} is damaged" in message
    assert "mkdir, which no batch needs" in message
    assert not trap.exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": np.zeros((19, 3072), np.uint8)}, "expected 20x3072 bytes of pixels, found 19x3072"),
        ({"data": np.zeros((20, 3, 32, 32), np.uint8)}, "found 20x3x32x32"),
        ({"data": np.zeros((20, 3072), np.float32)}, "instead of bytes"),
        ({"data": None}, "found none"),
        ({"labels": [0] * 19}, "expected 20 labels from 0 to 9"),
        ({"labels": [0] * 19 + [10]}, "expected 20 labels from 0 to 9"),
        ({"labels": [0] * 19 + [-1]}, "expected 20 labels from 0 to 9"),
        ({"labels": [0] * 19 + [1.0]}, "expected 20 labels from 0 to 9"),
        ({"labels": None}, "expected 20 labels from 0 to 9"),
        ({"labels": [0] * 20}, "training images a class instead of 10"),
    ],
)
def test_wrong_content(small_cifar, changes, expected):
    small_cifar.rewrite("data_batch_1", **changes)
    assert expected in complaint_about(small_cifar.folder, unofficial(small_cifar))


def test_unbalanced_test_labels(small_cifar):
    small_cifar.rewrite("test_batch", labels=[0] * 20)
    assert "0 to 20 test images a class instead of 2" in complaint_about(small_cifar.folder, unofficial(small_cifar))


def test_class_names_must_be_the_usual_ones_where_they_are_given(small_cifar):
    meta = small_cifar.folder / META
    meta.write_bytes(pickle.dumps({"label_names": list(reversed(CLASSES))}))
    assert "names other classes" in complaint_about(small_cifar.folder, small_cifar.release)
    meta.write_bytes(b"junk")
    assert f"{meta} is damaged" in complaint_about(small_cifar.folder, small_cifar.release)
    meta.unlink()
    load_cifar10(small_cifar.folder, small_cifar.release)


def test_a_full_size_copy_by_argument_and_by_environment(tmp_path, monkeypatch, python2_pickle):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10_000, 3072), dtype=np.uint8)
    folder = tmp_path / FOLDER
    folder.mkdir()
    labels = (np.arange(10_000) % 10).tolist()
    (folder / BATCHES[0]).write_bytes(python2_pickle(pixels, labels))
    for name in BATCHES[1:]:
        os.link(folder / BATCHES[0], folder / name)
    image_set = load("cifar10", tmp_path)
    assert image_set.images.shape == (50_000, 3, 32, 32)
    assert image_set.test_images.shape == (10_000, 3, 32, 32)
    assert image_set.labels.bincount().tolist() == [5000] * 10
    assert image_set.provenance == "unverified copy"
    assert image_set.images.element_size() == 1

    monkeypatch.setenv(DATA_DIR_VARIABLE, str(folder))
    assert load("cifar10").sha256 == image_set.sha256
    shutil.rmtree(folder)
    monkeypatch.delenv(DATA_DIR_VARIABLE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no CIFAR-10 in data"):
        load("cifar10")


def test_the_official_release_lists_seven_checksums():
    assert set(OFFICIAL.md5) == {*BATCHES, META}
    assert len({OFFICIAL.archive_md5, *OFFICIAL.md5.values()}) == 8
    assert all(len(md5) == 32 and int(md5, 16) for md5 in (OFFICIAL.archive_md5, *OFFICIAL.md5.values()))


@pytest.mark.skipif(DATA_DIR_VARIABLE not in os.environ, reason="needs CIFAR-10: set BALENAS_DATA_DIR")
def test_the_real_images_have_the_well_known_statistics():
    image_set = load("cifar10")
    split = search_split(image_set, train=49_999, valid=1, size=32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(split.mean, [0.4914, 0.4822, 0.4465], atol=2e-4)
    np.testing.assert_allclose(split.std, [0.2470, 0.2435, 0.2616], atol=2e-4)
