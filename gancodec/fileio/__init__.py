"""Whole files: encode, decode, enhance, open, verify.

entry          the calls, and what is checked before anything is opened
results        what they say while they run and when they are done
input_clip     a source, its rhythm, its GOPs        headers      clip to GHDR and back
encoding       GOPs to coded GOPs                    writing      and those to a file
samples        the quality for a rate                passes       encodes until it is kept
decoding       a file to frames and sound            video_output and those to a video
footage        frames and sound of any video         enhancing    frames made better
source_rate    what a source spends on them
concealment    holes in a damaged file               sound_cut    part of a sound track
random_access  frames by number and by time          checking     is a file as it was written
parallel       all of it on many cores               cluster        and on many machines
"""

from gancodec.fileio.checking import verify
from gancodec.fileio.entry import decode, encode, enhance
from gancodec.fileio.random_access import Video, open
from gancodec.fileio.results import (
    DecodeStats,
    EncodeStats,
    EnhanceStats,
    LostSpan,
    Progress,
    VerifyReport,
)

__all__ = [
    "DecodeStats",
    "EncodeStats",
    "EnhanceStats",
    "LostSpan",
    "Progress",
    "VerifyReport",
    "Video",
    "decode",
    "encode",
    "enhance",
    "open",
    "verify",
]
