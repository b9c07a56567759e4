"""Judges what came over the wire by botocore's own model.

botocore's parser drops members that it does not know and forgives members that are missing, so answers are
compared with the shapes before it sees them.
"""

import json
import re

from botocore.model import ListShape, MapShape, StructureShape


class Malformed(AssertionError):
    """An answer that the model does not know."""


def check(shape, value, path):
    """Raises Malformed, naming the member."""
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            raise Malformed(f"{path}: a structure is {value!r}")
        for name in shape.required_members:
            if value.get(name) is None:
                raise Malformed(f"{path}.{name}: is required and not there")
        for name, member in value.items():
            if name not in shape.members:
                raise Malformed(f"{path}.{name}: is not in {shape.name}")
            check(shape.members[name], member, f"{path}.{name}")
        if shape.metadata.get("union") and len(value) != 1:
            raise Malformed(f"{path}: a union has {sorted(value)}")
        return
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            raise Malformed(f"{path}: a list is {value!r}")
        bounds(shape, len(value), path)
        for index, item in enumerate(value):
            check(shape.member, item, f"{path}[{index}]")
        return
    if isinstance(shape, MapShape):
        raise Malformed(f"{path}: App Mesh has no maps")
    scalar(shape, value, path)


def scalar(shape, value, path):
    kind = shape.type_name
    if kind == "string":
        if not isinstance(value, str):
            raise Malformed(f"{path}: a string is {value!r}")
        bounds(shape, len(value), path)
        if shape.enum and value not in shape.enum:
            raise Malformed(f"{path}: {value!r} is none of {shape.enum}")
        pattern = shape.metadata.get("pattern")
        if pattern and not re.search(pattern, value):
            raise Malformed(f"{path}: {value!r} does not match {pattern}")
    elif kind in ("integer", "long"):
        if type(value) is not int:
            raise Malformed(f"{path}: a whole number is {value!r}")
        bounds(shape, value, path)
    elif kind == "boolean":
        if type(value) is not bool:
            raise Malformed(f"{path}: a boolean is {value!r}")
    elif kind == "timestamp":
        # Seconds since the epoch, with milliseconds.
        if type(value) not in (int, float) or not 1_500_000_000 < value < 10_000_000_000:
            raise Malformed(f"{path}: a time is {value!r}")
        if abs(value * 1000 - round(value * 1000)) > 1e-3:
            raise Malformed(f"{path}: {value!r} is finer than a millisecond")
    else:
        raise Malformed(f"{path}: {kind} is not a type of App Mesh")


def bounds(shape, size, path):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        raise Malformed(f"{path}: {size} is not within {least} and {most}")


def check_answer(operation, body):
    """`body` is the text of a successful answer."""
    value = json.loads(body)
    shape = operation.output_shape
    payload = shape.serialization.get("payload")
    check(shape.members[payload] if payload else shape, value, operation.name)
    return value


def check_error(operation, status, headers, body, extra=()):
    """`body` is the text of a refusal. Returns its code."""
    code = headers["x-amzn-errortype"]
    declared = {shape.name: shape for shape in operation.error_shapes}
    if code not in declared:
        raise Malformed(f"{operation.name}: {code} is not among {sorted(declared)}")
    shape = declared[code]
    if status != shape.metadata["error"]["httpStatusCode"]:
        raise Malformed(f"{operation.name}: {code} has status {status}")
    if headers["content-type"] != "application/json" or not re.fullmatch("[0-9a-f-]{36}", headers["x-amzn-requestid"]):
        raise Malformed(f"{operation.name}: {code} has the headers {dict(headers)}")
    value = json.loads(body)
    check(shape, value, f"{operation.name}.{code}")
    if not value.get("message"):
        raise Malformed(f"{operation.name}: {code} says nothing")
    return code
