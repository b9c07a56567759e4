"""Checks what `signet ca why --format json` and `signet ca checkpoint --since` print, with none of Signet's code.

Written from RFC 9162, sections 2.1.3.2 and 2.1.4.2, whose hashes are RFC 6962's, and C2SP's signed-note and
tlog-checkpoint. Prints a line for each file: what holds, or why something does not.

    ledger.py ledger.pub evidence.json growth.json,older.checkpoint …
"""

import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = b"\x01"


class Unproven(Exception):
    """Something that is not as it is said to be."""


def require(condition, what):
    if not condition:
        raise Unproven(what)


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def read_verifier(text):
    """Name, key id and key of NAME+ID+KEY."""
    name, identifier, encoded = text.strip().split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    require(key[:1] == ED25519 and len(key) == 33, "the verifier key is no Ed25519 key")
    expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    require(bytes.fromhex(identifier) == expected, "the verifier key's id is not its hash")
    return name, expected, Ed25519PublicKey.from_public_bytes(key[1:])


def open_checkpoint(note, verifier):
    """Size and root of a note that the key signed."""
    name, identifier, key = verifier
    text, separator, signatures = note.rpartition("\n\n")
    require(separator, "the note has no signatures")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ")
        require(dash == "\u2014", "a signature's line has another form")
        signature = base64.b64decode(encoded, validate=True)
        if signer == name and signature[:4] == identifier:
            try:
                key.verify(signature[4:], text.encode())
            except InvalidSignature:
                raise Unproven("the signature is not the key's") from None
            break
    else:
        raise Unproven("the key signed nothing")
    origin, size, root = text.splitlines()[:3]
    require(origin == name, "the note is of another log")
    return int(size), base64.b64decode(root, validate=True)


def check_inclusion(position, size, path, leaf, root):
    require(0 <= position < size, "the entry lies outside of the log")
    index, last, found = position, size - 1, leaf
    for sibling in path:
        require(last != 0, "the path is too long")
        if index & 1 or index == last:
            found = node_hash(sibling, found)
            while not index & 1 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        index, last = index >> 1, last >> 1
    require(last == 0, "the path is too short")
    require(found == root, "the path leads to another root")


def check_consistency(older, size, path, older_root, root):
    require(0 < older < size, "the sizes are in no order")
    path = list(path)
    # A whole subtree is its own first node, and is left out.
    if older & (older - 1) == 0:
        path.insert(0, older_root)
    require(path, "there is no path")
    index, last = older - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    first, second = path[0], path[0]
    for sibling in path[1:]:
        require(last != 0, "the path is too long")
        if index & 1 or index == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not index & 1 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        index, last = index >> 1, last >> 1
    require(last == 0, "the path is too short")
    require(first == older_root, "the path leads to another older root")
    require(second == root, "the path leads to another root")


def judge(verifier, evidence_file, older_file=None):
    with open(evidence_file, encoding="utf-8") as file:
        evidence = json.load(file)
    size, root = open_checkpoint(evidence["checkpoint"], verifier)
    found = f"signed {size}"
    if "entry" in evidence:
        entry = evidence["entry"]
        path = [bytes.fromhex(text) for text in entry["inclusion"]]
        check_inclusion(entry["position"], size, path, leaf_hash(entry["text"].encode()), root)
        found += f", included {entry['position']}"
    if older_file:
        with open(older_file, encoding="utf-8") as file:
            older, older_root = open_checkpoint(file.read(), verifier)
        proof = evidence["consistency"]
        require(proof["since"] == older, "the proof is since another size")
        path = [bytes.fromhex(text) for text in proof["hashes"]]
        check_consistency(older, size, path, older_root, root)
        found += f", since {older}"
    return found


def main(verifier_file, *cases):
    with open(verifier_file, encoding="utf-8") as file:
        verifier = read_verifier(file.read())
    for case in cases:
        try:
            print(judge(verifier, *case.split(",")))
        except Unproven as unproven:
            print(f"not proven: {unproven}")


if __name__ == "__main__":
    main(*sys.argv[1:])
