"""The forms of the sheet's `sync` cell. Only the standard library is imported here, as in `pipeline.sessions`."""

import math
import re
from dataclasses import dataclass

from pipeline.errors import InputError

CHANNEL_FORMS = (
    "wav:CHANNEL@nwb:/PATH (pulses on channel 0, 1, ... of the sound, matched to those at a path of the NWB file)",
    "wav:lsb@nwb:/PATH (pulses in the least significant bit of the sound)",
)
SYNC_FORMS = (
    "empty (one clock)",
    "a number (offset_s: NWB time = audio time + offset_s)",
    "a CSV with the columns audio_s, nwb_s",
    *CHANNEL_FORMS,
)
_CHANNELS = re.compile(
    r"wav:(?P<bit>lsb)?(?P<channel>\d*)(#(?P<edge>rising|falling))?"
    r"@nwb:(?P<path>/[^#@]+)(#(?P<selection>[^@]+))?(@(?P<offset>[^@]+))?"
)


@dataclass(frozen=True)
class PulseChannels:
    """Where a session's pulses are: on a channel of the sound, and at a path of the NWB file.

    `bit`: in the least significant bit of that channel. `edge`: "rising", "falling" or "" (the onset of pulses).
    `selection`: "", an edge, or the event code, label or column that holds the pulses. `offset_s`: NWB time minus
    audio time as far as the user knows it; None where it is left to the pulses.
    """

    channel: int
    bit: bool
    edge: str
    nwb_path: str
    selection: str
    offset_s: float | None


def sync_kind(text: str) -> str:
    """What a `sync` cell holds: 'none', 'number' (offset_s), 'channel' (of pulses) or 'file' (CSV)."""
    if not text:
        return "none"
    try:
        float(text)
    except ValueError:
        return "channel" if re.match(r"(wav|nwb):", text) else "file"
    return "number"


def pulse_channels(text: str) -> PulseChannels:
    """The parts of a cell such as "wav:1@nwb:/acquisition/ttl".

    "#falling" may follow the channel, "#CODE" and "@OFFSET_S" the path. Raises InputError for anything else.
    """
    parts = _CHANNELS.fullmatch(text)
    try:
        offset_s = float(parts["offset"]) if parts and parts["offset"] else None
        readable = bool(parts) and bool(parts["bit"] or parts["channel"]) and math.isfinite(offset_s or 0.0)
    except ValueError:
        readable = False
    if not readable:
        raise InputError("sync: these pulse channels cannot be read", found=text, allowed="; or ".join(CHANNEL_FORMS))
    return PulseChannels(
        channel=int(parts["channel"] or 0),
        bit=bool(parts["bit"]),
        edge=parts["edge"] or "",
        nwb_path=parts["path"].rstrip("/"),
        selection=parts["selection"] or "",
        offset_s=offset_s,
    )
