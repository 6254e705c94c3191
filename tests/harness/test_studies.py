"""Studies are plans of one change at a time, and ways of computing are runs of their own."""

from __future__ import annotations

from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch

from benchmarks import plan, run, tiers
from benchmarks.spec import ON_CPU, Budget, Compute, RunSpec
from benchmarks.studies import STUDIES, Row
from methods import METHODS, resolve

ROWS = [pytest.param(study, row, id=row.question) for study in STUDIES.values() for row in study.rows]


@pytest.mark.parametrize(("study", "row"), ROWS)
def test_a_row_changes_one_thing(study, row: Row) -> None:
    usual = tiers.budget(study.tier, study.space)
    changed = {name for name, value in row.budget.items() if asdict(usual)[name] != value}
    assert changed == set(row.budget)
    for method in row.methods:
        base = method.partition("@")[0]
        assert base in METHODS
        default, config = asdict(resolve(base)[1]), asdict(resolve(method)[1])
        knobs = {name for name in config if config[name] != default[name]}
        # A wide prior needs a posterior no wider, and a rule that is no Adam has a rate of another scale.
        knobs -= {"prec_init"} if knobs & {"prior_precision", "optimizer"} else set()
        assert len(knobs) + len(changed - ({"arch_lr"} if "optimizer" in knobs else set())) <= 1


def test_shared_knobs_are_turned_for_both_methods() -> None:
    for row in STUDIES["reading"].rows:
        optimizers = {asdict(resolve(method)[1]).get("optimizer", "vadam") for method in row.methods}
        if row.budget and optimizers == {"vadam"}:
            assert {method.partition("@")[0] for method in row.methods} == {"darts-1st", "balenas-1st"}


LIKE_CIFAR10 = SimpleNamespace(sha256="0" * 64, labels=range(50_000), images=torch.empty(0, 3, 32, 32))
"""What a plan asks of CIFAR-10, which is not at hand."""


def test_what_a_study_changes_holds_for_every_row_and_a_row_comes_on_top() -> None:
    study = replace(STUDIES["reading"], changes={"image_size": 32, "padding": 4, "epochs": 10})
    budgets = {row.question: study.budget(row) for row in study.rows}
    assert {(budget.image_size, budget.padding) for budget in budgets.values()} == {(32, 4)}
    assert {question for question, budget in budgets.items() if budget.epochs != 10} == {"twice the length"}


def test_a_confirmation_runs_rows_of_its_exploration_on_fresh_seeds() -> None:
    for study in STUDIES.values():
        if study.confirms:
            explored = STUDIES[study.confirms]
            rows = {(method, str(row.budget)) for row in explored.rows for method in row.methods}
            assert {(row.methods[0], str(row.budget)) for row in study.rows} <= rows
            assert not set(study.seeds) & set(explored.seeds)
            assert study.rows[0].methods[0].startswith("darts")


def test_no_row_has_a_method_that_its_exploration_lacks() -> None:
    with pytest.raises(ValueError, match="'IVON' has no darts-1st"):
        STUDIES["reading"].only("IVON", "darts-1st")


def test_the_plan_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.images, "load", lambda *_: LIKE_CIFAR10)
    study = STUDIES["reading"]
    made = plan.of_study(study)
    assert len(made.jobs) == len({job.spec.hash for job in made.jobs}) == 4 * sum(len(r.methods) for r in study.rows)
    assert [job.spec.seed for job in made.jobs] == sorted(job.spec.seed for job in made.jobs)


def test_a_row_of_a_study_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.images, "load", lambda *_: LIKE_CIFAR10)
    row = next(row for row in STUDIES["reading"].rows if row.question == "VON: the exact rule")
    alone = plan.make(
        methods=row.methods, space_names=["nas-bench-201"], seed_list=[0], tier="cpu", changes=["arch_lr=1e-5"]
    )
    (job,) = alone.jobs
    assert job.spec.hash in {planned.spec.hash for planned in plan.of_study(STUDIES["reading"]).jobs}


def test_a_way_of_computing_is_another_run() -> None:
    jobs = {
        compute: plan.make(
            methods=["random", "darts-1st"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke", compute=compute
        ).jobs
        for compute in (ON_CPU, Compute("cuda"), Compute(precision="bfloat16"), Compute(compile=True))
    }
    assert len({random.spec.hash for random, _ in jobs.values()}) == 1
    assert len({darts.spec.hash for _, darts in jobs.values()}) == len(jobs)
    for _, darts in jobs.values():
        assert RunSpec.from_json(darts.spec.to_json()) == darts.spec


def test_specs_from_before_there_was_a_choice_keep_their_hash() -> None:
    budget = Budget("t", "digits", 1, 1, 16, 0, False, 4, 1, 1, 1)
    spec = RunSpec("darts-1st", "nas-bench-201", 0, budget, {"order": 1}, "0" * 64)
    assert "compute" not in spec.to_json()
    assert spec.hash == "9fc49818d8046e082d49341abf1b7037c3b1171c9cd02834c49bfb9f894decf3"


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (["--study", "none"], "unknown study 'none'"),
        (["--study", "reading", "--methods", "random"], "give none of --all, --methods"),
        (["--study", "reading", "--seeds", "100,101"], "give none of --all, --methods"),
        (["--study", "reading", "--tier", "paper"], "give none of --all, --methods"),
        (["--study", "reading", "--budget", "epochs=3"], "give none of --all, --methods"),
        (["--all", "--budget", "arch_lr"], "number of a tier 'arch_lr' has no value"),
        (["--all", "--budget", "arch_rate=1"], "unknown number of a tier 'arch_rate': choose from arch_beta2, arch_lr"),
        (["--all", "--budget", "tier=cpu"], "unknown number of a tier 'tier'"),
        (["--all", "--budget", "epochs=2.5"], "epochs=2.5 is no whole number"),
        (["--all", "--budget", "arch_lr=nan"], "arch_lr=nan is out of range: choose a number above 0"),
        (["--all", "--budget", "padding=-1"], "choose a number above 0 or 0"),
        (["--all", "--budget", "arch_beta2=1"], "arch_beta2=1.0 is no decay"),
        (["--all", "--budget", "batch_size=800"], "larger than a split of images"),
        (["--all", "--budget", "train_images=640"], "make epochs of different length"),
        (["--all", "--budget", "probe_images=769"], "choose no more than these have"),
        (["--all", "--budget", "hessian_images=769"], "choose no more than these have"),
        (["--all", "--budget", "momentum=0"], "give nesterov=false too"),
        (["--all", "--budget", "image_size=3"], "cannot average digits from 16 to 3 pixels"),
        (["--all", "--budget", "train_images=960", "valid_images=960"], "cannot split digits into 960 + 960 images"),
        (["--all", "--together", "--dask-scheduler", "tcp://localhost:1"], "--together trains in this process"),
        (["--all", "--budget", "flip=maybe"], "flip=maybe is neither true nor false"),
        (["--all", "--device", "tpu"], "unknown device 'tpu': choose from cpu, cuda"),
        (["--all", "--precision", "half"], "choose from float32, bfloat16"),
    ],
)
def test_mistakes(arguments: list[str], mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(arguments) == 2
    error = capsys.readouterr().err
    assert mistake in error
    assert len(error.splitlines()) == 1
