"""Every choice of a run: types, units, bounds and defaults, in one place.

One class a section. Library functions take keyword arguments and no configuration; the steps translate.
The JSON schema that editors use (`config/schema.json`) is generated from here; `config_file` reads what a user wrote.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.errors import nearest
from pipeline.vae import families as known_families

# modalities that there always are, and what else models and metrics have under a name
TAKEN = {"audio", "neural", "kl", "label", "mmd", "objective", "prior", "real", "shared", "shuffled"}

Weight = Annotated[float, Field(ge=0)] | Literal["dim"]


class Section(BaseModel):
    """A section refuses keys that it does not know: a typo must not pass."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Audio(Section):
    low_hz: float = Field(30_000, ge=0, description="lower edge of the analysed range, Hz")
    high_hz: float = Field(
        125_000, gt=0, description="upper edge of the analysed range, Hz; at most half the sampling rate"
    )
    hop_s: float = Field(0.001, gt=0, le=1, description="time between spectrogram frames, s")
    window_s: float = Field(0.002048, gt=0, le=1, description="length of the analysis window, s")
    scale: Literal["linear", "mel", "log"] = Field("linear", description="spacing of the frequency bands")
    n_bands: int | None = Field(
        None, ge=4, le=2048, description="number of bands; null keeps the bins of the Fourier transform (linear only)"
    )
    channel: Annotated[int, Field(ge=0)] | Literal["best"] = Field(
        0, description="which channel of the recording to analyse, from 0; 'best': where sound stands out most"
    )

    @model_validator(mode="after")
    def _range(self):
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz ({self.low_hz:g}) must be below high_hz ({self.high_hz:g})")
        if self.scale != "linear" and self.n_bands is None:
            raise ValueError(f"scale: {self.scale} needs n_bands")
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s ({self.hop_s:g}) above window_s ({self.window_s:g}) would skip sound")
        return self


class Calls(Section):
    min_duration_s: float = Field(0.005, gt=0, description="shorter sounds are no calls, s")
    max_duration_s: float = Field(
        0.4, gt=0, le=12, description="longer sounds are no calls, s; a tone that lasts much longer is noise"
    )
    merge_gap_s: float = Field(0.015, ge=0, description="gaps shorter than this do not divide a call, s")
    activity_threshold: float = Field(2.1, gt=0, description="noise SDs above which a frame counts as active")
    peak_threshold: float = Field(4.2, gt=0, description="noise SDs that a call must reach")
    bout_gap_s: float = Field(1.0, gt=0, description="silence that ends a bout, s")

    @model_validator(mode="after")
    def _durations(self):
        if self.min_duration_s >= self.max_duration_s:
            raise ValueError(
                f"min_duration_s ({self.min_duration_s:g}) must be below max_duration_s ({self.max_duration_s:g})"
            )
        return self


class Neural(Section):
    bin_width_s: float = Field(0.01, gt=0, le=10, description="width of a count bin, s")
    min_rate_hz: float = Field(0.1, ge=0, description="units that fire less than this are left out, Hz")
    max_residual_s: float = Field(
        0.002, gt=0, description="largest residual of the clock fit that is accepted, s (raise it knowingly)"
    )
    signal: Literal["auto", "units", "traces", "multiunit", "lfp"] = Field(
        "auto", description="what to read: units with spikes, else traces of ROIs (auto), or one of the others"
    )
    table: str | None = Field(None, description="path of the units table in the NWB file; null: the only one")
    series: str | None = Field(None, description="path of the series of traces in the NWB file; null: the only one")
    unit_filter: str | None = Field(
        None, description="expression on the columns of the units table that units must meet; null: all"
    )
    lfp_bands_hz: list[tuple[float, float]] = Field(
        [(4, 12), (12, 30), (30, 80), (80, 150)], min_length=1, description="bands of signal: lfp, Hz (low, high)"
    )

    @field_validator("lfp_bands_hz")
    @classmethod
    def _bands(cls, value):
        if not all(0 < low < high for low, high in value):
            raise ValueError("each band needs 0 < low < high")
        return value


