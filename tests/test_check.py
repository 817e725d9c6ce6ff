from datetime import UTC, datetime

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from pynwb import NWBHDF5IO, NWBFile

from pipeline.__main__ import main
from pipeline.check import check_sheet, size_of, table_of
from pipeline.config_file import load_config

RATE_HZ = 250_000
HEADER = "session\tsubject\taudio\tnwb\tsync\tannotations"


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of a lab: 3 s of sound, spikes of two units over it, pulses of both clocks."""
    sound = np.zeros(3 * RATE_HZ, np.int16)
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ)
    soundfile.write(tmp_path / "slow.wav", sound[:144_000], 48_000)
    write_nwb(tmp_path / "a.nwb", [np.linspace(10, 13, 50), np.linspace(10.5, 12, 7)])
    write_nwb(tmp_path / "late.nwb", [np.linspace(900, 1000, 50)])
    write_nwb(tmp_path / "empty.nwb", [])
    (tmp_path / "cut.nwb").write_bytes((tmp_path / "a.nwb").read_bytes()[:5000])
    pulses_s = np.linspace(0, 3, 5)
    for name, nwb_s in (("good", 10 + pulses_s * (1 + 50e-6)), ("bad", 10 + pulses_s + [0, 0, 0.01, 0, 0])):
        np.savetxt(tmp_path / f"{name}.csv", np.c_[pulses_s, nwb_s], "%.9f", ",", header="audio_s,nwb_s", comments="")
    return tmp_path


def write_nwb(path, trains):
    nwb = NWBFile("made for a test", "test", datetime(2024, 1, 1, tzinfo=UTC))
    for times in trains:
        nwb.add_unit(spike_times=times)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


def sheet_of(folder, *rows):
    path = folder / "sessions.tsv"
    path.write_text("\n".join([HEADER, *rows]))
    return path


def config_of(**clips):
    return load_config({"clips": {"mode": "continuous", "split": {"guard_s": 0.05, "n_blocks": 5}, **clips}})


def test_a_good_session_has_its_facts_and_no_problem(folder):
    config = config_of()
    reports, problems = check_sheet(sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv"), config)
    assert problems == [] and reports[0].notes == []
    row = table_of(reports, config).iloc[0]
    assert (row["session"], row["subject"], row["audio_files"], row["units"], row["spikes"]) == ("s1", "anna", 1, 2, 57)
    assert (row["rate_khz"], row["audio_min"]) == (250, pytest.approx(0.05))
    assert row["drift_ppm"] == pytest.approx(50, abs=0.1)
    assert row["overlap_min"] == pytest.approx(3 / 60, rel=0.01)
    assert row["clips_at_most"] == int((3 * (1 + 50e-6) - 0.2) / 0.05) + 1
    assert row["disk_gb"] > 3000 * 195 * 2 / 1e9


def test_every_problem_of_a_sheet_at_once(folder):
    sheet = sheet_of(
        folder,
        "slow\tanna\tslow.wav\ta.nwb\t10",
        "nosound\tanna\tb.wav\ta.nwb\t10",
        "nounits\tanna\ta.wav\tempty.nwb\t10",
        "cut\tanna\ta.wav\tcut.nwb\t10",
        "residual\tanna\ta.wav\ta.nwb\tbad.csv",
        "channel\tanna\ta.wav\ta.nwb\twav:1@nwb:/acquisition/ttl\tmissing.csv",
        "apart\tanna\ta.wav\tlate.nwb\tgood.csv",
        "inside\tanna\tnwb:/acquisition/mic\ta.nwb",
    )
    reports, problems = check_sheet(sheet, config_of())
    found = {report.session.name: " ".join(map(str, report.problems)) for report in reports}
    assert "125000 Hz at a sampling rate of 48000" in found["slow"]
    assert "no units table" in found["nounits"]
    assert "cut.nwb" in found["cut"]
    assert "residual" in found["residual"] and "neural.max_residual_s" in found["residual"]
    assert "no such channel" in found["channel"] and "wav:0" in found["channel"]
    assert "do not overlap" in found["apart"] and "900 to 1000 s" in found["apart"]
    assert "mic" in found["inside"]
    everything = "\n".join(map(str, problems))
    assert "b.wav" in everything and "missing.csv" in everything
    assert "same recordings" in everything
    assert len(problems) == 3 + sum(len(report.problems) for report in reports)
    assert all(report.problems for report in reports if report.session.name != "nosound")


def test_covariates_are_looked_at(folder):
    for name, row in (("speed", "12,1"), ("early", "1,1"), ("unnamed", "")):
        (folder / f"{name}.csv").write_text(f"{'time_s' if row else 'time'},{name}\n{row}\n")
    cells = ("speed.csv", "early.csv", "unnamed.csv", "nwb:/processing/behavior/speed", "speed.csv;late.csv")
    rows = [f"s{i}\tanna\ta.wav\ta.nwb\tgood.csv\t\t{cell}" for i, cell in enumerate(cells)]
    sheet = sheet_of(folder, *rows)
    sheet.write_text(sheet.read_text().replace("annotations", "annotations\tcovariates"))
    reports, problems = check_sheet(sheet, config_of())
    found = [" ".join(map(str, report.problems)) for report in reports]
    assert found[0] == found[4] == "" and any("covariates: no such file" in str(problem) for problem in problems)
    assert "samples from 1 to 1 s" in found[1] and "10 to 13" in found[1]
    assert "need a column time_s" in found[2] and "nothing of this kind" in found[3]


def test_covariates_of_a_part_of_the_session_are_noted(folder):
    for name, stop_s in (("half", 11.5), ("whole", 13.1)):
        times_s = np.arange(10, stop_s, 0.1)
        np.savetxt(folder / f"{name}.csv", np.c_[times_s, times_s], "%.3f", ",", header=f"time_s,{name}", comments="")
    sheet = sheet_of(folder, *(f"{n}\tanna\ta.wav\ta.nwb\tgood.csv\t\t{n}.csv" for n in ("half", "whole")))
    sheet.write_text(sheet.read_text().replace("annotations", "annotations\tcovariates"))
    (half, whole), _ = check_sheet(sheet, config_of())
    assert half.problems == [] and any("cover only 47% of the session" in note for note in half.notes)
    assert whole.problems == whole.notes == []


def test_a_session_with_nothing_to_learn_from_is_told_before_the_run(folder):
    (folder / "none.csv").write_text("start_s,stop_s\n")
    write_nwb(folder / "silent.nwb", [[], []])
    write_nwb(folder / "ms.nwb", [np.linspace(10e3, 13e3, 50)])
    rows = ("a.nwb\t10\tnone.csv", "silent.nwb\t10", "ms.nwb\t10e3")
    sheet = sheet_of(folder, *(f"s{i}\tanna\ta.wav\t{row}" for i, row in enumerate(rows)))
    reports, _ = check_sheet(sheet, load_config({"clips": {"split": {"guard_s": 0.05}}}))
    found = [" ".join(map(str, report.problems)) for report in reports]
    assert "there are no calls" in found[0] and "delete the session" in found[0]
    assert "no unit has a spike" in found[1]
    assert any("spikes span 3000 s, the sound 3 s" in note for note in reports[2].notes)
    reports, _ = check_sheet(sheet, config_of())  # continuous clips need no calls
    assert reports[0].problems == []


def test_further_modalities_are_looked_at(folder):
    sheet = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    config = config_of()
    (before,), _ = check_sheet(sheet, config)
    extra = {
        "lfp": {"signal": "lfp"},
        "again": {"signal": "units"},
        "filtered": {"signal": "units", "unit_filter": "x > 1"},
    }
    config = config.model_copy(update={"extra": load_config({"extra": extra}).extra})
    (report,), problems = check_sheet(sheet, config)
    assert report.n_extra == {"lfp": 0, "again": 2, "filtered": 0}
    assert report.notes == ["no lfp, filtered (section extra): models learn from this session without"]
    assert len(problems) == 1 and "unit_filter" in str(problems[0])
    assert size_of(report, config).numbers_a_clip == size_of(before, config).numbers_a_clip + 2 * 10


def test_settings_that_contradict_each_other(folder):
    sheet = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    config = config_of(n_frames=500, n_bands=512, counts={"pre_s": -0.1, "post_s": -0.097}, label="lable")
    text = "\n".join(map(str, check_sheet(sheet, config)[1]))
    parts = ("more frames than the spectrogram", "fewer bands than a clip", "count window is shorter", "nearest: label")
    for part in parts:
        assert part in text
    assert "no such column of labels in the calls" in text and "contour" not in text
    assert check_sheet(sheet, config_of(label="n_jumps"))[1] == []


def test_wrong_options_of_families_are_told_at_once(folder):
    sheet = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    extra = {"again": {"signal": "units"}}
    options = {
        "mvae": {"random_subset": 1, "private_dim": {"again": 2}},
        "mvtcae": {"alpha": "x"},
        "mmvae": {"bound": "tigth", "private_dim": {"lfp": 1}},
        "mopoe": {"prior_expert": "never"},
    }
    clips = {"mode": "continuous", "split": {"guard_s": 0.05, "n_blocks": 5}}
    config = load_config({"clips": clips, "extra": extra, "models": {"families": ["mvae"], "options": options}})
    problems = [str(problem) for problem in check_sheet(sheet, config)[1]]
    assert [problem.split("\n")[0] for problem in problems] == [
        "models.options.mvae: unknown option",
        "models.options.mvtcae.alpha: wrong value",
        "models.options.mmvae.bound: no such choice",
        "models.options.mmvae.private_dim: unknown modality",
    ]


def test_families_that_cannot_use_what_there_is_are_told(folder):
    every = {"clips": {"mode": "continuous", "split": {"guard_s": 0.05, "n_blocks": 5}}, "models": {"families": "all"}}
    paired = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    assert check_sheet(paired, load_config(every))[1] == []
    with_third = load_config(every | {"extra": {"again": {"signal": "units"}}})
    (problem,) = check_sheet(paired, with_third)[1]
    assert "meme takes 2 modalities" in str(problem) and "audio, neural, again" in str(problem)
    apart = sheet_of(folder, "song\tanna\ta.wav", "spikes\tanna\t\tlate.nwb")
    problems = [str(problem) for problem in check_sheet(apart, load_config(every))[1]]
    assert [problem.split()[0] for problem in problems] == ["jmvae", "mfm"]
    assert all("no session of the sheet has both" in problem for problem in problems)


def test_a_recording_too_short_for_the_guards_is_told(folder):
    sheet = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    reports, problems = check_sheet(sheet, config_of(split={"guard_s": 10.0, "n_blocks": 10}))
    assert problems == [] and any("instead of 10 s" in note for note in reports[0].notes)
    (problem,) = check_sheet(sheet, config_of(duration_s=100.0))[1]
    assert "too short for training, validation and test" in str(problem)


def test_clocks_that_are_taken_as_equal_are_told(folder):
    write_nwb(folder / "same.nwb", [np.linspace(0, 1, 50)])
    reports, problems = check_sheet(sheet_of(folder, "s1\tanna\ta.wav\tsame.nwb"), config_of())
    assert problems == []
    assert "sync is empty" in reports[0].notes[0] and "33% of the sound" in reports[0].notes[1]


def test_one_kind_of_recording_alone(folder):
    config = config_of()
    reports, problems = check_sheet(sheet_of(folder, "song\tanna\ta.wav", "spikes\tanna\t\tlate.nwb"), config)
    assert problems == []
    table = table_of(reports, config)
    assert list(table["units"]) == [0, 1] and list(table["audio_files"]) == [1, 0]
    assert table["clips_at_most"].iloc[1] == 1997


def test_the_command_prints_writes_and_tells_by_its_status(folder, capsys):
    settings = '{"clips": {"mode": "continuous", "split": {"guard_s": 0.1}}}'
    sheet = sheet_of(folder, "s1\tanna\ta.wav\ta.nwb\tgood.csv")
    arguments = ["check", "--sheet", str(sheet), "--config", settings]
    assert main([*arguments, "--out", str(folder / "check.tsv")]) == 0
    shown = capsys.readouterr().out
    assert "s1" in shown and "250" in shown and "affine, 5 pulses" in shown
    table = pd.read_csv(folder / "check.tsv", sep="\t")
    assert table["drift_ppm"].item() == pytest.approx(50, abs=0.1)
    sheet_of(folder, "s1\tanna\ta.wav\tlate.nwb\tgood.csv", "s2\tanna\tb.wav")
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert "s1" in output.out and "2 problems found" in output.err and "Traceback" not in output.err
    sheet.write_text("session\tsubjct\ns1\tanna")
    assert main(arguments) == 2
    assert "nearest: subject" in capsys.readouterr().err


def test_spikes_and_traces_in_one_sheet_are_told_before_training(folder):
    with h5py.File(folder / "traces.nwb", "w") as nwb:
        series = nwb.create_group("processing/ophys/dff")
        series.attrs["neurodata_type"] = "RoiResponseSeries"
        series.create_dataset("data", data=np.random.default_rng(0).normal(size=(90, 4))).attrs["unit"] = "dF/F"
        series.create_dataset("starting_time", data=10.0).attrs["rate"] = 30.0
    rows = ("spikes\tanna\ta.wav\ta.nwb\tgood.csv", "traces\tberta\tslow.wav\ttraces.nwb\t10")
    problems = check_sheet(sheet_of(folder, *rows), config_of())[1]
    (problem,) = [str(p) for p in problems if "spikes, others traces" in str(p)]
    assert "spikes: spikes, traces: traces" in problem


def test_the_song_is_as_annotated_and_else_a_share_of_the_time(folder, capsys):
    # Two calls of 100 ms overlap by half; one starts before the units are observed: 150 + 50 ms of song with spikes.
    (folder / "calls.csv").write_text("start_s,stop_s\n0.45,0.6\n0.9,1\n0.95,1.05\n")
    write_nwb(folder / "b.nwb", [np.linspace(10.55, 13, 246)])  # 100 Hz
    sheet = sheet_of(folder, "told\tanna\ta.wav\tb.nwb\t10\tcalls.csv", "guessed\tanna\ta.wav\tb.nwb\t10")
    config = load_config({"clips": {"split": {"guard_s": 0.05}}})
    reports, _ = check_sheet(sheet, config)
    table = table_of(reports, config).set_index("session")
    assert table["song_s"].to_dict() == {"told": pytest.approx(0.2), "guessed": pytest.approx(0.1 * 2.45)}
    rate_hz = 246 / 2.45
    assert table.loc["told", "smallest_gain"] == pytest.approx(1 + 24 / np.sqrt(rate_hz * 0.2))
    assert table.loc["guessed", "smallest_gain"] == pytest.approx(1 + 24 / np.sqrt(rate_hz * 0.245))
    main(["check", "--sheet", str(sheet), "--config", '{"clips": {"split": {"guard_s": 0.05}}}'])
    shown = " ".join(capsys.readouterr().out.split())
    assert "as annotated (told); as if calls filled 10% of the time (guessed)" in shown


def test_annotated_calls_lie_among_the_spikes_by_the_clock(folder):
    (folder / "calls.csv").write_text("start_s,stop_s\n2.8,3\n")
    write_nwb(folder / "b.nwb", [np.linspace(10, 12.9, 100)])
    config = load_config({})
    (report,), _ = check_sheet(sheet_of(folder, "s1\tanna\ta.wav\tb.nwb\tgood.csv\tcalls.csv"), config)
    assert report.song_s == pytest.approx(12.9 - 10 - 2.8 * (1 + 50e-6), abs=1e-5)
    (folder / "calls.csv").write_text("start_s,stop_s\n")
    (report,), _ = check_sheet(folder / "sessions.tsv", config)
    assert report.song_s == 0 and report.smallest_gain == np.inf
