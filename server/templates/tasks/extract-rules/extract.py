"""Applies the rules of rules.txt to log lines. `python extract.py` shows how well they do on data/sample.jsonl."""

import json
import re


def read_rules(path):
    """The rules of a file, (field, pattern) each.

    A line is `field: regular expression` with one group, the value. Blank lines and those with # in front say nothing.
    """
    rules = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                field, _, pattern = line.rstrip("\n").partition(": ")
                rules.append((field, re.compile(pattern)))
    return rules


def extract(rules, line):
    """What the rules find in a line: {field: [value, ...]}. Every match of every rule counts."""
    found = {}
    for field, pattern in rules:
        for match in pattern.finditer(line):
            values = found.setdefault(field, [])
            if match[1] not in values:
                values.append(match[1])
    return found


def main():
    rules, found, wanted = read_rules("rules.txt"), set(), set()
    with open("data/sample.jsonl", encoding="utf-8") as file:
        for place, text in enumerate(file):
            line, values = json.loads(text)
            wanted |= {(place, *one) for one in values.items()}
            found |= {(place, field, value) for field, values in extract(rules, line).items() for value in values}
    for place, field, value in sorted(found ^ wanted):
        print("missed" if (place, field, value) in wanted else "wrong ", f"line {place + 1}: {field} {value}")
    print(f"F1 {2 * len(found & wanted) / max(1, len(found) + len(wanted)):.4f}")


if __name__ == "__main__":
    main()
