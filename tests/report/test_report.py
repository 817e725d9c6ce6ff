"""The report as a reader's browser gets it: what it states, in which order, and that it needs nothing else."""

import base64
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from pipeline.__main__ import main
from pipeline.config import Config
from pipeline.discovery import names_in
from pipeline.errors import InputError
from pipeline.report import figures
from pipeline.report.html import Shown, draw_figures, write_report
from pipeline.report.tables import MAX_ROWS
from pipeline.steps import steps
from pipeline.storage import read_table, write_table


class Page(HTMLParser):
    """Elements in order, the text between them, and tables as rows of (text, exact value)."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.words, self.tables, self.table = [], [], {}, None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag == "table":
            self.table = self.tables.setdefault(attrs["id"], {"heads": [], "rows": []})
        elif tag == "tr" and self.table is not None:
            self.table["rows"].append([])
        elif tag == "th":
            self.table["heads"].append(attrs)
        elif tag == "td":
            self.table["rows"][-1].append([attrs.get("data-exact"), ""])

    def handle_endtag(self, tag):
        if tag == "table":
            self.table = None

    def handle_data(self, data):
        self.words.append(data)
        if self.table is not None and self.table["rows"] and self.table["rows"][-1]:
            self.table["rows"][-1][-1][1] += data.strip("\n")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def made(run) -> str:
    assert main(run.arguments()) == 0
    return (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full(full_run):
    return made(full_run)


@pytest.fixture(scope="module")
def audio(audio_run):
    return made(audio_run)


@pytest.fixture(scope="module")
def nothing(nothing_run):
    reason = "No clusters of tuned units were found."
    left_out = Shown(stem="tuning", title="Tuning of the clusters", caption="Curves.", reason=reason)
    path = nothing_run.folder / "report.html"
    write_report(nothing_run.results, path, shown=[left_out], config={}, command="duet report")
    return path.read_text(encoding="utf-8")


def test_report_needs_nothing_from_outside(full, full_run):
    page = Page(full)
    assert all(source.startswith("data:") for source in page.attributes("src"))
    local = [link for link in page.attributes("href") if not link.startswith(("#", "data:"))]
    assert local and all(link.startswith("tables/") and (full_run.folder / link).is_file() for link in local)
    outside_images = re.sub(r'src="data:[^"]*"', "", full)
    assert not re.search(r"https?:|@import|url\(", outside_images)
    assert len(full.encode()) < 15e6


def test_embedded_figures_refer_to_nothing_outside(full):
    for source in Page(full).attributes("src"):
        if source.startswith("data:image/svg+xml"):
            svg = base64.b64decode(source.partition(",")[2]).decode()
            links = re.findall(r'(?:xlink:href|href|src)="([^"]*)"', svg)
            assert all(link.startswith(("#", "data:")) for link in links)


def test_every_figure_is_written_and_embedded_with_words_beside(full, full_run):
    stems = names_in(figures)
    for stem in stems:
        assert (full_run.folder / "figures" / f"{stem}.svg").stat().st_size > 1000
        assert (full_run.folder / "figures" / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"
    page = Page(full)
    shown = {attrs["id"].removeprefix("figure-") for tag, attrs in page.elements if tag == "figure"}
    assert shown == set(stems) - {"further"}  # nothing beside sound and neural data in this run
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert len(images) == len(shown) and all(len(attrs["alt"]) > 20 for attrs in images)
    assert sum(tag == "figcaption" for tag, _ in page.elements) == len(shown)


def test_headline_comes_first_then_recovery_figures_tables_configuration(full):
    order = [
        full.index(part)
        for part in ("3 clusters of neurons stand", 'id="recovery"', 'id="figures"', 'id="tables"', 'id="sessions"',
                     'id="dictionary"', 'id="made"', f"max_epochs: {Config().training.max_epochs}")
    ]  # fmt: skip
    assert order == sorted(order)
    body = Page(full[full.index("<main>") :]).text
    assert body.startswith("3 clusters of neurons stand for frequency bands")
    assert "45.1 (43.5–46.2)" in full[: full.index('id="figures"')]  # the lower edge of the first, with its interval


def test_numbers_are_those_of_the_csv(full, full_run):
    tables = Page(full).tables
    for path in sorted((full_run.folder / "tables").glob("*.csv")):
        table = pd.read_csv(path).head(MAX_ROWS)
        if table.empty:
            assert f"table-{path.stem}" not in tables
            continue
        rows = [row for row in tables[f"table-{path.stem}"]["rows"] if row]
        assert len(rows) == len(table), path.stem
        for column, name in enumerate(table.columns):
            if pd.api.types.is_bool_dtype(table[name]) or not pd.api.types.is_numeric_dtype(table[name]):
                continue
            for value, row in zip(table[name], rows, strict=True):
                exact, text = row[column]
                if pd.isna(value):
                    if table[name].isna().all():  # empty text
                        continue
                    assert exact == "" and text == "–"
                    continue
                assert float(exact) == pytest.approx(value, rel=1e-12)
                if name != "cluster":
                    two_digits = 0.05 if name[:2] in ("p_", "q_") or name in ("p", "q") else 0.006
                    step = 0.051 if "khz" in name or "ms" in name.split("_") else two_digits * abs(value)
                    assert float(text) == pytest.approx(value, abs=step + 1e-12), name


def test_long_tables_are_cut_and_say_so(full, full_run):
    n_rows = len(pd.read_csv(full_run.folder / "tables" / "coupling.csv"))
    assert n_rows > MAX_ROWS
    assert f"{n_rows} rows, the first {MAX_ROWS} shown; all of it:" in Page(full).text


def test_tables_have_headers_for_screen_readers(full):
    heads = [head for table in Page(full).tables.values() for head in table["heads"]]
    assert heads and all(head.get("scope") == "col" for head in heads)


def test_columns_are_explained(full):
    from pipeline.mapping.tables import TABLES

    heads = Page(full).tables["table-cluster_bands"]["heads"]
    assert TABLES["cluster_bands"]["low_khz"] in [head.get("title") for head in heads]
    words = Page(full).text
    for columns in TABLES.values():
        for description in columns.values():
            assert " ".join(description.split()) in words


def test_sessions_show_clocks_and_calls(full, full_run):
    rows = [row for row in Page(full).tables["table-sessions"]["rows"] if row]
    table = pd.read_parquet(full_run.folder / "prepared" / "mouse1" / "calls.parquet")
    first = [text for _, text in rows[0]]
    assert first[0] == "mouse1"
    assert float(rows[0][5][0]) == pytest.approx(len(table) / 0.5)
    assert "12.3" in first and "0.21" in first


def test_text_of_users_is_never_markup(full, full_run, tmp_path):
    for harmful in ("<script>alert", "<i>ACC", "<b>animal", "<reduced rank>"):
        assert harmful not in full
    assert "&lt;script&gt;alert(1)" in full and "&lt;i&gt;ACC&lt;/i&gt;" in full
    results = full_run.results
    hostile = replace(results, sessions=[replace(results.sessions[0], name="<script>alert(2)<script>")])
    write_report(hostile, tmp_path / "report.html", shown=[], config={}, command='duet "<script>"')
    html = (tmp_path / "report.html").read_text()
    assert html.count("<script>") == 1  # the report's own
    assert "&lt;script&gt;alert(2)" in html


def test_models_have_their_advice_and_the_likelihoods_in_the_form_of_papers(full):
    page = Page(full)
    assert "Use mopoe: it is best <of all>." in page.text and "best &lt;of all&gt;" in full
    rows = [[text for _, text in row] for row in page.tables["table-likelihoods"]["rows"] if row]
    assert [row[:3] for row in rows] == [[f, "8", t] for f in ("mopoe", "mvae") for t in ("audio", "neural")]
    # mopoe, audio: clips of two sessions weigh (100, 300) on (-500, -460), seeds add 0 and 2: -470 + 1
    values = [-469 - 10 * place for place in (2, 1, 0, 10, 6, 7)]
    keys = [float(row[0]) for row in page.tables["table-likelihoods"]["rows"][1][3:]]
    assert [*keys[:4], keys[5], keys[7]] == pytest.approx(values)
    # (100 x 4 + 300 x 8) / 400 and half a nat over seeds; sqrt(100^2 + 300^2) / 400
    assert (rows[0][7], rows[0][9]) == ("-7.50 ± 0.79", "+7.50 ± 0.79")
    # 3 nats in each session: sqrt(100^2 + 300^2) 3 / 400; ESS 4 and 5
    assert rows[0][3] == f"{values[0]:.2f} ± 2.37 (4.5)"
    # neural given both, given audio, given neural
    assert [row[0] for row in page.tables["table-likelihoods"]["rows"][2][3:6]] == ["-519.0", "-499.0", "-509.0"]


def test_trust_is_not_alarmed_when_controls_hold(full):
    assert 'role="alert"' not in full and 'role="status"' not in full


def test_failed_controls_and_no_clusters_stand_on_top(nothing):
    main_part = nothing[nothing.index("<main>") :]
    text = Page(main_part).text
    assert text.startswith("Trust in these results is low.")
    order = ['role="alert"', "31 % of tests significant &lt;em&gt;", 'role="status"', "Nothing to see: no unit"]
    places = [main_part.index(part) for part in order]
    assert places == sorted(places)
    assert "Do not trust" not in text  # said once
    assert "Nothing in this report says that a group of neurons stands for a band" in text
    assert "Tuning of the clusters. No clusters of tuned units were found." in text


def test_clusters_that_do_not_hold_are_candidates(full, full_run, tmp_path):
    tables = tmp_path / "tables"
    shutil.copytree(full_run.folder / "tables", tables)
    write_table(read_table(tables / "cluster_bands.parquet").assign(q=0.4), tables / "cluster_bands.parquet")
    results = replace(full_run.results, tables=tables)
    write_report(results, tmp_path / "report.html", shown=[], config={}, command="duet report")
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "Candidates: groups of units that were tested, of which none holds." in text and "Candidates" not in full
    tiles = "Tuned to a band", "In a cluster"
    assert [tile in text for tile in tiles] == [True, False] and all(tile in Page(full).text for tile in tiles)


def test_simulated_sessions_are_called_so_on_top(full, nothing):
    assert "Simulated sessions" in Page(full[: full.index("<main>")]).text
    assert "Simulated sessions" not in nothing


def test_a_folder_that_is_not_there_is_told(audio_run, tmp_path, capsys):
    for option in ("--tables", "--prepared"):
        arguments = audio_run.arguments()
        arguments[arguments.index(option) + 1] = str(tmp_path / "nosuch")
        arguments[arguments.index("--out") + 1] = str(tmp_path / "report.html")
        assert main(arguments) == 2
        assert "no such folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_sound_alone_gives_its_calls_and_no_units(audio, audio_run):
    page = Page(audio)
    shown = {attrs["id"].removeprefix("figure-") for tag, attrs in page.elements if tag == "figure"}
    assert shown == {"example", "calls", "call_gallery"}
    assert page.text.count("Nothing in this report says") == 1
    assert all((audio_run.folder / "figures" / f"{stem}.svg").is_file() for stem in names_in(figures))


def test_empty_tables_say_that_they_are_empty(audio):
    assert Page(audio).text.count("0 rows; all of it:") >= 2


def test_report_of_a_run_without_results(full_run, tmp_path):
    results = replace(
        full_run.results, tables=tmp_path / "tables", prepared=tmp_path / "prepared", models=tmp_path / "models"
    )
    shown = draw_figures(results, tmp_path / "figures")
    assert all(figure.reason for figure in shown)
    write_report(results, tmp_path / "report.html", shown=shown, config={}, command="duet report")
    assert "The run wrote no tables" in (tmp_path / "report.html").read_text()


def test_configuration_seeds_and_versions_stand_at_the_end(full):
    end = Page(full[full.index('id="made"') :]).text
    assert "Models: 0, 1." in end and "low_hz: 30000" in end
    assert re.search(r"torch \d+\.\d+", end) and re.search(r"python 3\.\d+", end)
    assert "duet report" in end


def test_step_depends_on_the_whole_configuration():
    assert set(steps()["report"].settings) == set(Config.model_fields)


def test_broken_summary_is_the_users_to_mend(full_run, tmp_path):
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json"):
        _ = replace(full_run.results, tables=tmp_path).summary


def test_models_of_an_earlier_configuration_are_left_out(full_run):
    earlier = replace(full_run.results, trained=["mvae-k8/seed1"])
    assert {name for name in earlier.metrics["objective"] if not name.startswith("baseline:")} == {"mvae"}
    assert earlier.history[["family", "seed"]].drop_duplicates().to_numpy().tolist() == [["mvae", 1]]
