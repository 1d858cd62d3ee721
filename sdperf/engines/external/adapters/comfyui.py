"""ComfyUI over HTTP and its websocket: an exported API workflow with placeholders.

    sdperf external check 'python3 {adapters}/comfyui.py --workflow api.json'

In the workflow stand ``"{prompt}"``, ``"{negative_prompt}"``, ``"{seed}"``, ``"{steps}"``,
``"{guidance}"``, ``"{width}"`` and ``"{height}"`` in the place of values; ``"{picture}"`` and
``"{mask}"`` where a loader of images names its file, and ``"{strength}"`` for the sampler's
``denoise``. The file is uploaded once for each picture that is started from. ``--start COMMAND``
starts a server of its own on a free port (``{port}`` in the command), so that its memory is
measured and it ends with the session.

ComfyUI answers a node from memory when its inputs are those of the last time. Nodes that hold a
placeholder get one input more, ``sdperf_nonce``, which ComfyUI counts and no node reads: they are
executed each time, loaders are not.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import shlex
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import AdapterPicture, GoneForGoodError, serve

_FILES = ("picture", "mask")
_PLACES = (
    *("prompt", "negative_prompt", "seed", "steps", "guidance", "width", "height", "strength"),
    *_FILES,
)
_TOLD = ("steps", "guidance", "negative_prompt", "strength", *_FILES)
_STAGES = (
    ("CLIPTextEncode", "encode_prompt"),
    ("KSampler", "denoise"),
    ("SamplerCustom", "denoise"),
    ("VAEEncode", "encode_image"),
    ("VAEDecode", "decode_latents"),
    ("Empty", "draw_noise"),
)
"""How the class of a node begins, and the stage that it is; others are no stage."""

_START_LIMIT_S = 110.0
_DEVICES = {"cuda": "cuda", "mps": "mps"}


class ComfyUI:
    """A server, and the workflow that is run on it.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._workflow = json.loads(Path(options.workflow).read_text(encoding="utf-8"))
        self._name = Path(options.workflow).name
        self._server: subprocess.Popen[bytes] | None = None
        self._url = options.url.rstrip("/")
        if options.start:
            port = _find_free_port()
            self._url = f"http://127.0.0.1:{port}"
            words = [word.replace("{port}", str(port)) for word in shlex.split(options.start)]
            self._server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=2)
        self._client = uuid.uuid4().hex
        self._number = 0
        self._uploaded: dict[bytes, str] = {}

    def describe(self) -> Mapping[str, Any]:
        """Ask the server what it is; wait for one that was started."""
        stats = self._wait_for_server()
        system = stats.get("system", {})
        first: Mapping[str, Any] = next(iter(stats.get("devices", [])), {})
        text = json.dumps(self._workflow)
        told = {name for name in _PLACES if f"{{{name}}}" in text}
        accepts = [name for name in _TOLD if name in told]
        versions = {"torch": system.get("pytorch_version"), "python": system.get("python_version")}
        return {
            "name": "ComfyUI",
            "version": str(system.get("comfyui_version", "unknown")),
            "model": self._name,
            "device": _DEVICES.get(str(first.get("type")), "cpu"),
            "device_name": str(first.get("name", ""))[:100],
            "precision": "the workflow's",
            "accepts": accepts + (["size"] if {"width", "height"} <= told else []),
            "largest_seed": 2**64 - 1,
            "versions": {name: str(found).split()[0] for name, found in versions.items() if found},
        }

    def load(self, asked: Mapping[str, Any]) -> int | None:  # noqa: ARG002
        """Load nothing: ComfyUI loads a model when the first workflow asks for it."""
        return None

    def draw(self, asked: Mapping[str, Any]) -> AdapterPicture:
        """Queue the workflow, follow it over the websocket, and fetch the picture."""
        try:
            return self._draw(asked)
        except urllib.error.HTTPError:  # the server is there, and says no
            raise
        except OSError as error:
            raise GoneForGoodError(f"ComfyUI does not answer any more: {error}") from error

    def _draw(self, asked: Mapping[str, Any]) -> AdapterPicture:
        self._number += 1
        nonce = f"{self._client}-{self._number}"
        values = {**asked, **{name: self._upload(asked[name]) for name in _FILES}}
        workflow = {
            node: _fill_node(content, values, nonce) for node, content in self._workflow.items()
        }
        with _websocket(self._url, self._client) as messages:
            queued = self._post("/prompt", {"prompt": workflow, "client_id": self._client})
            run = _follow(messages, str(queued["prompt_id"]), workflow)
        return AdapterPicture(self._fetch(str(queued["prompt_id"])), **run)

    def stop(self) -> None:
        """End the server that was started here."""
        if self._server is not None:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(8)
            self._server.kill()

    def _wait_for_server(self) -> dict[str, Any]:
        give_up_s = time.monotonic() + (_START_LIMIT_S if self._server else 5.0)
        while True:
            try:
                return dict(self._get_json("/system_stats"))
            except OSError as error:
                if self._server is not None and self._server.poll() is not None:
                    raise RuntimeError(
                        f"the server ended: exit {self._server.returncode}"
                    ) from error
                if time.monotonic() > give_up_s:
                    raise RuntimeError(f"no ComfyUI answers at {self._url}: {error}") from error
                time.sleep(0.1)

    def _fetch(self, prompt_id: str) -> bytes:
        outputs = self._get_json(f"/history/{prompt_id}")[prompt_id]["outputs"]
        images = [image for one in outputs.values() for image in one.get("images", [])]
        if not images:
            raise RuntimeError("the workflow saved no picture: it needs a SaveImage node")
        names = {name: images[0].get(name, "") for name in ("filename", "subfolder", "type")}
        with urllib.request.urlopen(f"{self._url}/view?{urllib.parse.urlencode(names)}") as reply:
            return bytes(reply.read())

    def _upload(self, png: bytes | None) -> str | None:
        """Upload a picture, once, and return the name that a loader of images takes.

        Source: RFC 7578, 4.
        """
        if png is None:
            return None
        if png not in self._uploaded:
            border, name = uuid.uuid4().hex, f"sdperf-{hashlib.sha256(png).hexdigest()[:16]}.png"
            disposition = f'form-data; name="image"; filename="{name}"'
            head = f"--{border}\r\nContent-Disposition: {disposition}\r\n"
            content = f"{head}Content-Type: image/png\r\n\r\n".encode() + png
            content += f"\r\n--{border}--\r\n".encode()
            kind = {"Content-Type": f"multipart/form-data; boundary={border}"}
            request = urllib.request.Request(f"{self._url}/upload/image", content, kind)
            with urllib.request.urlopen(request, timeout=60) as reply:
                stored = json.load(reply)
            self._uploaded[png] = "/".join(filter(None, (stored.get("subfolder"), stored["name"])))
        return self._uploaded[png]

    def _get_json(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=30) as reply:
            return json.load(reply)

    def _post(self, path: str, content: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()[:300]
            raise RuntimeError(f"ComfyUI refused the workflow: {said!r}") from error


def _fill_node(node: Mapping[str, Any], asked: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """Put values in a node's places; an exact place keeps the value's type."""
    inputs, is_filled = {}, False
    for key, value in node.get("inputs", {}).items():
        filled = _fill_value(value, asked)
        is_filled = is_filled or filled != value
        inputs[key] = filled
    if is_filled:
        inputs["sdperf_nonce"] = nonce
    return {**node, "inputs": inputs}


def _fill_value(value: Any, asked: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    for name in _PLACES:
        if value == f"{{{name}}}":
            if asked.get(name) is None:
                raise ValueError(f"the workflow asks for the {name}, which nobody said")
            return asked[name]
    return value


def _follow(messages: Iterator[Any], prompt_id: str, workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Follow one run; return when each stage and step ended, in seconds."""
    stages: dict[str, float] = {}
    marks: list[float] = []
    steps, stage, began_s = 0, None, time.monotonic()
    for message in messages:
        kind, data = message.get("type"), message.get("data", {})
        if data.get("prompt_id") != prompt_id:
            continue
        now_s = time.monotonic()
        if kind == "execution_error":
            told = f"{data.get('node_type')}: {data.get('exception_message')}"
            raise RuntimeError(f"ComfyUI failed in {told}"[:300])
        if kind == "progress" and stage == "denoise":
            steps = max(steps, int(data["value"]))
            marks.append(now_s)
        if kind == "executing":
            if stage is not None:
                stages[stage] = stages.get(stage, 0.0) + now_s - began_s
            node, began_s = data.get("node"), now_s
            if node is None:
                break
            stage = _find_stage(str(workflow[node].get("class_type", "")))
            if stage == "denoise":
                marks = [now_s]
    else:
        raise GoneForGoodError("ComfyUI closed the connection in the middle")
    step_seconds = [after - before for before, after in zip(marks, marks[1:])]  # noqa: B905, RUF007
    return {"steps": steps or None, "stages": stages, "step_seconds": step_seconds}


def _find_stage(class_type: str) -> str | None:
    return next((stage for begins, stage in _STAGES if class_type.startswith(begins)), None)


@contextlib.contextmanager
def _websocket(url: str, client: str) -> Iterator[Iterator[Any]]:
    """Open ComfyUI's websocket and yield its messages in JSON; previews are passed over.

    Source: RFC 6455, 4.1 and 5.2.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    with socket.create_connection((host, port), timeout=30) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /ws?clientId={client} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        connection.settimeout(None)
        with connection.makefile("rb") as stream:
            status = stream.readline()
            if b" 101 " not in status:
                raise RuntimeError(f"ComfyUI gave no websocket: {status[:60]!r}")
            while stream.readline().strip():
                pass
            yield _read_messages(stream)


def _read_messages(stream: Any) -> Iterator[Any]:
    text = b""
    while len(head := stream.read(2)) == 2:
        length = head[1] & 127
        if length == 126:
            (length,) = struct.unpack(">H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", stream.read(8))
        content, opcode = stream.read(length), head[0] & 15
        if opcode == 8:
            return
        text = text + content if opcode == 0 else content if opcode == 1 else b""
        if text and head[0] & 128:
            yield json.loads(text)
            text = b""


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Serve one workflow."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workflow", required=True, help="a file saved by Export (API)")
    parser.add_argument("--url", default="http://127.0.0.1:8188")
    parser.add_argument("--start", metavar="COMMAND", help="starts a server on {port}")
    program = ComfyUI(parser.parse_args())
    serve(program.describe, program.load, program.draw, program.stop)


if __name__ == "__main__":
    main()
