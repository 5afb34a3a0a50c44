"""A Hugging Face Hub in this process: the few endpoints that making, reading and filling a dataset
repository take, on a real socket. Files are kept in memory.

`faults` maps a path's beginning to the status that is answered instead.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import yaml

TOKEN = "hf_canary0123456789abcdef"
COMMIT = "a" * 40


@dataclass
class Repo:
    """A dataset repository at its one commit."""

    visibility: str
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


@dataclass
class Hub:
    """What the server holds. blobs: uploaded by SHA-256, until a commit names them. seen: every
    request as "METHOD path"."""

    repos: dict[str, Repo] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.seen.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for beginning, status in self.hub.faults.items():
            if path.startswith(beginning):
                return self._send(status, {"error": f"told to fail for {TOKEN}"})
        signed = path.startswith("/blobs/")  # What the hub signs needs no token.
        if not signed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid credentials"})
        for pattern, method in _ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                getattr(self, method)(body, *match.groups())
                return None
        return self._send(404, {"error": f"no such endpoint: {self.command} {path}"})

    def _send(self, status: int, value: Any = None, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def whoami(self, _body: bytes) -> None:
        self._send(
            200, {"type": "user", "name": "me", "orgs": [], "auth": {"type": "access_token"}}
        )

    def validate(self, body: bytes) -> None:
        """The head of a card must be YAML, and its licence one that the Hub knows."""
        head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        if head.get("license") not in (None, "mit", "cc-by-4.0"):
            return self._send(400, {"errors": [{"message": '"license" must be one of …'}]})
        return self._send(200, {"errors": [], "warnings": []})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        if name in self.hub.repos:
            return self._send(409, {"error": "You already created this dataset repo"})
        self.hub.repos[name] = Repo(asked["visibility"], {".gitattributes": b"*.parquet lfs\n"})
        return self._send(200, {"url": f"{self.hub.url}/datasets/{name}", "name": name})

    def info(self, _body: bytes, name: str) -> None:
        siblings = [{"rfilename": path} for path in self.hub.repos[name].files]
        self._send(200, {"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    def tree(self, _body: bytes, name: str) -> None:
        files = self.hub.repos[name].files
        self._send(
            200,
            [
                {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
                for path, data in files.items()
            ],
        )

    def resolve(self, _body: bytes, name: str, path: str) -> None:
        data = self.hub.repos[name].files.get(path)
        if data is None:
            return self._send(404, {"error": "no entry"}, {"X-Error-Code": "EntryNotFound"})
        return self._send(200, data, {"ETag": f'"{_git_oid(data)}"', "X-Repo-Commit": COMMIT})

    def preupload(self, body: bytes, _name: str) -> None:
        files = json.loads(body)["files"]
        self._send(
            200,
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
            },
        )

    def batch(self, body: bytes, _name: str) -> None:
        objects = [
            {**asked, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{asked['oid']}"}}}
            for asked in json.loads(body)["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        self._send(200, {})

    def commit(self, body: bytes, name: str) -> None:
        repo = self.hub.repos[name]
        files = dict(repo.files)
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    assert value["encoding"] == "base64"
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repo.files, repo.commits = files, repo.commits + 1
        url = f"{self.hub.url}/datasets/{name}/commit/{COMMIT}"
        self._send(200, {"success": True, "commitUrl": url, "commitOid": COMMIT})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = (
    (r"GET /api/whoami-v2", "whoami"),
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"GET /api/datasets/{_NAME}(?:/revision/\w+)?", "info"),
    (rf"GET /api/datasets/{_NAME}/tree/\w+", "tree"),
    (rf"(?:GET|HEAD) /datasets/{_NAME}/resolve/\w+/(.+)", "resolve"),
    (rf"POST /api/datasets/{_NAME}/preupload/main", "preupload"),
    (rf"POST /datasets/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /blobs/([0-9a-f]{64})", "upload"),
    (rf"POST /api/datasets/{_NAME}/commit/main", "commit"),
)


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


@contextlib.contextmanager
def fake_hub() -> Iterator[Hub]:
    """A hub that knows one token and one user, `me`."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
