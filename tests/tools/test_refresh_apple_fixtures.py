"""Recordings of Macs: nothing that names somebody is kept, and what is kept can be replayed."""

import json
from pathlib import Path

import pytest

from sdperf.cli.machine.doctor import collect_report
from sdperf.errors import RecordError
from sdperf.measure.fitness.conditions import read_conditions
from sdperf.measure.resources.apple.apple_parsers import parse_displays, parse_process_cpu
from sdperf.store.contribution.anonymity import Identity
from tests.support.systems import IOREG, make_mac
from tools.refresh_apple_fixtures import recording
from tools.refresh_apple_fixtures.recording import MANIFEST, check, collect, load_recorded
from tools.refresh_apple_fixtures.scrubbing import find_leftovers, scrub, scrub_processes

IDENTITY = Identity(("annas-mbp", "anna", "Anna's MacBook Pro"))
PLANTED = (
    "C02ZK1ABMD6T",
    "a4:83:e7:11:22:33",
    "8F2B1C9A-1D2E-4F3A-8B7C-0123456789AB",
    "annas-mbp",
    "Anna's MacBook Pro",
    "SecretApp",
    "/Users/anna",
    "/Volumes/Anna Backup",
    "19005539",
    "0xfd626d62",
    "QzAyWksxQUJNRDZU",
    "192.168.7.41",
)
RECORDED = sorted((Path(__file__).parents[1] / "measure/fixtures/recorded").glob("*/"))

TMUTIL = """Backup session status:
{
    BackupPhase = Copying;
    ClientID = "com.apple.backupd";
    DestinationID = "8F2B1C9A-1D2E-4F3A-8B7C-0123456789AB";
    DestinationMountPoint = "/Volumes/Anna Backup";
    Running = 1;
}
"""
IOREG_PLANTED = IOREG.replace(
    "<key>model</key>",
    "<key>IOPlatformSerialNumber</key><string>C02ZK1ABMD6T</string>"
    "<key>vendor-id</key><data>QzAyWksxQUJNRDZU</data><key>model</key>",
)
PS = "%CPU COMM\n 50.0 mdworker_shared\n 99.0 SecretApp helper\n  1.0 kernel_task\n"
DISPLAYS = """{"SPDisplaysDataType": [{
 "_name": "kHW_AppleM9Item", "sppci_model": "Apple M9", "sppci_cores": "10",
 "spdisplays_ndrvs": [{"_name": "Anna's MacBook Pro Sidecar",
   "_spdisplays_display-serial-number": "fd626d62",
   "_spdisplays_displayID": "1"}]}]}
"""
COMMANDS = {
    "/usr/sbin/sysctl -i": (
        "machdep.cpu.brand_string: Apple M9 Max\nhw.memsize: 68719476736\nhw.logicalcpu: 14\n"
        "hw.nperflevels: 1\nhw.perflevel0.logicalcpu: 14\nkern.osproductversion: 31.4.1\n"
        "kern.osversion: 31E77\nkern.hv_vmm_present: 0\nvm.loadavg: { 2.50 1.00 0.50 }\n"
        "kern.memorystatus_vm_pressure_level: 1\nkern.hostname: annas-mbp.local\n"
        "vm.swapusage: total = 2.00M  used = 1.00M  free = 1.00M\n"
    ),
    "/usr/sbin/ioreg -a -r -d 1 -w 0 -c IOAccelerator": IOREG_PLANTED,
    "/usr/bin/pmset -g batt": (
        "Now drawing from 'AC Power'\n -InternalBattery-0 (id=19005539)\t91%; charged;\n"
    ),
    "/usr/bin/pmset -g": (
        "Currently in use:\n sleep 0 (sleep prevented by SecretApp, coreaudiod)\n powermode 2\n"
    ),
    "/usr/bin/vm_stat": "(page size of 16384 bytes)\nSwapins: 1.\nSwapouts: 2.\n",
    "/bin/ps -Aceo pcpu,comm": PS,
    "/usr/bin/tmutil status": TMUTIL,
    "/usr/bin/footprint": "phys_footprint: 1000 B\nen0 a4:83:e7:11:22:33 192.168.7.41\n",
}


