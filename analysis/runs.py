"""The runs that tables and figures are made of, grouped so that nothing that differs in tier or images is mixed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import published
from benchmarks import store, tiers
from benchmarks.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
METHODS = (
    "random", "zero-cost", "darts-1st", "darts-2nd", "balenas-1st", "balenas-2nd", "balenas-tf-1st", "balenas-tf-2nd",
)  # fmt: skip
"""The methods that tables list as 'not run' where a store lacks them, in the order of tables."""
MEASURE = "cifar10_test"
"""What methods are compared by: test accuracy (%) of the cell found."""
_SIZES = ["budget.image_size", "budget.train_images", "budget.valid_images"]
_SETTING = ["space", "tier", "data", "images", *_SIZES]
_TIERS = ("paper", "cpu", "quick", "smoke")  # the order of tables: what says most about the paper first


@dataclass(frozen=True)
class Setting:
    """What a table never mixes.

    Attributes:
        space: search space.
        tier: tier.
        data: image set.
        images: its SHA-256.
        description: tier and images in words, for captions.
        sizes: side of the images in pixels, training and validation images.
        marks: sizes that are not the tier's, and the copy of the images where there are several.
    """

    space: str
    tier: str
    data: str
    images: str
    description: str
    sizes: tuple[int, ...]
    marks: tuple[str, ...]

    @property
    def origin(self) -> tuple[Hashable, ...]:
        """All but the space: what spaces that stand side by side share."""
        return self.tier, self.data, self.images, *self.sizes

    @property
    def stem(self) -> str:
        """Tier and images in file names, e.g. ``cpu-cifar10``."""
        return "-".join((self.tier, self.data, *self.marks))

    @property
    def name(self) -> str:
        """Stem of the setting's own file names, e.g. ``nas-bench-201-cpu-cifar10``."""
        return f"{self.space}-{self.stem}"

    @property
    def title(self) -> str:
        """Tier and images in a few words."""
        return ", ".join((f"{self.tier} tier", self.data, *self.marks))

    @property
    def is_digits(self) -> bool:
        """Whether the images are handwritten digits, on which no claim of the paper is tested."""
        return self.data == "digits"

    @property
    def is_papers(self) -> bool:
        """Whether the tier is the paper's setting."""
        return self.tier == "paper"


