"""Real clips, and what the primary model makes of them from either side

One row a test clip, the loudest of each fifth of the test blocks of one session. Left: the sound as recorded, then as
the model expects it from the sound itself (reconstruction), from the neural data alone (cross generation) and from
both; grey is dB above the noise floor, times what a corner states where the expectation is faint. Right: the neural
data as recorded (spikes: black where a bin has one), then as expected from themselves, from the sound alone and from
both: the log2 of each unit's expected rate over its mean rate (traces: in SDs). Units are sorted by cluster (colour
strip); the neural bins may lie later than the sound. An expectation is an average over what the latents leave open, so
it is smoother than any recording.
"""

import numpy as np
from matplotlib.figure import Figure

from pipeline.report.pictures import ClipPictures, picture, scale
from pipeline.report.results import NoData, Results
from pipeline.report.style import INK, SIDE_COLOURS, SIDES, new_figure

PLACE = 62
ROW_IN, WIDTH_IN, GAP_IN = 0.82, 0.74, 0.06
TOP_IN = 0.42
LEFT_IN = {"audio": 0.42, "neural": 4.02}
GIVEN = {"audio": ("audio", "neural", "audio+neural"), "neural": ("neural", "audio", "audio+neural")}


def draw(results: Results) -> Figure:
    """Rows of pictures: recorded, reconstructed, cross-generated, for both sides."""
    examples = results.examples
    if examples is None or not examples.sizes["clip"]:
        raise NoData("The run has no model with example clips.")
    n_clips = examples.sizes["clip"]
    figure = new_figure(TOP_IN + ROW_IN * n_clips + 0.55)
    figure.set_layout_engine("none")  # a fixed grid of small pictures
    pictures = ClipPictures(examples, results, sound="true_audio_db", expected="expected_count")
    bottom_in = TOP_IN + ROW_IN * n_clips + 0.14
    if examples.sizes["frequency"]:
        _side(figure, pictures, "audio", bottom_in)
    if examples.sizes["unit"]:
        _side(figure, pictures, "neural", bottom_in)
    return figure


def _side(figure: Figure, pictures: ClipPictures, side: str, bottom_in: float) -> None:
    examples = pictures.examples
    n_clips = examples.sizes["clip"]
    givens = [given for given in GIVEN[side] if given in examples["given"].values]
    true = examples["true_audio_db" if side == "audio" else "true_count"].values
    made = examples["audio_db" if side == "audio" else "expected_count"]
    title = {"audio": "Sound", "neural": "Spikes" if pictures.is_spikes else "Traces"}[side]
    figure.text(
        LEFT_IN[side] / figure.get_figwidth(),
        1 - 0.12 / figure.get_figheight(),
        title,
        weight="bold",
        size=8,
        va="center",
    )
    gains = {given: _gain(made.sel(given=given).values, pictures.top_db) for given in givens}
    image = None
    for row in range(n_clips):
        top_in = TOP_IN + ROW_IN * row
        if side == "neural":
            pictures.strip(picture(figure, LEFT_IN[side] - 0.08, top_in, 0.05, ROW_IN - GAP_IN))
        for column, given in enumerate(["recorded", *givens]):
            left_in = LEFT_IN[side] + column * (WIDTH_IN + GAP_IN)
            axes = picture(figure, left_in, top_in, WIDTH_IN, ROW_IN - GAP_IN)
            if row == 0:
                text = given if column == 0 else f"from {SIDES[given]}"
                axes.set_title(text, loc="center", size=7, color=SIDE_COLOURS.get(given, INK))
            values = true[row] if column == 0 else made.sel(given=given).values[row]
            if not np.isfinite(values).any():
                axes.text(0.5, 0.5, "not shared", ha="center", va="center", size=6, transform=axes.transAxes)
                continue
            last = row == n_clips - 1 and column == 0
            if side == "audio":
                image = pictures.sound(axes, values, gain=gains.get(given, 1), name_axes=last)
            else:
                drawn = pictures.counts(axes, values, expected=column > 0, name_axes=last)
                image = drawn if column > 0 else image
    left_in = LEFT_IN[side] + WIDTH_IN + GAP_IN
    if image is not None:
        label = "dB above floor" if side == "audio" else pictures.change_label
        scale(figure, image, left_in + 0.35, bottom_in, 1.7, label)


def _gain(expected_db: np.ndarray, top_db: float) -> int:
    """The largest of 1, 5, 10 and 20 that keeps expected levels on the scale."""
    seen = expected_db[np.isfinite(expected_db)]
    highest = float(np.quantile(seen, 0.998)) if seen.size else top_db
    return max((gain for gain in (5, 10, 20) if gain * highest <= top_db), default=1)
