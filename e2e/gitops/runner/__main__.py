"""Ottla as people deliver it by Git: what kstatus, Flux and Argo CD see, what `kubectl diff` sees, and what an operator leaves that
is killed after any of its writes.

Owns which cases are played. Everything runs in a room of its own, on a real API server with real brokers.
"""

import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import room  # noqa: E402


def main():
    folder = pathlib.Path(os.environ.get("GITOPS_FOLDER") or tempfile.mkdtemp(prefix="ottla-gitops-"))
    os.environ["GITOPS_FOLDER"] = str(folder)
    if why := room.enter(folder / "hosts"):
        print(f"SKIPPED: {why}\n0 passed, 0 failed, 1 skipped")
        return
    from examples import Examples
    from kills import Kills
    from life import Life
    from scene import Scene, perform
    from verdicts import Verdicts

    scene = Scene(folder)
    try:
        scene.start()
        scene.namespace("argocd")
        scene.kubectl("apply", "-k", pathlib.Path(__file__).resolve().parents[3] / "deploy/argocd", "--server-side", "--field-manager=ottla")
        cases = Life(scene, Verdicts(scene, os.environ["JUDGE"])).cases() + Examples(scene).cases() + Kills(scene).cases()
        perform([case for case in cases if all(word in case.__name__ for word in sys.argv[1:])])
    except SystemExit as end:
        if end.code:
            print(f"logs are in {folder}")
            os.environ["GITOPS_KEEP"] = "1"
        raise
    finally:
        scene.stop()
        if not os.environ.get("GITOPS_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
