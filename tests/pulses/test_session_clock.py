"""Clocks from real files: WAV channels and bits on one side, all that NWB files hold pulses in on the other."""

from dataclasses import replace
from datetime import UTC, datetime

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals

from pipeline.__main__ import main
from pipeline.check import check_sheet, table_of
from pipeline.config_file import load_config
from pipeline.errors import InputError
from pipeline.pulses.session_clock import check_pulse_channels, read_clock
from pipeline.sessions import Session

RATE_HZ = 8000
DURATION_S = 90.0
OFFSET_S, DRIFT = 412.345, 80e-6
WIDTH_S = 0.02


def to_session(t_s):
    return OFFSET_S + np.asarray(t_s) * (1 + DRIFT)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def pulses_s(rng):
    return 1.2 + np.cumsum(rng.uniform(0.4, 1.6, 80))


def line(onsets_s, *, duration_s=DURATION_S, rate_hz=RATE_HZ, width_s=WIDTH_S, start_s=0.0):
    """Samples of a line that is 1 for a while from each onset on, else 0."""
    t_s = start_s + np.arange(round(duration_s * rate_hz)) / rate_hz
    n_on = np.searchsorted(onsets_s, t_s, side="right") - np.searchsorted(onsets_s + width_s, t_s, side="right")
    return np.minimum(n_on, 1)


@pytest.fixture
def write_nwb(tmp_path):
    def _write(*, acquisition=(), stimulus=(), intervals=(), processing=(), units=(), name="a.nwb"):
        nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
        for series in acquisition:
            nwb.add_acquisition(series)
        for series in stimulus:
            nwb.add_stimulus(series)
        for table in intervals:
            nwb.add_time_intervals(table)
        for series in processing:
            nwb.create_processing_module("behavior", "of the animal").add(series)
        for times_s in units:
            nwb.add_unit(spike_times=times_s)
        with NWBHDF5IO(tmp_path / name, "w") as io:
            io.write(nwb)
        return tmp_path / name

    return _write


def events(times_s, data=None, **rest):
    data = np.ones(len(times_s), int) if data is None else data
    return TimeSeries(name="ttl", data=data, unit="n/a", timestamps=np.asarray(times_s), **rest)


def session_of(nwb, *audio, sync="wav:1@nwb:/acquisition/ttl", **rest):
    session = Session(
        name="s1",
        subject="anna",
        audio=tuple(audio),
        audio_series=None,
        nwb=nwb,
        sync=sync,
        annotations=None,
        condition="",
    )
    return replace(session, **rest)


def assert_true(clock, *, within_s=5e-4, stop_s=DURATION_S):
    t_s = np.linspace(0, stop_s, 500)
    assert np.abs(clock.to_session(t_s) - to_session(t_s)).max() < within_s


@pytest.fixture
def write_wav(tmp_path, rng):
    """Two channels: a voice, and pulses beside some noise."""

    def _write(pulses_s, *, name="a.wav", rate_hz=RATE_HZ, subtype="PCM_16", **shape):
        ttl = line(pulses_s, rate_hz=rate_hz, **shape)
        sound = 0.1 * rng.standard_normal(len(ttl))
        samples = np.c_[sound, 0.01 * rng.standard_normal(len(ttl)) + 0.7 * ttl]
        soundfile.write(tmp_path / name, samples, rate_hz, subtype=subtype)
        return tmp_path / name

    return _write


def read(session, max_residual_s=0.002):
    return read_clock(session, max_residual_s=max_residual_s)


def test_channel_of_the_sound_and_events_in_the_nwb(write_wav, write_nwb, pulses_s, rng):
    nwb_s = np.delete(to_session(pulses_s), [3, 40, 41]) + 1e-4 * rng.standard_normal(77)
    clock = read(session_of(write_nwb(acquisition=[events(nwb_s)]), write_wav(np.delete(pulses_s, 10))))
    assert_true(clock)
    assert clock.drift_ppm == pytest.approx(80, abs=2)
    assert clock.residual_s < 1e-3
    assert "affine, 76 pulses" in clock.source and "3 of the sound's and 1 of the NWB's" in clock.source


