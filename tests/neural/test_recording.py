import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from pipeline.errors import InputError
from pipeline.neural.recording import read_header, read_units


def test_everything_comes_back_as_it_was_written(write_nwb, rng):
    trains = [np.sort(rng.uniform(0, 60, n)) for n in (50, 0, 7)]
    intervals = [np.array([[0.0, 20.0], [30.0, 60.0]]), np.array([[0.0, 60.0]]), np.array([[5.0, 55.0]])]
    path = write_nwb(
        [
            {"spike_times": s, "obs_intervals": o, "id": i, "group": g}
            for s, o, i, g in zip(trains, intervals, (11, 4, 7), (0, 1, 0), strict=True)
        ],
        regions=["A1", "IC"],
        invalid_times=[(40.0, 41.0), (3.0, 3.5)],
    )
    units = read_units(path)
    assert units.nwb_id == ["11", "4", "7"]
    assert units.region == ["A1", "IC", "A1"]
    for found, expected in zip(units.spike_times_s, trains, strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(units.observed_s, intervals, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(units.invalid_times_s, [[3.0, 3.5], [40.0, 41.0]])
    header = read_header(path)
    assert (header.n_units, header.n_spikes) == (3, 57)
    assert (header.start_s, header.stop_s) == (
        min(t[0] for t in trains if len(t)),
        max(t[-1] for t in trains if len(t)),
    )


def test_regions_from_electrodes(write_nwb):
    units = [{"spike_times": [1.0], "electrodes": e} for e in ([0], [1, 2], [2, 1, 0])]
    path = write_nwb(units, regions=["cortex"], electrodes=["A1", "AAF", "AAF"])
    assert read_units(path).region == ["A1", "AAF", "AAF/A1"]


def test_unsorted_and_missing_spike_times(write_nwb):
    many = np.arange(2000.0) / 7
    path = write_nwb([{"spike_times": [3.0, 1.0, np.nan, 2.0]}, {"spike_times": [*many, np.inf]}])
    with pytest.warns(UserWarning) as warned:
        units = read_units(path)
    assert len(warned) == 2  # one for each kind, not for each unit
    np.testing.assert_array_equal(units.spike_times_s[0], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(units.n_nonfinite, [1, 1])
    assert units.observed_s == [None, None]


def test_bad_intervals_are_left_out(write_nwb):
    intervals = np.array([[5.0, 6.0], [0.0, 1.0], [3.0, 3.0], [2.0, np.nan]])
    path = write_nwb([{"spike_times": [1.0], "obs_intervals": intervals}])
    np.testing.assert_array_equal(read_units(path).observed_s[0], [[0.0, 1.0], [5.0, 6.0]])


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_units(path)
    with pytest.raises(InputError):
        read_header(path)
    return str(caught.value)


def test_files_that_cannot_be_used(write_nwb, tmp_path):
    assert "no units table" in refusal(write_nwb(name="no_units.nwb"))
    assert "no such" in refusal(tmp_path / "none.nwb")
    (tmp_path / "text.nwb").write_text("not HDF5")
    assert "NWB in HDF5" in refusal(tmp_path / "text.nwb")
    assert "a folder" in refusal(tmp_path)


def test_units_without_spike_times(write_nwb):
    path = write_nwb([{"id": 3}])
    assert "no spike times" in refusal(path)


def test_every_way_of_cutting_a_file_gives_one_message(write_nwb, rng, tmp_path):
    whole = write_nwb([{"spike_times": np.sort(rng.uniform(0, 9, 2000))} for _ in range(3)]).read_bytes()
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.999):
        cut = tmp_path / "cut.nwb"
        cut.write_bytes(whole[: int(share * len(whole))])
        text = refusal(cut)
        assert "damaged" in text or "cannot read" in text


def test_an_index_that_points_past_the_spikes(write_nwb):
    path = write_nwb([{"spike_times": [1.0, 2.0]}, {"spike_times": [3.0]}])
    with h5py.File(path, "r+") as nwb:
        nwb["units/spike_times_index"][:] = [2, 9]
    assert "does not fit" in refusal(path)


@pytest.mark.filterwarnings("ignore:::pynwb", "ignore:::hdmf")
@pytest.mark.parametrize(
    ("name", "n_units", "n_spikes"),
    [("A8604-211122.nwb", 3, 21_354), ("sub-4_ses-4_ecephys+image.nwb", 35, 214_278)],
)
def test_real_recordings_agree_with_pynwb(real_nwb, name, n_units, n_spikes):
    path = real_nwb(name)
    units = read_units(path)
    assert len(units) == n_units
    assert sum(len(times) for times in units.spike_times_s) == n_spikes == read_header(path).n_spikes
    with NWBHDF5IO(path, "r") as io:
        table = io.read().units
        for unit in (0, n_units - 1):
            np.testing.assert_array_equal(units.spike_times_s[unit], np.sort(table["spike_times"][unit]))
            assert units.nwb_id[unit] == str(table.id[unit])
            if "electrodes" in table.colnames:
                row = table["electrodes"].data[unit]
                location = table["electrodes"].table["location"][row]
                assert units.region[unit] == (location.decode() if isinstance(location, bytes) else location)
