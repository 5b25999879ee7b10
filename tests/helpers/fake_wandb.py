"""A W&B server on this machine that knows just enough: runs, their rows, states, and bad days."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789" * 4


class FakeWandb:
    """What the server received: rows by step, exit codes, preemption; and how it behaves."""

    def __init__(self) -> None:
        self.refuse: int | None = None  # answer everything with this status
        self.hang = threading.Event()  # while set, nothing is answered
        self.rows: list[dict[str, Any]] = []
        self.exits: list[int] = []
        self.preempting = False
        self.summary: dict[str, Any] = {}
        self.runs: set[str] = set()
        self.asked: list[str] = []
        self.lines = 0

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(query.split("(")[0].split("{")[0].strip())
        project = {"id": "p", "name": "scaledrelu", "entity": {"id": "e", "name": "me"}}
        if "upsertBucket" in query:
            name = variables.get("name") or "run"
            known = name in self.runs
            self.runs.add(name)
            bucket = {
                "id": "b", "name": name, "displayName": name, "description": "", "config": "{}",
                "sweepName": None, "project": project, "historyLineCount": self.lines,
            }  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": not known}}
        if "RunResumeStatus" in query:
            known = variables["name"] in self.runs
            tail = json.dumps([json.dumps(row) for row in self.rows[-1:]])
            bucket = {
                "id": "b", "name": variables["name"], "summaryMetrics": json.dumps(self.summary),
                "displayName": variables["name"], "logLineCount": 0, "eventsLineCount": 0,
                "historyLineCount": self.lines, "historyTail": tail, "eventsTail": "[]",
                "config": "{}", "tags": [], "wandbConfig": "{\"t\": {\"1\": 1}}",
            }  # fmt: skip
            model = {"id": "p", "name": "scaledrelu", "entity": {"name": "me"}}
            return {"model": {**model, "bucket": bucket if known else None}}
        return {
            "viewer": {"id": "u", "username": "me", "entity": "me", "flags": "{}"},
            "serverInfo": {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "features": []},
            "model": None, "project": None, "entity": None, "createRunFiles": {"files": []},
        }  # fmt: skip

    def stream(self, sent: dict[str, Any]) -> None:
        for name, part in sent.get("files", {}).items():
            if name.endswith("history.jsonl"):
                assert part["offset"] <= self.lines, "a hole in the history"
                new = [json.loads(line) for line in part["content"]][self.lines - part["offset"] :]
                self.rows += new
                self.lines += len(new)
            if name.endswith("summary.json"):
                self.summary = json.loads(part["content"][-1])
        self.preempting |= bool(sent.get("preempting"))
        if sent.get("complete"):
            self.exits.append(sent["exitcode"])


@contextmanager
def fake_wandb() -> Iterator[tuple[FakeWandb, str]]:
    """Serve on a free port of this machine; give the server and its address."""
    fake = FakeWandb()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if not raw.startswith(b"{"):  # W&B's own telemetry
                return self._send(200, {})
            body = json.loads(raw)
            while fake.hang.is_set():
                threading.Event().wait(0.1)
            if fake.refuse:
                return self._send(fake.refuse, {"errors": [{"message": "a bad day"}]})
            if self.path.endswith("/graphql"):
                found = fake.graphql(body["query"], body.get("variables") or {})
                return self._send(200, {"data": found})
            fake.stream(body)
            return self._send(200, {})

        def do_GET(self) -> None:
            self._send(fake.refuse or 200, {})

        do_PUT = do_GET  # noqa: N815

        def _send(self, status: int, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # whoever asked has ended
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield fake, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
