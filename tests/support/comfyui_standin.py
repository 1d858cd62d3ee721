"""A stand-in for ComfyUI's server on loopback: its routes, its websocket's messages, no models.

Nodes are executed in order, and answered from memory when their class and all their inputs, those
of the nodes before them too, are those of the last time, as ComfyUI does it. ``--fault NAME`` goes
wrong. Written after ComfyUI's published API (routes of server.py, messages of execution.py), whose
source no package index has. The adapter was also run against the real server: docs/external.md.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent))
from external_toy import Toy, encode_png

WORKFLOW = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "toy.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": "{width}", "height": "{height}"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "{prompt}", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": "{seed}",
            "steps": "{steps}",
            "cfg": "{guidance}",
            "positive": ["6", 0],
            "latent_image": ["5", 0],
            "model": ["4", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}
FROM_A_PICTURE = {
    **WORKFLOW,
    "10": {"class_type": "LoadImage", "inputs": {"image": "{picture}"}},
    "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {**WORKFLOW["3"]["inputs"], "denoise": "{strength}"},
    },
}
ORDER = ("4", "10", "5", "6", "3", "8", "9")


class State:
    def __init__(self, fault):
        self.fault = fault
        self.sockets = {}
        self.known = {}
        self.history = {}
        self.files = {}
        self.uploads = {}
        self.loads = 0
        self.toy = Toy(argparse.Namespace(fault="", clock=None, noise=""))

    def send(self, client, kind, **data):
        content = json.dumps({"type": kind, "data": data}).encode()
        size = len(content)
        head = bytes([129, size]) if size < 126 else b"\x81\x7e" + struct.pack(">H", size)
        preview = b"\x82\x04prev"  # a binary message, which clients have to pass over
        self.sockets[client].write(preview + head + content)  # unbuffered: the client may close now

    def run(self, prompt_id, workflow, client):
        tell = {"prompt_id": prompt_id}
        results, signatures = {}, {}
        self.send(client, "execution_start", **tell)
        for node in (one for one in ORDER if one in workflow):
            content = workflow[node]
            inputs = {
                key: signatures[value[0]] if isinstance(value, list) else value
                for key, value in content["inputs"].items()
            }
            signature = signatures[node] = json.dumps(
                [content["class_type"], inputs], sort_keys=True
            )
            if signature in self.known:
                results[node] = self.known[signature]
                self.send(client, "execution_cached", nodes=[node], **tell)
                continue
            self.send(client, "executing", node=node, **tell)
            if self.fault == "error" and node == "3":
                self.send(
                    client,
                    "execution_error",
                    node_type="KSampler",
                    exception_message="out of memory",
                    **tell,
                )
                return
            if self.fault == "gone" and node == "3":
                sys.exit(5)
            results[node] = self.execute(node, content["inputs"], results, client, tell)
            self.known[signature] = results[node]
        name = f"x_{prompt_id}.png"
        self.files[name] = results["9"]
        picture = {"filename": name, "subfolder": "", "type": "output"}
        self.history[prompt_id] = {"outputs": {"9": {"images": [picture]}}}
        self.send(client, "executing", node=None, **tell)

    def execute(self, node, inputs, results, client, tell):
        if node == "4":
            self.loads += 1
            print(f"Requested to load toy ({self.loads})", flush=True)
            return "model"
        if node == "10":
            return self.uploads[inputs["image"]]
        if node == "5":
            return (inputs["width"], inputs["height"]) if "width" in inputs else (64, 48)
        if node == "6":
            return inputs["text"]
        if node == "3":
            width, height = results["5"]
            for step in range(inputs["steps"]):
                self.send(
                    client, "progress", value=step + 1, max=inputs["steps"], node=node, **tell
                )
            start = f"{results.get('10', '')} {inputs.get('denoise', '')}"
            text = f"{results['6']} {inputs['cfg']} {start}"
            return self.toy.draw(inputs["seed"], text, inputs["steps"], width, height)
        return encode_png(*results["5"], results["3"]) if node == "8" else results["8"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_):
        pass

    def reply(self, content, status=200):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/system_stats":
            system = {"comfyui_version": "0.9.0", "pytorch_version": "2.13.0", "os": "posix"}
            self.reply({"system": system, "devices": [{"name": "cpu", "type": "cpu"}]})
        elif parts.path == "/ws":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", accept)
            self.state.sockets[asked["clientId"]] = self.wfile  # before a client sees it is open
            self.end_headers()
            self.rfile.read(1)  # until the client closes it
            self.close_connection = True
        elif parts.path.startswith("/history/"):
            name = parts.path.rpartition("/")[2]
            self.reply({name: self.state.history[name]} if name in self.state.history else {})
        elif parts.path == "/view":
            self.reply(self.state.files[asked["filename"]])
        else:
            self.reply({}, 404)

    def take_upload(self, content):
        border = self.headers["Content-Type"].partition("boundary=")[2].encode()
        head, _, rest = content.partition(b"\r\n\r\n")
        png, _, end = rest.rpartition(b"\r\n--" + border)
        name = head.partition(b'filename="')[2].partition(b'"')[0].decode()
        if end != b"--\r\n" or not png.startswith(b"\x89PNG"):
            self.reply({}, 400)
            return
        self.state.uploads[name] = hashlib.sha256(png).hexdigest()
        print(f"uploads: {len(self.state.uploads)}", flush=True)
        self.reply({"name": name, "subfolder": "", "type": "input"})

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            self.take_upload(content)
            return
        asked = json.loads(content)
        if self.path != "/prompt" or set(WORKFLOW) - set(asked["prompt"]):
            self.reply({"error": {"message": "Prompt has no outputs"}}, 400)
            return
        prompt_id = str(uuid.uuid4())
        self.reply({"prompt_id": prompt_id, "number": 1, "node_errors": {}})
        self.wfile.flush()
        self.state.run(prompt_id, asked["prompt"], asked["client_id"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", default="")
    asked = parser.parse_args()
    Handler.state = State(asked.fault)
    server = ThreadingHTTPServer(("127.0.0.1", asked.port), Handler)
    server.daemon_threads = True
    if asked.fault == "gone":  # a thread that exits ends a real server's process
        threading.excepthook = lambda _: None
        Handler.state.run = end_when_sampling(Handler.state.run)
    server.serve_forever()


def end_when_sampling(run):
    import os

    def end(*arguments):
        try:
            run(*arguments)
        except SystemExit:
            os._exit(5)

    return end


if __name__ == "__main__":
    main()
