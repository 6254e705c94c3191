from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks import plan
from benchmarks.errors import UserError
from benchmarks.ground_truth import AllSeeds, Cost, Dataset, Mean, NASBench201Table, Seed, Split, load
from benchmarks.ground_truth.importers import import_path
from benchmarks.ground_truth.importers.pickles import PickleReader
from benchmarks.ground_truth.importers.trainings import excerpt
from benchmarks.ground_truth.storage import StoredTable
from benchmarks.store import Store
from tests.ground_truth import importer_files as official

ROWS = (0, 1, 1835)
BUDGETS = {"th": ("less", "full"), "nats": ("12", "200")}
PARTS = {
    "cifar10-valid": {"x-valid": (Dataset.CIFAR10, Split.VALID)},
    "cifar10": {"ori-test": (Dataset.CIFAR10, Split.TEST)},
    "cifar100": {"ori-test": (Dataset.CIFAR100, Split.VALTEST)},
    "ImageNet16-120": {"ori-test": (Dataset.IMAGENET16_120, Split.VALTEST)},
}


class Log:
    """A progress display whose console is a text."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.progress = Progress(console=Console(file=self.file, width=400))

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    with log.progress:
        yield log


def real_trials(nb201: NASBench201Table, row: int, *, whole_curves: bool = True) -> list[dict[str, Any]]:
    """The 200-epoch trainings of an architecture with the accuracies of the shipped table, in single precision."""
    architecture = tuple(nb201.architectures[row].tolist())
    trials = []
    for training, parts in PARTS.items():
        for seed in (777, 888, 999):
            accuracies = {}
            for evaluation, (dataset, split) in parts.items():
                value = nb201.accuracy(architecture, dataset=dataset, split=split, epochs=200, reduction=Seed(seed))
                if value is not None:
                    accuracies[evaluation] = float(np.float32(value))
            if accuracies:
                accuracies["train"] = float(np.float32(100 * 1234 / (151_700 if training[0] == "I" else 50_000)))
                trial = official.results_count(training, seed, 200, row, accuracies, whole_curves=whole_curves)
                trials.append(trial)
    return trials


def infos(nb201: NASBench201Table, budgets: tuple[str, str], **kind: Any) -> dict[int, dict[str, Any]]:
    short, long = budgets
    return {
        row: {
            long: official.arch_results(row, real_trials(nb201, row, **kind)),
            short: official.arch_results(
                row,
                [
                    official.results_count("cifar10-valid", 777, 12, row, {"x-valid": 60.0, "train": 61.0}, **kind),
                    official.results_count("cifar10-valid", 111, 12, row, {"x-valid": 60.004, "train": 61.0}, **kind),
                ],
            ),
        }
        for row in ROWS
    }


def write_container(container: str, tmp_path: Path, nb201: NASBench201Table) -> Path:
    if container == "folder":
        return official.write_folder(tmp_path / "NATS", infos(nb201, BUDGETS["nats"]))
    if container == "pbz2":
        return official.write_pbz2(tmp_path / "x.pbz2", official.benchmark(infos(nb201, BUDGETS["nats"])))
    data = official.benchmark(infos(nb201, BUDGETS["th"], whole_curves=container != "old curves"))
    return official.write_pth(tmp_path / "renamed.bin", data, new=container == "zip")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("container", ["legacy", "old curves", "zip", "pbz2", "folder"])
def test_every_container_gives_the_real_accuracies_back(
    container: str, tmp_path: Path, nb201: NASBench201Table, log: Log
) -> None:
    path = write_container(container, tmp_path, nb201)
    import_path(path, tmp_path / "out", log.progress, partial=True)
    table = load("nas-bench-201", tables=tmp_path / "out")
    architectures = nb201.architectures[list(ROWS)]
    for parts in PARTS.values():
        for dataset, split in parts.values():
            key: dict[str, Any] = {"dataset": dataset, "split": split, "epochs": 200}
            for reduction in (Mean(), Seed(777), Seed(888), Seed(999)):
                ours = table.accuracy(architectures, **key, reduction=reduction)
                np.testing.assert_array_equal(ours, nb201.accuracy(architectures, **key, reduction=reduction))
            single = table.accuracy(tuple(architectures[0].tolist()), **key, reduction=AllSeeds())
            assert single == nb201.accuracy(tuple(architectures[0].tolist()), **key, reduction=AllSeeds())
    valid12 = {"dataset": Dataset.CIFAR10, "split": Split.VALID, "epochs": 12}
    assert table.accuracy(tuple(architectures[0].tolist()), **valid12, reduction=Seed(111)) == 60.004
    assert table.accuracy(tuple(architectures[0].tolist()), **valid12, reduction=Mean()) == pytest.approx(60.002)
    train = {"dataset": Dataset.IMAGENET16_120, "split": Split.TRAIN, "epochs": 200, "reduction": Seed(888)}
    assert table.accuracy(tuple(architectures[0].tolist()), **train) == 100 * 1234 / 151_700


def test_costs_and_times(tmp_path: Path, nb201: NASBench201Table, log: Log) -> None:
    import_path(write_container("folder", tmp_path, nb201), tmp_path, log.progress, partial=True)
    table = load("nas-bench-201", tables=tmp_path)
    first = tuple(nb201.architectures[0].tolist())
    assert table.cost(first, Cost.PARAMETERS, Dataset.CIFAR10) == 129_306
    assert table.cost(first, Cost.FLOPS, Dataset.CIFAR10) == 15_647_370
    assert table.cost(first, Cost.LATENCY, Dataset.CIFAR100) == pytest.approx(0.02)
    assert table.training_seconds(first, dataset=Dataset.CIFAR10, split=Split.VALID, epochs=12) == 12 * 7.25
    assert table.training_seconds(first, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200) == 200 * 7.25
    absent = tuple(nb201.architectures[7].tolist())
    assert table.cost(absent, Cost.PARAMETERS, Dataset.CIFAR10) is None
    assert table.training_seconds(absent, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200) is None
    assert table.accuracy(absent, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Mean()) is None


def test_provenance_and_summary(tmp_path: Path, nb201: NASBench201Table, log: Log) -> None:
    data = infos(nb201, BUDGETS["th"])
    path = official.write_pth(tmp_path / "NAS-Bench-201-v1_1-096897.pth", official.benchmark(data))
    table = import_path(path, tmp_path, log.progress, partial=True)
    assert isinstance(table, StoredTable)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = table.provenance.columns["cifar10_test_200_mean"].source
    assert f"NAS-Bench-201-v1_1-096897.pth, {path.stat().st_size:,} bytes, sha256 {digest}" in source
    assert table.provenance.build == "python -m benchmarks.ground_truth import NAS-Bench-201-v1_1-096897.pth"
    text = " ".join(log.text.split())
    assert "WARNING: 3 of 15,625 architectures" in text
    assert "WARNING: its checksum is not that of the official file of this name" in text
    assert "200 epochs on cifar10: architectures trained 3 3x" in text or "architectures trained 1 2x, 2 3x" in text
    # Means and three seeds of four data set and split pairs, and one column at 12 epochs that the test made up.
    assert "of 17 accuracy columns with rows in both, 16 agree" in text
    assert "cifar10_valid_12_mean differs in 3 of 3 rows" in text


def test_a_missing_evaluation_makes_the_mean_missing(tmp_path: Path, log: Log) -> None:
    trials = [
        official.results_count("cifar100", 777, 200, 5, {"x-test": 70.0, "ori-test": 71.0}),
        official.results_count("cifar100", 888, 200, 5, {"ori-test": 72.0}),
    ]
    data = official.benchmark({5: {"200": official.arch_results(5, trials)}})
    import_path(official.write_pbz2(tmp_path / "f", data), tmp_path, log.progress, partial=True)
    table = load("nas-bench-201", tables=tmp_path)
    architecture = tuple(table.architectures[5].tolist())
    key: dict[str, Any] = {"dataset": Dataset.CIFAR100, "epochs": 200}
    assert table.accuracy(architecture, split=Split.TEST, reduction=Mean(), **key) is None
    assert table.accuracy(architecture, split=Split.TEST, reduction=Seed(777), **key) == 70.0
    assert table.accuracy(architecture, split=Split.VALTEST, reduction=Mean(), **key) == 71.5
    with pytest.raises(UserError, match="lacks a trained seed"):
        table.accuracy(architecture, split=Split.TEST, reduction=AllSeeds(), **key)


def test_all_architectures_are_asked_for(tmp_path: Path, nb201: NASBench201Table, log: Log) -> None:
    path = write_container("legacy", tmp_path, nb201)
    with pytest.raises(UserError, match=r"holds 3 of the 15,625 architectures.*nothing was written"):
        import_path(path, tmp_path / "out", log.progress)
    assert not (tmp_path / "out").exists()


def test_a_whole_file_needs_no_leave(tmp_path: Path, log: Log) -> None:
    trial = official.results_count("cifar10-valid", 777, 200, 0, {"x-valid": 50.0})
    trial |= {name: {199: 50.0} for name in ("train_acc1es", "train_acc5es", "train_losses", "train_times")}
    trial |= {name: {"x-valid@199": 50.0} for name in ("eval_acc1es", "eval_losses", "eval_times")}
    data = official.benchmark({row: {"full": official.arch_results(row, [trial.copy()])} for row in range(15_625)})
    import_path(official.write_pth(tmp_path / "f", data), tmp_path, log.progress)
    table = load("nas-bench-201", tables=tmp_path)
    key: dict[str, Any] = {"dataset": Dataset.CIFAR10, "split": Split.VALID, "epochs": 200, "reduction": Mean()}
    assert table.population(**key).mean == 50.0
    assert "nas-bench-201: best cifar10_valid 50.000 %" in log.text
    assert "nas-bench-201: cifar10_test is not known of every architecture" in log.text
    searches = plan.make(methods=["random"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke")
    with pytest.raises(UserError, match="cifar10"):  # before a search whose result could not be looked up
        plan.check_tables(searches, Store(tmp_path / "runs").open(), [], tmp_path)


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("container", ["legacy", "zip", "pbz2", "folder"])
@pytest.mark.parametrize("place", ["top", "weights"])
def test_a_hostile_file_is_refused_and_does_not_run(container: str, place: str, tmp_path: Path, log: Log) -> None:
    mark = tmp_path / "it-ran"
    trial = official.results_count("cifar10", 777, 200, 0, {"ori-test": 90.0}, weights=Attack(mark))
    hostile: Any = Attack(mark) if place == "top" else {"200": official.arch_results(0, [trial])}
    if container == "folder":
        path = official.write_folder(tmp_path / "folder", {0: hostile})
    elif container == "pbz2":
        path = official.write_pbz2(tmp_path / "f", official.benchmark({0: hostile}))
    else:
        path = official.write_pth(tmp_path / "f", official.benchmark({0: hostile}), new=container == "zip")
    with pytest.raises(UserError, match=r"asks to run posix\.system, which no benchmark file needs") as refusal:
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert "\n" not in str(refusal.value)
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("new", [False, True])
def test_trained_weights_are_passed_over(new: bool, tmp_path: Path, log: Log) -> None:
    weights = {"stem.0.weight": torch.ones(3, 4), "steps": torch.tensor(7)}
    trial = official.results_count("cifar10", 777, 200, 0, {"ori-test": 90.0}, weights=weights)
    data = official.benchmark({0: {"full": official.arch_results(0, [trial])}})
    table = import_path(official.write_pth(tmp_path / "f", data, new=new), tmp_path, log.progress, partial=True)
    assert table is not None
    assert table.column("cifar10_test_200_mean")[0] == 9_000


def test_weights_of_the_full_folder_are_passed_over(tmp_path: Path, log: Log) -> None:
    trial = official.results_count("cifar10", 777, 200, 0, {"ori-test": 90.0}, weights={"w": torch.ones(3, 4)})
    path = official.write_folder(tmp_path / "full", {0: {"200": official.arch_results(0, [trial])}})
    table = import_path(path, tmp_path, log.progress, partial=True)
    assert table is not None
    assert table.column("cifar10_test_200_seed777")[0] == 9_000


@pytest.mark.parametrize("container", ["legacy", "zip", "pbz2"])
def test_a_truncated_file_is_one_line_and_writes_nothing(
    container: str, tmp_path: Path, nb201: NASBench201Table, log: Log
) -> None:
    path = write_container(container, tmp_path, nb201)
    data = path.read_bytes()
    for share in (0.2, 0.9, 1 - 1 / len(data)):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UserError, match=r"damaged, truncated or foreign|is unknown") as refusal:
            import_path(path, tmp_path / "out", log.progress, partial=True)
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_member_of_a_folder_is_named(tmp_path: Path, nb201: NASBench201Table, log: Log) -> None:
    path = write_container("folder", tmp_path, nb201)
    member = path / "000001.pickle.pbz2"
    member.write_bytes(member.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"000001\.pickle\.pbz2.*damaged"):
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert not (tmp_path / "out").exists()


def one(**trial: Any) -> dict[int, Any]:
    wrong = official.results_count("cifar10", 777, 200, 0, {"ori-test": 90.0}) | trial
    return {0: {"200": official.arch_results(0, [wrong])}}


@pytest.mark.parametrize(
    ("arch2infos", "reason"),
    [
        (one(eval_acc1es={"ori-test@199": 90.001234}), r"which no count of 10000 images is"),
        (one(eval_acc1es={"ori-test@199": 100.01}), r"which no count of 10000 images is"),
        (one(eval_acc1es={"ori-test@199": float("nan")}), "NaN"),
        (one(eval_acc1es=None), "no well-formed pickle"),
        (one(name="svhn"), "has a training on 'svhn'"),
        (one(epochs=90), "has a training of 90 epochs filed as 200"),
        ({0: {"01": {}, "12": {}, "90": {}}}, "the size space of NATS-Bench"),
        ({0: {"whole": {}}}, "holds the epoch budgets"),
        ({0: {"200": {"arch_str": "|conv~0|", "all_results": {}}}}, "is no architecture of NAS-Bench-201"),
        ({0: {"200": {"arch_str": official.arch_str(3)}}}, "a record in it lacks 'all_results'"),
        ({0: 5}, "no attribute"),
        ({row: one()[0] for row in (0, 1)}, "holds an architecture twice"),
    ],
)
def test_what_no_official_file_holds_is_refused(
    arch2infos: dict[int, Any], reason: str, tmp_path: Path, log: Log
) -> None:
    path = official.write_pbz2(tmp_path / "f", official.benchmark(arch2infos))
    with pytest.raises(UserError, match=reason) as refusal:
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_failed_import_leaves_the_table_in_place(tmp_path: Path, nb201: NASBench201Table, log: Log) -> None:
    path = write_container("legacy", tmp_path, nb201)
    import_path(path, tmp_path / "out", log.progress, partial=True)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError):
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


@pytest.mark.benchmark(group="importing NAS-Bench-201")
@pytest.mark.parametrize("reader", ["ours", "torch, weights only"])
def test_speed_of_reading(benchmark: Any, reader: str, tmp_path: Path, nb201: NASBench201Table) -> None:
    """Ours against the safe reader of torch on the same bytes; ours keeps an excerpt, torch everything."""
    data = infos(nb201, BUDGETS["th"])
    path = official.write_pth(tmp_path / "f", official.benchmark(data))
    content = path.read_bytes()

    def ours() -> None:
        stream = PickleReader(io.BytesIO(content))
        for _ in range(3):
            stream.load()
        stream.load(excerpt)

    def with_torch() -> None:
        names = [np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType, set]  # type: ignore[attr-defined]
        with torch.serialization.safe_globals(names):
            torch.load(io.BytesIO(content), weights_only=True)

    benchmark.pedantic(ours if reader == "ours" else with_torch, rounds=5, warmup_rounds=1)
