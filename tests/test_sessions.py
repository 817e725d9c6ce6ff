import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.sessions import find_session, read_sessions, scan_sheet, split_annotations
from pipeline.sync import pulse_channels, sync_kind

HEADER = "session\tsubject\taudio\tnwb\tsync\tannotations\tcondition"


@pytest.fixture
def write(tmp_path):
    def _write(*rows, header=HEADER, encoding="utf-8", files=()):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        sheet = tmp_path / "sessions.tsv"
        sheet.write_bytes("\n".join([header, *rows]).encode(encoding))
        return sheet

    return _write


def message(sheet, **options):
    with pytest.raises(InputError) as caught:
        read_sessions(sheet, **options)
    return str(caught.value)


def test_paths_are_relative_to_the_sheet_and_absolute_ones_stay(write, tmp_path):
    elsewhere = tmp_path / "other" / "b.nwb"
    sheet = write(f"s1\tanna\twav/a.wav\t{elsewhere}\t12.5\t\tsolo", files=["wav/a.wav", "other/b.nwb"])
    (session,) = read_sessions(sheet)
    assert session.audio == (tmp_path / "wav/a.wav",)
    assert session.nwb == elsewhere
    assert (session.subject, session.sync, session.condition) == ("anna", "12.5", "solo")
    assert session.annotations is None and session.audio_series is None and session.has_audio