def test_few_matched_pulses_are_told(write_wav, write_nwb, pulses_s, rng):
    half = len(pulses_s) // 2
    kept, strange_s = pulses_s[::2], rng.uniform(pulses_s[0], pulses_s[-1], half)
    nwb_s = to_session(np.sort(np.r_[kept, strange_s]))
    session = session_of(write_nwb(acquisition=[events(nwb_s)]), write_wav(pulses_s))
    with pytest.warns(UserWarning, match=rf"only {len(kept)} pulses match, 5\d% of those that both devices could see"):
        clock = read(session)
    assert_true(clock)


def test_every_home_of_pulses_in_an_nwb_file(write_wav, write_nwb, pulses_s, rng):
    wav, nwb_s = write_wav(pulses_s), to_session(pulses_s)
    rate_hz = 1000.0
    level = line(nwb_s, duration_s=100.0, rate_hz=rate_hz, start_s=OFFSET_S - 2)
    analog = 5 * level + 0.1 * rng.standard_normal(len(level)) - 3
    on_off_s = np.sort(np.r_[nwb_s, nwb_s + WIDTH_S])
    stamps_s = OFFSET_S - 2 + np.arange(len(level)) / rate_hz
    series = {"unit": "V", "rate": rate_hz, "starting_time": OFFSET_S - 2}
    table = TimeIntervals(name="sync", description="pulses")
    for start_s in nwb_s:
        table.add_interval(start_time=start_s, stop_time=start_s + WIDTH_S)
    path = write_nwb(
        acquisition=[
            events(nwb_s),
            TimeSeries(name="level", data=level.astype(np.int16), **series),
            TimeSeries(name="two lines", data=np.c_[rng.integers(0, 99, len(level)), level], **series),
            TimeSeries(name="stamped", data=analog, unit="V", timestamps=stamps_s),
            TimeSeries(name="on and off", data=np.tile([1, -1], 80), unit="n/a", timestamps=on_off_s),
            TimeSeries(
                name="codes", data=np.tile([7, 30], 80), unit="n/a", timestamps=np.sort(np.r_[nwb_s, nwb_s - 0.1])
            ),
        ],
        stimulus=[TimeSeries(name="analog", data=analog, **series)],
        processing=[TimeSeries(name="upside down", data=-analog, **series)],
        intervals=[table],
    )
    with h5py.File(path, "a") as file:  # as ndx-events lays them out
        for name in ("events", "labelled"):
            file.create_group(f"processing/behavior/{name}")["timestamps"] = nwb_s
        labelled = file["processing/behavior/labelled"]
        del labelled["timestamps"]
        labelled["timestamps"] = np.sort(np.r_[nwb_s, nwb_s + 0.123])
        labelled["data"] = np.tile([0, 1], 80).astype(np.uint8)
        labelled["data"].attrs["labels"] = ["sync", "lick"]
        file.create_group("events")["timestamp"] = nwb_s
        file["scratch_times"] = nwb_s
    for place in (
        "/acquisition/ttl",
        "/acquisition/level",
        "/acquisition/two lines#1",
        "/acquisition/stamped",
        "/acquisition/on and off",
        "/acquisition/codes#30",
        "/stimulus/presentation/analog",
        "/stimulus/presentation/analog#rising",
        "/processing/behavior/upside down",
        "/processing/behavior/upside down#falling",
        "/intervals/sync",
        "/processing/behavior/events",
        "/processing/behavior/labelled#sync",
        "/events",
        "/scratch_times",
        "/intervals/sync/start_time",
    ):
        assert_true(read(session_of(path, wav, sync=f"wav:1@nwb:{place}")))


def test_stamps_that_are_no_times_are_left_out_with_one_warning(write_wav, write_nwb, pulses_s):
    nwb_s = np.r_[np.inf, np.inf, to_session(pulses_s), np.nan]
    nwb = write_nwb(acquisition=[events(nwb_s, data=np.r_[np.nan, np.ones(82)])])
    with pytest.warns(UserWarning, match="3 pulses without a finite time") as warned:
        assert_true(read(session_of(nwb, write_wav(pulses_s))))
    assert len(warned) == 1


def test_no_memory_is_asked_for_what_is_not_there(write_wav, write_nwb, pulses_s):
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))])
    with h5py.File(nwb, "a") as file:
        for name, n in (("claims", 5_000_000), ("endless", 10**12)):
            group = file.create_group(f"acquisition/{name}")
            for part in ("timestamps", "data"):
                group.create_dataset(part, shape=(n,), dtype="f8", chunks=(1000,))
    for name, part in (("claims", "more values than the file holds"), ("endless", "too many time stamps")):
        with pytest.raises(InputError, match=part):
            read(session_of(nwb, write_wav(pulses_s), sync=f"wav:1@nwb:/acquisition/{name}"))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8"])
