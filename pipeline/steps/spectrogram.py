"""Compute the spectrogram of a session's audio, in a stream."""

from pipeline.audio.channels import choose_channel
from pipeline.audio.recording import open_session
from pipeline.audio.spectrogram import compute_spectrogram, write_silence
from pipeline.sessions import find_session

SETTINGS = ("audio",)


def add_arguments(parser):
    parser.add_argument("--sheet", required=True, help="sessions sheet (TSV)")
    parser.add_argument("--session", required=True, help="name of the session in the sheet")
    parser.add_argument("--out", required=True, help="spectrogram.nc to write")


def run(args, config):
    audio = config.audio
    band = {"low_hz": audio.low_hz, "high_hz": audio.high_hz, "window_s": audio.window_s}
    settings = band | {"hop_s": audio.hop_s, "scale": audio.scale}
    recording = open_session(find_session(args.sheet, args.session), channel=audio.channel)
    if recording is None:
        write_silence(args.out, **settings)
        return
    recording, reason = choose_channel(recording, **band)
    if audio.channel == "best":
        print(f"{args.session}: {reason}")
    compute_spectrogram(recording, args.out, n_bands=audio.n_bands, **settings)
