"""The ``.gvc`` file format: container and entropy coder, as FORMAT.md specifies them.

Bytes only: nothing here knows of pictures or nets, or imports torch.
"""

from gancodec.bitstream.cdf import (
    AdaptiveTables,
    TableSet,
    gaussian_tables,
    laplace_tables,
    logistic_tables,
    quantise_pmf,
    tables_from_histograms,
)
from gancodec.bitstream.chunks import ByteReader
from gancodec.bitstream.container_reader import Reader
from gancodec.bitstream.container_writer import AudioProgress, ByteWriter, Writer
from gancodec.bitstream.descriptions import (
    ROLE_ENTROPY,
    ROLE_OTHER,
    ROLE_SYNTHESIS,
    Mastering,
    ModelRef,
)
from gancodec.bitstream.events import AudioData, AudioInit, Damage, End, Event, Metadata
from gancodec.bitstream.files import AtomicFile, Resumed, part_path, resume
from gancodec.bitstream.gops import CodedFrame, Gop, IndexEntry
from gancodec.bitstream.header import MAJOR, MINOR, Header, Limits
from gancodec.bitstream.rangecoder import SymbolDecoder, SymbolEncoder, SymbolHasher

__all__ = [
    "MAJOR",
    "MINOR",
    "ROLE_ENTROPY",
    "ROLE_OTHER",
    "ROLE_SYNTHESIS",
    "AdaptiveTables",
    "AtomicFile",
    "AudioData",
    "AudioInit",
    "AudioProgress",
    "ByteReader",
    "ByteWriter",
    "CodedFrame",
    "Damage",
    "End",
    "Event",
    "Gop",
    "Header",
    "IndexEntry",
    "Limits",
    "Mastering",
    "Metadata",
    "ModelRef",
    "Reader",
    "Resumed",
    "SymbolDecoder",
    "SymbolEncoder",
    "SymbolHasher",
    "TableSet",
    "Writer",
    "gaussian_tables",
    "laplace_tables",
    "logistic_tables",
    "part_path",
    "quantise_pmf",
    "resume",
    "tables_from_histograms",
]