def test_pulses_in_the_least_significant_bit(tmp_path, write_nwb, pulses_s, rng, subtype):
    bits = {"PCM_16": 16, "PCM_24": 24, "PCM_U8": 8}[subtype]
    sound = (2.0 ** (bits - 3) * np.clip(rng.standard_normal(round(DURATION_S * RATE_HZ)), -3, 3)).astype(np.int32)
    stored = (sound & ~1) | (1 - line(pulses_s))  # the bit rests at 1
    soundfile.write(tmp_path / "a.wav", (stored << (32 - bits)).astype(np.int32), RATE_HZ, subtype=subtype)
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))])
    assert_true(read(session_of(nwb, tmp_path / "a.wav", sync="wav:lsb@nwb:/acquisition/ttl")))


def test_bits_that_hold_no_pulses_are_refused(tmp_path, write_wav, write_nwb, pulses_s, rng):
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))])
    wav = write_wav(pulses_s)
    with pytest.raises(InputError, match="too often for pulses"):
        read(session_of(nwb, wav, sync="wav:lsb@nwb:/acquisition/ttl"))
    soundfile.write(tmp_path / "f.wav", rng.standard_normal(10_000), RATE_HZ, subtype="FLOAT")
    with pytest.raises(InputError, match="no least significant bit"):
        read(session_of(nwb, tmp_path / "f.wav", sync="wav:lsb@nwb:/acquisition/ttl"))


def test_ultrasound_rate(write_wav, write_nwb, rng):
    pulses_s = np.array([0.11, 0.73, 1.9, 2.22, 3.61, 4.05])
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))])
    clock = read(session_of(nwb, write_wav(pulses_s, rate_hz=250_000, duration_s=5.0)))
    assert_true(clock, within_s=2e-5, stop_s=5.0)


def test_several_files_with_a_gap_between_them(write_wav, write_nwb, pulses_s):
    first = write_wav(pulses_s, name="a.wav", duration_s=30.0)
    second = write_wav(pulses_s, name="b.wav", duration_s=40.0, start_s=45.5)
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))])
    clock = read(session_of(nwb, first, second, audio_start_s=(0.0, 45.5)))
    assert_true(clock)
    n_heard = np.sum((pulses_s < 30) | ((pulses_s > 45.5) & (pulses_s < 85.5)))
    assert f"affine, {n_heard} pulses" in clock.source


def test_sound_inside_the_nwb_file(write_nwb, pulses_s, rng):
    ttl = line(pulses_s)
    data = np.c_[(1000 * rng.standard_normal(len(ttl))).astype(np.int16), (20_000 * ttl).astype(np.int16)]
    mic = TimeSeries(name="mic", data=data, unit="V", rate=float(RATE_HZ), starting_time=0.0)
    nwb = write_nwb(acquisition=[mic, events(to_session(pulses_s))])
    assert_true(read(session_of(nwb, audio_series="/acquisition/mic")))


def test_steady_pulses_need_the_offset(write_wav, write_nwb):
    pulses_s = 0.3 + np.arange(90.0)
    wav, nwb = write_wav(pulses_s), write_nwb(acquisition=[events(to_session(np.arange(-19.7, 200.0)))])
    with pytest.raises(InputError, match=r"several offsets(.|\n)*@12.5"):
        read(session_of(nwb, wav))
    assert_true(read(session_of(nwb, wav, sync="wav:1@nwb:/acquisition/ttl@412.1")))