@dataclass(frozen=True)
class Runs:
    """Runs of one or several stores.

    Attributes:
        epochs: a row an epoch, as ``benchmarks.store.frame`` gives it, with ``label``: the method's name and whatever
            differs among its runs in one setting.
        folders: where they are from.
        superseded: runs left out because the same search was done with other numerics too.
    """

    epochs: pd.DataFrame
    folders: tuple[Path, ...] = ()
    superseded: int = 0

    @cached_property
    def finals(self) -> pd.DataFrame:
        """The last row of each finished run."""
        last = self.epochs.groupby("spec_hash", sort=False).tail(1)
        return last[last["status"] == "done"]

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The last row of each run that did not finish."""
        last = self.epochs.groupby("spec_hash", sort=False).tail(1)
        return last[last["status"] != "done"]

    @property
    def omissions(self) -> list[str]:
        """What a table's notes say of the runs left out."""
        rule = "of a search done with several numerics the newest finished run counts"
        return [f"{self.superseded} run(s) are left out: {rule}."] if self.superseded else []

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting of which a run is finished: tiers nearest to the paper first, NAS-Bench-201 before 1Shot1."""
        found = []
        copies = self.finals.groupby(["tier", "data"])["images"].nunique()
        for _, group in self.finals.groupby(_SETTING, sort=False):
            row = group.iloc[0]
            space, tier, data, images = (str(row[name]) for name in _SETTING[:4])
            usual = _numbers(tier, space, data)
            marks = [
                f"{name.removeprefix('budget.')}={row[name]}" for name in _SIZES if usual.get(name) != _short(row[name])
            ]
            marks += [images[:6]] if copies[tier, data] > 1 else []
            sizes = tuple(int(row[name]) for name in _SIZES)
            found.append(Setting(space, tier, data, images, describe(row), sizes, tuple(marks)))
        return tuple(sorted(found, key=lambda s: (_rank(s.tier), s.data, len(s.space), s.space, s.images, s.sizes)))

    def setting_of(self, run: pd.Series) -> Setting:
        """The setting of a finished run."""
        return next(setting for setting in self.settings if (setting.space, *setting.origin) == tuple(run[_SETTING]))

    def settings_of(self, space: str, *labels: str) -> list[Setting]:
        """Settings of a space that have all these labels, images before digits, nearest to the paper first."""
        found = [s for s in self.settings if s.space == space and set(labels) <= set(self.labels(s))]
        return sorted(found, key=lambda setting: setting.is_digits)

    @cached_property
    def groups(self) -> list[tuple[Setting, ...]]:
        """The settings of equal tier and images: what one figure may show side by side."""
        found: dict[tuple[Hashable, ...], list[Setting]] = {}
        for setting in self.settings:
            found.setdefault(setting.origin, []).append(setting)
        return [tuple(settings) for settings in found.values()]

    def of(self, setting: Setting, label: str | None = None, *, epochs: bool = False) -> pd.DataFrame:
        """Finished runs of a setting (and of one label), by seed: their last rows, or all of them."""
        parts = self._epochs_by_setting if epochs else self._finals_by_setting
        frame = parts[setting.space, *setting.origin]
        return frame if label is None else frame[frame["label"] == label]

    @cached_property
    def _finals_by_setting(self) -> dict[Hashable, pd.DataFrame]:
        return {key: part.sort_values("seed", kind="stable") for key, part in self.finals.groupby(_SETTING)}

    @cached_property
    def _epochs_by_setting(self) -> dict[Hashable, pd.DataFrame]:
        done = self.epochs[self.epochs["status"] == "done"]
        return {key: part.sort_values(["seed", "epoch"], kind="stable") for key, part in done.groupby(_SETTING)}

    def labels(self, setting: Setting) -> list[str]:
        """The methods (with variants) of a setting: those of ``METHODS`` in its order, then others by name."""
        frame = self.of(setting)[["method", "label"]].drop_duplicates()
        order = {name: place for place, name in enumerate(METHODS)}
        rows = sorted(frame.itertuples(), key=lambda r: (order.get(str(r.method), len(order)), str(r.label)))
        return [str(row.label) for row in rows]


def paper_labels() -> dict[str, str]:
    """The paper's names of these methods."""
    labels = {method: row.label for row in published.find("Table 1").rows for method in row.methods}
    return labels | {
        "balenas-tf-1st": "BaLeNAS-TF (1st)",
        "balenas-tf-2nd": "BaLeNAS-TF (2nd)",
        "random": "Random",
    }


