"""Calls that Duet finds: agreement with human labels, recall against noise, false alarms, and speed.

    python benchmarks/calls.py [--labelled DIR] [--minutes 2]

(a) On the labelled recordings in DIR (rec_N.wav, gt_N.csv: start and stop, s), beside what published detectors found
in them (deepsqueak_N.csv, mupet_N.csv, vocalmat_N.csv, msa1_N.csv, msa2_N.csv) and a plain energy threshold.
(b) On simulated song (`pipeline.simulation.vocal_organ`) at signal-to-noise ratios of 0 to 20 dB, plain and with
clicks, tones or a second, fainter animal; and false alarms a minute in sound without calls.
(c) CPU time of the first look and multitaper spectra where it finds something, against multitaper spectra everywhere.
Everything with the default settings. Prints tables in Markdown; temporary files are removed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

from pipeline.audio.calls import detect_calls
from pipeline.audio.features import measure_calls
from pipeline.audio.recording import open_recording
from pipeline.audio.scan import Scan
from pipeline.audio.scoring import compare, figures, pool
from pipeline.config import Audio, Calls, Simulation
from pipeline.simulation.vocal_organ import sing

RATE_HZ = 250_000
AUDIO = {name: getattr(Audio(), name) for name in ("low_hz", "high_hz", "window_s")}
CALLS = {name: value for name, value in Calls().model_dump().items() if name != "bout_gap_s"}
SONG = {name: getattr(Simulation(), name) for name in ("habituation", "jump_share", "level_jitter_db")}
PUBLISHED = {"DeepSqueak": "deepsqueak", "MUPET": "mupet", "VocalMat": "vocalmat", "MSA 1": "msa1", "MSA 2": "msa2"}
NOISE_SD = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "usv" / "amvoc"
    parser.add_argument("--labelled", type=Path, default=beside, help="folder of labelled recordings")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of each simulated recording, min")
    args = parser.parse_args()
    if args.labelled.is_dir():
        labelled(args.labelled)
    else:
        print(f"\nNo labelled recordings in {args.labelled}: that table is left out.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        simulated(path, 60 * args.minutes)
        call_free(path, 60 * args.minutes)
        speed(path, 60 * args.minutes)


def labelled(folder: Path) -> None:
    numbers = sorted(int(path.stem.split("_")[1]) for path in folder.glob("gt_*.csv"))
    labels = {n: _two_columns(folder / f"gt_{n}.csv") for n in numbers}
    found = {name: {n: _two_columns(folder / f"{stem}_{n}.csv") for n in numbers} for name, stem in PUBLISHED.items()}
    sounds = {n: folder / f"rec_{n}.wav" for n in numbers}
    found["energy threshold"] = {n: energy_threshold(soundfile.read(sounds[n])[0]) for n in numbers}
    found["Duet"] = {n: detected(sounds[n])[0] for n in numbers}
    print(f"\n{sum(map(len, labels.values()))} labels in {len(numbers)} recordings\n")
    print("| detector | F1 any overlap | F1 IoU >= 0.5 | F1 edges <= 10 ms | <= 5 ms | onset, offset error ms |")
    print("|---|---|---|---|---|---|")
    for name, calls in found.items():
        row = figures(pool([_compared(calls[n], labels[n]) for n in numbers]))
        scores = " | ".join(f"{row[f'f1_{rule}']:.3f}" for rule in ("overlap", "iou50", "10ms", "5ms"))
        errors = f"{row['onset_absolute_error_ms']:.1f}, {row['offset_absolute_error_ms']:.1f}"
        print(f"| {name} | {scores} | {errors} |")


def simulated(path: Path, duration_s: float) -> None:
    print("\n| SNR dB | disturbed by | Duet F1 any | IoU >= 0.5 | recall | energy threshold F1 any | IoU >= 0.5 |")
    print("|---|---|---|---|---|---|---|")
    for snr_db in (0, 5, 10, 20):
        for name, disturb in (("nothing", None), ("clicks", clicks), ("tones", tones), ("second animal", second)):
            rng = np.random.default_rng(snr_db)
            samples = noise(duration_s, rng)
            truth = add_song(samples, snr_db, rng)
            if disturb is second:
                truth = np.concatenate([truth, add_song(samples, snr_db - 6, rng)])
            elif disturb:
                disturb(samples, rng)
            soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
            duet = figures(_compared(detected(path)[0], _united(truth)))
            plain = figures(_compared(energy_threshold(samples), _united(truth)))
            ours = f"{duet['f1_overlap']:.3f} | {duet['f1_iou50']:.3f} | {duet['recall_overlap']:.3f}"
            print(f"| {snr_db} | {name} | {ours} | {plain['f1_overlap']:.3f} | {plain['f1_iou50']:.3f} |")


def call_free(path: Path, duration_s: float) -> None:
    print("\n| sound without calls | Duet, false alarms a minute | energy threshold |\n|---|---|---|")
    for disturb in (white, silence, pink, clicks, click_bursts, tones, switched_tones, jumps, squeaks, rumble):
        samples = noise(duration_s, np.random.default_rng(1))
        disturb(samples, np.random.default_rng(2))
        soundfile.write(path, np.clip(samples, -1, 1), RATE_HZ, subtype="PCM_16")
        ours, plain = len(detected(path)[0]), len(energy_threshold(samples))
        print(
            f"| {disturb.__name__.replace('_', ' ')} | {60 * ours / duration_s:.1f} | {60 * plain / duration_s:.1f} |"
        )


def speed(path: Path, duration_s: float) -> None:
    rng = np.random.default_rng(3)
    samples = noise(duration_s, rng)
    truth = add_song(samples[: len(samples) * 5 // 10], 10, rng)  # silence after it, as in most recordings
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    share = (truth[:, 1] - truth[:, 0]).sum() / duration_s
    both = {everywhere: detected(path, everywhere=everywhere) for everywhere in (True, False)}
    same = "identical" if np.array_equal(both[True][0], both[False][0]) else "DIFFERENT"
    print(f"\n{len(truth)} calls fill {100 * share:.0f} % of the time; what both find is {same}\n")
    print("| one core, CPU time | times real time |\n|---|---|")
    print(f"| multitaper everywhere | {duration_s / both[True][1]:.0f} |")
    print(f"| first look, then multitaper | {duration_s / both[False][1]:.0f} |")
    print(f"| the same and measuring the calls | {duration_s / both[False][2]:.0f} |")


def detected(path: Path, everywhere: bool = False) -> tuple[np.ndarray, float, float]:
    """Calls found, (n_calls, 2), s; CPU time of finding, and of finding and measuring them, s."""
    with open_recording([path], series=None, channel=0) as recording:
        begin = time.process_time()
        scan = Scan(recording, longest_call_s=CALLS["max_duration_s"], everywhere=everywhere, **AUDIO)
        spans = list(detect_calls(scan, **CALLS))
        middle = time.process_time()
        # As the step does it: what was found is measured while its spectra are at hand.
        scan = Scan(recording, longest_call_s=CALLS["max_duration_s"], everywhere=everywhere, **AUDIO)
        found = ((start_s, stop_s, "") for start_s, stop_s in detect_calls(scan, **CALLS))
        measure_calls(scan, found, spectrogram=None, bout_gap_s=1.0)
        return np.array(spans).reshape(-1, 2), middle - begin, time.process_time() - middle


def energy_threshold(samples: np.ndarray) -> np.ndarray:
    """Where the power above 30 kHz, averaged over 5 ms, exceeds its median by 3 dB; 5 ms to 0.4 s, (n_calls, 2), s."""
    high = sosfilt(butter(6, AUDIO["low_hz"], "high", fs=RATE_HZ, output="sos"), samples)
    power = uniform_filter1d(high**2, RATE_HZ // 200)[:: RATE_HZ // 1000]
    steps = np.diff((power > 2 * np.median(power)).astype(np.int8), prepend=0, append=0)
    calls = np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1) / 1000
    lasts = calls[:, 1] - calls[:, 0]
    return calls[(lasts >= CALLS["min_duration_s"]) & (lasts <= CALLS["max_duration_s"])]


def noise(duration_s: float, rng: np.random.Generator) -> np.ndarray:
    return (NOISE_SD * rng.standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def add_song(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Adds simulated song whose calls have this power over that of the noise; returns their start and stop, s."""
    calls = sing(duration_s=len(samples) / RATE_HZ, generator=rng, **SONG)
    for call in calls:
        time_s = np.arange(round(call.duration_s * RATE_HZ)) / RATE_HZ
        pitch_hz = np.interp(time_s, call.time_s - call.start_s, call.pitch_hz)
        ramp = np.minimum(np.minimum(time_s, time_s[-1] - time_s) / 0.002, 1)
        amplitude = NOISE_SD * np.sqrt(2) * 10 ** (snr_db / 20) * ramp
        first = round(call.start_s * RATE_HZ)
        samples[first : first + len(time_s)] += amplitude * np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ)
    return np.array([(call.start_s, call.stop_s) for call in calls])