@pytest.mark.parametrize(
    ("sync", "parts"),
    [
        ("wav:2@nwb:/acquisition/ttl", ["no such channel", "wav:0 to wav:1"]),
        ("wav:1@nwb:/acquisition/tll", ["did you mean /acquisition/ttl?", "/intervals/trials"]),
        ("wav:0@nwb:/acquisition/ttl", ["channel 0", "values from"]),
        ("wav:1@nwb:/acquisition/codes", ["several kinds", "7 (2)", "30 (1)", "#7"]),
        ("wav:1@nwb:/acquisition/codes#8", ["which pulses", "8", "7, 30"]),
        ("wav:1@nwb:/acquisition/none", ["no pulse", "none: 0 pulses"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*without a finite time")
def test_mistakes_name_what_there_is(write_wav, write_nwb, pulses_s, sync, parts):
    trials = TimeIntervals(name="trials", description="of a task")
    trials.add_interval(start_time=0.0, stop_time=1.0)
    codes = TimeSeries(name="codes", data=[7, 7, 30], unit="n/a", timestamps=[1.0, 2.0, 4.0])
    none = TimeSeries(name="none", data=[1, 1], unit="n/a", timestamps=[np.nan, np.inf])
    nwb = write_nwb(acquisition=[events(to_session(pulses_s)), codes, none], intervals=[trials])
    with pytest.raises(InputError) as raised:
        read(session_of(nwb, write_wav(pulses_s), sync=sync))
    for part in parts:
        assert part in str(raised.value)


def test_pulses_of_another_day_are_refused(write_wav, write_nwb, pulses_s, rng):
    nwb = write_nwb(acquisition=[events(to_session(np.cumsum(rng.uniform(0.4, 1.6, 80))))])
    with pytest.raises(InputError, match=r"in common(.|\n)*a.wav, channel 1: 80 pulses(.|\n)*a.nwb"):
        read(session_of(nwb, write_wav(pulses_s)))


def test_the_channels_are_checked_without_being_read(write_wav, write_nwb, pulses_s, tmp_path):
    wav = write_wav(pulses_s)
    nwb = write_nwb(acquisition=[events(to_session(pulses_s))], units=[np.linspace(412, 500, 900)])
    check_pulse_channels(session_of(nwb, wav))
    with pytest.raises(InputError, match="no such channel"):
        check_pulse_channels(session_of(nwb, wav, sync="wav:7@nwb:/acquisition/ttl"))
    sheet = tmp_path / "sessions.tsv"
    row = "{}\tanna\ta.wav\ta.nwb\twav:1@nwb:/acquisition/{}\n"
    sheet.write_text("session\tsubject\taudio\tnwb\tsync\n" + row.format("good", "ttl") + row.format("bad", "tll"))
    audio = {"low_hz": 500, "high_hz": 3500, "window_s": 0.032}
    mapping = {"band_hz": 500}
    config = load_config({"audio": audio, "mapping": mapping, "clips": {"split": {"guard_s": 0.5}}})
    reports, _ = check_sheet(sheet, config)
    assert reports[0].problems == [] and any("duet bin" in note for note in reports[0].notes)
    assert "did you mean /acquisition/ttl?" in str(reports[1].problems[0])
    assert list(table_of(reports, config)["clock"]) == ["pulse channels"] * 2


def test_bins_are_on_the_clock_of_the_channels(write_wav, write_nwb, pulses_s, tmp_path):
    write_wav(pulses_s)
    write_nwb(acquisition=[events(to_session(pulses_s))], units=[to_session(np.linspace(10, 80, 900))])
    (tmp_path / "sessions.tsv").write_text(
        "session\tsubject\taudio\tnwb\tsync\ns1\tanna\ta.wav\ta.nwb\twav:1@nwb:/acquisition/ttl\n"
    )
    settings = (
        '{"audio": {"low_hz": 500, "high_hz": 3500, "hop_s": 0.01, "window_s": 0.02}, "mapping": {"band_hz": 500}}'
    )
    common = ["--sheet", str(tmp_path / "sessions.tsv"), "--session", "s1", "--config", settings]
    assert main(["spectrogram", *common, "--out", str(tmp_path / "spectrogram.nc")]) == 0
    outputs = ["--out", str(tmp_path / "counts.nc"), "--units-out", str(tmp_path / "units.parquet")]
    assert main(["bin", *common, "--spectrogram", str(tmp_path / "spectrogram.nc"), *outputs]) == 0
    units = pd.read_parquet(tmp_path / "units.parquet")
    assert units["n_spikes"].sum() == 900
    with h5py.File(tmp_path / "counts.nc") as counts:
        assert counts.attrs["clock_drift_ppm"] == pytest.approx(80, abs=3)
        assert counts.attrs["clock_source"].startswith("affine, 80 pulses")
        assert counts["bin"][0] == pytest.approx(np.floor(OFFSET_S * 100) / 100)
