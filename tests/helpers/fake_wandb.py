"""A W&B server on this machine that knows just enough, and keeps what it is sent for a test to see.

Runs with their rows, states, configuration and axes; artifacts; saved views; and bad days.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "0123456789" * 4
OWNER = {"id": "e", "name": "me"}
PROJECT = {"id": "p", "name": "scaledrelu", "entityName": "me", "internalId": "1", "entity": OWNER}


@dataclass
class FakeRun:
    """What the server knows of one run."""

    name: str
    told: dict[str, Any] = field(default_factory=dict)  # last value of each variable but None
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    preempting: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was sent, nested."""
        sent = json.loads(self.told["config"])
        return {name: item["value"] for name, item in sent.items() if name != "_wandb"}

    @property
    def axes(self) -> dict[str, str]:
        """Pattern of metrics -> what they are drawn over (wandb's protocol: 1 name, 2 glob)."""
        found = json.loads(self.told["config"])["_wandb"]["value"]["m"]
        names = [one.get("1") or one.get("2") for one in found]
        return {
            name: names[one["5"] - 1] for name, one in zip(names, found, strict=True) if "5" in one
        }

    def answer(self) -> dict[str, Any]:
        """Everything that any query asks of a run."""
        tail = json.dumps([json.dumps(row) for row in self.rows[-1:]])
        return {
            "id": "b", "projectId": 1, "name": self.name, "state": "finished", "tags": [],
            "displayName": self.told.get("displayName"), "group": self.told.get("groupName"),
            "jobType": self.told.get("jobType"), "summaryMetrics": json.dumps(self.summary),
            "systemMetrics": "{}", "config": "{}", "wandbConfig": '{"t": {"1": 1}}',
            "user": {"name": "me", "username": "me"},
            "historyLineCount": len(self.rows), "historyTail": tail, "eventsTail": "[]",
            "logLineCount": 0, "eventsLineCount": 0, "sweepName": None, "description": "",
            "project": PROJECT,
        }  # fmt: skip


class FakeWandb:
    """What the server received, and how it behaves."""

    def __init__(self) -> None:
        self.refuse: int | None = None  # answer everything with this status
        self.hang = threading.Event()  # while set, nothing is answered
        self.runs: dict[str, FakeRun] = {}
        self.asked: list[str] = []  # names of queries and mutations
        self.keys: set[str] = set()  # that requests came with
        self.views: dict[str, dict[str, Any]] = {}  # id -> variables of the last save
        self.artifacts: list[dict[str, Any]] = []  # variables of each that was made
        self.files: dict[str, bytes] = {}  # uploads, by path
        self.address = ""

    @property
    def the_run(self) -> FakeRun:
        """The only run."""
        (run,) = self.runs.values()
        return run

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its rows."""
        return self.the_run.rows

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        words = query.replace("#graphql", "").replace("(", " ").replace("{", " ").split()
        name = words[1] if words[0] in ("query", "mutation") else words[0]
        self.asked.append(name)
        if answer := getattr(self, f"on_{name}", None):
            return answer(variables)
        return {
            "viewer": {
                "id": "u", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []},
            },
            "serverInfo": {"cliVersionInfo": {"max_cli_version": "9.9.9"}, "features": []},
            "model": None, "project": None, "entity": None, "createRunFiles": {"files": []},
        }  # fmt: skip

    def on_UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = variables["name"]
        known = name in self.runs
        run = self.runs.setdefault(name, FakeRun(name))
        run.told.update({key: value for key, value in variables.items() if value is not None})
        return {"upsertBucket": {"bucket": run.answer(), "inserted": not known}}

    def on_RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(variables["name"])
        return {"model": {**PROJECT, "bucket": run.answer() if run else None}}

    def on_Run(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(variables["name"])
        return {"project": {"run": run.answer()} if run else None}

    def on_CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        made = variables["input"]
        known = any(one["digest"] == made["digest"] for one in self.artifacts)
        self.artifacts.append(made)
        artifact = {"id": f"A{len(self.artifacts)}", "state": "COMMITTED" if known else "PENDING"}
        artifact["artifactSequence"] = {"latestArtifact": None}
        return {"createArtifact": {"artifact": artifact}}

    def on_CreateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        manifest = {"id": f"M{variables['artifactID']}", "file": self._place("manifest")}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def on_UpdateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        manifest = {"id": variables["artifactManifestID"], "file": self._place("manifest")}
        return {"updateArtifactManifest": {"artifactManifest": manifest}}

    def on_CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        nodes = []
        for one in variables["input"]["artifactFiles"]:
            place = {"storagePath": one["name"], "uploadMultipartUrls": None}
            place |= {"artifact": {"id": one["artifactID"]}, **self._place(one["name"])}
            nodes.append({"node": place})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def on_CommitArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}

    def on_UpsertView2(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        known = variables.get("id") or f"V{len(self.views)}"
        inserted = known not in self.views
        self.views[known] = {**variables, "id": known}
        view = {**self.views[known], "project": PROJECT, "updatedAt": None, "createdAt": None}
        return {"upsertView": {"view": view, "inserted": inserted}}

    on_upsertView = on_UpsertView2  # noqa: N815

    def on_View(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": {"allViews": {"edges": self._found(variables)}}}

    def on_ProjectViews(self, variables: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self._found({"viewType": "runs", **variables})
        end = {"endCursor": None, "hasNextPage": False}
        return {"project": {"allViews": {"edges": found, "pageInfo": end}}}

    def on_ProjectInternalId(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": PROJECT}

    def on_GetProjects(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        node = {**PROJECT, "createdAt": "now", "isBenchmark": False, "user": None}
        end = {"endCursor": None, "hasNextPage": False}
        return {"models": {"edges": [{"node": node}], "pageInfo": end}}

    def _found(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the views of a type, or the one with an internal name, as edges."""
        views = [one for one in self.views.values() if one["type"] == asked["viewType"]]
        name = asked.get("viewName")
        return [{"node": one, "cursor": "c"} for one in views if name in (None, one["name"])]

    def _place(self, name: str) -> dict[str, Any]:
        return {"uploadUrl": f"{self.address}/upload/{name}", "uploadHeaders": []}

    def stream(self, path: str, sent: dict[str, Any]) -> None:
        run = self.runs[path.split("/")[-2]]
        for name, part in sent.get("files", {}).items():
            if name.endswith("history.jsonl"):
                assert part["offset"] <= len(run.rows), "a hole in the history"
                new = [json.loads(line) for line in part["content"]]
                run.rows += new[len(run.rows) - part["offset"] :]  # an answer was lost: sent again
                steps = [row["_step"] for row in run.rows]
                assert steps == sorted(set(steps)), "a row twice"
            if name.endswith("summary.json"):
                run.summary = json.loads(part["content"][-1])
        run.preempting |= bool(sent.get("preempting"))
        if sent.get("complete"):
            run.exits.append(sent["exitcode"])


@contextmanager
def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """Serve on a free port of this machine, the only W&B that the environment knows."""
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
            fake.stream(self.path, body)
            return self._send(200, {})

        def do_GET(self) -> None:
            self._send(fake.refuse or 200, {})

        def do_PUT(self) -> None:
            fake.files[self.path] = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self._send(fake.refuse or 200, {})

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
    fake.address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", fake.address)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
