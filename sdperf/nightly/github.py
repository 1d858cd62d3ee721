"""The few calls of GitHub's API that the issue needs, with Python's standard library.

Source: GitHub REST API, version 2022-11-28: actions/workflow-runs, actions/artifacts, issues.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import lzma
import re
import struct
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdperf.errors import ConfigurationError, RecordError, SdperfError
from sdperf.nightly.deciding import KnownIssue
from sdperf.nightly.night import LARGEST_NIGHT_BYTES, NIGHT_FILE, Night, parse_night
from sdperf.nightly.wording import LABEL, mark_over, read_digests, read_listed, read_over
from sdperf.units import shorten

LARGEST_ANSWER_BYTES: Final = 16 * 2**20
TIMEOUT_S: Final = 30.0
_VERSION: Final = "2022-11-28"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.~+/=-]{1,1000}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


class GitHubError(SdperfError):
    """GitHub did not answer, or its answer differs from its documentation."""


class ArtefactError(GitHubError):
    """One requested item is gone or too large; other items can be read."""


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to an artefact, without the token: it is on another host."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Drop the token where the host changes; follow no address without encryption."""
        if not _is_safe_address(newurl):
            raise urllib.error.URLError("it sends to an address that is not https")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if made is not None and (before.scheme, before.netloc) != (after.scheme, after.netloc):
            made.remove_header("Authorization")
        return made


@dataclass(frozen=True)
class GitHub:
    """One repository on GitHub.

    Attributes:
        api: Address of its API.
        repository: ``owner/name``.
        token: The token that allows writing to it.
    """

    api: str
    repository: str
    token: str

    def list_nights(self, workflow: str, branch: str, artefact: str, most: int) -> list[Night]:
        """Return the last nights of a workflow that a timer started, oldest first.

        A run without a night says nothing, and so does a run whose file cannot be read.

        Args:
            workflow: File name of the workflow.
            branch: The branch whose runs count; a timer starts no other code.
            artefact: Name of the artefact that holds a night.
            most: The most runs to read.

        Raises:
            GitHubError: GitHub did not answer.
        """
        query = {"branch": branch, "event": "schedule", "per_page": str(most)}
        answer = self._get(f"actions/workflows/{_quote(workflow)}/runs", query)
        runs = _list(answer, "workflow_runs")
        nights = [self._read_night(run, artefact) for run in runs[:most]]
        return nights[::-1]

    def find_issue(self) -> KnownIssue | None:
        """Return the open issue, else the newest closed one.

        Raises:
            GitHubError: GitHub did not answer.
        """
        query = {"labels": LABEL, "state": "all", "sort": "created", "direction": "desc"}
        answer = self._get("issues", query | {"per_page": "100"})
        known = [
            one
            for document in (answer if isinstance(answer, list) else ())
            if (one := _read_issue(document)) is not None
        ]
        is_open = (one for one in known if one.is_open)
        return next(is_open, known[0] if known else None)

    def open_issue(self, title: str, body: str) -> int:
        """Open an issue; return its number.

        Raises:
            GitHubError: GitHub did not answer.
        """
        answer = self._send("POST", "issues", {"title": title, "body": body, "labels": [LABEL]})
        number = answer.get("number") if isinstance(answer, dict) else None
        if type(number) is not int:
            raise GitHubError("GitHub opened an issue without a number", got=type(number).__name__)
        return number

    def update_issue(self, number: int, title: str, body: str) -> None:
        """Replace the title and text of an issue.

        Raises:
            GitHubError: GitHub did not answer.
        """
        self._send("PATCH", f"issues/{number}", {"title": title, "body": body})

    def close_issue(self, number: int, comment: str, body: str) -> None:
        """Close an issue with a comment, and mark in its text that sdperf closed it.

        Args:
            number: Its number.
            comment: The reason.
            body: Its present text.

        Raises:
            GitHubError: GitHub did not answer.
        """
        self._send("POST", f"issues/{number}/comments", {"body": comment})
        closed = {"state": "closed", "state_reason": "completed", "body": mark_over(body)}
        self._send("PATCH", f"issues/{number}", closed)

    def _read_night(self, run: Mapping[str, Any], artefact: str) -> Night:
        commit, date = str(run.get("head_sha", "")), str(run.get("created_at", ""))[:10]
        url = str(run.get("html_url", ""))
        known: dict[str, Any] = {
            "commit": commit if _COMMIT.fullmatch(commit) else "",
            "date": date if _DATE.fullmatch(date) else "",
            "url": url if url.isascii() and re.fullmatch(r"https?://[^\s()<>]+", url) else "",
        }
        number = run.get("id")
        if type(number) is not int:
            return Night({}, "its run has no number", **known)
        answer = self._get(f"actions/runs/{number}/artifacts", {"name": artefact})
        kept = [one for one in _list(answer, "artifacts") if one.get("expired") is False]
        if not kept or type(kept[0].get("id")) is not int:
            return Night({}, "it left no answer", **known)
        try:
            content = self._fetch("GET", f"actions/artifacts/{kept[0]['id']}/zip")
            return parse_night(_unpack(content), **known)
        except (RecordError, ArtefactError) as error:
            return Night({}, shorten(str(error), 200), **known)

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        return self._decode(path, self._fetch("GET", f"{path}?{urllib.parse.urlencode(query)}"))

    def _send(self, method: str, path: str, document: Mapping[str, Any]) -> Any:
        return self._decode(path, self._fetch(method, path, json.dumps(document).encode()))

    def _decode(self, path: str, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise GitHubError(f"GitHub's answer to {path} is no JSON", got=str(error)) from error

    def _fetch(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"{self.api.rstrip('/')}/repos/{self.repository}/{path}",
            data=body,
            method=method,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "User-Agent": "sdperf",
                "X-GitHub-Api-Version": _VERSION,
            },
        )
        opener = urllib.request.build_opener(_NoTokenElsewhere)
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                content: bytes = answer.read(LARGEST_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            status = None
            if isinstance(error, urllib.error.HTTPError):
                status = error.code
                error.close()  # it holds the connection
            is_gone = status in _GONE and path.startswith("actions/artifacts/")
            raise (ArtefactError if is_gone else GitHubError)(
                f"GitHub did not do {method} {path.partition('?')[0]}",
                got=f"status {status}" if status is not None else str(error),
                hint=_HINTS.get(status or 0, "look at githubstatus.com and run the job again"),
            ) from error
        if len(content) > LARGEST_ANSWER_BYTES:
            raise ArtefactError(
                f"GitHub's answer to {path.partition('?')[0]} is too large",
                expected=f"at most {LARGEST_ANSWER_BYTES} bytes",
            )
        return content


_GONE: Final = (404, 410)
_HINTS: Final = {
    401: "give the job's own token: token: ${{ github.token }}",
    403: "give the job permissions: issues: write, actions: read",
    404: "give the job permissions: issues: write, actions: read; a private repository needs both",
    410: "turn issues on in the repository's settings",
}


def make_github(environment: Mapping[str, str]) -> tuple[GitHub, str]:
    """Read the repository and the workflow from a job's environment.

    Args:
        environment: The environment that GitHub's runner sets, with ``GITHUB_TOKEN``.

    Returns:
        The repository, and the workflow's file name.

    Raises:
        ConfigurationError: This is not a job on GitHub, or its token or the address of the API
            cannot be used.
    """
    repository = environment.get("GITHUB_REPOSITORY", "")
    workflow = environment.get("GITHUB_WORKFLOW_REF", "").partition("@")[0].rpartition("/")[2]
    token = environment.get("GITHUB_TOKEN", "").strip()
    api = environment.get("GITHUB_API_URL", "https://api.github.com").strip()
    is_named = re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII)
    if not is_named or not workflow or not workflow.isascii():
        raise ConfigurationError(
            "this is no job of GitHub's",
            got=f"GITHUB_REPOSITORY {repository!r}, workflow {workflow!r}",
            expected="owner/name and the workflow that runs, as a runner sets them",
        )
    if not token:
        raise ConfigurationError("the job has no token", hint="token: ${{ github.token }}")
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            "the job's token is no token",
            got=f"{len(token)} characters, some of which no token has",
            expected="letters, digits and _ - . alone, on one line",
            hint="token: ${{ github.token }}",
        )
    if not _is_safe_address(api):
        raise ConfigurationError(
            "GITHUB_API_URL is no address of GitHub's API",
            got=shorten(ascii(api), 100),
            expected="https://api.github.com, or https and another host",
        )
    return GitHub(api, repository, token), workflow


