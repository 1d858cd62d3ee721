"""Print a JSON Schema."""

import argparse
import json

from tools.record_schema import make_schema
from tools.record_schema.mps_check import make_mps_check_schema
from tools.record_schema.sweep import make_sweep_schema

SCHEMAS = {
    "record": make_schema,
    "mps-check": make_mps_check_schema,
    "sweep": make_sweep_schema,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.record_schema")
    parser.add_argument("what", nargs="?", choices=SCHEMAS, default="record")
    print(json.dumps(SCHEMAS[parser.parse_args().what](), indent=1))