def white(samples, rng):
    pass


def silence(samples, rng):
    samples[:] = 0


def pink(samples, rng):
    spectrum = np.fft.rfft(samples)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)) / len(spectrum))
    samples[:] = np.fft.irfft(spectrum, len(samples))


def clicks(samples, rng):
    for first in rng.integers(0, len(samples) - 25, 20 * len(samples) // RATE_HZ):
        samples[first : first + 25] += 0.5 * rng.standard_normal(25)


def click_bursts(samples, rng):
    for burst in rng.integers(0, len(samples) - RATE_HZ // 10, 2 * len(samples) // RATE_HZ):
        for first in burst + rng.integers(0, RATE_HZ // 20, 40):
            samples[first : first + 25] += 0.5 * rng.standard_normal(25)


def tones(samples, rng):
    for frequency_hz, amplitude in ((40e3, 0.05), (57e3, 0.005), (72e3, 0.01)):
        samples += amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(len(samples)) / RATE_HZ)


def switched_tones(samples, rng):
    time_s = np.arange(len(samples)) / RATE_HZ
    # On at the end for longer than a call, too.
    samples += 0.05 * (np.sin(2 * np.pi * (time_s - time_s[-1] - 0.5) / 3.1) > 0.2) * np.sin(2 * np.pi * 60e3 * time_s)


def jumps(samples, rng):
    every = RATE_HZ // 4
    samples *= np.repeat(rng.choice([1, 4, 0.3], len(samples) // every + 1), every)[: len(samples)]


def squeaks(samples, rng):
    for first in rng.integers(0, len(samples) - RATE_HZ // 4, 2 * len(samples) // RATE_HZ):
        time_s = np.arange(int(rng.uniform(0.03, 0.2) * RATE_HZ)) / RATE_HZ
        phase = 2 * np.pi * rng.uniform(4e3, 15e3) * (time_s + 0.003 * np.sin(30 * time_s))
        sound = sum(np.sin(k * phase) / k for k in range(1, 9))
        samples[first : first + len(sound)] += 0.2 * np.hanning(len(sound)) * sound


def rumble(samples, rng):
    low = sosfilt(butter(4, [50, 2000], "band", fs=RATE_HZ, output="sos"), rng.standard_normal(len(samples)))
    samples += 0.1 * low / low.std()


def second(samples, rng):
    """A second animal is added with the first: its calls belong to the truth."""


def _united(calls: np.ndarray) -> np.ndarray:
    """Calls of several animals as one detector can tell them: those that overlap or nearly touch are one."""
    united: list[list[float]] = []
    for start_s, stop_s in calls[np.argsort(calls[:, 0])]:
        if united and start_s - united[-1][1] < CALLS["merge_gap_s"]:
            united[-1][1] = max(united[-1][1], stop_s)
        else:
            united.append([start_s, stop_s])
    return np.array(united)


def _compared(found: np.ndarray, truth: np.ndarray):
    return compare(
        found_start_s=found[:, 0], found_stop_s=found[:, 1], label_start_s=truth[:, 0], label_stop_s=truth[:, 1]
    )


def _two_columns(path: Path) -> np.ndarray:
    """Start and stop, s; some write decimal commas between quotes or semicolons."""
    rows = []
    for line in path.read_text(encoding="utf-8-sig").split("\n"):
        numbers = [part for part in line.replace('"', "").replace(";", "\t").replace("\t", " ").split() if part]
        if len(numbers) == 1:
            parts = numbers[0].split(",")
            half = len(parts) // 2
            numbers = [".".join(parts[:half]), ".".join(parts[half:])]
        if len(numbers) >= 2:
            rows.append([float(number.strip(",").replace(",", ".")) for number in numbers[:2]])
    return np.array(rows).reshape(-1, 2)


if __name__ == "__main__":
    main()
