import numpy as np
import pytest
from pynwb.ecephys import LFP, ElectricalSeries, SpikeEventSeries

from pipeline.errors import InputError
from pipeline.neural.recording import Choice, read_header
from pipeline.neural.series import BLOCK_STAMPS
from pipeline.neural.signals.lfp import band_power


@pytest.fixture
def potentials(write_nwb):
    def _write(data, *, inside=True, **series):
        def add(nwb):
            rows = nwb.create_electrode_table_region(list(range(data.shape[1])), "all")
            potential = ElectricalSeries(name="potential", data=data, electrodes=rows, **series)
            if not inside:
                nwb.add_acquisition(potential)
                return
            nwb.create_processing_module("ecephys", "potentials").add(LFP(electrical_series=potential))
            raw = ElectricalSeries(name="raw", data=data[:100], electrodes=rows, rate=30_000.0)
            nwb.add_acquisition(raw)

        return write_nwb(add=add, regions=["A1"], electrodes=["A1", "IC"][: data.shape[1]], name="lfp.nwb")

    return _write


BANDS = ((4.0, 12.0), (12.0, 30.0), (30.0, 80.0), (80.0, 150.0))


def test_band_power_of_sine_waves():
    t = np.arange(0, 20, 1e-3)
    samples = np.c_[3 * np.sin(2 * np.pi * 8 * t) + 0.5 * np.sin(2 * np.pi * 110 * t), 2 * np.cos(2 * np.pi * 50 * t)]
    power, rate_hz = band_power(samples, rate_hz=1000.0, bands_hz=BANDS)
    middle = power[int(2 * rate_hz) : -int(2 * rate_hz)]
    expected = [[4.5, 0, 0, 0.125], [0, 0, 2.0, 0]]
    np.testing.assert_allclose(middle.mean(0), expected, atol=1e-3)
    assert middle.std(0).max() < 1e-2


def test_bands_of_potentials(potentials, binned, rng):
    rate = 1250.0
    t = np.arange(0, 60, 1 / rate)
    burst = (t > 20) & (t < 40)
    samples = 1e-3 * rng.normal(size=(len(t), 2))
    samples[:, 0] += np.where(burst, np.sin(2 * np.pi * 50 * t), 0)
    path = potentials(samples, rate=rate, conversion=0.5)
    counts, table, warned = binned(path, signal="lfp", lfp_bands_hz=BANDS, bin_width_s=0.05)
    assert counts.attrs["kind"] == "traces" and not warned
    assert list(table["nwb_id"][:3]) == ["0|4-12 Hz", "0|12-30 Hz", "0|30-80 Hz"]
    assert list(table["region"]) == ["A1"] * 4 + ["IC"] * 4
    start_s, gamma = counts["bin"].values, counts["counts"].values[:, 2]
    np.testing.assert_allclose(gamma[(start_s > 20.5) & (start_s < 39.4)], np.log10(0.5**2 / 2), atol=0.01)
    assert gamma[(start_s < 19) | (start_s > 41)].max() < -5
    assert counts["valid"].values.mean() > 0.999
    header = read_header(path, Choice(signal="lfp", lfp_bands_hz=BANDS))
    assert header.n_units == 8 and header.stop_s == pytest.approx(t[-1])
    with pytest.raises(InputError, match="above half the sampling rate"):
        binned(path, signal="lfp", lfp_bands_hz=((4.0, 800.0),))


def test_band_power_does_not_hang_on_blocks(potentials, binned, rng, monkeypatch):
    samples = np.cumsum(rng.normal(size=(60_000, 2)), axis=0)
    samples[30_000:30_003, 1] = np.nan
    path = potentials(samples, rate=500.0, inside=False)
    choice = {"signal": "lfp", "lfp_bands_hz": BANDS, "bin_width_s": 0.05}
    whole, _, _ = binned(path, **choice)
    monkeypatch.setattr("pipeline.neural.signals.lfp.BLOCK_VALUES", 2 * 12_000)
    blocks, _, _ = binned(path, **choice)
    np.testing.assert_allclose(blocks["counts"], whole["counts"], atol=0.02)
    assert np.flatnonzero(~whole["valid"].values[:, 4]).tolist() == [1200] and whole["valid"].values[:, 0].all()


def test_gaps_in_potentials(potentials, binned, rng):
    times = np.arange(20_000) / 500
    times[10_000:] += 7.0
    path = potentials(rng.normal(size=(20_000, 1)), timestamps=times)
    counts, _, _ = binned(path, signal="lfp", lfp_bands_hz=BANDS[:2], bin_width_s=0.05)
    start_s = counts["bin"].values
    np.testing.assert_array_equal(counts["valid"].values[:, 0], (start_s < 19.96) | (start_s > 26.99))
    assert BLOCK_STAMPS > 20_000


def test_threshold_crossings(write_nwb, binned, rng):
    crossings = [np.sort(rng.uniform(0, 30, n)) for n in (500, 90)]

    def add(nwb):
        for channel, times in enumerate(crossings):
            rows = nwb.create_electrode_table_region([channel], "one")
            shape = np.zeros((len(times), 1, 8))
            nwb.add_acquisition(
                SpikeEventSeries(name=f"channel{channel}", data=shape, timestamps=times, electrodes=rows)
            )

    path = write_nwb(add=add, regions=["A1"], electrodes=["A1", "IC"])
    counts, table, warned = binned(path, signal="multiunit")
    assert counts.attrs["kind"] == "spikes" and list(table["region"]) == ["A1", "IC"] and not warned
    assert list(table["nwb_id"]) == ["channel0", "channel1"]
    for unit, times in enumerate(crossings):
        expected = np.bincount(np.floor(times * 100).astype(int) - round(counts["bin"].values[0] * 100))
        np.testing.assert_array_equal(counts["counts"].values[: len(expected), unit], expected)
    assert read_header(path, Choice(signal="multiunit")).n_spikes == 590
    one, _, _ = binned(path, signal="multiunit", series="/acquisition/channel1")
    assert one.sizes["unit"] == 1
