"""The AWS CLI over every operation, in this process: 38 starts of an interpreter would take a minute.

    cli.py ENDPOINT

Each step of the scenario is a command line with its parameters as `--cli-input-json`; what it prints must be
what the same operation's output shape says, with times as the CLI prints them.
"""

import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver
from botocore import xform_name

import scenario


class Commands:
    def __init__(self, endpoint):
        self.driver = create_clidriver()
        self.general = ["--endpoint-url", endpoint, "--region", "us-east-1", "--output", "json"]
        self.model = self.driver.session.get_service_model("appmesh")
        self.called = set()

    def run(self, operation, parameters, *flags):
        """Exit code, standard output and standard error of one command."""
        command = ["appmesh", xform_name(operation, "-"), "--cli-input-json", json.dumps(parameters), *flags]
        printed, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            code = self.driver.main([*self.general, *command])
        return code, printed.getvalue(), complained.getvalue()

    def must(self, operation, parameters, *flags):
        code, printed, complained = self.run(operation, parameters, *flags)
        assert code == 0, f"aws appmesh {operation} {parameters}: {code} {complained}"
        answer = json.loads(printed) if printed.strip() else {}
        self.check(operation, answer)
        self.called.add(operation)
        return answer

    def check(self, operation, answer):
        """The CLI prints what botocore read; a wrapped payload, say, would leave it empty."""
        shape = self.model.operation_model(operation).output_shape
        for name in shape.required_members:
            assert answer.get(name) is not None, f"{operation} printed no {name}: {answer}"
            member = shape.members[name]
            if member.type_name == "structure":
                missing = set(member.required_members) - set(answer[name])
                assert not missing, f"{operation} printed no {missing}: {answer}"


def main(endpoint):
    commands = Commands(endpoint)
    for operation, parameters in scenario.steps():
        answer = commands.must(operation, parameters)
        if operation.startswith(("Create", "Update")):
            (resource,) = answer.values()
            sent = dict(parameters["spec"])
            assert {key: resource["spec"].get(key) for key in sent} == sent, (operation, resource["spec"])
    meshes = [f"page-{index}" for index in range(3)]
    for mesh in meshes:
        commands.must("CreateMesh", {"meshName": mesh})
    # The CLI goes through the pages by itself.
    listed = commands.must("ListMeshes", {}, "--page-size", "1")
    assert [mesh["meshName"] for mesh in listed["meshes"]] == meshes, listed
    first = commands.must("ListMeshes", {}, "--page-size", "1", "--max-items", "2")
    assert len(first["meshes"]) == 2 and first["NextToken"], first
    rest = commands.must("ListMeshes", {}, "--page-size", "1", "--starting-token", first["NextToken"])
    assert [mesh["meshName"] for mesh in rest["meshes"]] == meshes[2:], rest
    code, _, complained = commands.run("DescribeMesh", {"meshName": "absent"})
    expected = (
        "An error occurred (NotFoundException) when calling the DescribeMesh operation: "
        "Mesh with name absent is not present for account 000000000000"
    )
    assert code != 0 and expected in complained, (code, complained)
    every = set(commands.model.operation_names)
    assert commands.called == every, f"never called: {sorted(every - commands.called)}"
    print(len(every), "commands")


if __name__ == "__main__":
    main(sys.argv[1])
