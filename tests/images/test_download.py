"""The download against a server on this machine: whole, interrupted, resumed, damaged, refused."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.errors import UserError
from benchmarks.images import __main__ as command
from benchmarks.images.cifar10 import FOLDER, Release, load_cifar10
from benchmarks.images.download import ARCHIVE, download

PARTIAL = f"{ARCHIVE}.part"


class Server(ThreadingHTTPServer):
    """Serves one archive, as badly as told."""

    archive: bytes
    ranges = True
    stop_after: int | None = None
    status: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.requests.append(asked)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start >= len(self.server.archive):
            self.send_error(416)
            return
        body = self.server.archive[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(small_cifar, monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        files = {f"{FOLDER}/{path.name}": path.read_bytes() for path in sorted(small_cifar.folder.iterdir())}
        server.archive = archive_of({**files, f"{FOLDER}/readme.html": b"hello"})
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def release(server, small_cifar) -> Release:
    url = f"http://127.0.0.1:{server.server_port}/{ARCHIVE}"
    return dataclasses.replace(small_cifar.release, url=url, archive_md5=md5(server.archive))


@pytest.fixture
def place(tmp_path):
    return tmp_path / "new" / "folder"


def complaint(place, release) -> str:
    with pytest.raises(UserError) as caught:
        download(place, release)
    assert "\n" not in str(caught.value)
    assert not (place / FOLDER).exists()
    return str(caught.value)


def test_a_download_is_verified_and_leaves_only_the_folder(place, release, small_cifar):
    assert download(place, release) == place / FOLDER
    assert [path.name for path in place.iterdir()] == [FOLDER]
    assert {path.name for path in (place / FOLDER).iterdir()} == set(release.md5)
    assert load_cifar10(place, release).provenance == "official checksums verified"


def test_what_is_there_is_not_fetched_again(place, release, server):
    download(place, release)
    download(place, release)
    assert len(server.requests) == 1


def test_an_archive_that_the_user_fetched_is_used_and_kept(place, release, server):
    place.mkdir(parents=True)
    (place / ARCHIVE).write_bytes(server.archive)
    download(place, release)
    assert server.requests == []
    assert {path.name for path in place.iterdir()} == {FOLDER, ARCHIVE}


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(place, release, server, ranges):
    server.stop_after = 50_000
    assert f"after 50,000 of {len(server.archive):,} bytes" in complaint(place, release)
    assert (place / PARTIAL).read_bytes() == server.archive[:50_000]
    server.stop_after, server.ranges = None, ranges
    download(place, release)
    assert server.requests == [None, "bytes=50000-"]
    assert [path.name for path in place.iterdir()] == [FOLDER]


def test_a_whole_archive_left_before_unpacking_is_not_fetched_again(place, release, server):
    place.mkdir(parents=True)
    (place / PARTIAL).write_bytes(server.archive)
    download(place, release)
    assert server.requests == []


def test_a_leftover_longer_than_the_archive_is_replaced(place, release, server):
    place.mkdir(parents=True)
    (place / PARTIAL).write_bytes(server.archive + b"more")
    download(place, release)
    assert server.requests == [f"bytes={len(server.archive) + 4}-", None]


def test_a_wrong_archive_is_removed(place, release, server):
    server.archive = server.archive[:-1] + b"?"
    assert "wrong checksum" in complaint(place, release)
    assert list(place.iterdir()) == []


def test_a_leftover_of_another_file_is_removed_not_kept_for_ever(place, release, server):
    place.mkdir(parents=True)
    (place / PARTIAL).write_bytes(b"something else")
    assert "wrong checksum" in complaint(place, release)
    download(place, release)


def test_an_archive_with_a_wrong_batch_is_refused(place, release):
    altered = dataclasses.replace(release, md5={**release.md5, "data_batch_2": "another"})
    assert "no official data_batch_2" in complaint(place, altered)
    assert [path.name for path in place.iterdir()] == [PARTIAL]


def test_members_outside_the_folder_are_never_written(place, release, server):
    inside = {f"{FOLDER}/../data_batch_1": b"x", "/data_batch_1": b"x", "../data_batch_1": b"x", "data_batch_1": b"x"}
    server.archive = archive_of(inside)
    assert "no official" in complaint(place, dataclasses.replace(release, archive_md5=md5(server.archive)))
    assert [path.name for path in place.iterdir()] == [PARTIAL]
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses(place, release, server, status):
    server.status = status
    message = complaint(place, release)
    assert release.url in message
    assert str(status) in message


def test_nobody_listens(place, release, server):
    unreachable = dataclasses.replace(release, url="http://127.0.0.1:9/archive")
    assert "download of http://127.0.0.1:9/archive failed" in complaint(place, unreachable)


def test_another_folder_in_the_way_is_left_alone(place, release, server):
    (place / FOLDER).mkdir(parents=True)
    (place / FOLDER / "mine").write_text("keep")
    with pytest.raises(UserError, match="not the official release: move it away"):
        download(place, release)
    assert (place / FOLDER / "mine").read_text() == "keep"
    assert server.requests == []


def test_a_place_that_cannot_be_written(tmp_path, release):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --data-dir"):
        download(tmp_path / "file" / "folder", release)


def test_the_download_command(monkeypatch, capsys, place, release, server):
    monkeypatch.setattr(command, "download", functools.partial(download, release=release))
    assert command.main(["download", "--data-dir", str(place)]) == 0
    assert capsys.readouterr().out == f"CIFAR-10 is in {place / FOLDER}: official checksums verified\n"

    server.status = 404
    assert command.main(["download", "--data-dir", str(place.parent)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: download of {release.url} failed")
    assert err.count("\n") == 1


def test_an_interrupt_ends_with_130(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "download", interrupt)
    assert command.main(["download"]) == 130
    assert "go on" in capsys.readouterr().err


def test_describe(monkeypatch, capsys, tmp_path, small_cifar):
    monkeypatch.delenv("BALENAS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "data" / FOLDER)  # no folder 'data' here
    assert command.main(["describe"]) == 0
    out = capsys.readouterr().out
    assert "digits: 1,797 training images, no test split, 3x16x16, scikit-learn digits" in out
    assert "cifar10: no CIFAR-10 in data" in out

    print(command.summary(load_cifar10(small_cifar.folder, small_cifar.release)))
    out = capsys.readouterr().out
    assert "cifar10: 100 training images, 20 test images, 3x32x32, official checksums verified" in out
    assert "airplane, automobile" in out

    assert command.main(["describe", "--data-dir", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: no CIFAR-10 in")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["delete"], ["download", "--force"]])
def test_other_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
