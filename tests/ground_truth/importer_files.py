"""Writes small files in the formats of the official benchmarks, with the field names and nesting of the real ones."""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.nas_bench_201_order import official_order
from benchmarks.spaces.nas_bench_201 import NASBench201

EVALUATIONS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}


def arch_str(index: int) -> str:
    return NASBench201().encode(tuple(official_order()[index].tolist()))


def results_count(
    dataset: str,
    seed: int,
    epochs: int,
    index: int,
    accuracies: Mapping[str, float],
    *,
    whole_curves: bool = True,
    weights: object = None,
) -> dict[str, Any]:
    """A ``ResultsCount.state_dict()``. ``accuracies`` of the last epoch by evaluation name, ``train`` included.

    The curves lead up to them; with ``whole_curves=False`` as in the first release, where some evaluations exist for
    the last epoch only and there are no times.
    """
    last = epochs - 1

    def curve(final: float) -> OrderedDict[int, float]:
        return OrderedDict((epoch, final * (epoch + 1) / epochs if epoch < last else final) for epoch in range(epochs))

    evaluated = {
        f"{name}@{epoch}": accuracy
        for name in EVALUATIONS[dataset]
        if name in accuracies
        for epoch, accuracy in curve(accuracies[name]).items()
        if whole_curves or name == EVALUATIONS[dataset][0] or epoch == last
    }
    return {
        "name": dataset,
        "net_state_dict": weights,
        "train_acc1es": curve(accuracies.get("train", 50.0)),
        "train_acc5es": curve(99.0) if whole_curves else None,
        "train_losses": curve(0.5),
        "train_times": OrderedDict.fromkeys(range(epochs), 7.25) if whole_curves else None,
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch_str(index), "class_num": 10},
        "params": np.float64(0.129306),
        "flop": np.float64(15.64737),
        "seed": str(seed),
        "epochs": epochs,
        "latency": [0.01, 0.02, 0.03] if whole_curves else None,
        "eval_names": list(EVALUATIONS[dataset]),
        "eval_acc1es": evaluated,
        "eval_times": dict.fromkeys(evaluated, 1.5) if whole_curves else {},
        "eval_losses": dict.fromkeys(evaluated, 1.0),
    }


def arch_results(index: int, trials: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """An ``ArchResults.state_dict()``."""
    all_results = {(trial["name"], int(trial["seed"])): trial for trial in trials}
    seeds: dict[str, list[int]] = {}
    for dataset, seed in all_results:
        seeds.setdefault(dataset, []).append(seed)
    return {
        "arch_index": index,
        "arch_str": arch_str(index),
        "all_results": all_results,
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


def benchmark(arch2infos: Mapping[int, Any]) -> dict[str, Any]:
    """The dict of a whole file."""
    return {
        "meta_archs": [arch_str(index) for index in range(50)],
        "total_archs": 15_625,
        "arch2infos": dict(arch2infos),
        "evaluated_indexes": set(arch2infos),
    }


def write_pth(path: Path, data: object, *, new: bool = False) -> Path:
    torch.save(data, path, _use_new_zipfile_serialization=new)
    return path


def write_pbz2(path: Path, data: object) -> Path:
    path.write_bytes(bz2.compress(pickle.dumps(data, protocol=4)))
    return path


def write_folder(path: Path, arch2infos: Mapping[int, Any]) -> Path:
    path.mkdir()
    write_pbz2(path / "meta.pickle.pbz2", {**benchmark({}), "arch2infos": None})
    for index, infos in arch2infos.items():
        write_pbz2(path / f"{index:06d}.pickle.pbz2", infos)
    return path


# TFRecord and protocol buffers, written bit by bit and apart from the reader that they test.


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def evaluation(epoch: float, seconds: float, train: float, valid: float, test: float) -> bytes:
    doubles = b"".join(
        varint(number << 3 | 1) + struct.pack("<d", value)
        for number, value in enumerate((epoch, seconds, train, valid, test), start=1)
    )
    return doubles + varint(6 << 3 | 2) + varint(0)  # an empty checkpoint path


def metrics(evaluations: Sequence[bytes], parameters: int) -> bytes:
    messages = b"".join(varint(1 << 3 | 2) + varint(len(message)) + message for message in evaluations)
    return messages + varint(2 << 3) + varint(parameters) + varint(3 << 3 | 1) + struct.pack("<d", 1234.5)


def record(
    module_hash: str,
    epochs: int,
    adjacency: str,
    operations: str,
    *,
    valid: int,
    test: int,
    parameters: int,
    seconds: float = 100.0,
) -> bytes:
    """One training; ``valid`` and ``test`` are correct images of 9,984, as the file's single precision gives them."""
    share = [float(np.float32(count / 9984)) for count in (valid, test)]
    message = metrics(
        [
            evaluation(0.0, 0.0, 0.1, 0.1, 0.1),
            evaluation(epochs / 2, seconds / 2, 0.7, 0.6, 0.6),
            evaluation(float(epochs), seconds, 1.0, *share),
        ],
        parameters,
    )
    return json.dumps([module_hash, epochs, adjacency, operations, base64.encodebytes(message).decode()]).encode()