def test_a_home_folder_is_expanded(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (session,) = read_sessions(write("s1\tanna\t~/x/a.wav", files=["x/a.wav"]))
    assert session.audio == (tmp_path / "x/a.wav",)


def test_a_glob_is_in_natural_order(write, tmp_path):
    names = ["rec_1.wav", "rec_2.wav", "rec_10.wav"]
    (session,) = read_sessions(write("s1\tanna\trec_*.wav", files=names[::-1]))
    assert [path.name for path in session.audio] == names


def test_brackets_in_a_real_name_are_no_glob(write):
    (session,) = read_sessions(write("s1\tanna\trec[1].wav", files=["rec[1].wav"]))
    assert [path.name for path in session.audio] == ["rec[1].wav"]


def test_sound_inside_the_nwb(write, tmp_path):
    (session,) = read_sessions(write("s1\tanna\tnwb:/acquisition/mic\ta.nwb", files=["a.nwb"]))
    assert (session.audio, session.audio_series, session.nwb) == ((), "/acquisition/mic", tmp_path / "a.nwb")
    assert session.has_audio


def test_editors_habits_are_accepted(write):
    rows = ["# a comment", "", "s1\tanna\ta.wav", 's2\tanna\t"b c.wav"\t\t\t\t']  # cut and quoted cells, blank lines
    sheet = write(*rows, encoding="utf-8-sig", files=["a.wav", "b c.wav"])
    sheet.write_bytes(sheet.read_bytes().replace(b"\n", b"\r\n"))
    assert [session.name for session in read_sessions(sheet)] == ["s1", "s2"]


def test_files_may_be_still_to_make(write, tmp_path):
    sheet = write("s1\tanna\tdemo/a.wav\tdemo/a.nwb\tdemo/sync.csv")
    (session,) = read_sessions(sheet, must_exist=False)
    assert session.sync == str(tmp_path / "demo/sync.csv")
    with pytest.raises(InputError, match="no such file"):
        find_session(sheet, "s1")


def test_all_problems_come_at_once_with_line_and_mend(write):
    sheet = write(
        "s1\tanna\tsong.wav\tmissing.nwb",
        "s1\tanna\tsongs.wav\tb.nwb",
        "b/d\t\tb.wav",
        "s4\tanna",
        "s5\tanna\tb.wav\tb.nwb\t3,5",
        "s6\tanna\tb.wav\tb2.nwb\tinf",
        "s7\tanna\tnwb:mic",
        "s8\tanna\tsong.wav\tb.nwb\t\t\t\textra",
        files=["song.wav", "b.wav", "b.nwb", "b2.nwb"],
    )
    text = message(sheet)
    for part in [
        "line 2, session 's1'",
        "missing.nwb",
        "did you mean 'song.wav'?",
        "several rows with one session name",
        "not a usable name",
        "subject is empty",
        "neither audio nor nwb",
        "decimal comma",
        "write 3.5",
        "not finite",
        "nwb:/acquisition/NAME",
        "8 cells, but 7 columns",
    ]:
        assert part in text


def test_covariates_are_tables_beside_the_sheet_and_series_of_the_nwb(write, tmp_path):
    header = "session\tsubject\tnwb\tcovariates"
    cell = "x/breath.csv; nwb:/processing/behavior/speed"
    (session,) = read_sessions(write(f"s1\tanna\ta.nwb\t{cell}", header=header, files=["x/breath.csv", "a.nwb"]))
    assert session.covariates == (tmp_path / "x/breath.csv", "nwb:/processing/behavior/speed")
    rows = ("s1\tanna\ta.nwb\tx/breath.csv, b.csv", "s2\tanna\tb.nwb\tnwb:speed", "s3\tanna\tc.nwb\tb.csv;b.csv")
    text = message(write(*rows, "s4\tanna\t\tnwb:/x", header=header, files=["a.nwb", "b.nwb", "c.nwb", "b.csv"]))
    parts = ("a semicolon goes between", "nwb:/processing/behavior/NAME", "an entry twice", "but nwb is empty")
    assert all(part in text for part in parts)


def test_same_recordings_in_two_rows(write):
    text = message(write("s1\tanna\ta.wav", "s2\tberta\ta.wav", files=["a.wav"]))
    assert "same recordings" in text and "s1, s2" in text


@pytest.mark.parametrize(
    ("header", "row", "part"),
    [
        ("session\tsubject\taudoi", "s1\tanna\ta.wav", "nearest: audio"),
        ("session,subject,audio", "s1,anna,a.wav", "not tab-separated"),
        ("session\taudio", "s1\ta.wav", "add subject"),
        ("session\tsubject\taudio\taudio", "s1\tanna\ta.wav\ta.wav", "'audio' twice"),
    ],
)
def test_wrong_headers(write, header, row, part):
    assert part in message(write(row, header=header, files=["a.wav"]))


def test_unreadable_sheets(write, tmp_path):
    assert "No such file" in message(tmp_path / "none.tsv")
    assert "no row" in message(write())
    assert "UTF-8" in message(write("s1\tanna\tä.wav", encoding="latin-1"))
    assert "UTF-8" in message(write("s1\tanna\ta.wav", encoding="utf-16-le"))
    sheet = write("s1\tanna\ta.wav")
    sheet.write_bytes(b"PK\3\4" + bytes(50))
    assert "spreadsheet" in message(sheet)


def test_unicode_text_of_excel_is_read(write):
    (session,) = read_sessions(write("s1\tanna\tä b.wav\r", encoding="utf-16", files=["ä b.wav"]))
    assert session.audio[0].name == "ä b.wav"


def test_a_folder_is_told_as_such(write):
    text = message(write("s1\tanna\twav", files=["wav/a.wav"]))
    assert "a folder, not a file" in text and "wav/*.wav" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("parts.tsv", "file\tstart_s\n# two parts\nx/a.wav\t0.5\nb c.wav\t61\n"),
        ("parts.csv", "start_s,file,note\r\n0.5,x/a.wav,loud\r\n61,b c.wav,\r\n"),
        ("parts.CSV", "file;start_s\nx/a.wav;0.5\nb c.wav;61\n"),
    ],
)
def test_a_listing_gives_files_and_their_times(write, tmp_path, name, content):
    sheet = write(f"s1\tanna\tlists/{name}", files=["lists/x/a.wav", "lists/b c.wav"])
    (tmp_path / "lists" / name).write_bytes(content.encode())
    (session,) = read_sessions(sheet)
    assert session.audio == (tmp_path / "lists/x/a.wav", tmp_path / "lists/b c.wav")
    assert session.audio_start_s == (0.5, 61.0)
    assert session.audio_listing == tmp_path / "lists" / name


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("name\tstart_s\na.wav\t0\n", ["lacks columns", "add file"]),
        ("file\tstart_s\na.wav\t0,5\n", ["line 2", "decimal comma", "write 0.5"]),
        ("file\tstart_s\na.wav\tnoon\nb.wav\tnan\n", ["2 problems", "line 2", "line 3", "found:   nan"]),
        ("file\tstart_s\na.wav\t\n", ["no time", "nothing"]),
        ("file\tstart_s\na.wav\t0\t1\n", ["3 cells, but 2 columns"]),
        ("file\tstart_s\na.wav\t0\na.wav\t1\n", ["listed twice"]),
        ("file\tstart_s\nabsent.wav\t0\n", ["session 's1'", "no such file", "absent.wav"]),
        ("file\tstart_s\n", ["no row"]),
    ],
)
def test_mistakes_in_a_listing(write, tmp_path, content, parts):
    sheet = write("s1\tanna\tparts.tsv", files=["a.wav", "b.wav"])
    (tmp_path / "parts.tsv").write_text(content)
    text = message(sheet)
    for part in parts:
        assert part in text


