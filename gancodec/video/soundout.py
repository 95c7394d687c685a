"""A sound track on its way into a container: as it is, or transcoded where it cannot be."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet

from .notices import Notices
from .sound import SoundTrack
from .transcode import TargetCodec, Transcoder

_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class SoundOutput:
    """One sound track on its way into the file: as it is, or transcoded where it cannot be."""

    def __init__(
        self,
        output: OutputContainer,
        track: SoundTrack,
        kind: str,
        muxer: str,
        fallback: TargetCodec,
        notices: Notices,
    ) -> None:
        self.track = track
        self._output = output
        self._transcoder: Transcoder | None = None
        if _can_copy(muxer, track):
            self._stream = _add_copy(output, track)
        else:
            notices.add(
                f"{kind} cannot hold {track.context.name} sound: it was converted to {fallback}"
            )
            self._transcoder = Transcoder(output, track.context, fallback, notices)
            self._stream = self._transcoder.stream
        self._stream.metadata.update(track.stream.metadata)

    def write(self, clusters: bytes) -> None:
        """Mux the packets of whole clusters."""
        for packet in self.track.packets(clusters):
            if self._transcoder is None:
                packet.stream = self._stream
                self._output.mux_one(packet)
            else:
                self._output.mux(self._transcoder.feed(packet))

    def finish(self) -> None:
        """Mux what the transcoder still holds."""
        if self._transcoder is not None:
            flush: Packet[Any] = Packet()
            self._output.mux(self._transcoder.feed(flush))
            self._output.mux(self._transcoder.flush())


def _add_copy(output: OutputContainer, track: SoundTrack) -> Any:
    stream = output.add_stream_from_template(track.stream)
    channels = track.context.layout.nb_channels
    if track.context.name.startswith("pcm_") and channels in _LAYOUTS:
        # PCM in Matroska has a number of channels but no layout, and mp4 insists on one
        stream.codec_context.layout = _LAYOUTS[channels]
    return stream


def _can_copy(muxer: str, track: SoundTrack) -> bool:
    """Whether a container takes this codec, found out by writing an empty one to nowhere."""
    trial = av.open(io.BytesIO(), "w", format=muxer)
    try:
        _add_copy(trial, track)
        trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        with contextlib.suppress(av.FFmpegError, ValueError):
            trial.close()
    return True
