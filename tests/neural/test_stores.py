"""The same recording from HDF5 and Zarr, from a path and an address."""

import builtins
import functools
import re
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from pipeline.errors import InputError
from pipeline.neural.recording import read_header
from pipeline.sessions import absent_files, read_sessions


@pytest.fixture
def recording(write_nwb, rng):
    trains = [np.sort(rng.uniform(0, 60, n)) for n in (500, 80, 7)]
    units = [
        {
            "spike_times": t,
            "obs_intervals": [[0.0, 30.0], [35.0, 60.0]],
            "quality": q,
            "electrodes": [e],
            "id": i,
            "group": 0,
        }
        for t, q, e, i in zip(trains, ("good", "mua", "good"), (0, 1, 1), (5, 3, 8), strict=True)
    ]
    return write_nwb(
        units, columns=("quality",), regions=["probe"], electrodes=["A1", "IC"], invalid_times=[(4.0, 5.0)]
    )


def in_zarr(path):
    hdmf_zarr = pytest.importorskip("hdmf_zarr")
    folder = path.with_suffix(".nwb.zarr")
    with NWBHDF5IO(path, "r") as source, hdmf_zarr.NWBZarrIO(str(folder), "w") as target:
        target.export(src_io=source, write_args={"link_data": False})
    return folder


class Ranges(SimpleHTTPRequestHandler):
    """Python's file server with ranges, which it lacks; keeps what was asked for."""

    asked: list

    def send_head(self):
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match or self.server.plain:
            return super().send_head()
        with open(self.translate_path(self.path), "rb") as file:
            size = file.seek(0, 2)
            first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
            file.seek(first)
            data = file.read(last - first + 1)
        self.server.asked.append((first, last))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data)
        return None

    def end_headers(self):
        if not self.server.plain:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(tmp_path)))
    server.asked, server.plain = [], False
    server.handle_error = lambda *_: None  # a reader that hangs up early
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield lambda name: f"http://127.0.0.1:{server.server_address[1]}/{name}", server
    server.shutdown()
    server.server_close()


def same(one, other):
    np.testing.assert_array_equal(one[0]["counts"], other[0]["counts"])
    np.testing.assert_array_equal(one[0]["valid"], other[0]["valid"])
    assert one[1].equals(other[1])


def test_zarr_is_read_as_hdf5(recording, binned):
    folder = in_zarr(recording)
    here = binned(recording, unit_filter="quality == 'good'")
    assert list(here[1]["region"]) == ["A1", "IC", "IC"] and here[0].sizes["unit"] == 2
    same(binned(folder, unit_filter="quality == 'good'"), here)
    assert read_header(folder) == read_header(recording)


def test_damaged_zarr_is_one_message(recording, binned):
    folder = in_zarr(recording)
    (folder / "units" / "spike_times" / "0").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        binned(folder)
    for file in folder.glob(".z*"):
        file.unlink()
    with pytest.raises(InputError, match="a folder"):
        binned(folder)


def test_zarr_without_its_package(recording, binned, monkeypatch):
    folder = in_zarr(recording)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "zarr":
            raise ImportError("No module named 'zarr'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'duet\[zarr\]'"):
        binned(folder)


def test_an_address_gives_what_the_file_gives(recording, binned, serve):
    address, server = serve
    same(binned(address(recording.name)), binned(recording))
    assert server.asked
    assert read_header(address(recording.name)) == read_header(recording)


def test_only_parts_of_a_long_file_are_fetched(by_hand, serve, rng):
    address, server = serve
    path = by_hand([np.sort(rng.uniform(0, 600, 2_000_000)) for _ in range(3)])
    header = read_header(address(path.name))
    assert header.n_spikes == 6_000_000 and header == read_header(path)
    fetched = sum(last - first + 1 for first, last in server.asked)
    assert path.stat().st_size > 48e6 and fetched < 0.75 * path.stat().st_size


def test_zarr_at_an_address(recording, binned, serve):
    address, _ = serve
    folder = in_zarr(recording)
    same(binned(address(folder.name)), binned(recording))


def test_addresses_that_cannot_be_used(binned, serve, tmp_path):
    address, _ = serve
    (tmp_path / "text.nwb").write_text("no HDF5 " * 1000)
    cases = [
        (address("none.nwb"), "nothing can be read at this address(.|\\n)*404"),
        (address("text.nwb"), "no NWB file"),
        ("http://127.0.0.1:9/closed.nwb", "nothing can be read(.|\\n)*Cannot connect"),
        ("https://no.such.host.invalid/a.nwb", "nothing can be read"),
        (address("none.nwb.zarr"), "no NWB file|failed"),
    ]
    for place, said in cases:
        with pytest.raises(InputError, match=said) as caught:
            binned(place)
        assert place in str(caught.value)


def test_a_server_without_ranges(by_hand, binned, serve, rng):
    address, server = serve
    server.plain = True
    short, long = (
        by_hand([np.arange(1, 90) / 7], name="a.nwb"),
        by_hand([np.sort(rng.uniform(0, 99, 10**6))], name="b.nwb"),
    )
    same(binned(address(short.name)), binned(short))  # comes whole
    with pytest.raises(InputError, match=r"by parts|reading from this address failed"):
        binned(address(long.name))


def test_s3_without_its_package(binned):
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"duet\[remote\](.|\n)*https://"):
            binned("s3://dandiarchive/blobs/a.nwb")


def test_addresses_and_folders_in_the_sheet(recording, tmp_path):
    folder = in_zarr(recording)
    sheet = tmp_path / "sessions.tsv"
    sheet.write_text(
        "session\tsubject\taudio\tnwb\n"
        f"a\tanna\t\t{folder.name}\nb\tanna\t\thttps://host.org/b.nwb\nc\tanna\t\ts3://bucket/c.nwb\n"
    )
    sessions = read_sessions(sheet)
    assert [session.nwb for session in sessions] == [folder, "https://host.org/b.nwb", "s3://bucket/c.nwb"]
    assert not any(absent_files(session) for session in sessions)
    sheet.write_text("session\tsubject\taudio\tnwb\na\tanna\tnwb:/acquisition/mic\thttps://host.org/b.nwb\n")
    with pytest.raises(InputError, match="cannot be read from an address"):
        read_sessions(sheet)