class Extra(Section):
    signal: Literal["covariates", "units", "traces", "multiunit", "lfp"] = Field(
        description="what it is: the covariates of the sheet, or a signal of the NWB file"
    )
    table: str | None = Field(None, description="path of the units table in the NWB file; null: the only one")
    series: str | None = Field(None, description="path of the series in the NWB file; null: the only one")
    unit_filter: str | None = Field(
        None, description="expression on the columns of the units table that units must meet; null: all"
    )


class CountWindow(Section):
    pre_s: float = Field(-0.05, description="counts start this long before the clip (negative: after its start), s")
    post_s: float = Field(-0.05, description="counts end this long after the clip (negative: before its end), s")


class Split(Section):
    n_blocks: int = Field(10, ge=3, description="contiguous blocks that a session is cut into")
    validation_fraction: float = Field(0.2, gt=0, lt=0.5, description="share of blocks for early stopping and choices")
    test_fraction: float = Field(0.2, gt=0, lt=0.5, description="share of blocks that are only reported")
    guard_s: float = Field(10.0, ge=0, description="clips closer than this to a block of another role are dropped, s")


class Clips(Section):
    mode: Literal["sliding", "call", "continuous"] = Field(
        "sliding", description="windows inside bouts, one window a call, or windows over the whole recording"
    )
    duration_s: float = Field(0.2, gt=0, description="length of a clip, s")
    stride_s: float = Field(0.05, gt=0, description="time between clips (not for mode: call), s")
    n_bands: int = Field(32, ge=2, le=512, description="bands of a clip's spectrogram")
    n_frames: int = Field(32, ge=2, le=1024, description="frames of a clip's spectrogram")
    label: str = Field("label", description="column of calls.parquet that labels clips; mfm learns from labels")
    counts: CountWindow = CountWindow()
    split: Split = Split()

    @model_validator(mode="after")
    def _window(self):
        if self.duration_s + self.counts.pre_s + self.counts.post_s <= 0:
            raise ValueError("counts.pre_s and counts.post_s leave no count window")
        return self


class Models(Section):
    families: list[str] = Field(["unimodal", "mopoe"], min_length=1, description="families to train, or 'all'")
    latent_dims: list[int] = Field([32], min_length=1, description="numbers of latent dimensions to train")
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="seeds to train; 3 for stability, 5 to publish")
    neural_likelihood: Literal["auto", "poisson", "negative_binomial", "gaussian"] = Field(
        "auto", description="distribution of counts; auto: poisson for spikes, gaussian for traces (calcium, LFP power)"
    )
    audio_likelihood: Literal["gaussian", "laplace"] = Field("gaussian", description="distribution of spectrogram bins")
    audio_weight: Weight = Field(
        1.0, description="weight of the audio likelihood in training; 'dim' balances by dimension"
    )
    neural_weight: Weight = Field(5.0, description="weight of the neural likelihood in training")
    extra_weight: Weight = Field(
        5.0, description="weight of the likelihood of each further modality (section extra) in training"
    )
    hidden: int = Field(256, ge=4, description="width of the hidden layers")
    n_factors: int = Field(12, ge=1, description="factors of the low-rank neural decoder")
    n_basis: int = Field(6, ge=1, description="lags between sound and counts that the neural decoder weighs")
    count_dropout: float = Field(
        0.5, ge=0, lt=1, description="share of counts hidden from the neural encoder in training"
    )
    beta: float = Field(1.0, gt=0, description="final weight of the KL terms")
    options: dict[str, dict[str, Any]] = Field({}, description="options of single families, by name: {mopoe: {...}}")

    @field_validator("families", mode="before")
    @classmethod
    def _families(cls, value):
        return known_families() if value in ("all", ["all"]) else value

    @field_validator("families", "options")
    @classmethod
    def _known(cls, value):
        for name in value:
            if name not in known_families():
                close = nearest(name, known_families())
                hint = f"; did you mean {close!r}?" if close else ""
                raise ValueError(f"no family {name!r}; known: {', '.join(known_families())}{hint}")
        return value

    @field_validator("latent_dims", "seeds", "families")
    @classmethod
    def _distinct(cls, value):
        if len(set(value)) < len(value):
            raise ValueError("values must differ from each other")
        return value

    @field_validator("latent_dims")
    @classmethod
    def _positive(cls, value):
        if min(value) < 1:
            raise ValueError("latent dimensions must be at least 1")
        return value


