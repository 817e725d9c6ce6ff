from pipeline.errors import InputError, InputErrors, nearest


def test_message_says_what_where_found_allowed_nearest_and_mend():
    error = InputError("unknown key", where="a.yaml", found="hop", allowed=["hop_s", "low_hz"], mend="write hop_s")
    assert str(error).splitlines() == [
        "unknown key",
        "  where:   a.yaml",
        "  found:   hop",
        "  allowed: hop_s, low_hz",
        "  nearest: hop_s",
        "  mend:    write hop_s",
    ]


def test_parts_that_are_not_given_take_no_line():
    assert str(InputError("no units")) == "no units"


def test_a_described_range_is_not_taken_apart():
    assert str(InputError("bad", found=3, allowed="0 to 1")).splitlines()[-1] == "  allowed: 0 to 1"


def test_several_problems_are_numbered_in_one_message():
    errors = InputErrors([InputError("first"), "second"])
    assert isinstance(errors, InputError)
    assert str(errors).splitlines() == ["2 problems found", "1. first", "2. second"]


def test_nearest_is_silent_where_nothing_is_close():
    assert nearest("mvea", ["mvae", "mopoe"]) == "mvae"
    assert nearest("xyz", ["mvae", "mopoe"]) is None
