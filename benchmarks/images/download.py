"""Fetches CIFAR-10 for users who are online. Nothing but verified files ever appears under the final name."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from benchmarks.errors import UserError
from benchmarks.images.cifar10 import FOLDER, OFFICIAL, Release

ARCHIVE = "cifar-10-python.tar.gz"
TIMEOUT = 60.0
"""Seconds without a byte after which the server counts as gone."""


def download(data_dir: Path, release: Release = OFFICIAL) -> Path:
    """Put the official files into ``data_dir/cifar-10-batches-py`` and return that folder.

    Fetches the archive (170 MB) with a progress bar on stderr unless a good one lies in ``data_dir`` already, checks
    it, unpacks it beside its final place, checks every file and renames the folder. An interrupted download goes on
    where it stopped. An official folder that is already there is left as it is.

    Args:
        data_dir: created if need be.
        release: where to fetch from and what to expect.

    Raises:
        UserError: another folder in the way, no connection, a wrong checksum, or no room on the disk.
    """
    target = data_dir / FOLDER
    try:
        if target.exists():
            if _mismatches(target, release):
                raise UserError(
                    f"{target} is there but is not the official release: move it away or choose another --data-dir"
                )
            return target
        data_dir.mkdir(parents=True, exist_ok=True)
        own = data_dir / ARCHIVE
        if own.is_file() and _md5_of(own) == release.archive_md5:
            _unpack(own, target, release)
        else:
            partial = data_dir / f"{ARCHIVE}.part"
            _fetch(partial, release)
            _unpack(partial, target, release)
            partial.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write CIFAR-10 to {data_dir} ({error.strerror or error}): choose another --data-dir"
        ) from None
    return target


def _fetch(partial: Path, release: Release) -> None:
    """Complete ``partial`` and verify it; a wrong file is removed, an unfinished one is kept for the next attempt."""
    if not (partial.exists() and _md5_of(partial) == release.archive_md5):
        try:
            _transfer(partial, release.url)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error).strip("<>")
            raise UserError(f"download of {release.url} failed ({reason}): run the command again to go on") from None
        if _md5_of(partial) != release.archive_md5:
            partial.unlink()
            raise UserError(f"{release.url} gave a file with a wrong checksum, now removed: run the command again")


def _transfer(partial: Path, url: str) -> None:
    """Append to ``partial`` what it lacks of ``url``, or all of it from a server that cannot resume."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            partial.unlink()  # longer than the file there: a leftover of something else
            return _transfer(partial, url)
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        start = have if resumed else 0
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        columns = TextColumn("CIFAR-10"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        with partial.open("ab" if resumed else "wb") as file, Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("download", total=total, completed=start)
            while block := response.read(1 << 18):
                file.write(block)
                bar.advance(task, len(block))
    if total is not None and partial.stat().st_size < total:
        raise ConnectionError(f"the connection closed after {partial.stat().st_size:,} of {total:,} bytes")
    return None


def _unpack(archive: Path, target: Path, release: Release) -> None:
    """Take the release's files out of ``archive``, verify them and give them their final name at once."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".cifar-10-") as scratch:
        folder = Path(scratch) / FOLDER
        folder.mkdir()
        try:
            with tarfile.open(archive, "r:gz") as tar:
                for member in tar:
                    name = PurePosixPath(member.name).name
                    source = tar.extractfile(member) if name in release.md5 else None
                    if source is not None:
                        with (folder / name).open("wb") as file:
                            shutil.copyfileobj(source, file)
                            file.flush()
                            os.fsync(file.fileno())
        except (tarfile.TarError, EOFError) as error:
            raise UserError(f"{archive} cannot be unpacked ({error}): remove it and run the command again") from None
        if wrong := _mismatches(folder, release):
            raise UserError(f"{archive} holds no official {', '.join(wrong)}: remove it and run the command again")
        folder.rename(target)


def _mismatches(folder: Path, release: Release) -> list[str]:
    """Files that are missing or have another checksum than the release's."""
    return [name for name, md5 in release.md5.items() if not (folder / name).is_file() or _md5_of(folder / name) != md5]


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