class Training(Section):
    max_epochs: int = Field(40, ge=1, description="passes over the training clips; the learning rate falls to 0")
    patience: int = Field(10, ge=1, description="epochs without improvement on the validation blocks before stopping")
    batch_size: int = Field(128, ge=2, description="clips a step")
    learning_rate: float = Field(6e-3, gt=0, description="highest step size of AdamW")
    weight_decay: float = Field(0.4, ge=0, description="weight decay of AdamW; biases and dispersions do not decay")
    warmup_fraction: float = Field(0.4, ge=0, le=1, description="share of the steps over which beta rises from 0")
    clip_norm: float = Field(100.0, gt=0, description="gradients are scaled down to this norm")
    devices: int = Field(1, ge=1, description="GPUs a training (1 on a CPU)")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="arithmetic of the training")


class Evaluation(Section):
    n_samples: int = Field(32, ge=2, description="posterior samples for predictions and likelihood estimates")
    n_clips: int = Field(
        200, ge=2, description="clips a session and split for reconstruction and log-likelihoods; prediction uses all"
    )
    chunk_s: float = Field(
        10.0, gt=0, description="where clips lie outside bouts: stretch that standard errors treat as one sample, s"
    )
    min_peak_db: float = Field(
        10.0,
        description="frames whose loudest band is lower have no peak frequency and are silence to the baseline psth, "
        "dB above the noise floor",
    )


class Mapping(Section):
    n_surrogates: int = Field(199, ge=19, description="surrogates for every unit in the first stage of a test")
    n_surrogates_fine: int = Field(1999, ge=19, description="surrogates for units with p <= 0.1 in the second stage")
    n_bootstrap: int = Field(500, ge=50, description="bootstrap draws over bouts for intervals")
    n_consensus: int = Field(200, ge=20, description="draws of the consensus clustering")
    max_clusters: int = Field(12, ge=1, description="largest number of clusters that is considered")
    min_cluster_units: int = Field(3, ge=2, description="units that make a cluster; fewer stay in none")
    q: float = Field(0.05, gt=0, lt=1, description="false discovery rate within each table")
    band_hz: float = Field(
        3000,
        gt=0,
        description="width of a tuning bin, Hz, where audio.scale is linear: 3 to 200 bins from audio.low_hz to "
        "high_hz; other scales join the spectrogram's bands to at most 24",
    )
    max_lag_s: float = Field(0.15, ge=0, le=2, description="largest lag between sound and response, s")

    @model_validator(mode="after")
    def _surrogates(self):
        if self.n_surrogates_fine < self.n_surrogates:
            raise ValueError(
                f"n_surrogates_fine ({self.n_surrogates_fine}) must be at least n_surrogates ({self.n_surrogates})"
            )
        return self


