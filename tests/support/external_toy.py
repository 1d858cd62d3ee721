"""A program that speaks the protocol of external engines and draws noise by hashing, step by step.

What it computes is proportional to pixels and steps, and each step depends on the one before.
Told ``--clock FILE`` it adds a byte for each unit of work, so that a test can read the time that
the work takes without a clock. ``--fault NAME`` makes it go wrong, or cheat. Needs the standard
library only.
"""

import argparse
import functools
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

PIXELS_PER_UNIT = 256
UNIT_S = 0.01
"""What a test takes a unit of work for, seconds."""


def encode_png(width, height, pixels):
    rows = b"".join(
        b"\0" + pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height)
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@functools.lru_cache(maxsize=32)
def read_png(content, wide, high):
    """Return the pixels of a PNG of 8 bits, RGB or grey, as sdperf sends them, in a size."""
    width, height, _, colour = struct.unpack(">IIBB", content[16:26])
    data, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            data += content[at + 8 : at + 8 + length]
        at += 12 + length
    rows, step = zlib.decompress(data), 3 if colour == 2 else 1
    above, found = bytearray(width * step), bytearray()
    for row in range(height):
        start = row * (width * step + 1)
        kind, line = rows[start], bytearray(rows[start + 1 : start + 1 + width * step])
        for i in range(len(line)):
            left, up = (line[i - step] if i >= step else 0), above[i]
            corner = above[i - step] if i >= step else 0
            if kind == 4:
                guess = left + up - corner
                nearest = min((left, up, corner), key=lambda one: abs(guess - one))
            else:
                nearest = (0, left, up, (left + up) // 2)[kind]
            line[i] = (line[i] + nearest) & 255
        found += line
        above = line
    if (width, height) == (wide, high):
        return bytes(found)
    places = [
        (y * height // high * width + x * width // wide) * step
        for y in range(high)
        for x in range(wide)
    ]
    return b"".join(found[at : at + step] for at in places)


def enlarge(width, height, pixels):
    rows = []
    for row in range(height):
        line = pixels[row * width * 3 : (row + 1) * width * 3]
        wide = b"".join(line[i : i + 3] * 2 for i in range(0, len(line), 3))
        rows += [wide, wide]
    return b"".join(rows)


def weigh(pixels, weight):
    """Multiply each byte, rounding down; loops over pixels took most of a test's time."""
    return pixels.translate(bytes(int(one * weight) for one in range(256)))


def add(left, right):
    """Add bytes of which no sum is larger than 255."""
    total = int.from_bytes(left, "big") + int.from_bytes(right, "big")
    return total.to_bytes(len(left), "big")


def spread(mask):
    """Return all bits of each channel of a pixel where the mask is white, and none elsewhere."""
    white = mask.translate(bytes(255 * (one > 127) for one in range(256)))
    spread_out = bytearray(3 * len(white))
    for channel in range(3):
        spread_out[channel::3] = white
    return bytes(spread_out)


def choose(bits, chosen, other):
    """Return one picture where bits are set, and the other where they are not."""
    mask, one, two = (int.from_bytes(each, "big") for each in (bits, chosen, other))
    return (two ^ ((one ^ two) & mask)).to_bytes(len(bits), "big")


def fork_twice():
    """Leave a process that has no parent and no session of ours, as daemons do."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            os.execvp("sleep", ["sleep", "600.25"])
        os._exit(0)
    os.wait()


class Toy:
    def __init__(self, options):
        self.fault = options.fault
        self.clock = options.clock
        self.noise = options.noise
        self.cases = getattr(options, "cases", None)
        self.takes = getattr(options, "takes", "").replace("+", " ").split()
        self.start = self.salt = ""
        self.given = {}
        self.kept = {}
        self.drawn = 0
        self.units = 0
        self.rest = threading.Thread()
        self.asked_again = threading.Event()

    def work(self, width, height):
        units = max(1, width * height // PIXELS_PER_UNIT)
        self.units += units
        if self.clock:
            with Path(self.clock).open("ab") as file:
                file.write(b"x" * units)

    def read_clock(self):
        """Seconds, or what the test takes for them."""
        return self.units * UNIT_S if self.clock else time.monotonic()

    def draw(self, seed, prompt, steps, width, height):
        prompt += self.salt
        if self.noise:  # an update of the library changes what is drawn a little
            prompt += self.noise
        state = hashlib.sha256(f"{seed} {prompt}".encode()).digest()
        pixels = b""
        for step in range(steps):
            pixels = hashlib.shake_128(state + struct.pack(">I", step)).digest(width * height * 3)
            state = hashlib.sha256(pixels).digest()
            self.work(width, height)
        return pixels

    def draw_early(self, seed, prompt, steps, width, height):
        """Answer when half of the work is done; the next request waits for the rest of it.

        The rest begins with the next request, or when the test says that it rests.
        """
        drawn = Toy(argparse.Namespace(fault="", clock=None, noise=self.noise))
        drawn.salt = self.salt
        pixels = drawn.draw(seed, prompt, steps, width, height)

        rests = Path(f"{self.clock}.rests")

        def finish():
            while not (self.asked_again.wait(0.01) or rests.exists()):
                pass
            for _ in range(steps - steps // 2):
                self.work(width, height)
            rests.unlink(missing_ok=True)

        for _ in range(steps // 2):
            self.work(width, height)
        self.rest = threading.Thread(target=finish, daemon=True)
        self.rest.start()
        return pixels

    def read_start(self, asked):
        """Read what follows the line of a request; it decides the picture beside the prompt."""
        given = {}
        for name in ("picture", "mask"):
            content = sys.stdin.buffer.read(asked.get(f"{name}_bytes") or 0)
            if content and not content.startswith(b"\x89PNG"):
                raise ValueError(f"the {name} is no PNG")
            given[name] = content
        given["strength"] = asked.get("strength") or ""
        given.pop(self.fault.removeprefix("ignores-"), None)
        self.given = given
        hashed = [hashlib.sha256(str(given[name]).encode()).hexdigest() for name in given]
        self.start = " ".join(hashed) if given.get("picture") else ""
        self.salt = {
            "salted": self.start,
            "byte-lengths": str([len(str(one)) for one in given.values()]) * bool(self.start),
            "salted-mask": str(given.get("mask")),
            "fickle-picture": str(self.drawn) * bool(self.start),
        }.get(self.fault, "")

    def blend(self, width, height, noise):
        """Lay noise over the picture to start from, where it is to be drawn again."""
        if not self.given.get("picture") or self.fault in ("salted", "byte-lengths"):
            return noise
        strength = self.given.get("strength") or 0.8
        if self.fault == "inverted-strength":
            strength = 1 - strength
        try:
            pictured = read_png(self.given["picture"], width, height)
        except (struct.error, zlib.error):  # a test sends any bytes
            return noise
        mask = b"\xff" * (width * height)
        if self.given.get("mask") and self.fault != "salted-mask":
            mask = read_png(self.given["mask"], width, height)
        if self.fault == "inverted-mask":
            mask = bytes(255 - one for one in mask)
        drawn = add(weigh(noise, strength), weigh(pictured, 1 - strength))
        return choose(spread(mask), drawn, pictured)

    def count_steps(self, asked):
        """Steps that a strength leaves to draw."""
        strength = None if self.fault == "ignores-strength" else asked.get("strength")
        return max(1, int(asked["steps"] * (strength or 1.0)))

    def make(self, asked):
        width, height = asked["width"] or 64, asked["height"] or 64
        seed, prompt, steps = asked["seed"], asked["prompt"], self.count_steps(asked)
        self.drawn += 1
        key = (seed, prompt, steps, width, height, self.start)
        is_known = self.fault == "memo" or (self.fault == "memo-picture" and self.start)
        if is_known and key in self.kept:
            return width, height, self.kept[key]
        if self.fault == "fewer-steps":
            steps = (steps + 1) // 2
        if self.fault == "other-seed":
            seed = 42
        if self.fault == "counted-seed":
            seed += self.drawn
        if self.fault == "enlarged":
            small = self.draw(seed, prompt, steps, width // 2, height // 2)
            return width, height, enlarge(width // 2, height // 2, small)
        if self.fault == "early":
            return width, height, self.draw_early(seed, prompt, steps, width, height)
        if self.fault == "size":
            width += 8
        if self.fault == "one-size":
            width, height = 64, 64
        pixels = self.blend(width, height, self.draw(seed, prompt, steps, width, height))
        self.kept[key] = pixels
        return width, height, pixels

    def describe(self):
        print("toy: describing", file=sys.stderr)
        return {
            "protocol": 99 if self.fault == "version" else 1,
            "name": "toy",
            "version": "1.2.3",
            "model": "hashes",
            "device": "cpu",
            "precision": "u8",
            "accepts": ["steps", "size", "threads", *self.takes],
            "queue": 2 if self.fault == "queue" else 1,
            "versions": {"python": sys.version.split()[0]},
        }

    def answer(self, asked):
        if asked["do"] == "describe":
            return self.describe(), b""
        if asked["do"] == "load":
            self.work(256, 256)
            return {"seconds": 0.01, "bytes": 1000}, b""
        if asked["do"] == "stop":
            return {}, b""
        if self.rest.ident is not None:
            self.asked_again.set()
            self.rest.join()
            self.asked_again.clear()
        if self.cases:
            with Path(self.cases).open("a") as file:
                print(os.getpid(), asked.get("case"), file=file)
        began_s = self.read_clock()
        if self.fault == "hang":
            time.sleep(600)
        if self.fault == "crash":
            print("toy: Fatal: out of crayons", file=sys.stderr)
            sys.stderr.flush()
            os._exit(7)
        if self.fault == "needs-picture" and not self.start:
            return {"ok": False, "error": "where is the picture?"}, b""
        if self.fault == "refuse":
            return {"ok": False, "error": "no paint left"}, b""
        if self.fault == "child":
            subprocess.Popen(["sleep", "600"])
        if self.fault == "far-child" and not self.drawn:
            subprocess.Popen(["sleep", "600"], start_new_session=True)
        if self.fault == "daemon" and not self.drawn:
            fork_twice()
        width, height, pixels = self.make(asked)
        png = (
            b"GIF89a what is no picture"
            if self.fault == "no-png"
            else encode_png(width, height, pixels)
        )
        seconds = self.read_clock() - began_s
        steps = self.count_steps(asked)
        if self.fault == "boast":
            seconds *= 2
        reply = {
            "id": asked["id"],
            "bytes": len(png),
            "seed": asked["seed"] + (self.fault == "seed"),
            "steps": steps - 1 if self.fault == "told-steps" else steps,
            "seconds": float("nan") if self.fault == "nan-seconds" else seconds,
            "stages": {"denoise": seconds * 0.75, "decode_latents": seconds * 0.25},
            "step_seconds": [seconds * 0.75 / steps] * steps,
            "peak_bytes": width * height * 3,
            "finite": self.fault != "nan",
        }
        return reply, png

    def serve(self):
        out = sys.stdout.buffer
        for line in sys.stdin.buffer:
            asked = json.loads(line)
            self.read_start(asked)
            if self.fault == "noise" and asked["do"] == "generate":
                out.write(b"Loading pipeline components...: 100%\n")
            reply, png = self.answer(asked)
            out.write(json.dumps({"ok": True, **reply}).encode() + b"\n")
            if self.fault == "midway" and png:
                out.write(png[: len(png) // 2])
                out.flush()
                os._exit(3)
            out.write(png)
            if self.fault == "stray" and png:
                out.write(b"done!\n")
            out.flush()
            if asked["do"] == "stop":
                if self.fault == "stubborn":
                    time.sleep(600)
                return 1 if self.fault == "bad-exit" else 0
        return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", default="")
    parser.add_argument("--clock")
    parser.add_argument("--noise", default="")
    parser.add_argument("--cases", help="file for the case of each request")
    parser.add_argument("--takes", default="", help="of picture, mask and strength")
    return Toy(parser.parse_args()).serve()


if __name__ == "__main__":
    sys.exit(main())
