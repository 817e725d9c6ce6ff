"""Files that are damaged, cut, linked to what is gone, or no recordings."""

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from pipeline.errors import InputError
from pipeline.neural.recording import Choice, read_header, read_units

TRAIN = np.arange(1, 2001) / 20 + 0.013  # 20 Hz for 100 s


def refusal(binned, path, **options):
    with pytest.raises(InputError) as caught:
        binned(path, **options)
    text = str(caught.value)
    assert "where:" in text and "Traceback" not in text
    return text


def test_broken_links(binned, by_hand, tmp_path):
    by_hand([TRAIN], name="spikes.nwb")
    with h5py.File(tmp_path / "linked.nwb", "w") as nwb:
        nwb.attrs["nwb_version"] = "2.7.0"
        nwb["units"] = h5py.ExternalLink("spikes.nwb", "/units")
    assert int(binned(tmp_path / "linked.nwb")[0]["counts"].sum()) == 2000
    (tmp_path / "spikes.nwb").unlink()
    text = refusal(binned, tmp_path / "linked.nwb")
    assert "link to a file that is not there" in text and "/units -> spikes.nwb:/units" in text
    with h5py.File(by_hand([TRAIN], name="column.nwb"), "r+") as nwb:
        del nwb["units/spike_times"]
        nwb["units/spike_times"] = h5py.ExternalLink("gone.nwb", "/x")
    assert "gone.nwb" in refusal(binned, tmp_path / "column.nwb")


def test_every_way_of_cutting_a_file_gives_one_message(binned, write_nwb, rng, tmp_path):
    whole = write_nwb([{"spike_times": np.sort(rng.uniform(0, 9, 2000))} for _ in range(3)]).read_bytes()
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999):
        cut = tmp_path / "cut.nwb"
        cut.write_bytes(whole[: int(share * len(whole))])
        text = refusal(binned, cut)
        assert ("damaged" in text or "cannot read" in text) and "cut.nwb" in text


def test_bytes_overwritten_anywhere_never_give_a_traceback(by_hand, rng, tmp_path, binned):
    whole = bytearray(by_hand([TRAIN[:50]]).read_bytes())
    for _ in range(60):
        broken = whole.copy()
        place = int(rng.integers(8, len(whole) - 8))
        broken[place : place + 8] = rng.bytes(8)
        (tmp_path / "noise.nwb").write_bytes(broken)
        try:
            binned(tmp_path / "noise.nwb")
        except InputError as error:
            assert "noise.nwb" in str(error) or "session" in str(error)


def test_not_hdf5(binned, tmp_path):
    (tmp_path / "text.nwb").write_text("not HDF5")
    assert "another format" in refusal(binned, tmp_path / "text.nwb")
    assert "a folder" in refusal(binned, tmp_path)
    assert "no such" in refusal(binned, tmp_path / "none.nwb")


def test_headers_refuse_what_reading_refuses(by_hand, write_nwb):
    broken = [
        (by_hand([TRAIN], columns={"spike_times_index": [9000]}, name="a.nwb"), Choice()),
        (by_hand([TRAIN], columns={"spike_times": None}, name="b.nwb"), Choice()),
        (by_hand([TRAIN], name="c.nwb"), Choice(unit_filter="nothing > 3")),
        (by_hand([TRAIN], name="d.nwb"), Choice(table="/other")),
        (write_nwb(), Choice()),
    ]
    for path, choice in broken:
        texts = []
        for read in (read_units, read_header):
            with pytest.raises(InputError) as caught:
                read(path, choice)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]


def test_electrodes_that_are_not_there(binned, write_nwb):
    path = write_nwb([{"spike_times": TRAIN, "electrodes": [0]}], regions=["A1"], electrodes=["A1"])
    with h5py.File(path, "r+") as nwb:
        nwb["units/electrodes"][:] = 7
    text = refusal(binned, path)
    assert "no such electrode" in text and "row 7" in text


@pytest.mark.filterwarnings("ignore:::hdmf", "ignore:::pynwb")
def test_pynwb_reads_the_same(by_hand, write_nwb, binned, rng):
    trains = [np.sort(rng.uniform(0, 60, n)) for n in (50, 7, 400)]
    path = write_nwb([{"spike_times": train} for train in trains])
    counts, _, _ = binned(path)
    with NWBHDF5IO(path, "r") as io:
        for unit in range(3):
            times = io.read().units["spike_times"][unit]
            assert counts["counts"].values[:, unit].sum() == len(times)