class Simulation(Section):
    out_dir: str = Field("data/demo", description="where the simulated sessions are written")
    n_sessions: int = Field(2, ge=1, le=100, description="sessions to simulate")
    sessions_per_animal: int = Field(1, ge=1, le=100, description="sessions of an animal; each session has its units")
    scenario: Literal["planted", "unrelated", "vocal_only", "drift_and_habituation", "other_session"] = Field(
        "planted",
        description="what the units below follow: what their names say (planted), or one of four cases without any "
        "band to find: nothing (unrelated), any vocalization (vocal_only), nothing while song and rates change over "
        "the session (drift_and_habituation), or a song that was not recorded (other_session)",
    )
    gain: float = Field(4.0, ge=1, description="firing at the best frequency over the baseline (1: nothing to find)")
    duration_s: float = Field(600, ge=20, description="length of a session, s")
    rate_hz: int = Field(250_000, ge=220_000, description="sampling rate of the audio, Hz; mouse calls need 220 kHz")
    tuning: Literal["bands", "continuum"] = Field(
        "bands", description="tuned units in clusters, one a band, or best frequencies spread evenly (no clusters)"
    )
    band_width: float = Field(
        1.0, gt=0, le=4, description="width of the planted bands over the standard 9 to 11 kHz; above 1.3 they overlap"
    )
    units_per_band: int = Field(7, ge=0, description="tuned units for each planted band, per session")
    n_vocal: int = Field(8, ge=0, description="units that fire to any vocalization, per session")
    n_multiplexed: int = Field(0, ge=0, description="units tuned to two of the planted bands, per session")
    n_suppressed: int = Field(
        0, ge=0, description="units that fall to 1 / gain of their rate in a planted band, per session"
    )
    n_movement: int = Field(
        0, ge=0, description="units that follow running speed and no sound, per session; the speed is in the NWB file"
    )
    n_unrelated: int = Field(20, ge=0, description="units with no link to sound, per session")
    movement_correlation: float = Field(
        0.0, ge=-1, le=1, description="correlation of running speed with singing (being in a bout)"
    )
    drift_sd: float = Field(0.25, ge=0, le=2, description="slow drift of the units' log rates, sd (0: none)")
    habituation: float = Field(
        2.5,
        ge=1,
        le=20,
        description="silences between bouts at a session's end over those at its start (1: alike)",
    )
    level_jitter_db: float = Field(4.0, ge=0, le=20, description="differences of level between calls, sd, dB")
    jump_share: float = Field(0.25, ge=0, le=1, description="share of calls whose pitch jumps")
    harmonic_db: float = Field(-20.0, le=20, description="level of the calls' second harmonic over the first, dB")
    noise_db: float = Field(
        0.0,
        ge=-60,
        le=40,
        description="background noise over the standard, which is 23 dB below a middling call, dB",
    )
    second_animal_db: float | None = Field(
        None, le=20, description="level of a second animal's calls over those of the recorded one, dB; null: no other"
    )


class Config(Section):
    sessions: str = Field("config/sessions.tsv", description="path of the sessions sheet (TSV)")
    seed: int = Field(0, ge=0, description="fixes every random draw outside the models")
    audio: Audio = Audio()
    calls: Calls = Calls()
    neural: Neural = Neural()
    extra: dict[str, Extra] = Field({}, description="modalities beside sound and neural, by a name of your own")
    clips: Clips = Clips()
    models: Models = Models()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    mapping: Mapping = Mapping()
    simulation: Simulation = Simulation()

    @field_validator("extra")
    @classmethod
    def _names(cls, value):
        for name in value:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in TAKEN:
                raise ValueError(
                    f"{name!r} cannot be a modality's name: lower case letters, digits and _, and none of "
                    + ", ".join(sorted(TAKEN))
                )
        if sum(extra.signal == "covariates" for extra in value.values()) > 1:
            raise ValueError("covariates are one modality, not several")
        return value

    @model_validator(mode="after")
    def _bins(self):
        range_hz = self.audio.high_hz - self.audio.low_hz
        if self.audio.scale == "linear" and not 3 <= range_hz / self.mapping.band_hz <= 200:
            raise ValueError(
                f"mapping.band_hz ({self.mapping.band_hz:g}) must be {range_hz / 200:g} to {range_hz / 3:g} Hz: 3 to "
                "200 tuning bins from audio.low_hz to audio.high_hz"
            )
        return self

    def neural_as(self, extra: str) -> Neural:
        """The section neural with what a further modality reads in place of its signal."""
        return self.neural.model_copy(update=self.extra[extra].model_dump())