def record(folder, **options):
    return collect(make_mac(COMMANDS), folder, options.get("identity", IDENTITY))


def test_nothing_that_was_planted_survives(tmp_path):
    folder = tmp_path / "mac"
    names = record(folder)
    text = "".join((folder / name).read_text() for name in names)
    assert all(planted.casefold() not in text.casefold() for planted in PLANTED)
    assert "anna" not in text.casefold()
    assert "fd626d62" not in scrub(DISPLAYS, IDENTITY)


def test_what_was_recorded_is_replayed(tmp_path):
    folder = tmp_path / "mac"
    record(folder)
    assert check(folder) == []
    live = collect_report(make_mac(COMMANDS))
    replayed = collect_report(load_recorded(folder))
    assert replayed.fingerprint == live.fingerprint
    assert [guard.state for guard in replayed.guards] == [guard.state for guard in live.guards]
    conditions = read_conditions("mps", system=load_recorded(folder))
    assert (conditions.backup_running, conditions.background) == (True, {"mdworker_shared": 50.0})


def test_each_command_has_its_seconds_once(tmp_path):
    folder = tmp_path / "mac"
    record(folder)
    entries = json.loads((folder / MANIFEST).read_text())["commands"]
    commands = [entry["command"] for entry in entries]
    assert len(commands) == len(set(commands))
    assert "/usr/bin/footprint --noCategories -f bytes -p PID" in commands
    assert all(entry["seconds"] >= 0 for entry in entries)


@pytest.mark.parametrize("damage", ["", "hw.memsize: many\n", "garbage"])
def test_output_that_the_parsers_do_not_understand_is_named(tmp_path, damage):
    folder = tmp_path / "mac"
    names = record(folder)
    (sysctl,) = [name for name in names if "brand_string" in name or "machdep" in name]
    (folder / sysctl).write_text(damage)
    assert {"the chip's name", "memory", "version of macOS"} <= set(check(folder))


def test_what_scrubbing_misses_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "scrub", lambda text, _: text)
    with pytest.raises(RecordError, match="something that could name somebody") as error:
        record(tmp_path / "mac")
    assert "anna" not in str(error.value).casefold()
    assert not (tmp_path / "mac").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RecordError, match="not empty"):
        record(tmp_path)


@pytest.mark.parametrize(
    "manifest", [None, "{", "[]", '{"commands": 3}', '{"commands": [{"command": "x"}]}']
)
def test_what_is_no_recording_is_said(tmp_path, manifest):
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(RecordError, match="no recording"):
        check(tmp_path)


def test_scrubbing_keeps_the_shape():
    displays = parse_displays(scrub(DISPLAYS, IDENTITY))
    assert (displays.name, displays.cores) == ("Apple M9", 10)
    busy = parse_process_cpu(scrub_processes(PS))
    assert busy == {"mdworker_shared": 50.0, "other": 99.0, "kernel_task": 1.0}
    text = "Serial Number (system): C02ZK1ABMD6T\nHardware UUID: 8F2B1C9A\nChip: Apple M9\n"
    assert scrub(text, IDENTITY) == "Serial Number (system): 0\nHardware UUID: 0\nChip: Apple M9\n"
    assert scrub(scrub(IOREG_PLANTED, IDENTITY), IDENTITY) == scrub(IOREG_PLANTED, IDENTITY)
    assert find_leftovers({"a": "kern.x: annas-mbp"}, IDENTITY) == [".a: a name"]


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_recordings_of_real_macs_are_understood_and_name_nobody(folder):
    assert check(folder) == []
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert find_leftovers(texts, Identity()) == []
