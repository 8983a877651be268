"""Answers of the control plane against the OpenAPI document that the same binary serves: one that does not fit fails the test that saw it."""
import re

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

CONTROL = ("/sluice/", "/admin/", "/api/")
OTHERS = {"Ollama", "OpenAI"}  # below /api/ too, in formats of their own
ANYWHERE = {405, 413, 415, 431, 503}  # before a row is found, or whatever the row


class Contract:
    def __init__(self, document):
        self.document, self.operations, self.validators = document, [], {}
        for template, item in document["paths"].items():
            pattern = re.sub(r"\\{([A-Za-z_]+)\\}", lambda m: "(.+)" if self.takes_slashes(item, m.group(1)) else "([^/]+)",
                             re.escape(template))
            literal = len(re.sub(r"{[^}]*}", "", template))
            self.operations.append((-literal, re.compile(pattern + "$"), template, item))
        self.operations.sort(key=lambda o: o[0])  # literal segments win

    @staticmethod
    def takes_slashes(item, name):
        return any(p["name"] == name and "slashes" in p.get("description", "") for op in item.values() for p in op["parameters"])

    def find(self, method, path):
        for _, pattern, template, item in self.operations:
            if pattern.match(path):
                return template, item.get("get" if method == "HEAD" else method.lower())
        return None, None

    def validator(self, template, method, status, content):
        key = (template, method, status)
        if key not in self.validators:
            schema = {**content["schema"], "components": self.document["components"]}
            self.validators[key] = Draft202012Validator(schema)
        return self.validators[key]

    def check(self, method, path, response):
        template, operation = self.find(method, path)
        if not operation or not path.startswith(CONTROL) or OTHERS & set(operation["tags"]):
            return
        what, status = "%s %s" % (method, template), str(response.status_code)
        if status not in operation["responses"]:
            assert response.status_code in ANYWHERE, "%s does not document status %s: %s" % (what, status, response.text[:300])
            return
        contents = operation["responses"][status].get("content")
        if not contents:
            assert method == "HEAD" or not response.content, "%s %s has no content, but: %s" % (what, status, response.text[:300])
            return
        kind = response.headers.get("content-type", "").split(";")[0]
        assert kind in contents, "%s %s is %s" % (what, status, kind)
        if kind != "application/json" or method == "HEAD":
            return
        fault = best_match(self.validator(template, method, status, contents[kind]).iter_errors(response.json()))
        assert fault is None, "%s %s does not fit its shape at %s: %s" % (what, status, fault.json_path, fault.message[:300])
