import numpy as np
import pytest

from pipeline.audio.annotations import read_annotations
from pipeline.errors import InputError, InputErrors


def _read(tmp_path, text, name="a.csv"):
    (tmp_path / name).write_text(text)
    return read_annotations(tmp_path / name, audio_start_s=0.0, audio_stop_s=10.0)


def test_labels_are_sorted_and_extra_columns_ignored(tmp_path):
    start_s, stop_s, labels = _read(tmp_path, "note,start_s, stop_s,label\nx,3,3.5,up\ny,1,1.25, down \n")
    np.testing.assert_array_equal(start_s, [1, 3])
    np.testing.assert_array_equal(stop_s, [1.25, 3.5])
    assert labels == ["down", "up"]


def test_labels_are_optional_and_tables_may_be_empty_or_tab_separated(tmp_path):
    assert _read(tmp_path, "start_s\tstop_s\n1\t2\n", "a.tsv")[2] == [""]
    start_s, stop_s, labels = _read(tmp_path, "start_s,stop_s\n")
    assert (start_s.shape, stop_s.shape, labels) == ((0,), (0,), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,1.0\n2.0,3.0\n", "no column 'start_s'"),
        ("start,stop_s\n1,2\n", "rename the column 'start'"),
        ("", "an empty file"),
        ("start_s,stop_s\n1,2\n3,three\n", r"line 3[\s\S]*stop_s three"),
        ("start_s,stop_s\n2,1\n", "start_s < stop_s"),
        ("start_s,stop_s\n1000,1050\n", r"line 2[\s\S]*<= 10"),
        ("start_s,stop_s\n1\n", "line 2"),
    ],
)
def test_mistakes_are_told(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        _read(tmp_path, text)


def test_a_wrong_unit_is_told_for_some_rows_only(tmp_path):
    with pytest.raises(InputErrors) as raised:
        _read(tmp_path, "start_s,stop_s\n" + "1000,1100\n" * 500)
    assert len(raised.value.problems) == 20


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the annotations"):
        read_annotations(tmp_path / "none.csv", audio_start_s=0, audio_stop_s=1)
