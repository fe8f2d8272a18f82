"""What of given documents is not as Kubernetes and operators take it; run by the environment that has the schemas."""

import json
import sys
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-not-found]  # in an environment of its own
import yaml
from cloudcoil.models.keda import v1alpha1 as keda  # type: ignore[import-not-found]
from cloudcoil.models.prometheus_operator import v1 as prometheus  # type: ignore[import-not-found]

# The oldest that the chart is for, and the newest.
VERSIONS = ("1.30", "1.37")
# Whose models know the objects that are none of Kubernetes' own.
OTHERS = {"keda.sh/v1alpha1": keda, "monitoring.coreos.com/v1": prometheus}
# It reads a file of megabytes for each object, anew.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def mistakes(document: dict[str, Any]) -> list[str]:
    if models := OTHERS.get(document["apiVersion"]):
        read = getattr(models, document["kind"]).model_validate(document)
        # What it does not know is gone from what it has read.
        kept = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return [] if kept == document else [f"{document} was read as {kept}"]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{document['kind']} {document['metadata']['name']} in {version}: {error.message}")
    return found


def main() -> None:
    # Most are the same in all variants.
    different = {json.dumps(each): each for each in yaml.safe_load_all(sys.stdin) if each}
    sys.exit("\n".join(mistake for each in different.values() for mistake in mistakes(each)) or 0)


if __name__ == "__main__":
    main()