def within(frame: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The rows of a setting, finished or not."""
    return frame[(frame[_SETTING] == [setting.space, *setting.origin]).all(axis=1)]


def method_of(label: str) -> str:
    """The method of a label."""
    return label.partition(" [")[0]


def display(label: str) -> str:
    """A label as tables and figures print it: the paper's name of the method, its hyper-parameters, and the variant."""
    method, _, variant = label.partition(" [")
    base, _, settings = method.partition("@")
    name = paper_labels().get(base, base) + (f", {settings}" if settings else "")
    return name + (f" [{variant}" if variant else "")


def share(frame: pd.DataFrame, operations: Sequence[str]) -> pd.Series:
    """Share of some operations in the chosen cells, in %; missing where the space has none of them."""
    counts = [name for name in frame if str(name).startswith("count_") and frame[name].notna().any()]
    held = [name for name in counts if str(name).removeprefix("count_") in operations]
    if not held:
        return pd.Series(math.nan, frame.index)
    return 100 * frame[held].sum(axis=1) / frame[counts].sum(axis=1)


def describe(row: pd.Series) -> str:
    """Tier and images of a run in words."""
    size = int(row["budget.image_size"])
    images = f"{int(row['budget.train_images']):,} + {int(row['budget.valid_images']):,} images of {size}x{size}"
    provenance = row.get("facts.images_provenance")
    source = f", {provenance}" if isinstance(provenance, str) else ""
    return f"{row['tier']} tier, {row['data']} ({images}{source}, SHA-256 {str(row['images'])[:12]})"


def default_folders(root: Path = ROOT) -> list[Path]:
    """The committed reference results if there are any, else a user's own in ``results/runs``."""
    reference = root / "results" / "reference"
    committed = [path for path in sorted(reference.glob("*")) if next(path.rglob("seed-*.parquet"), None)]
    return committed or [root / "results" / "runs"]


def load(folders: Sequence[Path]) -> Runs:
    """Read stores.

    Raises:
        UserError: a missing or empty folder, a damaged file, or runs that no table could tell apart.
    """
    frame = store.frame(list(folders), final=False)
    where = ", ".join(map(str, folders))
    if frame.empty:
        raise UserError(f"no results in {where}: run python -m benchmarks.run first, or name a folder with --results")
    if not (frame["status"] == "done").any():
        n, folder = frame["spec_hash"].nunique(), folders[0]
        raise UserError(f"none of {n} runs in {where} is finished: python -m benchmarks.status {folder} says why")
    frame, superseded = _newest(frame)
    return Runs(_labelled(frame), tuple(folders), superseded)


def _newest(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Of runs that differ in their numerics alone keep the newest finished one, and where none is, the newest."""
    knobs = [name for name in frame if str(name).startswith(("budget.", "compute."))]
    key = ["space", "data", "images", "method", "seed", *knobs]
    finished = frame.assign(numerics=frame["numerics"].where(frame["status"] == "done"))
    newest, best = (part.groupby(key, dropna=False)["numerics"].transform("max") for part in (frame, finished))
    kept = frame[frame["numerics"] == best.fillna(newest)]
    return kept, frame["spec_hash"].nunique() - kept["spec_hash"].nunique()


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Add ``label``: the method, and in brackets what differs between its runs in one setting or from the tier."""
    frame = frame.copy()
    frame["label"] = frame["method"].astype(str)
    parts, named = ("config.", "budget.", "compute."), ("budget.tier", "budget.data")
    knobs = [name for name in frame.columns if name.startswith(parts) and name not in named]
    for (space, tier, data, *_), group in frame.groupby([*_SETTING, "method"], sort=False):
        usual = _numbers(str(tier), str(space), str(data))
        found = {knob: set(group[knob].map(_short)) | ({usual[knob]} if knob in usual else set()) for knob in knobs}
        differing = [knob for knob in knobs if len(found[knob]) > 1]
        if differing:
            settings = group[differing].apply(
                lambda row: ", ".join(f"{knob.split('.', 1)[1]}={_short(row[knob])}" for knob in row.index), axis=1
            )
            frame.loc[group.index, "label"] = group["method"] + " [" + settings + "]"
    runs = frame.drop_duplicates("spec_hash")
    done = runs[runs["status"] == "done"]
    twice = done[done.duplicated([*_SETTING, "label", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(
            f"two runs of {row['label']} on {row['space']} at the {row['tier']} tier, seed {row['seed']}, differ only "
            "in what they start from: name results folders that hold one of them"
        )
    return frame


def changes_of_tier(run: Mapping[Any, Any]) -> dict[str, str]:
    """Numbers of a run's budget that are not those of its tier; none for a tier that is not here."""
    usual = _numbers(run["tier"], run["space"], run["data"])
    return {knob.partition(".")[2]: _short(run[knob]) for knob, value in usual.items() if _short(run[knob]) != value}


def _numbers(tier: str, space: str, data: str) -> dict[str, str]:
    """A tier's numbers by column, as labels print them; none for a tier that is not here."""
    try:
        budget = tiers.budget(tier, space, data=data)
    except UserError:
        return {}
    return {f"budget.{name}": _short(value) for name, value in asdict(budget).items()}


def _short(value: object) -> str:
    if isinstance(value, float):
        return "unset" if math.isnan(value) else f"{value:g}"
    return "unset" if value is None else str(value)


def _rank(tier: str) -> int:
    return _TIERS.index(tier) if tier in _TIERS else len(_TIERS)
