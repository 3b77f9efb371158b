"""Embedded Kafka: the real Apache Kafka as one KRaft process, broker and controller in one, on loopback."""

import sys
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from devstack import gates, java, kafka_lock, tools, tree
from devstack.faults import CannotStart
from devstack.part import Part
from devstack.place import ROOT, Place, cache_dir

_HEAP = "192m"
_LOCALE = {"LC_ALL": "C.UTF-8"}  # or Java would not find a folder whose name is not ASCII


def part(place: Place, port: int, controller_port: int) -> Part:
    """The server; its jars have been downloaded before."""
    data = place.folder("kafka")
    command, version = java.find()
    folder = cache_dir() / f"kafka-{kafka_lock.VERSION}"
    classpath = ":".join(str(folder / jar.file_name) for jar in kafka_lock.jars())
    properties = data / "server.properties"
    runtime = (command, *_runtime_options(version, data), "-cp", classpath)

    def prepare() -> None:
        properties.write_text(_properties(data, port, controller_port), encoding="ascii")
        (data / "log4j2.properties").write_text(_LOGGING)
        if not (data / "log" / "meta.properties").exists():
            _format(runtime, properties, place)

    return Part(
        name="kafka",
        argv=(*runtime, "kafka.Kafka", str(properties)),
        cwd=data,
        environment=_LOCALE,
        ports=(port, controller_port),
        gate=gates.kafka(port),
        prepare=prepare,
        stop_seconds=6.0,
        server=True,
    )


def download(place: Place) -> None:
    """Fill the cache with the pinned jars; whatever stops that is one line."""
    folder = cache_dir() / f"kafka-{kafka_lock.VERSION}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"cannot write to {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder of yours"
        ) from None
    marked = tree.mark(place.data_dir, "kafka")
    try:
        tools.run((sys.executable, "-m", "devstack.jars", str(folder)), ROOT, marked, 300, "Kafka's download")
    except CannotStart as error:
        raise CannotStart(f"{error}; check the network and start again, or set KAFKA_BOOTSTRAP_SERVERS") from None


def is_downloaded() -> bool:
    """True when every pinned jar is there."""
    return not kafka_lock.missing(cache_dir() / f"kafka-{kafka_lock.VERSION}")


def _format(runtime: tuple[str, ...], properties: Path, place: Place) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
    arguments = ("format", "--standalone", "--ignore-formatted", "-t", cluster, "-c", str(properties))
    environment = {**_LOCALE, **tree.mark(place.data_dir, "kafka")}
    tools.run((*runtime, "kafka.tools.StorageTool", *arguments), properties.parent, environment, 60, "Kafka's format")


def _runtime_options(version: int, data: Path) -> tuple[str, ...]:
    """A small, quickly starting virtual machine; newer ones would warn of what this Kafka still does."""
    options = (
        "-Xms24m", f"-Xmx{_HEAP}", "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=20",
        "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k",
        "-XX:ReservedCodeCacheSize=48m", "-XX:MaxDirectMemorySize=64m", "-Dfile.encoding=UTF-8",
        f"-Dlog4j2.configurationFile={data / 'log4j2.properties'}",
    )  # fmt: skip
    return (*options, "--sun-misc-unsafe-memory-access=allow") if version >= 24 else options


def _escaped(value: str) -> str:
    """As Java reads it in a properties file: backslashes doubled, anything beyond ASCII as UTF-16 escapes."""
    doubled = value.replace("\\", "\\\\").encode("utf-16-be")
    units = [int.from_bytes(doubled[at : at + 2], "big") for at in range(0, len(doubled), 2)]
    return "".join(chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in units)


def _properties(data: Path, port: int, controller_port: int) -> str:
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={_escaped(str(data / "log"))}
auto.create.topics.enable=false
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
log.segment.bytes=67108864
log.index.size.max.bytes=1048576
"""


_LOGGING = """rootLogger.level=WARN
logger.controller.name=org.apache.kafka.controller.QuorumController
logger.controller.level=ERROR
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
"""
