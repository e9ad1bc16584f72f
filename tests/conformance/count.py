#!/usr/bin/env python3
"""Counts the requirement keywords of each section of an RFC.

usage: count.py rfcNNNN.txt > counts/rfcNNNN.txt     (the text is at https://www.rfc-editor.org/)
       count.py --sentences rfcNNNN.txt              shows the sentences behind the counts, for whoever lists them

The paragraph that introduces the keywords themselves (RFC 2119) is not counted.
"""
import collections
import re
import sys

KEYWORD = re.compile(
    r"\b(MUST NOT|MUST|SHALL NOT|SHALL|SHOULD NOT|SHOULD|MAY|NOT RECOMMENDED|RECOMMENDED|REQUIRED|OPTIONAL)\b")
HEADING = re.compile(r"^(?:(\d+(?:\.\d+)*)\.|Appendix ([A-Z])\.|([A-Z](?:\.\d+)+)\.) +\S")
FURNITURE = re.compile(r"^(Thornburgh +(Informational|Standards)|RFC \d+ .*\d{4}$)")


def sections(path):
    """Section number -> its text on one line, paragraphs parted by a line break."""
    found, name, blank = collections.OrderedDict(), None, True
    for line in open(path, encoding="utf-8", errors="replace"):
        line = line.rstrip("\n").replace("\f", "")
        if FURNITURE.match(line):
            continue
        heading = HEADING.match(line)
        if heading and "...." not in line:
            name = next(g for g in heading.groups() if g)
            found.setdefault(name, "")
        elif name:
            found[name] += " " + line.strip() if line.strip() else "\n"
    return {k: v for k, v in found.items() if v}


def keywords(text):
    paragraphs = (p for p in text.split("\n") if '"MUST", "MUST NOT"' not in p)
    return [k for p in paragraphs for k in KEYWORD.findall(re.sub(r" +", " ", p))]


def main():
    if sys.argv[1] == "--sentences":
        for name, text in sections(sys.argv[2]).items():
            count = 0
            for paragraph in re.sub(r" +", " ", text).split("\n"):
                if '"MUST", "MUST NOT"' in paragraph:
                    continue
                for sentence in re.split(r"(?<=[.:;]) +(?=[A-Z(])", paragraph.strip()):
                    found = KEYWORD.findall(sentence)
                    if found:
                        print(f"{name} #{count + 1}" + (f"-{count + len(found)}" if len(found) > 1 else ""),
                              ",".join(found), "|", sentence)
                        count += len(found)
        return
    for name, text in sections(sys.argv[1]).items():
        counts = collections.Counter(keywords(text))
        if counts:
            print(name, " ".join(f"{k.replace(' ', '_')}={v}" for k, v in sorted(counts.items())))


main()
