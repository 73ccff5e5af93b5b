"""What the YAML says of sinks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgevlm.runtime.section import Secret, Section

TopicPrefix = Annotated[str, Field(pattern=r"^[^+#$/\x00\s][^+#\x00\s]{0,99}$")]


class TlsConfig(Section):
    """How to reach a broker that speaks TLS."""

    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    cert_file: str | None = None
    """Our own certificate, where the broker wants one."""
    key_file: str | None = None
    """Its key."""
    verify: bool = True
    """Check the broker's certificate and name."""

    @model_validator(mode="after")
    def _pair(self) -> TlsConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class MqttSinkConfig(Section):
    """An MQTT broker: results, states, and the commands that it passes on to us."""

    type: Literal["mqtt"]
    host: str = Field(default="127.0.0.1", min_length=1)
    """Name or address of the broker."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """1883, or 8883 with `tls`, when absent."""
    username: str | None = None
    """Login, if the broker wants one."""
    password: Secret | None = None
    """`!credential NAME`, `!file PATH` or `!env NAME`; plain text works and is warned of."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """`auto`: MQTT 5, else 3.1.1 with a warning (3.1.1 cannot tell a refused message from a taken one)."""
    prefix: TopicPrefix = "edgevlm"
    """First level of every topic: PREFIX/NODE/…"""
    client_id: str | None = Field(default=None, min_length=1, max_length=64)
    """Must be unique at the broker; made from the node name when absent."""
    format: Literal["json", "roboflow"] = "json"
    """How results are shaped; `roboflow`: under the names of its workflow blocks (docs/roboflow.md)."""
    commands: bool = True
    """Obey `PREFIX/NODE/cmd/…`."""
    tls: TlsConfig | None = None
    """TLS; `{}` for the system's certificates."""
    keepalive_secs: int = Field(default=15, ge=5, le=3600)
    """A broker that is silent for twice this time is given up and reached for anew."""


class RetentionConfig(Section):
    """What the file sink may keep."""

    max_bytes: int | None = Field(default=None, ge=1_000_000)
    """All files together; the oldest go first. No bound when absent."""
    max_age_days: float | None = Field(default=None, gt=0)
    """Older days are deleted. No bound when absent."""


class FileSinkConfig(Section):
    """JSON Lines on disk: `DIRECTORY/YYYY-MM-DD[.n].jsonl`, pictures and clips beside it."""

    type: Literal["file"]
    directory: str = "results"
    """Relative: below the state directory."""
    format: Literal["jsonl", "roboflow"] = "jsonl"
    """How rows are shaped; `roboflow`: JSON Lines under the names of its workflow blocks."""
    evidence: list[Literal["picture", "clip"]] = []
    """What to keep below `evidence/`: `picture`, the JPEG that was asked about; `clip`, an MP4 of the rule's
    `clip`, or without one of the camera's last 10 s, as far as `ring_secs` reaches. A clip costs no encoding,
    except with privacy masks and with codecs other than H.264 and H.265."""
    max_file_bytes: int = Field(default=100_000_000, ge=10_000)
    """A file that reaches this size is followed by `YYYY-MM-DD.1.jsonl`, and so on."""
    retention: RetentionConfig = RetentionConfig()
    """What may be kept."""


class StdoutSinkConfig(Section):
    """One result JSON a line on standard output."""

    type: Literal["stdout"]
    format: Literal["json", "roboflow"] = "json"
    """How results are shaped; `roboflow`: under the names of its workflow blocks (docs/roboflow.md)."""


class SpoolConfig(Section):
    """What waits on disk until every sink has confirmed it."""

    max_bytes: int = Field(default=64_000_000, ge=1_000_000, le=100_000_000_000)
    """Room for answers, taken when the file is made; when it is full the oldest are dropped, and counted."""
    max_age_days: float | None = Field(default=30.0, gt=0)
    """Older answers are dropped, and counted. No bound when null."""
    max_evidence_bytes: int = Field(default=500_000_000, ge=0)
    """Room for the pictures of answers that wait; when it is full, answers go without."""


SinkConfig = Annotated[MqttSinkConfig | FileSinkConfig | StdoutSinkConfig, Field(discriminator="type")]
