"""Replayed searches are the plain ones, and what is measured along them is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from benchmarks import harness, mechanism, observations, plan, spaces
from benchmarks.errors import UserError
from benchmarks.images import probe
from benchmarks.seeds import Seeds
from benchmarks.store import Store

BALENAS = "balenas-1st"
SKIP = torch.tensor(
    [name == "skip_connect" for group in spaces.get("nas-bench-201").groups for name in group.alternatives]
)
JOB = plan.make(methods=[BALENAS], space_names=["nas-bench-201"], seed_list=[0], tier="smoke").jobs[0]


@pytest.fixture(scope="module")
def replayed() -> pd.DataFrame:
    rows, facts = mechanism.replay(JOB, None, pairs=4)
    assert facts["images_sha256"] == JOB.spec.images
    return pd.DataFrame(rows, columns=list(observations.COLUMNS))


def plain(tmp_path: Path) -> harness.Run:
    run = harness.Run(JOB, harness.Settings(Store(tmp_path)), lambda *_: None, lambda: False)
    with run:
        run.begin()
        while not run.is_over:
            run.advance(run.method.train_epoch(run.epoch) if run.epoch else {})
    return run


def values(frame: pd.DataFrame, quantity: str, width: str | None = None) -> np.ndarray:
    chosen = frame[(frame["quantity"] == quantity) & frame["edge"].notna()]
    chosen = chosen[chosen["width"].isna() if width is None else chosen["width"] == width]
    return chosen["value"].to_numpy(float)


def test_a_replayed_search_is_the_plain_one(replayed: pd.DataFrame, tmp_path: Path) -> None:
    run = plain(tmp_path)
    assert sorted(set(replayed["epoch"])) == [0, 1, 2]
    for row in run.record.rows:
        here = replayed[replayed["epoch"] == row["epoch"]]
        assert values(here, "alpha").tolist() == row["alpha"]
        assert values(here, "sigma").tolist() == row["sigma"]
        assert set(here["architecture"]) == {row["architecture"]}


def test_what_is_measured(replayed: pd.DataFrame, tmp_path: Path) -> None:
    """Gradients and rises of the last epoch, computed again by plain autograd."""
    search = plain(tmp_path).method
    split, space = search.problem.images, search.problem.space
    whole = probe(split.valid_images, split.valid_labels, 64, mean=split.mean, std=split.std)
    first, second = ((whole[0][part], whole[1][part]) for part in (slice(32), slice(32, 64)))

    def loss(alpha: torch.Tensor, batch=first) -> torch.Tensor:
        return functional.cross_entropy(search.supernet(batch[0], search.relax(alpha)), batch[1])

    def gradient(alpha: torch.Tensor, batch=first) -> torch.Tensor:
        alpha = alpha.detach().requires_grad_()
        return torch.autograd.grad(loss(alpha, batch), alpha)[0]

    last = replayed[replayed["epoch"] == 2]
    mean, sigma = search.optimizer.mean, search.optimizer.sigma
    unit = torch.randn(4, 30, generator=Seeds(0, space.name, "digits", BALENAS).generator("mechanism", 2))
    np.testing.assert_allclose(values(last, "gradient", "mean"), gradient(mean), rtol=1e-4, atol=1e-6)
    errors = last[(last["quantity"] == "gradient") & (last["width"] == "mean")]["error"]
    spread = (gradient(mean) - gradient(mean, second)).abs() / 2**0.5  # the standard deviation of two
    np.testing.assert_allclose(errors, spread, rtol=1e-3, atol=1e-6)
    for width, scale in (("own", sigma), ("wide", torch.ones(30))):
        ends = [mean + sign * e * scale for e in unit for sign in (1, -1)]
        found = torch.stack([gradient(end) for end in ends])
        expected = found.mean(0)
        skips = last[(last["quantity"] == "push") & (last["width"] == width) & (last["operation"] == "skip_connect")]
        assert skips["value"].item() == pytest.approx(-float(expected[SKIP].mean()), rel=1e-3)
        pairs = found[:, SKIP].mean(1).reshape(4, 2).mean(1)
        assert skips["error"].item() == pytest.approx(float(pairs.std() / 2), rel=1e-3)
        np.testing.assert_allclose(values(last, "gradient", width), expected, rtol=1e-3, atol=1e-6)
        whole = last[(last["quantity"] == "rise") & (last["width"] == width) & last["operation"].isna()]
        with torch.no_grad():
            rise = float(torch.stack([loss(end) for end in ends]).mean() - loss(mean))
        assert whole["value"].item() == pytest.approx(rise, abs=1e-5)
        predicted = last[(last["quantity"] == "predicted") & (last["width"] == width)]["value"].item()
        curvature = torch.tensor(values(last, "curvature"))
        assert predicted == pytest.approx(float((scale.double() ** 2 * curvature).sum() / 2), rel=1e-5)
    with torch.no_grad():
        ends = [mean + sign * e * SKIP for e in unit for sign in (1, -1)]
        rise = float(torch.stack([loss(end) for end in ends]).mean() - loss(mean))
    alone = last[(last["quantity"] == "rise") & (last["operation"] == "skip_connect")]
    assert alone["value"].item() == pytest.approx(rise, abs=1e-5)


def test_a_file_gives_back_what_was_written(replayed: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    path.write_bytes(observations.encoded(list(replayed.itertuples(index=False)), {"seed": 0}))
    frame, about = observations.read(path)
    assert about == {"seed": 0}
    assert frame["value"].tolist() == replayed["value"].tolist()
    assert frame["edge"].isna().tolist() == replayed["edge"].isna().tolist()
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="holds no measurements of the mechanism"):
        observations.read(path)


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [(["--tier", "none"], "unknown tier"), (["--jobs", "0"], "--jobs takes 1 or more"), (["--seed", "-1"], "--seed 0")],
)
def test_mistakes(arguments: list[str], mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "m.parquet"
    assert mechanism.main([*arguments, "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert mistake in error and len(error.splitlines()) == 1
    assert not output.exists()


def test_measurements_of_other_searches_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.parquet"
    about = {"seed": 0, "budget": {"tier": "smoke"}, "specs": {"darts-1st": "of other images"}}
    path.write_bytes(observations.encoded([], about))
    before = path.read_bytes()
    assert mechanism.main(["--tier", "smoke", "--output", str(path)]) == 2
    assert "has other searches (seed 0 at the smoke tier, spec of other images)" in capsys.readouterr().err
    assert path.read_bytes() == before
