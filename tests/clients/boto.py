"""boto3 over every operation: what is answered is what the model says, and what was sent comes back.

    boto.py ENDPOINT
"""

import copy
import datetime
import sys
import uuid

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

import scenario
import shapes


class Judge:
    """A client that looks at every answer before and after botocore reads it."""

    def __init__(self, endpoint):
        config = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30)
        self.client = boto3.client("appmesh", endpoint_url=endpoint, region_name="us-east-1", config=config)
        self.model = self.client.meta.service_model
        self.called, self.refused = set(), {}
        self.client.meta.events.register("before-parse.app-mesh.*", self.look)

    def look(self, operation_model, response_dict, **_):
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        status, body = response_dict["status_code"], response_dict["body"]
        if status == 200:
            self.raw = shapes.check_answer(operation_model, body)
            self.called.add(operation_model.name)
        else:
            code = shapes.check_error(operation_model, status, headers, body)
            self.refused.setdefault(operation_model.name, set()).add(code)

    def call(self, operation, **parameters):
        answer = getattr(self.client, xform_name(operation))(**parameters)
        answer.pop("ResponseMetadata")
        return answer

    def refuse(self, code, operation, **parameters):
        """The call must be refused with this code, as an exception that the client knows."""
        try:
            self.call(operation, **parameters)
        except getattr(self.client.exceptions, code) as error:
            assert error.response["Error"]["Code"] == code, error
            assert error.response["Error"]["Message"], error
            return error
        except ClientError as error:
            raise AssertionError(f"{operation} {parameters}: {error}, not {code}") from error
        raise AssertionError(f"{operation} {parameters} was not refused with {code}")


def as_shown(kind, spec):
    """The two things that App Mesh changed in a spec."""
    spec = copy.deepcopy(spec)
    if kind == "VirtualNode":
        spec.setdefault("backends", [])
    for listener in spec.get("listeners", []):
        if "healthCheck" in listener:
            listener["healthCheck"].setdefault("port", listener["portMapping"]["port"])
    return spec


def check_resource(kind, names, answer, spec, version, status="ACTIVE"):
    (member, resource), = answer.items()
    assert member == kind[0].lower() + kind[1:], member
    end = next(row[4] for row in scenario.RESOURCES if row[0] == kind and row[1] == names)
    metadata = resource["metadata"]
    assert metadata["arn"] == f"{scenario.ARN}mesh/{scenario.MESH}{end}", metadata
    assert metadata["meshOwner"] == metadata["resourceOwner"] == scenario.ACCOUNT, metadata
    assert metadata["version"] == version, metadata
    assert isinstance(metadata["createdAt"], datetime.datetime) and metadata["createdAt"] <= metadata["lastUpdatedAt"]
    assert str(uuid.UUID(metadata["uid"])) == metadata["uid"]
    assert resource["meshName"] == scenario.MESH and all(resource[key] == value for key, value in names.items())
    assert resource["spec"] == as_shown(kind, spec), resource["spec"]
    assert resource["status"] == {"status": status}, resource
    return metadata


def check_creations(judge):
    for kind, names, spec, _, _ in scenario.RESOURCES:
        item = {"meshName": scenario.MESH, **names}
        judge.refuse("NotFoundException", f"Describe{kind}", **item)
        judge.refuse("NotFoundException", f"Update{kind}", **item, spec=spec)
        judge.refuse("NotFoundException", f"Delete{kind}", **item)
        create = {**item, "spec": spec, "tags": scenario.TAGS[:1], "clientToken": f"create-{kind}_0123456789"}
        first = check_resource(kind, names, judge.call(f"Create{kind}", **create), spec, 1)
        again = check_resource(kind, names, judge.call(f"Create{kind}", **create), spec, 1)
        assert first == again, "the same token and spec get the same answer"
        judge.refuse("ConflictException", f"Create{kind}", **{**create, "clientToken": "another"})
        described = judge.call(f"Describe{kind}", **item)
        assert check_resource(kind, names, described, spec, 1) == first
        judge.call(f"Describe{kind}", **item, meshOwner=scenario.ACCOUNT)
        judge.refuse("NotFoundException", f"Describe{kind}", **item, meshOwner="111111111111")


def check_updates(judge):
    for kind, names, spec, update, _ in scenario.RESOURCES:
        item = {"meshName": scenario.MESH, **names}
        before = judge.call(f"Describe{kind}", **item)
        created = next(iter(before.values()))["metadata"]
        token = str(uuid.uuid4())
        updated = check_resource(
            kind, names, judge.call(f"Update{kind}", **item, spec=update, clientToken=token), update, 2
        )
        assert updated["uid"] == created["uid"] and updated["createdAt"] == created["createdAt"]
        check_resource(kind, names, judge.call(f"Update{kind}", **item, spec=update, clientToken=token), update, 2)
        if update != spec:
            judge.refuse("ConflictException", f"Update{kind}", **item, spec=spec, clientToken=token)
        check_resource(kind, names, judge.call(f"Update{kind}", **item, spec=spec), spec, 3)


