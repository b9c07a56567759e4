"""The requests of Terraform's App Mesh resources, in their order and with the headers of AWS's SDK for Go.

    terraform.py ENDPOINT

Terraform describes before it creates, reads tags after every read, sends the whole spec with an update, and
after a deletion describes until it is told NotFoundException. It signs headers that other clients do not.
"""

import http.client
import json
import sys
import uuid
from urllib.parse import quote, urlsplit

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

import scenario
import shapes

AGENT = (
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) terraform-provider-aws/5.100.0 "
    "(+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.23.8 "
    "md/GOOS#linux md/GOARCH#amd64 api/appmesh#1.30.3"
)
COLLECTIONS = {
    "Mesh": "meshes",
    "VirtualNode": "virtualNodes",
    "VirtualService": "virtualServices",
    "VirtualRouter": "virtualRouters",
    "Route": "virtualRouter/{virtualRouterName}/routes",
    "VirtualGateway": "virtualGateways",
    "GatewayRoute": "virtualGateway/{virtualGatewayName}/gatewayRoutes",
}


class Provider:
    def __init__(self, endpoint):
        session = botocore.session.get_session()
        self.signer = SigV4Auth(session.get_credentials(), "appmesh", "us-east-1")
        self.model = session.get_service_model("appmesh")
        self.host = urlsplit(endpoint).netloc
        # One connection for all, as Go's transport keeps it.
        self.connection = http.client.HTTPConnection(self.host, timeout=30)

    def send(self, operation, method, path, body=None):
        """The answer's JSON and nothing, or nothing and the refusal's code."""
        url = f"http://{self.host}/v20190125{path}"
        text = "" if body is None else json.dumps(body, separators=(",", ":"))
        headers = {"Amz-Sdk-Invocation-Id": str(uuid.uuid4()), "Amz-Sdk-Request": "attempt=1; max=25"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(text))}
        request = AWSRequest(method=method, url=url, data=text, headers=headers)
        self.signer.add_auth(request)
        assert body is None or ";content-length;" in request.headers["Authorization"]
        more = {"User-Agent": AGENT, "Accept-Encoding": "gzip"}
        self.connection.request(method, urlsplit(url)._replace(scheme="", netloc="").geturl(), text or None,
                                {**dict(request.headers.items()), **more})
        response = self.connection.getresponse()
        answer = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        model = self.model.operation_model(operation)
        if response.status == 200:
            return shapes.check_answer(model, answer), None
        return None, shapes.check_error(model, response.status, headers, answer)


class Resource:
    """One resource block of a Terraform configuration."""

    def __init__(self, provider, kind, names, end):
        self.provider, self.kind, self.names = provider, kind, names
        self.arn = f"{scenario.ARN}mesh/{scenario.MESH}{end}"
        own = kind[0].lower() + kind[1:] + "Name"
        self.name = {own: names.get(own, scenario.MESH)}
        mesh = "" if kind == "Mesh" else f"/meshes/{scenario.MESH}"
        self.collection = f"{mesh}/{COLLECTIONS[kind].format(**names)}"
        self.item = f"{self.collection}/{quote(self.name[own], safe='')}"

    def read(self):
        """Describe and tags, or nothing where it is gone."""
        found, code = self.provider.send(f"Describe{self.kind}", "GET", self.item)
        if code == "NotFoundException":
            return None
        assert code is None, (self.item, code)
        path = f"/tags?resourceArn={quote(found['metadata']['arn'], safe='')}"
        tags, code = self.provider.send("ListTagsForResource", "GET", path)
        assert code is None, (path, code)
        return found, tags["tags"]

    def create(self, spec):
        assert self.read() is None
        body = {"clientToken": str(uuid.uuid4()), "spec": spec, "tags": scenario.TAGS[:1], **self.name}
        created, code = self.provider.send(f"Create{self.kind}", "PUT", self.collection, body)
        assert code is None and created["metadata"]["arn"] == self.arn, (self.item, code)
        found, tags = self.read()
        assert (found, tags) == (created, scenario.TAGS[:1])

    def update(self, spec):
        before, _ = self.read()
        body = {"clientToken": str(uuid.uuid4()), "spec": spec}
        updated, code = self.provider.send(f"Update{self.kind}", "PUT", self.item, body)
        assert code is None, (self.item, code)
        assert updated["metadata"]["version"] == before["metadata"]["version"] + 1
        self.retag()
        found, tags = self.read()
        assert (found, tags) == (updated, scenario.TAGS[1:])

    def retag(self):
        query = f"?resourceArn={quote(self.arn, safe='')}"
        keys = {"tagKeys": [scenario.TAGS[0]["key"]]}
        assert self.provider.send("UntagResource", "PUT", f"/untag{query}", keys) == ({}, None)
        assert self.provider.send("TagResource", "PUT", f"/tag{query}", {"tags": scenario.TAGS[1:]}) == ({}, None)

    def delete(self):
        deleted, code = self.provider.send(f"Delete{self.kind}", "DELETE", self.item)
        if code == "ResourceInUseException":
            return False
        assert code is None and deleted["status"]["status"] == "DELETED", (self.item, code)
        assert self.read() is None
        return True


def main(endpoint):
    provider = Provider(endpoint)
    rows = [(Resource(provider, kind, names, end), spec, update) for kind, names, spec, update, end in scenario.RESOURCES]
    for resource, spec, _ in rows:
        resource.create(spec)
    for resource, spec, update in rows:
        resource.update(update)
        resource.update(spec) if update != spec else None
        break_apply(provider, resource, spec)
    # Terraform deletes side by side and tries again while something is in use.
    left, rounds = [resource for resource, _, _ in rows], 0
    while left:
        left, rounds = [resource for resource in left if not resource.delete()], rounds + 1
        assert rounds < 10, [resource.item for resource in left]
    print(len(rows), "resources,", rounds, "rounds of deletion")


def break_apply(provider, resource, spec):
    """An apply that is refused leaves what Terraform reads next as it was."""
    before = resource.read()
    _, code = provider.send(f"Update{resource.kind}", "PUT", resource.item, {"clientToken": "a b", "spec": spec})
    assert code == "BadRequestException", code
    assert resource.read() == before


if __name__ == "__main__":
    main(sys.argv[1])
