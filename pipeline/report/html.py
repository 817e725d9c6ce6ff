"""The report: one HTML file that needs nothing beside it, and starts with the answer."""

import base64
import importlib
import platform
import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from os.path import relpath
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import pipeline
import pipeline.report.figures as figures
from pipeline.discovery import names_in
from pipeline.mapping.names import readable
from pipeline.mapping.tables import TABLES
from pipeline.report.identifiability import identifiability_notes
from pipeline.report.latents import latent_notes
from pipeline.report.likelihoods import likelihood_table
from pipeline.report.overview import SESSION_COLUMNS, session_table
from pipeline.report.results import NoData, Results
from pipeline.report.style import in_style, message_figure, save_figure
from pipeline.report.tables import TableView, view
from pipeline.storage import written_whole

MAX_SVG_BYTES = 1_000_000  # larger drawings are embedded as PNG
ANSWER_LABELS = {
    "cluster": "Cluster", "low_khz": "From (kHz)", "peak_khz": "Peak (kHz)", "high_khz": "To (kHz)", "q": "q",
    "trust": "Trust", "n_units": "Units", "n_animals": "Animals", "n_animals_agree": "Animals that agree",
    "lag_ms_median": "Lag (ms)", "heldout_iou": "Held-out overlap", "p_one_cluster": "p (all are one cluster)",
}  # fmt: skip
INTERVALS = {f"{edge}_khz": (f"{edge}_ci_low_khz", f"{edge}_ci_high_khz") for edge in ("low", "peak", "high")}


@dataclass(frozen=True)
class Shown:
    """A figure of the report; `reason` says why it has nothing to show, if so."""

    stem: str
    title: str
    caption: str
    reason: str | None
    source: str = ""  # data URI

    @property
    def heading(self) -> str:
        return self.title if self.title[-1] in "?!." else f"{self.title}."

    @property
    def alt(self) -> str:
        first_sentence = re.split(r"(?<=[.])\s", self.caption, maxsplit=1)[0]
        return f"{self.heading} {first_sentence}"


def draw_figures(results: Results, folder: str | Path) -> list[Shown]:
    """Draw every figure into `folder` as SVG and PNG, in the order of the report.

    A figure without data is drawn as its reason, so that the same files exist after every run.
    """
    modules = {stem: importlib.import_module(f"{figures.__name__}.{stem}") for stem in names_in(figures)}
    shown = []
    for stem, module in sorted(modules.items(), key=lambda item: item[1].PLACE):
        reason = None
        with in_style():
            try:
                figure = module.draw(results)
            except NoData as empty:
                reason = str(empty)
                figure = message_figure(reason)
        save_figure(figure, folder, stem)
        title, caption = described(module.__doc__)
        source = "" if reason else _data_uri(Path(folder), stem)
        shown.append(Shown(stem=stem, title=title, caption=caption, reason=reason, source=source))
    return shown


def described(docstring: str) -> tuple[str, str]:
    """Title and caption of a figure from the docstring of its file."""
    title, _, caption = docstring.strip().partition("\n")
    return title, " ".join(caption.split())