def check_lists(judge):
    """Every page of every list, one item at a time, by botocore's own paginators."""
    for kind, names, *_ in scenario.RESOURCES:
        operation = f"List{scenario.plural(kind)}"
        assert judge.client.can_paginate(xform_name(operation)), operation
        asked = scenario.parents(kind, names)
        (member,) = judge.client.get_paginator(xform_name(operation)).result_keys
        whole = judge.call(operation, **asked)
        assert "nextToken" not in whole or whole["nextToken"] is None
        pages = judge.client.get_paginator(xform_name(operation)).paginate(**asked, PaginationConfig={"PageSize": 1})
        paged = [item for page in pages for item in page[member.expression]]
        assert paged == whole[member.expression] and len(paged) >= 1, operation
        for item in paged:
            named = {key: item[key] for key in item if key.endswith("Name")}
            described = next(iter(judge.call(f"Describe{kind}", **named).values()))
            metadata = described["metadata"]
            for key in ("arn", "createdAt", "lastUpdatedAt", "meshOwner", "resourceOwner", "version"):
                assert item[key] == metadata[key], (operation, key)
        judge.refuse("BadRequestException", operation, **asked, nextToken="made-up")


def check_tags(judge):
    for _, _, _, _, end in scenario.RESOURCES:
        arn = f"{scenario.ARN}mesh/{scenario.MESH}{end}"
        assert judge.call("ListTagsForResource", resourceArn=arn) == {"tags": scenario.TAGS[:1]}
        assert judge.call("TagResource", resourceArn=arn, tags=scenario.TAGS) == {}
        paginator = judge.client.get_paginator("list_tags_for_resource")
        pages = list(paginator.paginate(resourceArn=arn, PaginationConfig={"PageSize": 1}))
        assert [tag for page in pages for tag in page["tags"]] == sorted(scenario.TAGS, key=lambda tag: tag["key"])
        assert len(pages) == 2
        assert judge.call("UntagResource", resourceArn=arn, tagKeys=["empty", "absent"]) == {}
        assert judge.call("ListTagsForResource", resourceArn=arn) == {"tags": scenario.TAGS[:1]}
    absent = f"{scenario.ARN}mesh/absent"
    for operation, more in [
        ("TagResource", {"tags": scenario.TAGS}),
        ("UntagResource", {"tagKeys": ["k"]}),
        ("ListTagsForResource", {}),
    ]:
        judge.refuse("NotFoundException", operation, resourceArn=absent, **more)
        judge.refuse("BadRequestException", operation, resourceArn="no-arn", **more)
    many = [{"key": f"k{index}", "value": "v"} for index in range(50)]
    judge.refuse("TooManyTagsException", "TagResource", resourceArn=f"{scenario.ARN}mesh/{scenario.MESH}", tags=many)


def check_deletions(judge):
    for operation, parameters in scenario.steps():
        if not operation.startswith("Delete"):
            continue
        kind = operation.removeprefix("Delete")
        names = {key: value for key, value in parameters.items() if key != "meshName"}
        if kind == "GatewayRoute":
            check_blocked(judge)
        spec = next(row[2] for row in scenario.RESOURCES if row[0] == kind and row[1] == names)
        (resource,) = judge.call(operation, **parameters).values()
        assert resource["status"] == {"status": "DELETED"} and resource["spec"] == as_shown(kind, spec)
        judge.refuse("NotFoundException", f"Describe{kind}", **parameters)


def check_blocked(judge):
    """What is referred to, or has something in it, stays."""
    rows = [
        ("Mesh", {}),
        ("VirtualNode", {"virtualNodeName": "a"}),
        ("VirtualRouter", {"virtualRouterName": "r"}),
        ("VirtualService", {"virtualServiceName": "b.clients.local"}),
        ("VirtualGateway", {"virtualGatewayName": "g"}),
    ]
    for kind, names in rows:
        judge.refuse("ResourceInUseException", f"Delete{kind}", meshName=scenario.MESH, **names)


def check_bad_requests(judge):
    """What botocore itself lets pass and App Mesh refuses, of every operation that takes a name."""
    for name in judge.model.operation_names:
        shape = judge.model.operation_model(name).input_shape
        if "meshName" not in shape.members:
            continue
        parameters = {member: filler(shape.members[member]) for member in shape.required_members}
        parameters["meshName"] = "a:b"
        judge.refuse("BadRequestException", name, **parameters)


def filler(shape):
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "x"
    if shape.type_name in ("integer", "long"):
        return shape.metadata.get("min", 0)
    if shape.type_name == "list":
        return [filler(shape.member)]
    return {member: filler(shape.members[member]) for member in shape.required_members}


def main(endpoint):
    judge = Judge(endpoint)
    for part in (
        check_creations,
        check_updates,
        check_lists,
        check_tags,
        check_bad_requests,
        check_deletions,
    ):
        part(judge)
        print(part.__name__, "done")
    every = set(judge.model.operation_names)
    assert judge.called == every, f"never answered: {sorted(every - judge.called)}"
    silent = every - set(judge.refused) - {"ListMeshes"}
    assert not silent, f"never refused: {sorted(silent)}"
    print(len(every), "operations,", sum(map(len, judge.refused.values())), "kinds of refusal")


if __name__ == "__main__":
    main(sys.argv[1])
