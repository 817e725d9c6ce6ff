from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline.__main__ import main

AMVOC = Path(__file__).resolve().parents[2].parent / "shared/data/usv/amvoc"


@pytest.fixture
def files(tmp_path):
    """Two recordings of 60 s with labels of 0.1 s at every 10 s, and what was found: one call late, one missed."""
    for name in ("one", "two"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(60 * 1000, np.int16), 1000)
    (tmp_path / "one.txt").write_text("".join(f"{t}\t{t}.1\tup\n" for t in (10, 20, 30)))
    (tmp_path / "two.csv").write_text("start_s,stop_s,snr_db\n" + "".join(f"{t},{t}.1,{t}\n" for t in (10, 20, 30)))
    (tmp_path / "found_one.csv").write_text("10.004,10.104\n20.0,20.1\n30.0,30.1\n50.0,50.1\n")
    (tmp_path / "found_two.csv").write_text("start_ms,stop_ms\n20000,20100\n30000,30100\n")
    return tmp_path


def _command(folder, **more):
    options = {
        "--found": [folder / "found_one.csv", folder / "found_two.csv"],
        "--labels": [folder / "one.txt", folder / "two.csv"],
    } | {f"--{name}": paths for name, paths in more.items()}
    return ["score-calls", *(str(word) for option, paths in options.items() for word in (option, *paths))]


def test_the_table_of_each_recording_and_of_all(files, capsys):
    audio = [files / "one.wav", files / "two.wav"]
    assert main(_command(files, audio=audio, out=[files / "score.csv"])) == 0
    table = pd.read_csv(files / "score.csv").set_index("found_file")
    assert list(table["found"]) == [4, 2, 6] and list(table["labels"]) == [3, 3, 6]
    np.testing.assert_allclose(table["f1_overlap"], [6 / 7, 4 / 5, 10 / 12])
    np.testing.assert_allclose(table["f1_5ms"], [6 / 7, 4 / 5, 10 / 12])
    assert table.loc["all", "false_alarms"] == 1
    np.testing.assert_allclose(table.loc["all", "false_alarms_a_minute"], 60 / (120 - 0.6))
    told = capsys.readouterr().out
    assert "found_two.csv" in told and "0.833" in told
    assert "recall against the level of the label" in told


def test_without_audio_there_is_no_rate_of_false_alarms(files, capsys):
    assert main(_command(files, out=[files / "score.parquet"])) == 0
    assert pd.read_parquet(files / "score.parquet")["false_alarms_a_minute"].isna().all()
    assert "a minute" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["one.txt"]}, "--found and --labels name unequal numbers of files"),
        ({"audio": ["one.wav"]}, "--found and --audio name unequal numbers of files"),
        ({"labels": ["one.txt", "none.csv"]}, "no such file"),
        ({"audio": ["one.wav", "none.wav"]}, "no such audio file"),
    ],
)
def test_mistakes(files, capsys, options, message):
    options = {name: [files / file for file in names] for name, names in options.items()}
    assert main(_command(files, **options)) == 2
    assert message in capsys.readouterr().err


def test_calls_beyond_the_audio_are_refused(files, capsys):
    (files / "found_one.csv").write_text("100,101\n")
    assert main(_command(files)) == 0
    assert main(_command(files, audio=[files / "one.wav", files / "two.wav"])) == 2
    assert "0 <= start < stop <= 60" in capsys.readouterr().err


@pytest.mark.skipif(not AMVOC.is_dir(), reason="no shared recordings")
def test_published_detectors_score_as_known(tmp_path):
    """F1 of two tools on four recordings, reckoned elsewhere with another program."""
    for tool, known in {"deepsqueak": (0.951, 0.854, 0.341), "vocalmat": (0.938, 0.901, 0.842)}.items():
        files = [[str(AMVOC / f"{name}_{number}.csv") for number in (1, 2, 3, 8)] for name in (tool, "gt")]
        out = tmp_path / f"{tool}.csv"
        assert main(["score-calls", "--found", *files[0], "--labels", *files[1], "--out", str(out)]) == 0
        row = pd.read_csv(out).iloc[-1]
        np.testing.assert_allclose([row.f1_overlap, row.f1_iou50, row.f1_10ms], known, atol=6e-4)