def test_a_listing_may_be_missing_as_any_file(write):
    assert "audio: no such file" in message(write("s1\tanna\tparts.tsv"))


def test_find_session_looks_only_at_its_own_files(write):
    sheet = write("s1\tanna\ta.wav", "s2\tanna\tmissing.wav", files=["a.wav"])
    assert find_session(sheet, "s1").name == "s1"
    with pytest.raises(InputError, match="nearest: s1"):
        find_session(sheet, "s11")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", "none"), ("-3e-2", "number"), ("wav:1@nwb:/acquisition/ttl", "channel"), ("/a/sync.csv", "file")],
)
def test_sync_kinds(text, kind):
    assert sync_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wav:1@nwb:/acquisition/ttl", (1, False, "", "/acquisition/ttl", "", None)),
        ("wav:lsb@nwb:/stimulus/presentation/ttl-1/", (0, True, "", "/stimulus/presentation/ttl-1", "", None)),
        ("wav:lsb2#falling@nwb:/a/b#rising@-12.5", (2, True, "falling", "/a/b", "rising", -12.5)),
        ("wav:0@nwb:/a b#sync pulse", (0, False, "", "/a b", "sync pulse", None)),
    ],
)
def test_pulse_channels(text, expected):
    parts = pulse_channels(text)
    assert expected == tuple(
        getattr(parts, name) for name in ("channel", "bit", "edge", "nwb_path", "selection", "offset_s")
    )


@pytest.mark.parametrize(
    "text",
    ["wav:@nwb:/a", "wav:1", "wav:x@nwb:/a", "wav:1@nwb:a", "wav:1#up@nwb:/a", "wav:1@nwb:/a@soon", "wav:1@nwb:/a@nan"],
)
def test_unreadable_pulse_channels_tell_the_form(write, text):
    told = message(write(f"s1\tanna\ta.wav\ta.nwb\t{text}", files=["a.wav", "a.nwb"]))
    assert "wav:CHANNEL@nwb:/PATH" in told and text in told


def test_pulse_channels_need_both_recordings(write):
    assert "give both audio and nwb" in message(write("s1\tanna\ta.wav\t\twav:1@nwb:/a", files=["a.wav"]))


def test_reading_the_sheet_loads_nothing_heavy():
    code = "import sys, pipeline.sessions; print(sorted({'numpy', 'pandas', 'torch', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_an_unknown_column_does_not_hide_the_problems_of_the_rows(tmp_path):
    sheet = tmp_path / "s.tsv"
    sheet.write_text("session\tsubject\taudio\tanotations\na\tm\tmissing.wav\t\n", encoding="utf-8")
    _, problems = scan_sheet(sheet)
    told = "\n".join(map(str, problems))
    assert "nearest: annotations" in told and "missing.wav" in told


def test_annotations_may_be_a_table_in_an_nwb_file(write, tmp_path):
    sheet = write("s1\tanna\ta.wav\t\t\tlab.nwb:/intervals/calls", files=["a.wav", "lab.nwb"])
    (session,) = read_sessions(sheet)
    assert split_annotations(session.annotations) == (tmp_path / "lab.nwb", "/intervals/calls")
    assert split_annotations("C:/x/calls.csv") == (Path("C:/x/calls.csv"), None)
    (tmp_path / "lab.nwb").rename(tmp_path / "other.nwb")
    assert "annotations: no such file" in message(sheet)


def test_annotations_inside_the_nwb_file_are_on_its_clock(write):
    for cell in ("lab.nwb", "lab.nwb:/intervals/calls"):
        for sync, apart in (("0.5", True), ("", False)):
            sheet = write(f"s1\tanna\ta.wav\tlab.nwb\t{sync}\t{cell}", files=["a.wav", "lab.nwb"])
            assert read_sessions(sheet)[0].annotated_on_nwb_clock == apart
    sheet = write("s1\tanna\ta.wav\tlab.nwb\t0.5\tother.nwb", files=["a.wav", "lab.nwb", "other.nwb"])
    assert "sync does not tell its clock" in message(sheet)
