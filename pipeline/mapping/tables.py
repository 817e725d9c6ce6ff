"""The tables of a run: what their columns mean (also the report's data dictionary), and how they are written."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.mapping.names import BASELINES

if TYPE_CHECKING:
    import pandas as pd

_UNIT = "unit, as session|table|row of the NWB file"
_TRUST = "ok, or low where a control passes too often"
_P = "p value, (1 + surrogates that reach it) / (1 + surrogates)"
_Q = "Benjamini-Hochberg q value; family: all tested rows of this table"
_LATENT = "number of the latent, from 0, in the model of the first seed"
_REPORTED_AS = "dimension (the latent repeats over seeds) or subspace (it does not: this row is no result on its own)"
_ESS = "effective sample size of the importance weights behind a log-likelihood"
_BASELINES = ", ".join(f"{name}: {words}" for name, words in BASELINES.items() if name != words)
_RIVALS = (
    "own marginal (of conditional and predictive: the model's marginal of the target, inferred from itself; the "
    "difference is what the given tell) or unimodal (of a joint, and of a marginal inferred from its own target: that "
    "family's marginals, summed; the difference is what learning together gains)"
)

TABLES = {
    "units": {
        "unit_id": _UNIT,
        "session": "session, as in the sheet",
        "subject": "animal",
        "nwb_id": "id of the unit in the NWB file",
        "region": "brain region, where the NWB file names one",
        "n_spikes": "spikes that were counted (traces: none)",
        "rate_hz": "mean rate over the observed time, Hz",
        "observed_s": "time in which the unit was observed and sound was recorded, s",
        "n_dropped": "spikes that were left out, for any reason",
        "n_dropped_nonfinite": "of these, spike times that are not finite numbers",
        "n_dropped_duplicate": "of these, spikes at the very time of another spike of the unit",
        "n_dropped_outlier": "of these, spikes far from all others of the session (a corrupt number)",
        "n_dropped_no_audio": "of these, spikes while no sound was recorded",
        "n_dropped_unobserved": "of these, spikes outside the time in which the unit was observed (obs_intervals)",
        "n_dropped_invalid_times": "of these, spikes in times that the file marks as invalid",
        "included": "whether the unit takes part",
        "exclusion_reason": "why it does not",
    },
    "unit_clusters": {
        "unit_id": _UNIT,
        "session": "session, as in the sheet",
        "region": "brain region, where the NWB file names one",
        "cluster": "number of the cluster; -1: in none (not band selective, or like no other unit)",
        "membership": "cosine of the unit's tuning and lag over the whole session and the mean of its cluster's others",
        "best_khz": "frequency of the strongest response, kHz; only for units with q_band <= q",
        "best_ci_low_khz": "lower end of its 95 % bootstrap interval over bouts, kHz",
        "best_ci_high_khz": "upper end of that interval, kHz",
        "low_khz": "lower edge of the band above half of the peak, kHz",
        "high_khz": "upper edge of that band, kHz",
        "lag_ms": "lag of the strongest response, ms; positive: the unit follows the sound",
        "p_vocal": f"vocal modulation, the session's covariates partialled out: {_P}",
        "q_vocal": _Q,
        "p_band": f"band selectivity, covariates partialled out likewise: {_P}",
        "q_band": _Q,
        "p_floor": "smallest p_band that the number of surrogates allows",
        "p_floor_vocal": "smallest p_vocal that the number of surrogates allows",
        "own_song_rank": "share of the comparable sessions' songs that the unit follows less than that of its own "
        "session (deviance gain of vocal modulation, songs moved to begin alike); 0.5 by chance; the test is over all "
        "units and sessions (summary.json: session_permutation); empty with fewer than 5 comparable sessions",
        "votes_for": "cluster in whose held-out test the unit votes: it is selective by part A alone (p <= 0.05), and "
        "of all clusters its tuning and lag in part A are most like those of this one's other units; -1: none",
        "split_half_r": "correlation of the tuning curves of training (A) and held-out blocks (B)",
        "bits_per_spike": "what the primary model predicts from sound in the test blocks, bits/spike or bits/bin",
        "trust": _TRUST,
    },
    "cluster_bands": {
        "cluster": "number of the cluster, from 0 by falling number of the units that made it",
        "run": "number of the band of this cluster, from 0, the highest of part A first; further ones rise above half "
        "of it there and exceed 95 % of the maxima of the null in part B",
        "n_units": "units in it, admitted by q_band over the whole session",
        "n_tested": "units that vote in its held-out test, admitted or not (unit_clusters: votes_for); 0: no test",
        "n_sessions": "sessions they come from",
        "n_animals": "animals they come from: the replicate",
        "n_animals_agree": "animals in which the band of part A holds in part B by their own voters alone (p <= 0.05)",
        "regions": "brain regions of its units, with their numbers",
        "peak_khz": "frequency of the strongest response of the cluster, kHz",
        "peak_ci_low_khz": "lower end of its 95 % bootstrap interval over animals, where there are several, and bouts, "
        "kHz",
        "peak_ci_high_khz": "upper end of that interval, kHz",
        "low_khz": "lower edge of the band above half of its peak, kHz",
        "low_ci_low_khz": "lower end of the interval of the lower edge, kHz",
        "low_ci_high_khz": "upper end of that interval, kHz",
        "high_khz": "upper edge of that band, kHz",
        "high_ci_low_khz": "lower end of the interval of the upper edge, kHz",
        "high_ci_high_khz": "upper end of that interval, kHz",
        "fwhm_khz": "width of the band, kHz",
        "fwhm_octaves": "width of the band, octaves",
        "edge": "open where the band reaches the end of the frequencies with enough sound",
        "gain_percent": "response at the peak over the rest of the calls, percent of the mean rate in calls",
        "lag_ms_median": "median lag of its units, ms; positive: they follow the sound",
        "latents": "latents that repeat over seeds (reported_as dimension) and whose band, linked to spikes, overlaps "
        "by half or more, separated by semicolons; empty: there are none",
        "heldout_iou": "intersection over union of the bands that the voters show in training (A) and held-out blocks "
        "(B)",
        "heldout_decode_r2": "R2 on held-out clips of the band's relative energy decoded from the voters' counts",
        "heldout_decode_r2_best_other": "the same from the voters of the best other cluster",
        "p": "the band of part A in part B, of units chosen from part A alone (n_tested), mean over animals, swapped "
        f"contours: {_P}; empty without such units",
        "q": _Q,
        "p_floor": "smallest p that the number of surrogates allows",
        "n_clusters": "number of clusters that was found",
        "p_one_cluster": "p of there being no more than one: the larger of those against one elongated cluster of the "
        "same covariance and against a continuum of best bands; at least 1/200 (199 draws each)",
        "trust": _TRUST,
    },
    "tuning_curves": {
        "unit_id": _UNIT,
        "part": "A training blocks, B held-out blocks, or all",
        "band_low_khz": "lower edge of the tuning bin, kHz",
        "band_high_khz": "upper edge of the tuning bin, kHz",
        "tuning_z": "response in SDs of its null; empty where there is less than 0.6 s of sound",
        "tuning_gain": "change of rate relative to the median of the bins (0.5: half as much again; traces: in SDs)",
        "ci_low_gain": "lower end of its 95 % bootstrap interval over bouts (part all)",
        "ci_high_gain": "upper end of that interval (part all)",
    },
    "coupling": {
        "band_low_khz": "lower edge of the band of the clips, kHz",
        "band_high_khz": "upper edge, kHz",
        "unit_id": _UNIT,
        "coupling_db_log_rate": "J_audio Cov(z) J_neural^T at the unit's lag, mean of held-out samples, dB x log rate",
        "ci_low": "lower end of its 95 % interval over seeds and bouts",
        "ci_high": "upper end of that interval",
        "lag_ms": "lag at which frames and bins are paired, ms",
        "p": "the unit's whole profile against its tuning in part B, swapped contours; same in all its rows. The "
        "model's weights are fitted on training blocks (part A); its epoch and family are chosen on the validation "
        "blocks, which are half of part B",
        "q": "Benjamini-Hochberg q value; family: the units of this table, once each",
        "p_floor": "smallest p that the number of surrogates allows: more for units with p_band <= 0.1 at first",
    },
    "latents": {
        "objective": "family of the model",
        "latent_dim": "latents of the model",
        "latent": _LATENT,
        "posterior_sd": "SD of its held-out posterior means",
        "kl_nat": "mean KL divergence from the prior, nats",
        "space": "audio, neural or a further modality (0.9 or more of the sensitivity is that one's), shared, or "
        "inactive: not active, or all together change by less than 0.02 (in the units of audio_share)",
        "audio_share": "share of the sound in the decoder's sensitivity to the latent: SDs of the log spectrogram "
        "against log rate (of traces: SDs) and further modalities, for +1 SD of the latent",
        "active": "whether the latent carries anything (variance > 0.01 or KL > 0.05 nat)",
        "stability_r": "median matched |r| with the other seeds on held-out clips",
        "seeds_agree": "other seeds with a matching latent of |r| >= 0.8",
        "subspace_r": "how far the subspace of all latents that vary repeats: mean canonical correlation of two seeds, "
        "fitted on validation clips and read on test clips, median over pairs of seeds; 1: the latents of one seed are "
        "a linear map of another's, 0: unrelated; the same in all rows; empty with one seed",
        "reported_as": "dimension (stable over seeds), subspace (only together with others), or inactive",
        "n_sessions": "sessions whose held-out clips are behind the row",
        "n_animals": "animals they come from",
    },
    "latent_bands": {
        "objective": "family of the model",
        "latent_dim": "latents of the model",
        "latent": _LATENT,
        "run": "number of the band of this latent, from 0, the highest first; further ones rise above half of the "
        "highest, or fall as far, and have p <= 0.05",
        "peak_khz": "frequency at which moving the latent changes the sound most, mean over held-out clips, kHz",
        "peak_ci_low_khz": "lower end of its 95 % bootstrap interval over bouts, kHz",
        "peak_ci_high_khz": "upper end of that interval, kHz",
        "low_khz": "lower edge of the band above half of that change, kHz",
        "low_ci_low_khz": "lower end of the interval of the lower edge, kHz",
        "low_ci_high_khz": "upper end of that interval, kHz",
        "high_khz": "upper edge, kHz",
        "high_ci_low_khz": "lower end of the interval of the upper edge, kHz",
        "high_ci_high_khz": "upper end of that interval, kHz",
        "fwhm_khz": "width of the band, kHz",
        "fwhm_octaves": "width of the band, octaves",
        "edge": "open where the band reaches the end of the analysed range",
        "effect_db_per_sd": "change at the peak for +1 SD of the latent, mean of the Jacobian over held-out posterior "
        "samples and frames, dB",
        "effect_ci_low_db_per_sd": "lower end of its 95 % bootstrap interval over bouts, dB",
        "effect_ci_high_db_per_sd": "upper end of that interval, dB",
        "effect_rms_db_per_sd": "the same as a root mean square; far above the mean: the latent moves the sound up in "
        "some frames and down in others, and stands for a course in time more than for a band",
        "ablation_db2": "what is lost with the latent set to its mean: growth of the mean squared error of the decoded "
        "held-out spectrogram inside the band, dB2",
        "sign_agrees": "whether moving the latent from -2 to +2 SD changes the peak in the direction of the effect and "
        "the sound is decoded worse without the latent",
        "lag_ms": "median lag (unit_clusters) of the units that go with the latent (latent_units, q <= 0.05) and whose "
        "best frequency lies in the band, ms; positive: they follow the sound; empty: there are none",
        "p": "the latent, inferred from spikes alone, goes with the level of this band in held-out clips, in the "
        "direction of the effect and beyond what follows from how much, how loud and when in the clip it sounds, "
        f"against the maximum over all bands: {_P}",
        "q": f"{_Q}, those included that were too weak for a row",
        "p_floor": "smallest p that the number of surrogates allows",
        "null": "what the surrogates are",
        "seeds_agree": "other seeds with a matching latent of |r| >= 0.8",
        "reported_as": _REPORTED_AS,
        "n_sessions": "sessions whose held-out clips are behind the row",
        "n_animals": "animals they come from",
        "trust": _TRUST,
    },
    "latent_units": {
        "objective": "family of the model",
        "latent_dim": "latents of the model",
        "latent": _LATENT,
        "unit_id": _UNIT,
        "gain_log_rate_per_sd": "change of the log rate (of traces: in SDs) for +1 SD of the latent, mean of the "
        "Jacobian over held-out posterior samples and bins",
        "ci_low_log_rate_per_sd": "lower end of its 95 % bootstrap interval over bouts",
        "ci_high_log_rate_per_sd": "upper end of that interval",
        "gain_percent_per_sd": "the gain in percent of the rate; empty for traces",
        "lag_ms": "lag of the unit's strongest response (unit_clusters), ms; positive: it follows the sound; empty for "
        "units that prefer no band",
        "delta_bits_per_spike": "what is lost with the latent set to its mean: held-out prediction of the unit from "
        "sound, bits/spike (traces: bits/bin); negative: the unit is predicted better without it",
        "delta_se": "its standard error over bouts",
        "p": "the latent, inferred from sound alone, goes with the unit's count in held-out clips; a unit that fires "
        f"to any call goes with a latent that carries the amount of sound: {_P}",
        "q": _Q,
        "p_floor": "smallest p that the number of surrogates allows",
        "sign_agrees": "whether that correlation and the change from -2 to +2 SD have the sign of the gain, and the "
        "unit is predicted worse without the latent",
        "reported_as": _REPORTED_AS,
        "trust": _TRUST,
    },
    "log_likelihood": {
        "objective": "family of the model",
        "latent_dim": "latents of the model",
        "seed": "seed of the training",
        "session": "session, as in the sheet",
        "split": "validation or test",
        "target": "modality whose likelihood it is",
        "given": "modalities that the latents were inferred from",
        "metric": "marginal: log p(target), the latents drawn from q(z|given); joint: of all that is given; "
        "conditional: joint of target and given less the given's own; predictive: log mean of p(target|z) over "
        "q(z|given); synergy: the marginal of the target, one of the given, drawn from q(z|given) less that drawn from "
        "q(z|target), on the same clips",
        "value": "estimate, nats a clip; marginal, joint, predictive: too low on average, more so the smaller ess is",
        "se": "standard error over blocks",
        "ess": f"{_ESS}, mean over clips",
        "baseline": f"what it is held against, on the same clips: {_RIVALS}; empty: nothing of the kind",
        "delta": "value minus that one's, nats a clip; unsure where the ess of either is near 1",
        "delta_se": "standard error of the difference over blocks, paired",
        "n": "clips",
        "unit": "unit of the value",
    },
    "model_comparison": {
        "objective": f"family of the model, or baseline:name, a simple model ({_BASELINES})",
        "latent_dim": "latents of the model; 0 for a baseline",
        "seed": "seed of the training; -1: mean over seeds",
        "n_seeds": "seeds behind the row",
        "split": "validation (choices are made on it) or test (only reported)",
        "target": "modality that is predicted, or factor of the sound: pitch, level, duration; of simulated sessions "
        "also planted_pitch, pressure and length",
        "given": "modalities that the latents are inferred from (the target among them: a reconstruction); prior: "
        "draws of the model; real: held-out pairs; shuffled: draws paired at random; planted sound: the planted pitch, "
        "level and duration, exactly",
        "metric": "bits_per_spike (of traces: bits_per_bin), explained_variance, peak_frequency_error; log_likelihood: "
        "as in that table; joint_coherence: r of the factor that the sound shows and the one that ridge regression, "
        "fitted on real clips, reads from the counts; decoding: explained variance of the factor, read from the "
        "latents; decoding_synergy: from all that is given less from the best of it alone; identifiability:linear, "
        "identifiability:nonlinear: explained variance of the factor (pitch, pressure, length: of its logarithm), read "
        "by ridge or kernel ridge regression (baseline:data: from the data instead of latents); mig, sap: gap between "
        "the two latents that tell most of the factor; factorisation: 0 all latents serve all modalities alike, 1 "
        "each serves one",
        "value": "score over all sessions",
        "se": "standard error over blocks",
        "ess": f"{_ESS}, mean over clips and seeds; empty for what is not sampled so",
        "seeds_low": "lower end of the 95 % interval over seeds (Student's t)",
        "seeds_high": "upper end of that interval",
        "rank": "place of the family in this measure, 1 the best; empty for single seeds and baselines",
        "n": "clips (joint_coherence of the prior: draws)",
        "unit": "unit of the value",
        "p": "of synergies: sign test over blocks",
        "baseline": f"the baseline that does best on the validation blocks; of log-likelihoods: {_RIVALS}",
        "delta": "value minus that one's",
        "delta_se": "standard error of the difference over blocks, paired",
        "delta_low": "lower end of its 95 % interval",
        "delta_high": "upper end of its 95 % interval",
    },
    "controls": {
        "control": "neural_shifted (spikes moved by 60-300 s), time_reversed, or other_session (the song of another "
        "session; not for sounds that are played back)",
        "level": "vocal (any vocalization) or band (which frequency)",
        "metric": "share of tests with p <= 0.05",
        "value": "that share",
        "se": "its standard error over draws and sessions",
        "n": "tests",
        "baseline": "nominal share",
        "delta": "value minus nominal",
        "trust": "low where the share is above twice nominal beyond its error, in all sessions together or in any one "
        "(at 0.05 / number of sessions)",
        "doubtful_sessions": "sessions whose own share makes trust low, separated by semicolons",
    },
}


def write_tables(tables: "dict[str, pd.DataFrame]", folder: str | Path) -> None:
    """Write every table of TABLES as CSV and Parquet; absent or empty ones keep their columns, others are refused."""
    import pandas as pd

    from pipeline.storage import write_table

    for name, columns in TABLES.items():
        table = tables.get(name, pd.DataFrame()).reindex(columns=list(columns))
        for suffix in ("csv", "parquet"):
            write_table(table, Path(folder) / f"{name}.{suffix}")
