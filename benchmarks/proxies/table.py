"""Scores on disk: one Parquet file a space and proxy, with everything that determines the scores in its footer."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError
from benchmarks.files import save

SCHEMA_VERSION = 1
CHANNELS = 16
"""Width of the networks that file names do not mention."""
_FOOTER = b"balenas-bench proxy scores"


@dataclass(frozen=True)
class Settings:
    """What a score depends on besides architecture and seed.

    Attributes:
        space: name of the space.
        proxy: name of the proxy.
        channels: of the network's first stage.
        cells_per_stage: of the network.
        classes: outputs of the network.
        image_size: height and width in pixels.
        images: the image set, or None for proxies that look at no images.
        images_sha256: of the set's training images and labels.
        images_provenance: what is known about that copy of the set.
        batch_size: images in the batch, for proxies that look at images.
        loss: of the batch, for proxies that use it.
        initialisation: how weights are drawn.
        version: raised when a change of the code changes scores.
    """

    space: str
    proxy: str
    channels: int
    cells_per_stage: int
    classes: int
    image_size: int
    images: str | None = None
    images_sha256: str | None = None
    images_provenance: str | None = None
    batch_size: int | None = None
    loss: str = "cross-entropy, mean"
    initialisation: str = "PyTorch's default law; a stream for each seed, layer position and shape"
    version: int = 1


@dataclass(frozen=True)
class NotFinite:
    """A score that was no finite number and therefore ranks last.

    Attributes:
        seed: of the initialisation.
        architecture: the space's string.
        value: what the proxy returned: ``nan``, ``inf`` or ``-inf``.
    """

    seed: int
    architecture: str
    value: str


@dataclass(frozen=True)
class ScoreTable:
    """Scores of the architectures of a space by one proxy.

    Attributes:
        settings: what they depend on.
        positions: which architectures, ``SearchSpace.at`` positions, ascending, int32 ``[n]``.
        by_seed: float64 ``[n]`` for every initialisation seed, bigger is better, -inf where the proxy gave no finite
            number. Scores are not transformed: SynFlow's largest (1e50) fit float64, in which they compare exactly.
        size: positions in the space.
        population: architectures that are told apart, of which these are all or a uniform sample without replacement:
            cells on NAS-Bench-201, distinct graphs on NAS-Bench-1Shot1, each at one of its encodings.
        not_finite: every such case.
        facts: versions, processor, revision, command.
    """

    settings: Settings
    positions: np.ndarray
    by_seed: Mapping[int, np.ndarray]
    size: int
    population: int
    not_finite: tuple[NotFinite, ...] = ()
    facts: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every architecture of the space is scored."""
        return len(self.positions) == self.population

    @cached_property
    def _row(self) -> np.ndarray:
        rows = np.full(self.size, -1, np.int32)
        rows[self.positions] = np.arange(len(self.positions))
        return rows

    def scores(self, positions: np.ndarray, *, seed: int) -> np.ndarray:
        """Scores of the architectures at ``positions``, float64 ``[len(positions)]``.

        Raises:
            UserError: a seed or an architecture that the table does not hold.
        """
        if seed not in self.by_seed:
            held = ", ".join(map(str, self.by_seed))
            raise UserError(f"no {self.settings.proxy} scores at seed {seed}: the table holds seeds {held}")
        rows = self._row[positions]
        if (rows < 0).any():
            raise UserError(
                f"{int((rows < 0).sum())} of {len(rows)} architectures are not among the {len(self.positions):,} of "
                f"{self.population:,} that {self.settings.proxy} was computed for: run python -m benchmarks.proxies"
            )
        return np.asarray(self.by_seed[seed][rows])


def file_name(space: str, proxy: str, channels: int = CHANNELS) -> str:
    """Name of the file of a space, a proxy and a network width."""
    width = "" if channels == CHANNELS else f".c{channels}"
    return f"{space}.{proxy}{width}.parquet"


def write(table: ScoreTable, path: Path) -> None:
    """Write atomically."""
    columns = {"position": table.positions.astype(np.int32)}
    columns |= {f"seed_{seed}": np.asarray(scores, np.float64) for seed, scores in table.by_seed.items()}
    footer = {
        "schema_version": SCHEMA_VERSION,
        "settings": dataclasses.asdict(table.settings),
        "size": table.size,
        "population": table.population,
        "not_finite": [dataclasses.astuple(case) for case in table.not_finite],
        "facts": dict(table.facts),
    }
    data = pa.table(columns).replace_schema_metadata({_FOOTER: json.dumps(footer).encode()})
    buffer = io.BytesIO()
    # Real-valued scores do not repeat; byte-stream splitting is what shrinks them.
    split = [name for name in columns if name.startswith("seed_")]
    pq.write_table(
        data, buffer, compression="zstd", compression_level=19, use_dictionary=False, use_byte_stream_split=split
    )
    save(path, buffer.getvalue())


def read(path: Path) -> ScoreTable:
    """Read a table. Raises ``UserError`` for a missing, damaged or foreign file."""
    if not path.is_file():
        raise UserError(f"no proxy scores at {path}: compute them with python -m benchmarks.proxies")
    try:
        data = pq.read_table(path)
        footer = json.loads((data.schema.metadata or {})[_FOOTER])
        if footer["schema_version"] != SCHEMA_VERSION:
            version = footer["schema_version"]
            raise UserError(f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}: compute it again")
        return ScoreTable(
            settings=Settings(**footer["settings"]),
            positions=data.column("position").to_numpy(),
            by_seed={
                int(name.removeprefix("seed_")): data.column(name).to_numpy()
                for name in data.column_names
                if name.startswith("seed_")
            },
            size=footer["size"],
            population=footer["population"],
            not_finite=tuple(NotFinite(*case) for case in footer["not_finite"]),
            facts=footer["facts"],
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is damaged or holds no proxy scores ({reason}): compute it again") from None
