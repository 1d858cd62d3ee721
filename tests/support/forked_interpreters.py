"""Workers of `InterpreterHost` that are real processes, but need not start an interpreter again.

A worker with a stand-in spends a tenth of a second of a processor on imports. These are forked from
a server that has imported the same from the same folder: pipes, sessions, signals and exit codes
are as ever, and so is the import path, with the packages of a virtual environment. What would
import another file than the server did is started as usual.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from multiprocessing import reduction
from pathlib import Path
from types import SimpleNamespace

from sdperf.run.hosts import interpreter
from sdperf.run.hosts.interpreter import REMOTE_PACKAGE

PRELOADED = "PIL"
"""A package of the environment that the server has imported, beside what the folder holds."""

SERVER = f"""
import gc, importlib, json, os, runpy, signal, site, socket, sys, traceback
from multiprocessing import reduction

plain = [entry for entry in sys.path if entry not in os.environ["PYTHONPATH"].split(os.pathsep)]
standard = [entry for entry in plain if "site-packages" not in entry]
for name in ("{REMOTE_PACKAGE}.__main__", "sdperf.run.worker", "runpy"):
    importlib.import_module(name)
del sys.modules["{REMOTE_PACKAGE}.__main__"]
gc.collect()
gc.freeze()


def be_worker(asked, pipes):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
    os.closerange(3, max(pipes) + 9)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    ahead = os.environ["PYTHONPATH"].split(os.pathsep)
    if asked["own"] is None:
        sys.path[:] = [*ahead, *plain]
    else:
        sys.path[:] = [*ahead, *standard]
        sys.prefix = sys.exec_prefix = asked["prefix"]
        site.addsitedir(asked["own"])
    sys.executable = asked["python"]
    importlib.invalidate_caches()
    runpy.run_module("{REMOTE_PACKAGE}", run_name="__main__", alter_sys=True)


def be_waiting(pipes, status):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with os.fdopen(pipes.pop(), "rb") as file:
        asked = json.load(file)
    pid = os.fork()
    if not pid:
        try:
            be_worker(asked, pipes)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    for pipe in pipes:
        os.close(pipe)
    os.write(status, b"%d\\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, b"%d\\n" % code)


def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


channel = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, reap)
while True:
    try:
        *pipes, status = reduction.recvfds(channel, 5)
    except (EOFError, OSError, RuntimeError):
        break
    if not os.fork():
        channel.close()
        be_waiting(pipes, status)
        os._exit(0)
    for pipe in (*pipes, status):
        os.close(pipe)
"""


class Forking:
    """Starts workers by asking the server, whose other end of a channel they are forked at.

    Args:
        stage: The folder that the workers import sdperf from.
        channel: This end of the channel.
    """

    def __init__(self, stage, channel):
        self.stage, self.channel = str(stage), channel
        self._lock = threading.Lock()

    @property
    def environment(self):
        """Variables by which `follow` finds the server in another process, with `channel` open."""
        return {"STAGE": self.stage, "CHANNEL": str(self.channel.fileno())}

    @property
    def subprocess(self):
        """What `InterpreterHost` uses of the module of that name."""
        return SimpleNamespace(
            Popen=self._start, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
        )

    def _start(self, command, **named):
        python = Path(command[0])
        if not self._is_alike(python, named["env"]["PYTHONPATH"].split(os.pathsep)):
            return subprocess.Popen(command, **named)
        own = None
        if python != Path(sys.executable):
            (own,) = map(str, python.parents[1].glob("lib/python*/site-packages"))
        asked = {
            "python": str(python),
            "prefix": str(python.parents[1]),
            "own": own,
            "folder": str(named["cwd"] or Path.cwd()),
            "environment": named["env"],
        }
        return ForkedInterpreter(self._send, asked)

    def _is_alike(self, python, entries):
        """Tell whether the worker would import the files that the server has imported."""
        is_known = python == Path(sys.executable) or (python.parents[1] / "pyvenv.cfg").is_file()
        hides = any((Path(entry) / PRELOADED).exists() for entry in entries)
        return python.exists() and is_known and entries[0] == self.stage and not hides

    def _send(self, pipes):
        with self._lock:
            reduction.sendfds(self.channel, pipes)


@contextlib.contextmanager
def forking_server(stage):
    """Start the server; yields `Forking` and the server's process id."""
    plain = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    channel, theirs = socket.socketpair()
    with channel:
        with theirs:
            server = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVER, str(theirs.fileno())],
                env=plain | {"PYTHONPATH": str(stage)},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        try:
            yield Forking(stage, channel), server.pid
        finally:
            channel.close()
            server.wait()


def follow(environment):
    """Let `InterpreterHost` start this process's workers with the server of another process."""
    channel = socket.socket(fileno=int(environment["CHANNEL"]))
    interpreter.subprocess = Forking(environment["STAGE"], channel).subprocess


class ForkedInterpreter:
    """What `InterpreterHost` uses of `subprocess.Popen`, for a process that a server forked."""

    def __init__(self, send, asked):
        pairs = [os.pipe() for _ in range(5)]
        (in_r, in_w), (out_r, out_w), (err_r, err_w), (ask_r, ask_w), (self._status, status_w) = (
            pairs
        )
        send([in_r, out_w, err_w, ask_r, status_w])
        for pipe in (in_r, out_w, err_w, ask_r, status_w):
            os.close(pipe)
        with os.fdopen(ask_w, "w") as file:
            json.dump(asked, file)
        self.stdin = os.fdopen(in_w, "wb")
        self.stdout, self.stderr = os.fdopen(out_r, "rb"), os.fdopen(err_r, "rb")
        self.returncode, self._lock = None, threading.Lock()
        self.pid = int(self._read_line())

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout=None):
        with self._lock:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("a forked worker", timeout)
                self.returncode = int(self._read_line())
                os.read(self._status, 1)  # the end: nobody waits for the worker any more
                os.close(self._status)
        return self.returncode

    def _read_line(self):
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self._status, 1)
            assert read, "the server of forked workers has ended"
            line += read
        return line
