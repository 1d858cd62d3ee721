"""Throw-away git repositories."""

import subprocess


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


class Repository:
    """A repository that grows by named commits; every commit changes one file."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.hashes = {}

    def git(self, *arguments):
        return git(self.folder, *arguments)

    def commit(self, name, text=None):
        (self.folder / "mine.py").write_text(f"VALUE = {name!r}\n" if text is None else text)
        (self.folder / f"{name}.txt").write_text(name)
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", f"Add {name}")
        return self._note(name)

    def merge(self, name, branch):
        self.git("merge", "--quiet", "--no-ff", "-X", "ours", "-m", f"Merge {name}", branch)
        return self._note(name)

    def _note(self, name):
        head = (self.folder / ".git" / "HEAD").read_text().strip()
        branch = self.folder / ".git" / head.removeprefix("ref: ")
        self.hashes[name] = branch.read_text().strip() if head.startswith("ref: ") else head
        return self.hashes[name]
