# Reads Autobahn's index.json (Python 2.7 or 3), names every case that failed, exits with 1 if one did or if too few ran.
from __future__ import print_function

import collections
import json
import sys

PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
# Groups 1 to 7 and 10 have 247 cases; fewer means that the specification or the suite lost some.
CASES = 247


def order(case):
    return [int(part) for part in case.split(".")]


def main(path):
    with open(path) as file:
        cases = json.load(file)["mics"]
    failed = []
    for case in sorted(cases, key=order):
        result = cases[case]
        if result["behavior"] not in PASSED or result["behaviorClose"] not in PASSED:
            failed.append(case)
            print("FAILED %s: %s, close %s" % (case, result["behavior"], result["behaviorClose"]))
    for what in ("behavior", "behaviorClose"):
        counts = collections.Counter(result[what] for result in cases.values())
        print("%s: %s" % (what, ", ".join("%s %d" % pair for pair in sorted(counts.items()))))
    if len(cases) < CASES:
        print("only %d of %d cases ran" % (len(cases), CASES))
    print("autobahn: %d cases, %d failed" % (len(cases), len(failed)))
    return 1 if failed or len(cases) < CASES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
