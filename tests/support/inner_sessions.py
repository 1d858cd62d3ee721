"""What each session that a test runs inside this one would find out again."""

import functools
import sys
from importlib.metadata import PathDistribution

from _pytest.config import Config
from _pytest.fixtures import FixtureManager
from _pytest.pytester import SysModulesSnapshot

READ = {
    name: vars(PathDistribution).get(name) or vars(PathDistribution.__base__)[name]
    for name in ("read_text", "entry_points", "metadata")
}


@functools.cache
def read_file(path, name):
    return READ["read_text"](PathDistribution(path), name)


@functools.cache
def read_property(path, name):
    return READ[name].fget(PathDistribution(path))


def forget_what_came(snapshot):
    """Take out the modules that came since, and leave the thousands that stayed where they are."""
    saved = snapshot._SysModulesSnapshot__saved
    for name in sys.modules.keys() - saved.keys():
        del sys.modules[name]
    sys.modules.update(saved)


def mark_nothing(config, hook, *_):
    config.pluginmanager.rewrite_hook = hook


def ask_packages_once(monkeypatch):
    """Read what the installed packages say of themselves once: pytest asks all of them each time.

    Nor does it mark them for rewriting, of which none is left to be imported: it would go through
    all their files. Nor does it look in each of their modules for a fixture in a wrong wrapper.

    Args:
        monkeypatch: Restores it all.
    """
    monkeypatch.setattr(PathDistribution, "read_text", lambda one, name: read_file(one._path, name))
    for name in ("entry_points", "metadata"):
        value = property(lambda one, name=name: read_property(one._path, name))
        monkeypatch.setattr(PathDistribution, name, value, raising=False)
    monkeypatch.setattr(Config, "_mark_plugins_for_rewrite", mark_nothing)
    monkeypatch.setattr(
        FixtureManager, "_check_for_wrapped_fixture", lambda *_: None, raising=False
    )
    monkeypatch.setattr(SysModulesSnapshot, "restore", forget_what_came)
