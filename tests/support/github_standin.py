"""A stand-in of GitHub's API on this machine: runs, artefacts and issues of one repository."""

import contextlib
import http.server
import io
import json
import re
import threading
import urllib.parse
import zipfile
from dataclasses import dataclass, field

TOKEN = "the-jobs-own"
REPOSITORY = "somebody/pictures"


def pack(content, name="night.json"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@dataclass
class GitHubStandIn:
    """What it holds, and what was asked of it.

    Attributes:
        runs: Of the workflow, newest first, as the API lists them.
        artefacts: Zip files by the number of their run.
        issues: As the API lists them, oldest first.
        comments: Texts by issue number.
        asked: Method and path of each request, in order.
        fails: Status that a path is answered with, by a part of the path.
        tokens_elsewhere: What the place of the artefacts was shown as a token.
    """

    runs: list = field(default_factory=list)
    artefacts: dict = field(default_factory=dict)
    issues: list = field(default_factory=list)
    comments: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    fails: dict = field(default_factory=dict)
    tokens_elsewhere: list = field(default_factory=list)
    store: str = ""

    def add_night(self, day, content, *, event="schedule", branch="main", expired=False):
        """Let a night begin on a day of November; ``content`` is its file, ``None`` left none."""
        number = 100 + day
        run = {
            "id": number,
            "head_sha": f"{day:040x}",
            "created_at": f"2026-11-{day:02d}T03:23:00Z",
            "html_url": f"https://github.com/{REPOSITORY}/actions/runs/{number}",
            "event": event,
            "head_branch": branch,
        }
        self.runs.insert(0, run)
        if content is not None:
            self.artefacts[number] = (pack(content), expired)

    def answer(self, method, path, query, body):
        """Return status and document."""
        part = path.removeprefix(f"/repos/{REPOSITORY}/")
        if part == "actions/workflows/bench.yml/runs":
            found = [
                run
                for run in self.runs
                if (run["event"], run["head_branch"]) == (query["event"], query["branch"])
            ]
            return 200, {"workflow_runs": found[: int(query["per_page"])]}
        if found := re.fullmatch(r"actions/runs/(\d+)/artifacts", part):
            kept = self.artefacts.get(int(found[1]))
            listed = [{"id": int(found[1]), "name": query["name"], "expired": kept and kept[1]}]
            return 200, {"artifacts": listed if kept else []}
        if part == "issues" and method == "GET":
            wanted = [one for one in self.issues if query["labels"] in one["labels"]]
            return 200, wanted[::-1]
        if part == "issues":
            made = {"number": len(self.issues) + 1, "state": "open", "closed_at": None}
            self.issues.append(made | body)
            return 201, self.issues[-1]
        if found := re.fullmatch(r"issues/(\d+)/comments", part):
            self.comments.setdefault(int(found[1]), []).append(body["body"])
            return 201, {}
        if found := re.fullmatch(r"issues/(\d+)", part):
            issue = self.issues[int(found[1]) - 1]
            issue.update(body)
            if body.get("state") == "closed":
                issue["closed_at"] = self.runs[0]["created_at"]
            return 200, issue
        return 404, {"message": "Not Found"}


@contextlib.contextmanager
def serve(standin):
    """Serve it, and the other host that artefacts lie on; yields the environment of a job."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send(self, status, content, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Api(Answer):
        def do_GET(self):
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            standin.asked.append((self.command, address.path.rpartition(f"{REPOSITORY}/")[2]))
            failing = [status for part, status in standin.fails.items() if part in address.path]
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                failing = [401]
            if failing:
                self.send(failing[0], b'{"message": "no"}')
            elif address.path.endswith("/zip"):
                number = address.path.split("/")[-2]
                self.send(302, b"", Location=f"{standin.store}/{number}")
            else:
                body = json.loads(content) if content else None
                status, document = standin.answer(self.command, address.path, query, body)
                self.send(status, json.dumps(document).encode())

        do_POST = do_PATCH = do_GET

    class Store(Answer):
        def do_GET(self):
            standin.tokens_elsewhere.append(self.headers["Authorization"])
            self.send(200, standin.artefacts[int(self.path[1:])][0])

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), one) for one in (Api, Store)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    api, store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    standin.store = store
    try:
        yield {
            "GITHUB_API_URL": api,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKFLOW_REF": f"{REPOSITORY}/.github/workflows/bench.yml@refs/heads/main",
            "GITHUB_TOKEN": TOKEN,
        }
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
