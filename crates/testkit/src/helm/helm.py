# Checks or renders a chart: reads {"folder", "values"}, and prints {"result"} or {"error"}. Values
# are an object, or the text of a file.
import json
import re
import sys

import helm_python as helm


def lint(folder, values):
    report = helm.lint(folder, values=values, strict=True)
    # Severity 1 is a recommendation.
    found = [f"{each['path']}: {each['error']}" for each in report["messages"] if each["severity"] > 1]
    return found + report["errors"]


def render(folder, values):
    with helm.Chart.load(folder) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name="release", namespace="space")
    resources = []
    for path, text in texts.items():
        if path.endswith("NOTES.txt"):
            resources.append(text)
            continue
        parts = re.split(r"^---$", text, flags=re.MULTILINE)
        resources += [helm.values_from_yaml(part) for part in parts if part.strip()]
    return [resource for resource in resources if resource]


request = json.load(sys.stdin)
values = request["values"]
try:
    values = helm.values_from_yaml(values) if isinstance(values, str) else values
    answer = {"result": {"lint": lint, "render": render}[sys.argv[1]](request["folder"], values)}
except helm.HelmError as error:
    answer = {"error": str(error)}
json.dump(answer, sys.stdout)
