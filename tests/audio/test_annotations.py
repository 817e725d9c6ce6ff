import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.audio.annotations import read_annotations, read_calls
from pipeline.clock import shifted_clock
from pipeline.errors import InputError, InputErrors

AMVOC = Path(__file__).resolve().parents[2].parent / "shared/data/usv/amvoc"


def _read(tmp_path, text, name="a.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_annotations(tmp_path / name, audio_start_s=0.0, audio_stop_s=10.0)


def _same(read, times_s, labels=None):
    np.testing.assert_allclose(np.transpose(read[:2]), np.reshape(times_s, (-1, 2)), atol=1e-12)
    assert read[2] == (labels or [""] * len(times_s))


def test_labels_are_sorted_and_extra_columns_ignored(tmp_path):
    read = _read(tmp_path, "note,start_s, stop_s,label\nx,3,3.5,up\ny,1,1.25, down \n")
    _same(read, [(1, 1.25), (3, 3.5)], ["down", "up"])


def test_labels_are_optional_and_tables_may_be_tab_separated(tmp_path):
    _same(_read(tmp_path, "start_s\tstop_s\n1\t2\n", "a.tsv"), [(1, 2)])


TIMES_S = [(1.5, 1.75), (2.0, 2.5)]
LAYOUTS = {
    "DAS": "name,start_seconds,stop_seconds\nup,1.5,1.75\ndown,2.0,2.5\n",
    "milliseconds": "start_ms,stop_ms,label\n1500,1750,up\n2000,2500,down\n",
    "Raven, one row a view": "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tAnnotation\n"
    "1\tWaveform 1\t1\t1.5\t1.75\t40000\tup\n1\tSpectrogram 1\t1\t1.5\t1.75\t40000\tup\n"
    "2\tWaveform 1\t1\t2.0\t2.5\t40000\tdown\n2\tSpectrogram 1\t1\t2.0\t2.5\t40000\tdown\n",
    "Audacity": "1.500000\t1.750000\tup\n2.000000\t2.500000\tdown\n",
    "Audacity with frequencies": "1.5\t1.75\tup\n\\\t40000.0\t60000.0\n2.0\t2.5\tdown\n\\\t40000.0\t60000.0\n",
    "DeepSqueak": "ID,File,Label,Accepted,Score,Begin Time (s),End Time (s),Call Length (s)\n"
    "1,a.mat,up,1,0.9,1.5,1.75,0.25\n2,a.mat,noise,0,0.1,1.8,1.9,0.1\n3,a.mat,down,TRUE,0.9,2.0,2.5,0.5\n"
    "4,a.mat,noise,FALSE,0.1,3,4,1\n",
    "VocalMat": "Names_vocal,Start_time,End_time,Inter_vocal_interval,Class\n"
    "1,1.5,1.75,NaN,up\n2,1.8,1.9,0.05,noise_dist\n3,2.0,2.5,0.1,down\n",
    "crowsetta": "label,onset_s,offset_s\nup,1.5,1.75\ndown,2.0,2.5\n",
    "WhisperSeg": "onset,offset,cluster\n1.5,1.75,up\n2.0,2.5,down\n",
    "semicolons and commas": "start_s;stop_s;label\n1,5;1,75;up\n2,0;2,5;down\n",
    "Excel's hint": "sep=;\nstart_s;stop_s;label\n1,5;1,75;up\n2;2,5;down\n",
    "carriage returns": "start_s,stop_s,label\r\n1.5,1.75,up\r\n2,2.5,down\r\n",
    "old Mac": "start_s,stop_s,label\r1.5,1.75,up\r2,2.5,down\r",
    "blank lines": "\nstart_s,stop_s,label\n\n1.5,1.75,up\n,,\n2,2.5,down\n\n",
}
WITHOUT_LABELS = {
    "MUPET": "Syllable number,Syllable start time (sec),Syllable end time (sec),inter-syllable interval (sec)\n"
    "1,1.5000,1.7500,_\n2,2.0000,2.5000,0.25\n",
    "USVSEG": "#,start,end,duration,maxfreq,maxamp,meanfreq\n1,1.5,1.75,250.0,72,-18,61\n2,2,2.5,500,7,1,6\n",
    "AVA": "# Onsets/offsets for /data/mouse 1, day 2.wav\n1.50000 1.75000\n2.00000 2.50000\n",
    "NWB columns as CSV": "id,start_time,stop_time\n0,1.5,1.75\n1,2,2.5\n",
    "two columns": "1.5,1.75\n2.0,2.5\n",
    "quoted decimal commas": '"1,5","1,75"\n"2,0","2,5"\n',
    "semicolons": "1,5;1,75\n2,0;2,5\n",
    "tabs": "1,5\t1,75\n2,0\t2,5\n",
    "spaces": "1.5   1.75\n2.0   2.5\n",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_with_labels(tmp_path, name):
    _same(_read(tmp_path, LAYOUTS[name], "a.txt"), TIMES_S, ["up", "down"])


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_layouts_without_labels(tmp_path, name):
    _same(_read(tmp_path, WITHOUT_LABELS[name]), TIMES_S)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_encodings(tmp_path, encoding):
    _same(
        _read(tmp_path, "start_s,stop_s,label\n1,2,Pfeifen übermütig\n", encoding=encoding),
        [(1, 2)],
        ["Pfeifen übermütig"],
    )


def test_a_stray_quotation_mark_swallows_no_rows(tmp_path):
    _same(_read(tmp_path, '1\t2\t"up\n3\t4\tdown\n', "a.txt"), [(1, 2), (3, 4)], ["up", "down"])


def test_excel(tmp_path):
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.active.title = "notes"
    sheet = workbook.create_sheet("calls")
    rows = [["ID", "Label", "Accepted", "Begin Time (s)", "End Time (s)"], [1, "up", True, 1.5, 1.75]]
    for row in [*rows, [2, "noise", False, 1.8, 1.9], [], [3, None, 1, "2,0", 2.5]]:
        sheet.append(row)
    workbook.save(tmp_path / "a.xlsx")
    _same(read_annotations(tmp_path / "a.xlsx", audio_start_s=0, audio_stop_s=10), TIMES_S, ["up", ""])
    sheet.append([4, "up", 1, None, 3])
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=r"line 6[\s\S]*start empty, stop 3"):
        read_annotations(tmp_path / "a.xlsx", audio_start_s=0, audio_stop_s=10)


def test_duets_own_calls_with_their_level(tmp_path):
    import pandas as pd

    table = pd.DataFrame(
        {"start_s": [2.0, 1.5], "stop_s": [2.5, 1.75], "label": ["a", None], "level_db": [12.0, np.nan]}
    )
    table["contour_s"] = [[1.0], [2.0]]
    table.to_parquet(tmp_path / "calls.parquet")
    calls = read_calls(tmp_path / "calls.parquet")
    _same((calls.start_s, calls.stop_s, calls.labels), TIMES_S, ["", "a"])
    np.testing.assert_array_equal(calls.level_db, [np.nan, 12])


def _intervals(nwb, path, start_s, stop_s, **columns):
    group = nwb.create_group(path)
    group.attrs["neurodata_type"] = "TimeIntervals"
    group["start_time"], group["stop_time"] = start_s, stop_s
    for name, values in columns.items():
        group[name] = values


@pytest.fixture
def nwb_file(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as nwb:
        _intervals(nwb, "intervals/trials", [0.0], [9.0])
        _intervals(nwb, "intervals/USVs", [2.0, 1.5], [2.5, 1.75], label=["down", "up"])
    return tmp_path / "a.nwb"


def test_nwb_intervals(nwb_file):
    for path in (nwb_file, f"{nwb_file}:/intervals/USVs", f"{nwb_file}:/intervals/USVs/"):
        _same(read_annotations(path, audio_start_s=0, audio_stop_s=10), TIMES_S, ["up", "down"])
    trials = read_annotations(f"{nwb_file}:/intervals/trials", audio_start_s=0, audio_stop_s=10)
    _same(trials, [(0, 9)])


def test_nwb_intervals_on_a_clock_of_their_own(nwb_file):
    clock = shifted_clock(-3.0, source="test")  # session = audio - 3 s
    found = read_annotations(f"{nwb_file}:/intervals/USVs", audio_start_s=4.4, audio_stop_s=10, clock=clock)
    _same(found, [(start_s + 3, stop_s + 3) for start_s, stop_s in TIMES_S], ["up", "down"])
    told = r"start 2.0, stop 2.5\s+allowed: numbers of seconds, -3 <= start < stop <= -0.8"
    with pytest.raises(InputError, match=told):
        read_annotations(f"{nwb_file}:/intervals/USVs", audio_start_s=0, audio_stop_s=2.2, clock=clock)


def test_nwb_intervals_that_cannot_be_told_apart_or_read(nwb_file):
    with pytest.raises(InputError, match=r"allowed: /intervals/USVs, /intervals/trials[\s\S]*nearest: /intervals/USVs"):
        read_annotations(f"{nwb_file}:/intervals/USV", audio_start_s=0, audio_stop_s=10)
    with h5py.File(nwb_file, "a") as nwb:
        _intervals(nwb, "processing/behavior/calls", [1.0], [2.0, 3.0])
    with pytest.raises(InputError, match="which table of intervals"):
        read_annotations(nwb_file, audio_start_s=0, audio_stop_s=10)
    with pytest.raises(InputError, match=r"do not fit together[\s\S]*start_time \(1,\), stop_time \(2,\)"):
        read_annotations(f"{nwb_file}:/processing/behavior/calls", audio_start_s=0, audio_stop_s=10)
    with h5py.File(nwb_file, "w") as nwb:
        _intervals(nwb, "intervals/trials", [0.0], [9.0])
    with pytest.raises(InputError, match=r"which table[\s\S]*write a.nwb:/intervals/trials"):
        read_annotations(nwb_file, audio_start_s=0, audio_stop_s=10)
    with h5py.File(nwb_file, "w") as nwb:
        group = nwb.create_group("intervals/calls")
        for name in ("start_time", "stop_time"):  # 8 TB that no byte was written of
            group.create_dataset(name, shape=(10**12,), dtype=float, chunks=(1024,))
    with pytest.raises(InputError, match="do not fit together"):
        read_annotations(nwb_file, audio_start_s=0, audio_stop_s=10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("begin_s,finish_s\n1,2\n", r"known layout[\s\S]*begin_s, finish_s[\s\S]*Raven \(begin time, end time\)"),
        ("strat_s,stop_s\n1,2\n", "rename 'strat_s' to start_s and 'stop_s' to stop_s"),
        ("start_s,stop_s\n1,2\n3,three\n", r"line 3[\s\S]*stop three"),
        ("start_s,stop_s\n2,1\n", "start < stop"),
        ("start_s,stop_s\n2,2\n", "start < stop"),
        ("start_s,stop_s\nnan,2\n", "start nan"),
        ("start_s,stop_s\n1,inf\n", "stop inf"),
        ("start_s,stop_s\n10,10.001\n", r"line 2[\s\S]*<= 10"),
        ("start_s,stop_s\n1\n", r"line 2[\s\S]*stop empty"),
        ("start_s,stop_s\n1500,1750\n2000,2500\n", "these would fit as milliseconds"),
        ("0,0775,0,0811\n1,0775,1,0811\n", "decimal commas"),
        ("1,2.5,3.5\n2,4.5,5.5\n", "numbered rows, but no header"),
        ("ID,File,Accepted,Begin Time (s),End Time (s)\n1,a,1,1,2\n1,b,1,1,2\n", r"several recordings[\s\S]*a, b"),
    ],
)
def test_mistakes_are_told(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _read(tmp_path, text)


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.nwb", "a.parquet", "a.mat", "a", "a.wav"])
def test_files_that_are_something_else(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(InputError, match=f"where:   .*{name}"):
        read_annotations(tmp_path / name, audio_start_s=0, audio_stop_s=1)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="cannot read the annotations: no such file"):
        read_annotations(tmp_path / name, audio_start_s=0, audio_stop_s=1)


def test_only_the_first_of_many_bad_rows_are_told(tmp_path):
    with pytest.raises(InputErrors) as raised:
        _read(tmp_path, "start_s,stop_s\n" + "1000,1100\n" * 500)
    assert len(raised.value.problems) == 21 and "480 more rows" in raised.value.problems[-1]


@pytest.mark.parametrize(
    "text", ["start_s,stop_s\n", "# Onsets/offsets for a.wav\n", "Selection\tBegin Time (s)\tEnd Time (s)\n"]
)
def test_a_table_without_calls_is_no_mistake_but_told(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.warns(UserWarning, match="hold no calls"):
        start_s, stop_s, labels = read_annotations(tmp_path / "a.txt", audio_start_s=0.0, audio_stop_s=10.0)
    assert (start_s.shape, stop_s.shape, labels) == ((0,), (0,), [])


def test_calls_that_end_a_little_outside_are_cut(tmp_path):
    (tmp_path / "a.csv").write_text("start_s,stop_s\n-0.001,1\n2,3\n9,10.004\n")
    with pytest.warns(UserWarning, match="2 of 3 calls"):
        start_s, stop_s, _ = read_annotations(tmp_path / "a.csv", audio_start_s=0.0, audio_stop_s=10.0)
    np.testing.assert_array_equal(start_s, [0, 2, 9])
    np.testing.assert_array_equal(stop_s, [1, 3, 10])


def test_calls_may_overlap(tmp_path):
    _same(_read(tmp_path, "start_s,stop_s\n1,3\n2,4\n1,3\n"), [(1, 3), (1, 3), (2, 4)])


@pytest.mark.skipif(not AMVOC.is_dir(), reason="no shared recordings")
def test_real_tables_of_five_tools():
    for path in sorted(AMVOC.glob("*.csv")):
        start_s, stop_s, _ = read_annotations(path, audio_start_s=0.0, audio_stop_s=6.2)
        assert len(start_s) == len(path.read_text().split()), path
        assert np.all((stop_s - start_s > 0.002) & (stop_s - start_s < 1)), path
    assert read_annotations(AMVOC / "msa1_1.csv", audio_start_s=0, audio_stop_s=6)[0][0] == 0.0775
