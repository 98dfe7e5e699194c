"""A server on loopback that takes what `wandb sync` uploads, and keeps it.

It answers the GraphQL operations that creating a run and its files needs, by their names, takes the file
stream (POST /files/ENTITY/PROJECT/RUN/file_stream: lines of files from an offset on) and whole files by PUT.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Uploaded:
    """What has arrived of one run."""

    upserts: list[dict[str, Any]] = field(default_factory=list)  # the variables of UpsertBucket
    lines: dict[str, dict[int, str]] = field(default_factory=dict)  # of each streamed file, by offset
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows in their order."""
        rows = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(rows[offset]) for offset in sorted(rows)]

    @property
    def summary(self) -> dict[str, Any]:
        """The newest one."""
        return json.loads(self.lines["wandb-summary.json"][0])

    @property
    def config(self) -> dict[str, Any]:
        """The run's, without what W&B adds."""
        config = json.loads(self.upserts[-1]["config"])
        return {key: item["value"] for key, item in config.items() if key != "_wandb"}


class Server(ThreadingHTTPServer):
    """W&B's, as far as `wandb sync` asks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, Uploaded] = {}
        Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to tell of."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def run(self, name: str) -> Uploaded:
        """What there is of a run, by its ID."""
        return self.runs.setdefault(name, Uploaded())


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/graphql":
            query = json.loads(body)
            self.answer({"data": self.graphql(query["query"], query.get("variables") or {})})
        elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self.stream(self.server.run(found[1]), json.loads(body))
            self.answer({})
        else:
            self.answer({}, 404)

    def do_PUT(self) -> None:
        run, _, name = self.path.removeprefix("/upload/").partition("/")
        self.server.run(run).files[name] = self.body()
        self.answer({})

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass

    def stream(self, run: Uploaded, body: dict[str, Any]) -> None:
        for name, part in (body.get("files") or {}).items():
            lines = run.lines.setdefault(name, {})
            for number, line in enumerate(part["content"]):
                lines[part["offset"] + number] = line
        if body.get("complete"):
            run.complete, run.exit_code = True, body.get("exitcode")

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        match found and found[1]:
            case "UpsertBucket":
                run = self.server.run(variables["name"])
                run.upserts.append(variables)
                project = {
                    "id": "p",
                    "name": variables.get("project"),
                    "entity": {"id": "e", "name": "tester"},
                }
                bucket = {
                    "id": "bucket",
                    "name": variables["name"],
                    "displayName": variables.get("displayName"),
                    "config": variables.get("config"),
                    "historyLineCount": len(run.history),
                    "project": project,
                }
                return {"upsertBucket": {"bucket": bucket, "inserted": len(run.upserts) == 1}}
            case "CreateRunFiles":
                files = [
                    {"name": file, "uploadUrl": f"{self.server.url}/upload/{variables['run']}/{file}"}
                    for file in variables["files"]
                ]
                return {"createRunFiles": {"runID": "bucket", "uploadHeaders": [], "files": files}}
            case _:
                return {}