def _is_safe_address(address: str) -> bool:
    """Tell whether a token may be sent to an address: by https, or by http to this machine."""
    if not re.fullmatch(r"[!-~]+", address):
        return False
    try:
        parts = urllib.parse.urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_issue(document: Any) -> KnownIssue | None:
    """Read an issue; ``None`` for an issue that is not sdperf's, and for a pull request."""
    if not isinstance(document, dict) or "pull_request" in document:
        return None
    number, body = document.get("number"), document.get("body")
    listed = read_listed(body)
    if type(number) is not int or listed is None:
        return None
    is_open = document.get("state") == "open"
    closed_on = None if is_open else str(document.get("closed_at") or "")[:10]
    is_over = read_over(body)
    return KnownIssue(number, listed, closed_on, read_digests(body), is_over, str(body))


def _unpack(content: bytes) -> bytes:
    """Return the night in an artefact, without unpacking anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(NIGHT_FILE) as member:
            return member.read(LARGEST_NIGHT_BYTES + 1)
    except _UNPACKING as error:
        raise RecordError("the night's artefact cannot be unpacked", got=str(error)) from error


_UNPACKING: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    ValueError,
    OverflowError,
    OSError,
    RuntimeError,
    NotImplementedError,
)
"""Exceptions of `zipfile` and its decompressors for a damaged archive."""


def _list(answer: Any, key: str) -> list[dict[str, Any]]:
    found = answer.get(key) if isinstance(answer, dict) else None
    return list(_only_objects(found)) if isinstance(found, list) else []


def _only_objects(values: list[Any]) -> Iterator[dict[str, Any]]:
    return (one for one in values if isinstance(one, dict))


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")
