"""The embedded ClickHouse behind HTTP, as far as the client speaks it, and a proxy on the way that loses replies.

The engine is the real one; only the door is ours. Run as a module with a folder, it prints its port and serves until it
is killed.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Door(BaseHTTPRequestHandler):
    """Answers one request: the query comes as the body, or in the address with rows as the body."""

    engine: Any
    one_at_a_time = threading.Lock()
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        body = self._body()
        try:
            found = self._insert(asked["query"][0], body) if "query" in asked else self._run(body.decode())
            self._reply(200, found)
        except RuntimeError as fault:
            self._reply(500, str(fault).encode())

    def do_GET(self) -> None:
        self.do_POST()

    def _run(self, sql: str) -> bytes:
        with self.one_at_a_time:
            return bytes(self.engine.query(sql, "TabSeparated").bytes())

    def _insert(self, sql: str, body: bytes) -> bytes:
        if not body:
            return self._run(sql)
        with tempfile.NamedTemporaryFile() as rows:
            rows.write(body)
            rows.flush()
            head, _, shape = sql.rpartition("FORMAT")
            return self._run(f"{head} FROM INFILE '{rows.name}' FORMAT {shape}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, text: bytes) -> None:
        self.send_response(status)
        if status != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@contextmanager
def clickhouse_server(folder: Path) -> Iterator[int]:
    """The port of a server of its own process on this folder."""
    command = [sys.executable, "-m", "tests.operate.publishing.http_clickhouse", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


class Forgetful:
    """A proxy that hands requests on and loses the reply to the first `losses` whose bytes hold `words`.

    The server has done the work by then: its reply had begun to arrive.
    """

    def __init__(self, upstream: int, *, words: bytes, losses: int) -> None:
        self.lost = 0
        self._upstream, self._words, self._losses = upstream, words, losses
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._between, args=(client,), daemon=True).start()

    def _between(self, client: socket.socket) -> None:
        with closing(client), closing(socket.create_connection(("127.0.0.1", self._upstream))) as server:
            said = bytearray()
            back = threading.Thread(target=self._back, args=(server, client, said), daemon=True)
            back.start()
            with suppress(OSError):
                while part := client.recv(65_536):
                    said += part
                    server.sendall(part)
                server.shutdown(socket.SHUT_WR)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket, said: bytearray) -> None:
        with suppress(OSError):
            while part := server.recv(65_536):
                if self.lost < self._losses and self._words in said:
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                said.clear()
                client.sendall(part)


def main() -> None:
    import chdb

    Door.engine = chdb.connect(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    os._exit(0)


if __name__ == "__main__":
    main()
