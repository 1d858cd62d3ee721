"""Print the JSON Schema of the record."""

import json

from tools.record_schema import make_schema

if __name__ == "__main__":
    print(json.dumps(make_schema(), indent=1))
