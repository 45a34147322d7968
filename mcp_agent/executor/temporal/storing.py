"""How values are stored with runs: encrypted, compressed, and the large ones elsewhere, as the configuration says."""

from __future__ import annotations

from temporalio.converter import DataConverter, ExternalStorage, PayloadCodec

from mcp_agent.config import TemporalSettings
from mcp_agent.executor.temporal.blobs.driver import BlobDriver
from mcp_agent.executor.temporal.blobs.store import open_store
from mcp_agent.executor.temporal.compression import CompressionCodec
from mcp_agent.executor.temporal.encryption import EncryptionCodec, data_converter
from mcp_agent.executor.temporal.key_ring import configured_keys


def configured_converter(settings: TemporalSettings, *, writes: bool = True) -> DataConverter:
    """The data converter that the configuration asks for.

    Args:
        settings: The section.
        writes: Whether large values are kept; a replay only reads them.

    Raises:
        ConfigError: A key or the storage cannot be used; names the setting, not its value.
    """
    return data_converter(codec_of(settings), storage_of(settings, writes=writes))


def codec_of(settings: TemporalSettings) -> PayloadCodec | None:
    """What encrypts or compresses. Reads the files and runs the commands that keys come from. Raises ConfigError."""
    asked = settings.data_converter
    if asked is None:
        return None
    if not asked.encrypts:
        return CompressionCodec(asked.compression)
    return EncryptionCodec(configured_keys(asked), repeatable=settings.external_storage is not None)


def storage_of(settings: TemporalSettings, *, writes: bool = True) -> ExternalStorage | None:
    """What keeps large values. Raises ConfigError."""
    asked = settings.external_storage
    if asked is None:
        return None
    driver = BlobDriver(open_store(asked), settings.namespace, writes=writes)
    return ExternalStorage(drivers=[driver], payload_size_threshold=asked.threshold_bytes)


def driver_of(converter: DataConverter) -> BlobDriver | None:
    """What keeps the large values of a client of this package; `None` where nothing does."""
    drivers = () if converter.external_storage is None else converter.external_storage.drivers
    return next((driver for driver in drivers if isinstance(driver, BlobDriver)), None)
