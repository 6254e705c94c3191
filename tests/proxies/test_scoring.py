"""The command line that scores a space: tables, resumption, samples, mistakes."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks import environment, ground_truth, spaces
from benchmarks.errors import UserError
from benchmarks.proxies import __main__ as command
from benchmarks.proxies import available, chunks, load, read, scoring, write
from benchmarks.proxies.request import batch, population, scoring_order
from benchmarks.seeds import Seeds
from benchmarks.spaces.nas_bench_201 import NASBench201
from methods import proxies
from methods.proxies import PROXIES, initialise

SPACE = NASBench201()
TINY = ["--channels", "2", "--cells-per-stage", "1", "--batch-size", "4", "--image-size", "8"]


def table_of(proxy, folder):
    return load("nas-bench-201", proxy, channels=2, folder=folder)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 5)


@pytest.fixture
def run(tmp_path):
    """The command in a fresh folder; returns its exit code."""

    def call(*arguments, proxy=("synflow",), sample="12"):
        return command.main(["--proxy", *proxy, "--sample", sample, "--output", str(tmp_path), *TINY, *arguments])

    return call


def test_scores_are_those_of_the_proxies(run, tmp_path):
    names = ("synflow", "log-synflow", "snip", "naswot", "params", "flops", "zen")
    assert run("--seeds", "0,1", proxy=names) == 0
    assert not (tmp_path / "parts").exists()
    request = command._request(command._parser().parse_args([*TINY, "--output", str(tmp_path)]), [])
    for name in names:
        table = table_of(name, tmp_path)
        assert list(table.by_seed) == [0, 1]
        assert len(table.positions) == 12
        assert not table.complete
        images, labels = batch(request, 1)
        for position in table.positions[:3]:
            network = SPACE.network(SPACE.at(int(position)), channels=2, cells_per_stage=1, classes=10)
            generator = Seeds(1, "nas-bench-201", "digits", "proxies").generator("proxy draws")
            expected = PROXIES[name](initialise(network, 1), images, labels, cross_entropy, generator)
            found = table.scores(np.array([position]), seed=1)[0]
            assert found == pytest.approx(expected, rel=1e-12) or (not np.isfinite(expected) and found == -np.inf)


def test_batches_are_balanced_and_differ_by_seed(tmp_path):
    arguments = [*TINY, "--batch-size", "20", "--output", str(tmp_path)]
    request = command._request(command._parser().parse_args(arguments), arguments)
    images, labels = batch(request, 0)
    assert torch.bincount(labels).tolist() == [2] * 10
    assert not torch.equal(images, batch(request, 1)[0])
    assert torch.equal(images, batch(request, 0)[0])


def test_settings_are_recorded(run, tmp_path):
    run(proxy=["snip", "params"])
    footer = json.loads(
        pq.read_schema(tmp_path / "nas-bench-201.snip.c2.parquet").metadata[b"balenas-bench proxy scores"]
    )
    assert footer["settings"]["images"] == "digits"
    assert len(footer["settings"]["images_sha256"]) == 64
    assert footer["settings"]["batch_size"] == 4
    assert footer["facts"]["command"].startswith("python -m benchmarks.proxies")
    assert footer["facts"]["version_torch"]
    assert table_of("params", tmp_path).settings.images is None


def test_an_interrupted_run_goes_on(run, tmp_path, monkeypatch, capsys):
    real, done = scoring.score_chunk, []

    def interrupted(request, chunk):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk)
        return real(request, chunk)

    monkeypatch.setattr(scoring, "score_chunk", interrupted)
    assert run() == 130
    assert "run the command again" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parquet"))
    for folder in (tmp_path / "parts").iterdir():
        (folder / ".0000010.npy.1.tmp").write_bytes(b"half")  # of a worker that was killed while it wrote

    rest = []
    monkeypatch.setattr(scoring, "score_chunk", lambda request, chunk: (rest.append(chunk), real(request, chunk))[1])
    assert run() == 0
    assert [chunk.start for chunk in rest] == [10]
    assert not (tmp_path / "parts").exists()

    monkeypatch.setattr(scoring, "score_chunk", real)
    resumed = read(tmp_path / "nas-bench-201.synflow.c2.parquet")
    assert run("--output", str(tmp_path / "fresh")) == 0
    fresh = read(tmp_path / "fresh" / "nas-bench-201.synflow.c2.parquet")
    assert np.array_equal(resumed.by_seed[0], fresh.by_seed[0])


def test_two_processes_give_the_same(run, tmp_path, monkeypatch):
    assert run("--jobs", "2") == 0
    assert run("--output", str(tmp_path / "alone")) == 0
    both, alone = (table_of("synflow", folder) for folder in (tmp_path, tmp_path / "alone"))
    assert np.array_equal(both.positions, alone.positions)
    assert np.array_equal(both.by_seed[0], alone.by_seed[0])


def test_a_longer_sample_extends_a_shorter_one(run, tmp_path, monkeypatch):
    values = iter([np.nan, *range(100)])
    counting = proxies.Proxy("params", lambda _: next(values), uses_images=False)
    monkeypatch.setitem(PROXIES, "params", counting)
    monkeypatch.setattr(scoring, "_remembered_score", scoring._score)
    assert run(proxy=["params"], sample="7") == 0
    short = table_of("params", tmp_path)
    assert run(proxy=["params"], sample="12") == 0
    long = table_of("params", tmp_path)
    first = scoring_order("nas-bench-201", 5)
    assert np.array_equal(long.scores(first, seed=0), short.scores(first, seed=0))
    assert long.facts["command"].startswith(str(short.facts["command"]) + "; ")
    assert "--sample 12" in long.facts["command"]
    assert long.facts["revision"] == short.facts["revision"]
    assert long.not_finite == short.not_finite
    # The chunk that the shorter run ended in is scored again, none of the others.
    assert next(values) == 6 + (12 - 5)
    assert run(proxy=["params"], sample="7") == 2


def test_seeds_are_added_to_a_table(run, tmp_path):
    assert run("--seeds", "2") == 0
    before = table_of("synflow", tmp_path).by_seed[2]
    assert run("--seeds", "0") == 0
    after = table_of("synflow", tmp_path)
    assert list(after.by_seed) == [0, 2]
    first, second = after.facts["command"].split("; ")
    assert "--seeds 2" in first and "--seeds 0" in second
    assert np.array_equal(after.by_seed[2], before)


def test_additions_keep_the_provenance_of_what_was_there():
    first = {"revision": "abc-dirty", "command": "one", "processor": None}
    second = environment.joined(first, {"revision": "def", "command": "two", "processor": "x"})
    assert second == {"revision": "abc-dirty; def", "command": "one; two", "processor": "x"}
    assert environment.joined(second, {"revision": "def", "command": "two", "processor": None}) == second
    assert environment.joined({}, first) == first


def test_what_is_not_finite_is_named_ranks_last_and_is_recorded(run, tmp_path, monkeypatch, capsys):
    values = iter([np.nan, np.inf, *range(100)])
    broken = proxies.Proxy("params", lambda _: next(values), uses_images=False, uses_weights=False)
    monkeypatch.setitem(PROXIES, "params", broken)
    assert run(proxy=["params"]) == 0
    order = scoring_order("nas-bench-201", 12)
    said = capsys.readouterr().err
    table = table_of("params", tmp_path)
    for row, value in ((0, "nan"), (1, "inf")):
        text = SPACE.encode(SPACE.at(int(order[row])))
        assert f"params of {text} at seed 0 is {value}: ranks last\n" in said
        assert (text, value) in [(case.architecture, case.value) for case in table.not_finite]
        assert table.scores(order[row : row + 1], seed=0)[0] == -np.inf
    assert len(table.not_finite) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--proxy", "synflw"], "unknown proxy 'synflw': choose from synflow"),
        (["--space", "nas-bench-202"], "unknown space 'nas-bench-202'"),
        (["--sample", "0"], "choose --sample 1 to 15,625"),
        (["--sample", "15626"], "choose --sample 1 to 15,625"),
        (["--batch-size", "1"], "batch size 1 is too small"),
        (["--image-size", "10"], "choose a multiple of 4"),
        (["--channels", "0"], "1 or more"),
        (["--seeds", "a"], "write for example 0,1,2"),
        (["--seeds", "-1"], "seeds 0 or more"),
        (["--jobs", "0"], "--jobs 0 is too small"),
        (["--proxy", "snip", "--data", "mnist"], "unknown image set 'mnist'"),
        (["--proxy", "snip", "--data", "cifar10", "--data-dir", "nowhere"], "no CIFAR-10 in nowhere"),
        (["--proxy", "snip", "--batch-size", "5000"], "choose 1 to"),
    ],
)
def test_mistakes_are_one_line(arguments, said, run, tmp_path, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not list(tmp_path.iterdir())


def test_other_settings_do_not_overwrite_a_table(run, tmp_path, capsys):
    assert run() == 0
    before = (tmp_path / "nas-bench-201.synflow.c2.parquet").read_bytes()
    assert run("--image-size", "12") == 2
    assert "choose another --output" in capsys.readouterr().err
    assert run("--seeds", "1", sample="5") == 2
    assert (tmp_path / "nas-bench-201.synflow.c2.parquet").read_bytes() == before


def test_graphs_of_1shot1_are_sampled_uniformly_and_once():
    """Every graph appears once, and heavily encoded graphs do not come early."""
    space, weights = "nas-bench-1shot1-s1", ground_truth.load("nas-bench-1shot1-s1", tables=None)
    order = scoring_order(space, 400)
    rows = [weights.row(spaces.get(space).at(int(p))) for p in order]
    assert len(set(rows)) == 400
    assert np.array_equal(order[:50], scoring_order(space, 50))
    sampled, all_graphs = weights.weights[rows], weights.weights
    error = all_graphs.std() / np.sqrt(400) * np.sqrt(1 - 400 / len(all_graphs))
    assert abs(sampled.mean() - all_graphs.mean()) < 4 * error
    assert population(space) == 2685


class TestTable:
    @pytest.fixture
    def table(self, run, tmp_path):
        run()
        return table_of("synflow", tmp_path)

    def test_round_trip(self, table, tmp_path):
        write(table, tmp_path / "copy.parquet")
        copy = read(tmp_path / "copy.parquet")
        assert copy.settings == table.settings
        assert copy.not_finite == table.not_finite
        assert np.array_equal(copy.positions, table.positions)
        assert np.array_equal(copy.by_seed[0], table.by_seed[0])

    def test_asking_for_what_is_not_there(self, table, tmp_path):
        missing = np.setdiff1d(np.arange(15_625), table.positions)[:2]
        with pytest.raises(UserError, match="2 of 2 architectures are not among the 12 of 15,625"):
            table.scores(missing, seed=0)
        with pytest.raises(UserError, match="holds seeds 0"):
            table.scores(table.positions, seed=1)
        with pytest.raises(
            UserError, match=r"no nas-bench-201.snip.c2.parquet in .* \(held: nas-bench-201.synflow.c2\)"
        ):
            table_of("snip", tmp_path)
        assert available(tmp_path) == ["nas-bench-201.synflow.c2"]

    @pytest.mark.parametrize("content", [b"", b"PAR1 no", None])
    def test_damaged_files(self, table, tmp_path, content):
        path = tmp_path / "nas-bench-201.synflow.c2.parquet"
        path.write_bytes(path.read_bytes()[:-100] if content is None else content)
        with pytest.raises(UserError, match="damaged") as caught:
            table_of("synflow", tmp_path)
        assert "\n" not in str(caught.value)

    def test_foreign_parquet(self, table, tmp_path):
        path = tmp_path / "nas-bench-201.synflow.c2.parquet"
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
        with pytest.raises(UserError, match="holds no proxy scores"):
            read(path)