def write_report(results: Results, path: str | Path, *, shown: list[Shown], config: dict, command: str) -> None:
    """Write the report to `path`; the tables are linked relative to it."""
    path, folder = Path(path), Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    holds = _holds(results)
    html = environment.get_template("report.html.j2").render(
        css=Markup((folder / "report.css").read_text(encoding="utf-8")),
        js=Markup((folder / "report.js").read_text(encoding="utf-8")),
        summary=results.summary,
        facts=_facts(results.summary, holds=holds),
        headlines=_headlines(results.summary),
        notes=[*(results.summary.get("notes") or []), *identifiability_notes(results), *latent_notes(results)],
        nothing=not holds,
        answer=_answer(results, path),
        recovery=_table(results, "recovery", path) if "recovery" in results.table_names else None,
        likelihoods=likelihood_table(results.table("log_likelihood"), csv=_link(results, "log_likelihood", path)),
        figures=[figure for figure in shown if not figure.reason],
        left_out=[figure for figure in shown if figure.reason],
        tables=[_table(results, name, path) for name in _table_order(results) if name != "recovery"],
        dictionary=TABLES,
        sessions=view(session_table(results), "sessions", descriptions=SESSION_COLUMNS, csv=None),
        session_columns=SESSION_COLUMNS,
        versions=versions(),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        seeds={"seed": config.get("seed"), "models": (config.get("models") or {}).get("seeds")},
        command=command,
    )
    with written_whole(path) as partial:
        partial.write_text(html, encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of everything that it asks for."""
    try:
        requirements = metadata.requires("duet") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        project = tomllib.loads((Path(pipeline.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
        requirements = project["project"]["dependencies"]
    names = [re.match(r"[A-Za-z0-9_.-]+", line)[0] for line in requirements if "extra ==" not in line]
    found = {"python": platform.python_version(), "duet": pipeline.__version__}
    return found | {name: metadata.version(name) for name in names}


def _data_uri(folder: Path, stem: str) -> str:
    svg = folder / f"{stem}.svg"
    if svg.stat().st_size <= MAX_SVG_BYTES:
        return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
    return f"data:image/png;base64,{base64.b64encode((folder / f'{stem}.png').read_bytes()).decode()}"


def _table_order(results: Results) -> list[str]:
    """Tables that exist: the known ones in the order of their dictionary, then any others."""
    known = [name for name in TABLES if name in results.table_names]
    return known + [name for name in results.table_names if name not in TABLES]


def _table(results: Results, name: str, report: Path) -> TableView:
    return view(results.table(name), name, descriptions=TABLES.get(name, {}), csv=_link(results, name, report))


def _link(results: Results, name: str, report: Path) -> str | None:
    """Path of a table's CSV file, relative to the report."""
    csv = results.tables / f"{name}.csv"
    return Path(relpath(csv, report.parent)).as_posix() if csv.is_file() else None


def _answer(results: Results, report: Path) -> TableView | None:
    """The clusters and their bands, in a few columns."""
    table = results.table("cluster_bands")
    if table.empty or not results.cluster_ids:
        return None
    csv = Path(relpath(results.tables / "cluster_bands.csv", report.parent)).as_posix()
    table = table[table["cluster"] >= 0].sort_values("peak_khz")
    return view(
        table,
        "answer",
        descriptions=TABLES.get("cluster_bands", {}),
        csv=csv,
        labels=ANSWER_LABELS,
        intervals=INTERVALS,
    )


def _headlines(summary: dict) -> list[str]:
    """The headline sentences, but for the one that repeats all reasons for low trust, which have their own place."""
    reasons = summary.get("trust_reasons") or []
    sentences = summary.get("headlines") or []
    return [text for text in sentences if not (reasons and all(reason in text for reason in reasons))]


def _holds(results: Results) -> bool:
    """Whether at least one cluster's band holds in held-out data."""
    bands = results.table("cluster_bands")
    return bool((bands["q"].astype(float) <= results.summary.get("q", 0.05)).any()) if len(bands) else False


def _facts(summary: dict, *, holds: bool) -> list[tuple[str, str, str]]:
    """Key numbers: label, value, what belongs to it in small type; `holds`: a cluster does, so that its units count."""
    facts = []
    if summary.get("n_sessions") is not None:
        animals = summary.get("n_animals")
        facts.append(
            (
                "Sessions",
                str(summary["n_sessions"]),
                f"{animals} animal{'s' if animals != 1 else ''}" if animals else "",
            )
        )
    if summary.get("n_units_included") is not None:
        facts.append(("Units analysed", str(summary["n_units_included"]), f"of {summary.get('n_units')} recorded"))
    if summary.get("n_units_included"):
        tested = f"of {summary['n_units_included']} units"
        labels = {"vocal": "Change with sound", "band": "Tuned to a band"} | (
            {"assigned": "In a cluster"} if holds else {}
        )
        for key, label in labels.items():
            if summary.get(f"n_units_{key}") is not None:
                facts.append((label, str(summary[f"n_units_{key}"]), tested))
    primary, baseline = summary.get("primary"), summary.get("best_baseline")
    if primary and primary.get("test_bits") is not None:
        se = primary.get("test_se")
        interval = f"(95 % ± {1.96 * se:.2g}) " if se is not None else ""
        facts.append(
            ("Neurons from sound", f"{primary['test_bits']:.3g}", f"{interval}{primary['unit']}, {primary['family']}")
        )
    if baseline and baseline.get("delta") is not None:
        name = readable(baseline["objective"])
        low, high = baseline.get("delta_low"), baseline.get("delta_high")
        interval = f"(95 %: {low:+.2g} to {high:+.2g}) " if low is not None and high is not None else ""
        facts.append(("Over the best baseline", f"{baseline['delta']:+.3g}", f"{interval}{primary['unit']}, {name}"))
    return facts
